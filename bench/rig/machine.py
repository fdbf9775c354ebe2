"""What the figures were measured on."""

import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

SYNCS = 30


def facts(postgres: str, folder: Path) -> dict[str, Any]:
    """Machine, versions, and the time that a durable write takes in `folder`."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgresql": postgres,
        "fsync_ms": round(_fsync_ms(folder), 3),
        "load_before": round(os.getloadavg()[0], 2),
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def sentence(of: dict[str, Any]) -> str:
    return (
        f"{of['at']}; {of['cores']} cores ({of['cpu']}), {of['memory_gb']} GB, {of['system']}, Python {of['python']},"
        f" PostgreSQL {of['postgresql']}; a write of 8 kB with fsync takes {of['fsync_ms']} ms; load before the run"
        f" {of['load_before']}"
    )


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _fsync_ms(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            began = time.monotonic()
            file.write(b"x" * 8192)
            file.flush()
            os.fsync(file.fileno())
            times.append((time.monotonic() - began) * 1000)
    return median(times)
