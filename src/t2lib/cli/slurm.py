"""Submit collectors to SLURM through submitit.

Every job runs the same ``t2 collect`` on the same folder: locks in the folder share the work, so
jobs need to know nothing of each other. A job that SLURM ends at its limit is queued again and goes
on from the saved state.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2lib import _check, _extras
from t2lib.measure.running.stopping import STOPPED

FOLDER = "slurm"  # in the suite's folder: scripts, logs and results of the jobs


class Collector:
    """Run ``t2 collect`` with some words, as a job that may be queued again."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def __call__(self) -> int:
        """Collect, and return the exit status."""
        from t2lib.cli import main

        code = main(self.words)
        if code not in (0, STOPPED):
            raise RuntimeError(f"t2 {' '.join(self.words)} ended with {code}; see the log")
        return code

    def checkpoint(self) -> Any:
        """Queue the same job again: submitit calls this when the time of a job is over."""
        return importlib.import_module("submitit").helpers.DelayedSubmission(self)


def submit(
    words: Sequence[str],
    root: str | Path,
    *,
    jobs: int = 1,
    options: Mapping[str, Any] | None = None,
    cluster: str | None = None,
) -> list[Any]:
    """Submit collectors, and return their submitit jobs.

    Parameters
    ----------
    words
        Arguments of ``t2``, such as ``["collect", "--params", "paper.yml", "--out", "/shared/x"]``.
    root
        Folder of the suite, on a file system that all nodes see.
    jobs
        How many, in one array.
    options
        Parameters of ``submitit.AutoExecutor``: ``timeout_min``, ``gpus_per_node``,
        ``cpus_per_task``, ``mem_gb``, ``slurm_partition`` and so on.
    cluster
        "local" runs the jobs on this machine, for trying it out; None: SLURM.

    Raises
    ------
    ValueError
        An option that submitit does not know, or no SLURM on this machine.
    """
    _extras.need("submitit")
    submitit = importlib.import_module("submitit")
    jobs = _check.count("jobs", jobs, 1, 10_000)
    folder = Path(root).resolve() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster or "slurm")
        executor.update_parameters(name="t2-collect", **(options or {}))
        if jobs > 1 and cluster is None:
            executor.update_parameters(slurm_array_parallelism=jobs)
        with executor.batch():
            submitted = [executor.submit(Collector(words)) for _ in range(jobs)]
    except (RuntimeError, NameError, TypeError, submitit.core.utils.FailedJobError) as error:
        raise ValueError(
            f"slurm must be possible here, got {type(error).__name__}: {error}. Submit from a "
            "login node, and name options as submitit does (timeout_min, slurm_partition)."
        ) from error
    return list(submitted)
