"""The Kubernetes manifests fit the image, the commands, the settings and the addresses, and have no rights to spare."""

import re
from dataclasses import fields
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from typer.core import TyperGroup as Group

from app.api.http.server import GRACE_S
from app.settings import PREFIX, SECRETS_FOLDER, Settings, settings_from
from app.watcher import DRAIN_S
from tests.checks.pages import text_of
from tests.commands import APP, tree_of
from tests.postgres import ROOT

OBJECTS: list[dict[str, Any]] = [
    found
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yml"))
    for found in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]
NAMED = {(found["kind"], found["metadata"]["name"]): found for found in OBJECTS}
PODS: dict[str, dict[str, Any]] = {
    name: found["spec"]["template"]["spec"]
    for (kind, name), found in NAMED.items()
    if kind in ("Deployment", "Job")
}
PROCESSES = ("tapwatt-serve", "tapwatt-watch")


def container(name: str) -> dict[str, Any]:
    (only,) = PODS[name]["containers"]
    assert isinstance(only, dict)
    return only


def port_of(name: str, port: str) -> int:
    return int({p["name"]: p["containerPort"] for p in container(name)["ports"]}[port])


def is_setting(name: str) -> bool:
    return name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() in {
        each.name for each in fields(Settings)
    }


def mounted(name: str) -> set[str]:
    """The files in a pod's folder of secrets; of a Secret that is mounted whole, its name."""
    mounts = {mount["mountPath"]: mount for mount in container(name)["volumeMounts"]}
    wanted = mounts[str(SECRETS_FOLDER)]
    assert wanted["readOnly"] is True
    (volume,) = (v for v in PODS[name]["volumes"] if v["name"] == wanted["name"])
    source = volume.get("secret") or volume["projected"]
    assert source["defaultMode"] == 0o440
    if "secretName" in source:
        return {source["secretName"]}
    return {item["path"] for each in source["sources"] for item in each["secret"]["items"]}


def test_there_are_a_migration_and_two_processes() -> None:
    assert set(PODS) == {"tapwatt-migrate", *PROCESSES}
    assert len(NAMED) == len(OBJECTS)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_the_image_of_this_version_as_its_user(name: str) -> None:
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", text_of("Dockerfile"), re.MULTILINE)[0]
    context = PODS[name]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (
        int(user),
        int(group),
        int(group),
    )
    (version,) = re.findall(r'^version = "([^"]+)"$', text_of("pyproject.toml"), re.MULTILINE)
    assert container(name)["image"] == f"tapwatt:{version}"


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_bounded_and_has_no_rights_to_spare(name: str) -> None:
    pod, only = PODS[name], container(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == only["resources"]["requests"].keys() == only["resources"]["limits"].keys()


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_a_command_that_exists(name: str) -> None:
    whole = tree_of(APP)
    assert isinstance(whole, Group)
    program, command, *options = container(name)["args"]
    assert (program, f"tapwatt-{command}") == ("tapwatt", name)
    known = {option for parameter in whole.commands[command].params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known


@pytest.mark.parametrize("name", PODS)
def test_a_pod_sets_only_settings_that_exist(name: str) -> None:
    """Kubernetes sets TAPWATT_METRICS_PORT=tcp://... for a Service `tapwatt-metrics` unless links are off."""
    assert PODS[name]["enableServiceLinks"] is False
    given = {each["name"]: each["value"] for each in container(name).get("env", [])}
    for reference in container(name).get("envFrom", []):
        given |= NAMED["ConfigMap", reference["configMapRef"]["name"]]["data"]
    assert all(map(is_setting, given))
    secret = {"SECRET_KEY", "DATABASE_URL", "OWNER_DATABASE_URL"}
    assert not {PREFIX + each for each in secret} & given.keys()
    settings_from({key.removeprefix(PREFIX).lower(): value for key, value in given.items()}, Settings)


def test_only_the_migration_sees_the_url_of_the_owner() -> None:
    assert mounted("tapwatt-migrate") == {"TAPWATT_DATABASE_URL", "TAPWATT_OWNER_DATABASE_URL"}
    assert all(map(is_setting, mounted("tapwatt-migrate")))
    assert {name: mounted(name) for name in PROCESSES} == {name: {"tapwatt"} for name in PROCESSES}
    secrets = re.findall(
        r"kubectl create secret generic (\S+)((?: --from-file=\S+)+)", text_of("docs/deployment.md")
    )
    assert {name: set(re.findall(r"--from-file=(\w+)", files)) for name, files in secrets} == {
        "tapwatt": {"TAPWATT_SECRET_KEY", "TAPWATT_DATABASE_URL"},
        "tapwatt-owner": {"TAPWATT_OWNER_DATABASE_URL"},
    }


def test_ports_and_probes_are_those_of_the_processes() -> None:
    serve, watch = container("tapwatt-serve"), container("tapwatt-watch")
    args = serve["args"]
    assert args[args.index("--host") + 1] == "0.0.0.0"
    assert args[args.index("--port") + 1] == str(port_of("tapwatt-serve", "http"))
    for only, setting in ((serve, "TAPWATT_METRICS_PORT"), (watch, "TAPWATT_WATCHER_METRICS_PORT")):
        ports = {p["name"]: p["containerPort"] for p in only["ports"]}
        assert {e["name"]: e["value"] for e in only["env"]} == {setting: str(ports["metrics"])}
    paths = {kind: serve[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: (get["path"], get["port"]) for kind, get in paths.items()} == {
        "startup": ("/health/live", "http"),
        "liveness": ("/health/live", "http"),
        "readiness": ("/health/ready", "http"),
    }
    routes = text_of("app/api/routes/health.py")
    assert all(f'"{get["path"]}"' in routes for get in paths.values())
    served = text_of("app/api/http/metrics_port.py")
    for kind, path in (("liveness", "/health/live"), ("readiness", "/health/ready")):
        assert watch[f"{kind}Probe"]["httpGet"] == {"path": path, "port": "metrics"}
        assert f'"{path}"' in served


def test_a_pod_has_time_to_finish_what_it_has_begun() -> None:
    wait = container("tapwatt-serve")["lifecycle"]["preStop"]["exec"]["command"]
    assert wait[0] == "sleep"
    assert PODS["tapwatt-serve"]["terminationGracePeriodSeconds"] > int(wait[1]) + GRACE_S + DRAIN_S
    assert PODS["tapwatt-watch"]["terminationGracePeriodSeconds"] > 2 * DRAIN_S


@pytest.mark.parametrize("name", PROCESSES)
def test_one_of_two_replicas_always_runs_and_selectors_find_their_pods(name: str) -> None:
    deployment, budget = NAMED["Deployment", name], NAMED["PodDisruptionBudget", name]["spec"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert (deployment["spec"]["replicas"], budget["minAvailable"]) == (2, 1)
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert deployment["spec"]["selector"]["matchLabels"] == budget["selector"]["matchLabels"] == labels
    assert NAMED["NetworkPolicy", "tapwatt"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_service_leads_to_the_http_port() -> None:
    service = NAMED["Service", "tapwatt-serve"]["spec"]
    template = NAMED["Deployment", "tapwatt-serve"]["spec"]["template"]
    assert service["selector"] == template["metadata"]["labels"]
    assert [port["targetPort"] for port in service["ports"]] == ["http"]
