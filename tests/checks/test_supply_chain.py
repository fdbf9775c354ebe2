"""tests/supply_chain: an audit that compared nothing fails, and the bill of materials is whole and valid."""

import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.postgres import ROOT
from tests.supply_chain.audit import LOCKS, NOT_AUDITED, VULNERABLE, audit, needed, verdict
from tests.supply_chain.sbom import bill_of_materials, written

FINE = {"name": "a", "version": "1", "vulns": []}
CLEAN = {"name": "d", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}
BAD = {"name": "c", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": [], "aliases": []}]}


@pytest.mark.parametrize(
    ("packages", "status"),
    [
        ([FINE, FINE], 0),
        ([FINE, CLEAN], 0),
        ([], NOT_AUDITED),
        ([SKIPPED, SKIPPED], NOT_AUDITED),
        ([FINE, SKIPPED], NOT_AUDITED),
        ([FINE, BAD], VULNERABLE),
        ([SKIPPED, BAD], VULNERABLE),
    ],
)
def test_only_an_audit_of_every_package_passes(packages: list[dict[str, object]], status: int) -> None:
    found = verdict({"dependencies": packages}, frozenset(str(each["name"]) for each in packages))
    assert found.status == status
    assert ("PYSEC-1" in found.words) == (status == VULNERABLE)


def test_a_package_that_the_report_leaves_out_was_not_audited() -> None:
    found = verdict({"dependencies": [FINE]}, frozenset({"a", "b"}))
    assert found.status == NOT_AUDITED
    assert "1 of 2 packages were not compared (b" in found.words
    other = "win32" if sys.platform != "win32" else "linux"
    lock = f"a==1 \\\n    --hash=sha256:00\nb==2 ; sys_platform == '{other}' \\\n    --hash=sha256:00\nc==3\n"
    assert needed(lock) == {"a", "c"}


KNOWN = {("jinja2", "2.4.1"): "PYSEC-2014-8", ("urllib3", "1.24.1"): "PYSEC-2019-133"}
"""Real advisories, as an OSV service has them."""


class Advisories(BaseHTTPRequestHandler):
    """Answers pip-audit's queries as https://api.osv.dev/v1/query does."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = asked["package"]["name"], asked["version"]
        known = KNOWN.get((name, version))
        affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": []}]
        answer = {"vulns": [{"id": known, "summary": "s", "affected": affected}]} if known else {}
        body = json.dumps(answer).encode()
        self.send_response(200 if name != "broken" else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def osv_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


@pytest.mark.parametrize(
    ("pins", "status", "words"),
    [
        (["jinja2==2.4.1", "idna==3.10"], VULNERABLE, "known vulnerabilities: jinja2: PYSEC-2014-8"),
        (["jinja2==3.1.6", "idna==3.10"], 0, "2 packages compared, no known vulnerability"),
        (["broken==1", "idna==3.10"], NOT_AUDITED, "pip-audit said nothing of any package"),
    ],
)
def test_a_lock_is_compared_with_advisories_and_a_service_that_fails_fails_the_audit(
    pins: list[str], status: int, words: str, osv_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text("".join(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in pins), encoding="utf-8")
    assert audit(lock, osv_url=osv_url) == status
    assert capsys.readouterr().out.startswith(f"some.lock: {words}")


def test_the_bill_of_materials_is_valid_and_has_each_package_with_its_hashes() -> None:
    text = written(bill_of_materials(ROOT / LOCKS[0]))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    pinned = re.findall(r"^(\S+)==(\S+)", (ROOT / LOCKS[0]).read_text(encoding="utf-8"), re.MULTILINE)
    assert [(c["name"], c["version"]) for c in bill["components"]] == pinned
    assert all(c["externalReferences"][0]["hashes"] for c in bill["components"])
    assert text == written(bill_of_materials(ROOT / LOCKS[0]))
