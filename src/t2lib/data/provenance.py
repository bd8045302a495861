"""Record where a result comes from.

Commit, versions, seed, hardware and time.
"""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from t2lib.cpus import usable_cpus


def provenance(*, seed: int | None = None, **extra: Any) -> dict[str, Any]:
    """Return where a result comes from, ready for JSON.

    ``torch`` is reported only if it is already imported, so asking costs nothing.
    """
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("t2lib", "numpy", "scipy", "pandas", "pyarrow"):
        versions[name] = _version(name)
    stamp: dict[str, Any] = {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "versions": versions,
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),  # of the machine
        "cpus": usable_cpus(),  # of those, given to this job
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        versions["torch"] = str(torch.__version__).partition("+")[0]  # without the build's tag
        if torch.cuda.is_available():
            stamp["gpu"] = torch.cuda.get_device_name()
    if seed is not None:
        stamp["seed"] = seed
    return stamp | extra


@functools.cache  # every run of a suite is stamped
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if name != "t2lib":
            return None
        from t2lib import __version__

        return __version__


@functools.cache
def _commit() -> dict[str, Any] | None:
    """Return commit and dirty flag of this repository, or None."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "src")
        return {"hash": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


@functools.cache
def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the platform module knows what there is to know
    return platform.processor() or platform.machine()
