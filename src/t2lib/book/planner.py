"""Write the shipped laws as scripts for the planner page.

A page opened from disk may load scripts but not fetch files, so each law becomes a small script
that hands itself over, and an index says which there are. The numbers come from the law files and
nowhere else; replicates go as base64 of little-endian float64, exact and a third of the text.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from t2lib.book.words import TASKS
from t2lib.data.io import atomic_path, data_dir
from t2lib.devices import spellings
from t2lib.laws.base import StoredPredictor
from t2lib.laws.io import load_law, shipped_laws

FOLDER = Path("results/static/planner")
# The kinds that book/_static/planner-laws.js computes.
KINDS = ("chinchilla", "interaction", "loss", "accuracy", "items", "counts")
_WHAT = {
    "accuracy": "Approach 2 (pass@k)",
    "loss": "Approach 1 (mean −log pass@k)",
    "items": "sorted items (pass@k)",
    "counts": "sampled counts (pass@k)",
    "chinchilla": "Chinchilla law (loss)",
    "interaction": "Chinchilla law with interaction (loss)",
}
_SOURCES = {"pythia": "Pythia", "gemstones": "Gemstones", "chinchilla-epoch": "Chinchilla points"}
_TASKS = TASKS | {"pretraining": "pretraining loss"}


def write_planner(folder: str | Path = FOLDER, *, fits: str | Path | None = None) -> list[str]:
    """Write ``index.js`` and one script per law into ``folder``.

    Parameters
    ----------
    folder
        Made if missing. Scripts of laws that are gone are removed.
    fits
        Folder of law files; None: the shipped ones.

    Returns
    -------
    list of str
        Names of the laws written. Laws of a kind that the page cannot compute are counted in the
        index, so that the page can say so.

    Raises
    ------
    ValueError
        If a file is no law.
    """
    source = Path(fits) if fits is not None else data_dir() / "fits"
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    laws = {path.stem: load_law(path) for path in sorted(source.glob("*.json"))}
    computable = {name: law for name, law in laws.items() if law.kind in KINDS}
    for path in out.glob("*.js"):
        if path.stem not in (*computable, "index"):
            path.unlink()
    for name, law in computable.items():
        _write(out / f"{name}.js", "law", compact(law, name))
    listed = shipped_laws().set_index("name").to_dict("index") if fits is None else {}
    entries = [_entry(name, law, listed.get(name, {})) for name, law in computable.items()]
    times = Counter(entry["label"] for entry in entries)
    for entry in entries:
        if times[entry["label"]] > 1:  # what is alike by source, task and kind differs by name
            entry["label"] += f" [{entry['name']}]"
    index = {
        "laws": entries,
        "left_out": sorted(set(laws) - set(computable)),
        "devices": spellings(),
    }
    _write(out / "index.js", "index", index)
    return list(computable)


def compact(law: StoredPredictor, name: str) -> dict[str, Any]:
    """Return a law's JSON with only what the page needs.

    Replicates become base64 columns.
    """
    state = law.to_dict()
    boot = state["bootstrap"]
    if boot is not None:
        boot = {"params": {key: _base64(column) for key, column in boot["params"].items()}}
    fields = {
        key: state[key] for key in ("format", "kind", "options", "params", "domain", "status")
    }
    meta = {key: law.meta[key] for key in ("source", "task") if key in law.meta}
    fit_time = law.meta.get("provenance", {}).get("time_utc")
    return {
        "name": name,
        **fields,
        "bootstrap": boot,
        "evidence": state.get("evidence"),
        "meta": meta | {"made": fit_time},
    }


def _base64(column: list[float]) -> str:
    return base64.b64encode(np.asarray(column, dtype="<f8").tobytes()).decode("ascii")


def _entry(name: str, law: StoredPredictor, row: Mapping[Any, Any]) -> dict[str, Any]:
    """Describe a law for the menus: its task, what it predicts, and what held-out data say."""
    source, task = str(law.meta.get("source", "unnamed")), str(law.meta.get("task", "unnamed task"))
    public = _SOURCES.get(source)
    origin = public or f"{source.capitalize()} suite"
    unlisted = ", unlisted questions" if law.meta.get("measure") == "unlisted" else ""
    about = f"{origin}: {_TASKS.get(task, task.replace('_', ' '))}{unlisted}"
    error = float(row.get("held_out_error", np.nan))
    use = str(row.get("use", ""))
    return {
        "name": name,
        "group": f"{origin}, public measurements" if public else f"{origin}, ours",
        "task": about,
        "label": f"{about}, {_WHAT[law.kind]}",
        "error": None if np.isnan(error) else error,
        "use": use,
        "recommended": use.startswith("recommended"),
    }


def _write(path: Path, function: str, body: Mapping[str, Any]) -> None:
    # "</" would end the script element were the text ever inlined.
    text = json.dumps(body, ensure_ascii=True, allow_nan=False).replace("</", "<\\/")
    with atomic_path(path) as temporary:
        temporary.write_text(f"t2planner.{function}({text});\n", encoding="ascii")
