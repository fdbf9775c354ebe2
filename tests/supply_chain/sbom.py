"""Writes a CycloneDX bill of materials of what is installed to run the service, from its lock file."""

import json
import re
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PIN = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
SPACE = uuid.UUID("6f9b1f0e-6a55-4c5c-9d3a-0d3f2f6a3c11")


def bill_of_materials(lock: Path) -> dict[str, Any]:
    """The bill of a lock file. The same lock gives the same bill: no time, and a serial number by its contents."""
    text = lock.read_text(encoding="utf-8")
    project = tomllib.loads((lock.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    ours = {"type": "application", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    components = list(_components(text))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(SPACE, text)}",
        "version": 1,
        "metadata": {"component": ours},
        "components": components,
        "dependencies": [{"ref": ours["bom-ref"], "dependsOn": [c["bom-ref"] for c in components]}],
    }


def _components(text: str) -> Iterator[dict[str, Any]]:
    for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        pin = PIN.match(block)
        if pin is None:
            continue
        purl = f"pkg:pypi/{pin[1]}@{pin[2]}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": pin[1],
            "version": pin[2],
            "purl": purl,
            # One for each file of the release; exactly one of them was installed.
            "externalReferences": [
                {
                    "type": "distribution",
                    "url": purl,  # names the release wherever it came from
                    "hashes": [{"alg": "SHA-256", "content": found} for found in HASH.findall(block)],
                }
            ],
        }


def written(bill: dict[str, Any]) -> str:
    return json.dumps(bill, indent=2) + "\n"
