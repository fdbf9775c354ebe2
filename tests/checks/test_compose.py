"""docker-compose.yml: every container is bounded, has no rights that it does not need, and shows no key."""

from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.postgres import ROOT

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))[
    "services"
]
OURS = [name for name in SERVICES if name != "postgres"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_bounded_and_has_no_rights_to_spare(name: str) -> None:
    service = SERVICES[name]
    assert {"mem_limit", "pids_limit", "cpus"} <= service.keys()
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_our_containers_write_nothing_but_temporary_files(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["tmpfs"] == ["/tmp"]
    assert "cap_add" not in SERVICES[name]
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "\nUSER 10001:10001\n" in image


@pytest.mark.parametrize("name", SERVICES)
def test_keys_and_passwords_of_their_own_are_files(name: str) -> None:
    given = SERVICES[name].get("environment", {})
    assert not {"TAPWATT_SECRET_KEY", "POSTGRES_PASSWORD"} & given.keys()
    if name in ("api", "watcher"):
        assert "TAPWATT_SECRET_KEY" in SERVICES[name]["secrets"]
