"""Count the CPUs given to this process, not those of the machine.

Runs as a script too (the Makefile asks it), so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Count the CPUs given to this job, at least one.

    The least of: the affinity mask (SLURM's and taskset's), the quotas of the control groups
    (containers, systemd) and ``SLURM_CPUS_PER_TASK`` where SLURM does not bind processes.
    """
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()]
    counts += [_quota(folder) for folder in _groups()]
    with contextlib.suppress(KeyError, ValueError):
        counts.append(int(os.environ["SLURM_CPUS_PER_TASK"]))
    return max(1, min(count for count in counts if count))


def _groups() -> list[Path]:
    """List the folders of this process's control groups and those above."""
    folders = []
    with contextlib.suppress(OSError):
        for line in _MEMBERSHIP.read_text(encoding="utf-8").splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = _CGROUPS / "cpu" if controllers else _CGROUPS
            group = root / name.lstrip("/")
            folders += [path for path in (group, *group.parents) if path.is_relative_to(root)]
    return folders


def _quota(folder: Path) -> int | None:
    """Return the CPUs of a control group, or None without a limit."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()  # version 2
        return None if quota == "max" else math.ceil(int(quota) / int(period))
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # version 1
        micros = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        per = int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return math.ceil(micros / per) if micros > 0 else None
    return None


if __name__ == "__main__":
    print(usable_cpus())
