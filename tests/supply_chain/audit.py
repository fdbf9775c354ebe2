"""Compares the lock files with the known vulnerabilities of PyPI, and fails when a package was not compared."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCKS = ("requirements.lock", "requirements-dev.lock")
LONGEST_S = 600
VULNERABLE, NOT_AUDITED = 1, 2
"""Exit statuses beside 0."""


@dataclass(frozen=True, slots=True)
class Verdict:
    status: int
    words: str


def audit(lock: Path) -> int:
    """Audits one lock file with pip-audit, and prints what came of it. Returns the exit status."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--require-hashes", "--disable-pip"]
    done = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    try:
        found = verdict(json.loads(done.stdout))
    except ValueError:
        found = Verdict(NOT_AUDITED, f"pip-audit said nothing of any package: {done.stderr.strip()[-400:]}")
    print(f"{lock.name}: {found.words}")
    return found.status


def verdict(report: Any) -> Verdict:
    """Judges pip-audit's report; pip-audit itself is content when it has skipped every package."""
    packages = report["dependencies"]
    skipped = sorted(p["name"] for p in packages if "skip_reason" in p)
    vulnerable = {p["name"]: [v["id"] for v in p["vulns"]] for p in packages if p.get("vulns")}
    if vulnerable:
        named = "; ".join(f"{name}: {', '.join(ids)}" for name, ids in sorted(vulnerable.items()))
        return Verdict(VULNERABLE, f"known vulnerabilities: {named}")
    if not packages or skipped:
        count = f"{len(skipped)} of {len(packages)} packages were not compared"
        return Verdict(NOT_AUDITED, f"{count} ({', '.join(skipped[:5])} ...): is pypi.org reachable?")
    return Verdict(0, f"{len(packages)} packages compared, no known vulnerability")
