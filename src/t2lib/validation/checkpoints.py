"""Read measured checkpoints of a suite as aligned arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2lib import _check, passk
from t2lib._check import Floats, Mask
from t2lib.data import store

__all__ = ["MACRO", "Checkpoints", "suite_checkpoints"]


MACRO = "macro"  # the mean over tasks


@dataclass(frozen=True)
class Checkpoints:
    """Hold measured checkpoints of one family, n aligned rows.

    Attributes
    ----------
    name : str
    N, N_non_embedding, D : (n,)
        Parameters and training tokens.
    loss : (n,)
        Validation or pretraining loss, nats per token.
    run : (n,)
        Label of the training run.
    trunk : (n,)
        Label of what a bootstrap draws whole: runs of one trunk share their luck.
    seed : (n,)
        Seeds of one (N, D) are repeats of a cell.
    k : (K,)
        Numbers of samples at which ``nll`` and ``accuracy`` are kept.
    nll, accuracy : task → (n, K)
        Mean over questions of −log pass@k (nats), and of pass@k.
    items : task → (values, sizes)
        Log-likelihoods of the answers (n, m), columns in one order for all checkpoints, and None;
        or means of m rank bins, best first, and the number of questions in each.
    """

    name: str
    N: Floats
    N_non_embedding: Floats
    D: Floats
    loss: Floats
    run: NDArray[np.str_]
    trunk: NDArray[np.str_]
    seed: NDArray[np.int64]
    k: Floats
    nll: Mapping[str, Floats]
    accuracy: Mapping[str, Floats]
    items: Mapping[str, tuple[Floats, Floats | None]]

    @property
    def tokens_per_param(self) -> Floats:
        """Return D/N."""
        return self.D / self.N

    @property
    def C_train(self) -> Floats:
        """Return 6·N·D, FLOPs."""
        return 6.0 * self.N * self.D

    @property
    def tasks(self) -> list[str]:
        """Return the names of the tasks, without "macro"."""
        return list(self.nll)

    @cached_property
    def cell(self) -> NDArray[np.intp]:
        """Number the (N, D) that each row belongs to."""
        pair = np.stack([self.N, self.D])
        return np.unique(pair, axis=1, return_inverse=True)[1].ravel().astype(np.intp)

    def sizes(self, convention: str = "N") -> Floats:
        """Return ``N`` or ``N_non_embedding``."""
        _check.choice("convention", convention, ("N", "N_non_embedding"))
        return self.N if convention == "N" else self.N_non_embedding

    def values(self, quantity: str, task: str) -> Floats:
        """Return measured nll or accuracy of a task or "macro", (n, K)."""
        _check.choice("quantity", quantity, ("nll", "accuracy"))
        _check.choice("task", task, (*self.tasks, MACRO))
        values = self.nll if quantity == "nll" else self.accuracy
        return np.mean(list(values.values()), axis=0) if task == MACRO else values[task]

    def at_k(self, task: str, k: ArrayLike) -> tuple[Floats, Floats]:
        """Compute (nll, accuracy) of a task or "macro", (n,) each.

        Every row has its own number of samples. Computed from the items, so that any k ≥ 1 will do.
        """
        samples = np.broadcast_to(_check.at_least("k", k, 1.0), self.N.shape)[:, None]
        parts = []
        for name in self.tasks if task == MACRO else [task]:
            values, sizes = self.items[name]
            log = passk.log_pass_at_k(values, samples)
            weights = np.ones(values.shape[1]) if sizes is None else sizes
            parts.append(np.stack([-log @ weights, np.exp(log) @ weights]) / weights.sum())
        nll, accuracy = np.mean(parts, axis=0)
        return nll, accuracy

    def where(self, mask: Mask) -> Checkpoints:
        """Select the checkpoints for which ``mask`` is True."""
        selected: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "items":
                selected[field.name] = {t: (v[mask], sizes) for t, (v, sizes) in value.items()}
            elif isinstance(value, Mapping):
                selected[field.name] = {t: v[mask] for t, v in value.items()}
            elif field.name not in ("name", "k"):
                selected[field.name] = value[mask]
        return replace(self, **selected)


def suite_checkpoints(
    name: str | Path,
    k: ArrayLike,
    *,
    tasks: Sequence[str] | None = None,
    min_steps: int = 0,
    min_tokens_per_param: float = 0.0,
    stage: str = "base",
) -> Checkpoints:
    """Read the checkpoints of a suite with all their items.

    Parameters
    ----------
    name
        A shipped suite or a folder.
    k
        Numbers of samples ≥ 1; probabilities are exact, so any will do.
    tasks
        Tasks to keep; default all.
    min_steps, min_tokens_per_param
        Checkpoints trained for less are dropped: warm-up distorts a law's exponents.
    stage
        "base" or a stage of post-training. Steps and validation loss stay those of pretraining.

    Raises
    ------
    ValueError
        If the suite lacks a task, a checkpoint lacks scores that others have, or nothing is left.
    """
    # The runs that count: finished, of this stage, and trained long enough.
    ks = np.unique(np.atleast_1d(_check.at_least("k", k, 1.0)))
    obs = store.load_suite(name, stage=stage)
    runs = store.load_runs(name)
    runs = runs[(runs["status"] == "done") & (runs["stage"] == "base")].sort_values("run_id")
    if stage != "base":
        runs = runs[runs["run_id"].isin(obs["run_id"].unique())]
    if "steps" not in runs:  # trained elsewhere, for a while that the record does not say in steps
        runs = runs.assign(steps=np.inf)
    enough = (runs["steps"] >= min_steps) & (runs["tokens_per_param"] >= min_tokens_per_param)
    if not enough.any():
        raise ValueError(
            f"suite {str(name)!r} must have checkpoints of at least {min_steps} steps and "
            f"{min_tokens_per_param:g} tokens per parameter, got none among {len(runs)}. Lower the "
            "limits or train longer."
        )
    runs = runs[enough]
    suite_tasks = sorted(obs["task"].astype(str).unique())
    missing = sorted(set(tasks or suite_tasks) - set(suite_tasks))
    if missing:
        raise ValueError(
            f"tasks must be among those of suite {str(name)!r} ({', '.join(suite_tasks)}), got "
            f"{', '.join(missing)}. Score them, or leave them out."
        )
    # Per task the log-likelihoods (runs, items), and pass@k from them at every k.
    nll, accuracy, items = {}, {}, {}
    for task, rows in obs.groupby("task", observed=True):
        if tasks is not None and task not in tasks:
            continue
        wide = rows.pivot(index="run_id", columns="item", values="logp")
        wide = wide.reindex(runs["run_id"].to_numpy())
        logp = wide.to_numpy(dtype=np.float64)
        incomplete = np.isnan(logp).any(axis=1)
        if incomplete.any():
            raise ValueError(
                f"every checkpoint of suite {str(name)!r} must answer the same items of "
                f"{task}, got gaps in {int(incomplete.sum())}, first in run "
                f"{wide.index[incomplete][0]}. Score them again, or leave the task out."
            )
        parts = [passk.log_pass_at_k(logp, n_samples) for n_samples in ks]
        nll[str(task)] = np.stack([-p.mean(axis=1) for p in parts], axis=1)
        accuracy[str(task)] = np.stack([np.exp(p).mean(axis=1) for p in parts], axis=1)
        items[str(task)] = logp, None
    return Checkpoints(
        name=Path(name).name,
        N=runs["N"].to_numpy(np.float64),
        N_non_embedding=runs["N_non_embedding"].to_numpy(np.float64),
        D=runs["D"].to_numpy(np.float64),
        loss=runs["val_loss"].to_numpy(np.float64),
        run=runs["run_id"].to_numpy(str),
        trunk=store.trunk_labels(runs).to_numpy(str),
        seed=runs["seed"].to_numpy(np.int64),
        k=ks,
        nll=nll,
        accuracy=accuracy,
        items=items,
    )
