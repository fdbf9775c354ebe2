"""The lock files: complete, hashed, consistent, and without addresses of package sources."""

import re
import tomllib

import pytest

from tests.postgres import ROOT

RUN, DEV = "requirements.lock", "requirements-dev.lock"
BUILD, TRACED = "requirements-build.lock", "requirements-otel.lock"


def text_of(lock: str) -> str:
    return (ROOT / lock).read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, str]:
    """Package to version."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", text_of(lock), re.MULTILINE))


def wanted(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in requirements}


@pytest.mark.parametrize("lock", [RUN, DEV, BUILD, TRACED])
def test_every_package_is_pinned_with_hashes_and_no_address_is_named(lock: str) -> None:
    blocks = re.split(r"^(?=\S)", text_of(lock), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(lock))
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert re.findall(r".*(?:://|--index|--find-links|file:).*", text_of(lock)) == []


def test_the_developers_lock_holds_everything_of_the_other_in_the_same_version() -> None:
    assert pins(RUN).items() <= pins(DEV).items()


def test_the_lock_with_traces_holds_what_the_image_needs_in_the_developers_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["otel"]]
    assert wanted(needed) - pins(TRACED).keys() == set()
    assert pins(TRACED).items() <= pins(DEV).items(), "whose audit covers it"


def test_everything_that_pyproject_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["embedded"]]
    assert wanted(runtime) - pins(RUN).keys() == set()
    assert wanted([*runtime, *project["dependency-groups"]["dev"]]) - pins(DEV).keys() == set()
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]
    assert wanted(project["dependency-groups"]["build"]) - pins(BUILD).keys() == set()
