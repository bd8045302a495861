"""Load small tables that ship with t2lib.

Aggregates that we computed from the public sources.

They let chapters and examples work without network. Each ``<name>.parquet`` has beside it a
``<name>.json`` that says what it holds, what it was made of (sources, hashes), by which command,
and its own SHA-256. ``benchmarks/tables.py`` makes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def _folder() -> Path:
    from t2lib.data.io import data_dir

    return data_dir() / "tables"


def list_tables() -> pd.DataFrame:
    """List the shipped tables.

    Columns: ``name``, ``what``, ``rows``, ``columns``, ``sources``, ``size``.
    """
    import pandas as pd

    from t2lib.data.io import read_json

    columns = ["name", "what", "rows", "columns", "sources", "size"]
    rows = []
    for path in sorted(_folder().glob("*.parquet")):
        provenance = read_json(path.with_suffix(".json"))
        rows.append(
            {
                "name": path.stem,
                "what": provenance["what"],
                "rows": provenance["rows"],
                "columns": ", ".join(provenance["columns"]),
                "sources": ", ".join(source["name"] for source in provenance["sources"]),
                "size": path.stat().st_size,
            }
        )
    return pd.DataFrame(rows, columns=columns)


def load_table(name: str) -> pd.DataFrame:
    """Load a table that ships with t2lib.

    Parameters
    ----------
    name
        One of ``list_tables()["name"]``.

    Returns
    -------
    pandas.DataFrame
        The table; ``attrs["table"]`` holds its provenance.

    Raises
    ------
    ValueError
        Unknown name, or a table that is not the one its provenance describes.
    """
    import pandas as pd

    from t2lib.data.io import read_json, sha256_file

    path = _folder() / f"{name}.parquet"
    names = sorted(file.stem for file in _folder().glob("*.parquet"))
    if name not in names:
        listed = ", ".join(repr(n) for n in names) or "none (data/tables is empty)"
        raise ValueError(
            f"name must be one of the shipped tables {listed}, got {name!r}. For the full data set "
            "use load_source."
        )
    provenance = read_json(path.with_suffix(".json"))
    got = sha256_file(path)
    if got != provenance["sha256"]:
        raise ValueError(
            f"{path} is damaged: SHA-256 expected {provenance['sha256']}, got {got}. Restore it "
            "from git, or make it anew with benchmarks/tables.py."
        )
    frame = pd.read_parquet(path)
    frame.attrs["table"] = {"name": name, **provenance}
    return frame
