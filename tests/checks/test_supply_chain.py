"""tests/supply_chain: an audit that compared nothing fails, and the bill of materials is whole and valid."""

import json
import re

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.postgres import ROOT
from tests.supply_chain.audit import LOCKS, NOT_AUDITED, VULNERABLE, verdict
from tests.supply_chain.sbom import bill_of_materials, written

FINE = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}
BAD = {"name": "c", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": [], "aliases": []}]}


@pytest.mark.parametrize(
    ("packages", "status"),
    [
        ([FINE, FINE], 0),
        ([], NOT_AUDITED),
        ([SKIPPED, SKIPPED], NOT_AUDITED),
        ([FINE, SKIPPED], NOT_AUDITED),
        ([FINE, BAD], VULNERABLE),
        ([SKIPPED, BAD], VULNERABLE),
    ],
)
def test_only_an_audit_of_every_package_passes(packages: list[dict[str, object]], status: int) -> None:
    found = verdict({"dependencies": packages})
    assert found.status == status
    assert ("PYSEC-1" in found.words) == (status == VULNERABLE)


def test_the_bill_of_materials_is_valid_and_has_each_package_with_its_hashes() -> None:
    text = written(bill_of_materials(ROOT / LOCKS[0]))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    pinned = re.findall(r"^(\S+)==(\S+)", (ROOT / LOCKS[0]).read_text(encoding="utf-8"), re.MULTILINE)
    assert [(c["name"], c["version"]) for c in bill["components"]] == pinned
    assert all(c["externalReferences"][0]["hashes"] for c in bill["components"])
    assert text == written(bill_of_materials(ROOT / LOCKS[0]))
