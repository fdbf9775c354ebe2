"""Compares the lock files with known vulnerabilities, of PyPI or an OSV service. Fails when a package was left out."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker

LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
LONGEST_S = 600
VULNERABLE, NOT_AUDITED = 1, 2
"""Exit statuses beside 0."""


@dataclass(frozen=True, slots=True)
class Verdict:
    status: int
    words: str


def audit(lock: Path, *, osv_url: str | None = None) -> int:
    """Audits one lock file with pip-audit, and prints what came of it. Returns the exit status.

    `osv_url`: the query address of an OSV service or mirror, as `https://api.osv.dev/v1/query`; None: PyPI is asked.
    """
    service = ["--vulnerability-service", "osv", "--osv-url", osv_url] if osv_url else []
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--require-hashes", "--disable-pip"]
    done = subprocess.run(
        [*command, *service, "--format", "json", "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    try:
        found = verdict(json.loads(done.stdout), needed(lock.read_text(encoding="utf-8")))
    except ValueError:
        found = Verdict(NOT_AUDITED, f"pip-audit said nothing of any package: {done.stderr.strip()[-400:]}")
    print(f"{lock.name}: {found.words}")
    return found.status


def needed(lock: str) -> frozenset[str]:
    """The packages that a lock installs here: those whose marker, if any, is true of this system and Python."""
    found = re.findall(r"^([a-z0-9._-]+)==[^ ;\\]+(?: ; ([^\\\n]+))?", lock, re.MULTILINE)
    return frozenset(name for name, marker in found if not marker or Marker(marker).evaluate())


def verdict(report: Any, wanted: frozenset[str]) -> Verdict:
    """Judges pip-audit's report; pip-audit itself is content when it has skipped every package.

    `wanted`: the names of the packages that must have been compared.
    """
    packages = report["dependencies"]
    compared = {p["name"] for p in packages if "skip_reason" not in p}
    skipped = sorted({p["name"] for p in packages if "skip_reason" in p} | (wanted - compared))
    vulnerable = {p["name"]: [v["id"] for v in p["vulns"]] for p in packages if p.get("vulns")}
    if vulnerable:
        named = "; ".join(f"{name}: {', '.join(ids)}" for name, ids in sorted(vulnerable.items()))
        return Verdict(VULNERABLE, f"known vulnerabilities: {named}")
    if not packages or skipped:
        count = f"{len(skipped)} of {len(wanted)} packages were not compared"
        return Verdict(NOT_AUDITED, f"{count} ({', '.join(skipped[:5])} ...): is pypi.org reachable?")
    return Verdict(0, f"{len(packages)} packages compared, no known vulnerability")
