"""Join measurements with what is known of the models: parameters and training tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from t2lib._files import printable
from t2lib.data.readers.columns import find_column, line_of, need, numbers, where
from t2lib.data.readers.files import existing, read_table
from t2lib.names import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

UNSIZED = "unsized"  # as the table of models: N and D are not needed
EXAMPLE = "model,N,D\npythia-70m,70M,300B"


def sanitized(name: str) -> str:
    """Return the folder name that lm-evaluation-harness gives a model."""
    return re.sub(r'["<>:/|\\?*\[\]]+', "__", name)


@dataclass(frozen=True)
class Model:
    """Hold a row of the table of models; N, D or the seed may be unknown (None)."""

    name: str
    N: float | None
    D: float | None
    N_non_embedding: float | None = None
    seed: int | None = None


class Models:
    """Look up models by any of the names that a log gives them.

    Parameters
    ----------
    source : CSV (or another table) with the columns model, N and D or synonyms of them, a
        DataFrame, or None where the measurements bring N and D themselves.
    """

    def __init__(self, source: str | PathLike[str] | pd.DataFrame | None) -> None:
        self.rows: list[Model] = []
        self.where = "models"
        self.sized = source is not UNSIZED
        source = source if self.sized else None
        self.given = source is not None
        self._by_key: dict[str, list[int]] = {}
        self._used: set[int] = set()
        if source is not None:
            self._read(source)

    def _read(self, source: Any) -> None:
        import pandas as pd

        if isinstance(source, pd.DataFrame):
            frame = source.copy()
        else:
            frame = read_table(existing(source, "models"))
        self.where = where(frame) if "path" in frame.attrs else "models"
        name = need(frame, find_column(frame, "model"), "model", f"Write it as {EXAMPLE!r}.")
        columns = {key: find_column(frame, key) for key in ("N", "D", "N_non_embedding", "seed")}
        revision = next((c for c in frame.columns if c.lower() in ("revision", "step")), None)
        values = {
            key: numbers(frame, column, missing=key != "D" and key != "N")
            for key, column in columns.items()
            if column is not None
        }
        # Take the rows one by one; a model with a revision is another checkpoint.
        for position in range(len(frame)):
            label = str(frame[name].iloc[position]).strip()
            if revision is not None and pd.notna(frame[revision].iloc[position]):
                label = f"{label}@{frame[revision].iloc[position]}"
            entry = {key: float(column[position]) for key, column in values.items()}
            for key in ("N", "D"):
                if key in entry and not entry[key] > 0:
                    raise ValueError(
                        f"{line_of(frame, position)} must have a positive {key}, got "
                        f"{entry[key]:g}. Correct the row."
                    )
            seed = entry.get("seed", np.nan)
            self._add(
                Model(
                    label,
                    entry.get("N"),
                    entry.get("D"),
                    _known(entry.get("N_non_embedding", np.nan)),
                    None if np.isnan(seed) else int(seed),
                ),
                line_of(frame, position),
            )

    def _add(self, model: Model, line: str) -> None:
        if any(model.name == row.name for row in self.rows):
            raise ValueError(
                f"{line} must name a model that no line above names, got {model.name!r} again. "
                "Give each checkpoint a name of its own, such as NAME@REVISION."
            )
        self.rows.append(model)
        for key in _keys(model.name):
            self._by_key.setdefault(key, []).append(len(self.rows) - 1)

    def names(self) -> list[str]:
        """Return the names of all rows."""
        return [row.name for row in self.rows]

    def find(self, aliases: Sequence[str], source: str) -> Model:
        """Return the row of a model.

        Parameters
        ----------
        aliases : names that the log gives the model, the most exact first
        source : file of the log, for messages

        Raises
        ------
        ValueError
            When no row, or more than one, bears any of the names.
        """
        for alias in aliases:
            for key in _keys(alias):
                hits = self._by_key.get(key, [])
                if len(hits) == 1:
                    self._used.add(hits[0])
                    return self.rows[hits[0]]
                if len(hits) > 1:
                    names = " and ".join(repr(self.rows[i].name) for i in hits[:2])
                    raise ValueError(
                        f"{self.where} must have one row for each model, got {names} for "
                        f"{alias!r} ({source}). Write the name as the log has it: {aliases[0]!r}."
                    )
        hint = did_you_mean(aliases[0], self.names())
        raise ValueError(
            f"{self.where} must have a row for every model, got none for {aliases[0]!r} "
            f"({printable(source, 200)}){hint or '.'} Add the line {csv_cell(aliases[0])},N,D with "
            "its parameters and training tokens."
        )

    def unused(self) -> list[str]:
        """Return the names of rows that no measurement belongs to."""
        return [row.name for i, row in enumerate(self.rows) if i not in self._used]


def csv_cell(text: str) -> str:
    """Write text as one cell of a CSV line."""
    return f'"{text}"' if "," in text else text


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _keys(name: str) -> Iterable[str]:
    """Yield the spellings under which a name is looked up, the most exact first.

    The base name of a path comes last; NAME@REVISION keeps its revision in all of them.
    """
    name = name.strip().rstrip("/")
    base, mark, revision = name.partition("@")
    tail = f"{mark}{revision}"
    last = re.split(r"/|__", base)[-1]
    return dict.fromkeys((name, sanitized(base) + tail, last + tail))


def with_sizes(
    frame: pd.DataFrame, models: Models, rows: Mapping[str, Model], source: str
) -> pd.DataFrame:
    """Return a long frame with the sizes of its models in front.

    Parameters
    ----------
    frame : column model, further columns
    models : the table that the sizes come from
    rows : what is known of each model
    source : for messages

    Raises
    ------
    ValueError
        When N or D of a model is not known.
    """
    names = frame["model"].astype(str)
    if not models.sized:
        return frame.assign(N=1.0, D=1.0)
    for key in ("N", "D"):
        lacking = [name for name, row in rows.items() if getattr(row, key) is None]
        if lacking:
            meaning = "parameters" if key == "N" else "training tokens"
            raise ValueError(
                f"{models.where} must say {key} ({meaning}) of every model, got none for "
                f"{lacking[0]!r} ({source}). Give models= (--models), a CSV with lines "
                "such as 'model,N,D' and 'pythia-70m,70M,300B'."
            )
    position = 1
    for key in ("N", "N_non_embedding", "D"):
        values = {name: getattr(row, key) for name, row in rows.items()}
        if any(value is not None for value in values.values()):
            column = names.map(values).astype(np.float64)
            frame.insert(position, key, column.to_numpy())
            position += 1
    if any(row.seed is not None for row in rows.values()):
        frame.insert(position, "seed", names.map({n: r.seed or 0 for n, r in rows.items()}))
    return frame
