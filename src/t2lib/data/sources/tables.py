"""Load small tables that ship with t2lib.

Aggregates that we computed from the public sources.

They let chapters and examples work without network. Each ``<name>.parquet`` has beside it a
``<name>.json`` that says what it holds, what it was made of (sources, hashes), by which command,
and its own SHA-256. ``benchmarks/tables.py`` makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def list_tables() -> pd.DataFrame:
    """List the shipped tables.

    Columns: ``name``, ``what``, ``rows``, ``columns``, ``sources``, ``size``.
    """
    import pandas as pd

    from t2lib.data.io import data_dir, read_json
    from t2lib.data.parts import shipped_size

    # The provenance is always there; a released wheel fetches the largest tables when asked for.
    columns = ["name", "what", "rows", "columns", "sources", "size"]
    rows = []
    for path in sorted((data_dir() / "tables").glob("*.json")):
        provenance = read_json(path)
        rows.append(
            {
                "name": path.stem,
                "what": provenance["what"],
                "rows": provenance["rows"],
                "columns": ", ".join(provenance["columns"]),
                "sources": ", ".join(source["name"] for source in provenance["sources"]),
                "size": shipped_size(f"tables/{path.stem}.parquet"),
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
    ConnectionError, FileNotFoundError
        A table that a released wheel leaves out cannot be fetched.
    """
    import pandas as pd

    from t2lib.data.io import data_dir, read_json, sha256_file
    from t2lib.data.parts import shipped

    names = sorted(file.stem for file in (data_dir() / "tables").glob("*.json"))
    if name not in names:
        listed = ", ".join(repr(n) for n in names) or "none (data/tables is empty)"
        raise ValueError(
            f"name must be one of the shipped tables {listed}, got {name!r}. For the full data set "
            "use load_source."
        )
    provenance = read_json(data_dir() / "tables" / f"{name}.json")
    path = shipped(f"tables/{name}.parquet")
    got = sha256_file(path)
    if got != provenance["sha256"]:
        raise ValueError(
            f"{path} is damaged: SHA-256 expected {provenance['sha256']}, got {got}. Restore it "
            "from git, or make it anew with benchmarks/tables.py."
        )
    frame = pd.read_parquet(path)
    frame.attrs["table"] = {"name": name, **provenance}
    return frame
