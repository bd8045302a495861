"""Send finished runs of a folder to an experiment tracker, trackio or Weights & Biases.

What is in the folder is the truth. A run is sent when its record is there, so that a collection
that was killed, or other collectors on the folder, leave nothing out and nothing comes twice. A
tracker that fails ends no collection.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from t2lib import _check
from t2lib.data import io, store
from t2lib.data._rows import flat
from t2lib.measure.running.locks import hold

TRACKERS = ("trackio", "wandb")
FILE = "tracked.json"  # which records were sent, by tracker and project
_PAUSE_S = 10.0


def parse_tracker(text: str, project: str) -> tuple[str, str]:
    """Split ``NAME`` or ``NAME:PROJECT``; ``project`` is what a name alone goes to.

    Raises
    ------
    ValueError
        Unknown tracker, no project, or a package that is not installed.
    """
    name, colon, chosen = text.partition(":")
    _check.choice("track", name, TRACKERS)
    if colon and not chosen:
        raise ValueError(f"track must be NAME or NAME:PROJECT, got {text!r}. Leave out the colon.")
    if importlib.util.find_spec(name) is None:
        raise ValueError(
            f"track needs the package {name}, which is not installed. Do pip install {name}."
        )
    return name, chosen or project


@contextmanager
def tracking(root: Path, track: str | None, project: str) -> Iterator[Callable[[], None]]:
    """Yield what sends new runs, at most every ten seconds; at the end all are sent."""
    if track is None:
        yield lambda: None
        return
    name, project = parse_tracker(track, project)
    sent_at = time.monotonic()

    def send() -> None:
        nonlocal sent_at
        if time.monotonic() - sent_at >= _PAUSE_S:
            _try_to_send(root, name, project)
            sent_at = time.monotonic()

    try:
        yield send
    finally:
        _try_to_send(root, name, project)


def _try_to_send(root: Path, name: str, project: str) -> None:
    """Send new runs, and warn if that fails."""
    try:
        send_new(root, name, project)
    except Exception as error:  # whatever a tracker or its network raises
        warnings.warn(
            f"runs could not be sent to {name} ({type(error).__name__}: {error}). The collection "
            "goes on, and sends them when it is called again.",
            stacklevel=2,
        )


def send_new(root: Path, name: str, project: str) -> int:
    """Send the records of a folder that were not sent yet, and return how many."""
    tracker = importlib.import_module(name)
    key = f"{name}:{project}"
    with hold(root / "locks" / "tracking"):  # collectors that share the folder take turns
        file = root / FILE
        body: dict[str, list[str]] = io.read_json(file) if file.is_file() else {}
        sent = set(body.get(key, []))
        new = sorted(path for path in (root / "runs").glob("*.json") if path.stem not in sent)
        for path in new:
            _send(tracker, project, path.stem, store.read_record(path))
            sent.add(path.stem)
            io.write_json(file, body | {key: sorted(sent)})
    return len(new)


def _send(tracker: Any, project: str, label: str, record: Mapping[str, Any]) -> None:
    """Send one record: its settings, its training curve, and its scores."""
    row = flat(record)
    curve = row.pop("loss_curve")
    config = {key: value for key, value in row.items() if not key.endswith("sha256")}
    run = tracker.init(project=project, name=label, config=config)
    for step, (tokens, loss) in enumerate(curve):
        run.log({"tokens": tokens, "loss": loss}, step=step)
    scored = (record.get("score") or {}).get("tasks") or {}
    metrics: dict[str, Any] = {"N": row["N"], "tokens": row["D"], "C_train": row["C_train"]}
    metrics |= {f"nll/{task}": entry["nll"] for task, entry in scored.items() if "nll" in entry}
    if record.get("val_loss") is not None:
        metrics["val_loss"] = record["val_loss"]
    run.log(metrics, step=len(curve))
    run.finish()
