"""Description of the machine: processor, memory, versions."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dkse_jax import runtime


def describe() -> dict[str, Any]:
    """Describes the machine and our versions as a JSON tree."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "bfloat16": sorted(runtime.bfloat16_flags()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "flax", "numpy")},
        "load_before": round(os.getloadavg()[0], 1),
    }


def cpu_model() -> str:
    """Returns the processor's name, or its architecture where the name is unknown."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def usable_cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
