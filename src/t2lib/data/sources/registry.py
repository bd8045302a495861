"""Describe the public sources and their tables.

What each holds, its pinned files, who to cite, its licence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from t2lib.data.sources import chinchilla, gemstones, pythia
from t2lib.data.sources.download import RemoteFile

Frames = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Table:
    """Describe one named table of a source.

    ``what`` it holds and how many ``rows`` it has.
    """

    what: str
    rows: int


@dataclass(frozen=True)
class Source:
    """Describe files that are published together, and the tables made of them.

    The files are pinned; the tables are tidy.

    Attributes
    ----------
    tables
        Name → table; ``load_source`` takes these names.
    files
        Key → pinned file.
    build
        Makes all tables from the local paths of all files (same keys).
    schema
        Version of the tables' columns and derivation; a cached table of another one is not used.
    page
        Where to read about it, at the pinned commit.
    members
        Hash over the pinned members of an archive, where ``files`` has one whose bytes may vary.
    """

    tables: Mapping[str, Table]
    files: Mapping[str, RemoteFile]
    build: Callable[[Mapping[str, Path]], Frames]
    schema: int
    citation: str
    licence: str
    page: str
    members: str = ""


_LANGUAGE_MONKEYS = (
    "https://raw.githubusercontent.com/RylanSchaeffer/"
    "KoyejoLab-Large-How-Do-Language-Monkey-Power-Get-Their-Power/"
    "cd078aef2a13e4310fab204860b99c4c39c25d40/data/raw_data"
)

PYTHIA = Source(
    tables={
        "pythia-passk": Table(
            "Samples drawn (n) and correct (c) per problem of GSM8K and MATH, for 9 sizes of "
            "Pythia at 9 token counts",
            19_370,
        )
    },
    files={
        "models": RemoteFile(
            f"{_LANGUAGE_MONKEYS}/gpt4_gsm8k/models_pythia.csv",
            8_909,
            "99605284fdbe0ba3787a1b4e7bda6d36e10409dc7eb2f6d47c2f6c79987b1f11",
        ),
        "gsm8k": RemoteFile(
            f"{_LANGUAGE_MONKEYS}/large_language_monkeys/gsm8k_pass_at_k.parquet",
            3_060_808,
            "48a79ead300b0ac41db1b8091861ed6d4e3093d100514e6677482ca31e8f5e3d",
        ),
        "math": RemoteFile(
            f"{_LANGUAGE_MONKEYS}/large_language_monkeys/math_pass_at_k.parquet",
            2_449_183,
            "2527fbab2e2467c9dc145a09235cc5b25c290b0cd35b63f1535bedb22696ee80",
        ),
    },
    build=pythia.build,
    schema=1,
    citation="Schaeffer et al. 2025, How Do Large Language Monkeys Get Their Power (Laws)?, "
    "arXiv 2502.17578; models: Biderman et al. 2023, Pythia, arXiv 2304.01373",
    licence="none stated by the publisher (t2lib ships only aggregates)",
    page="https://github.com/RylanSchaeffer/"
    "KoyejoLab-Large-How-Do-Language-Monkey-Power-Get-Their-Power/tree/"
    "cd078aef2a13e4310fab204860b99c4c39c25d40",
)

CHINCHILLA = Source(
    tables={
        "chinchilla-epoch": Table(
            "Final losses of 245 Chinchilla runs, read off a figure of the paper by Epoch AI", 245
        )
    },
    files={
        "points": RemoteFile(
            "https://raw.githubusercontent.com/epoch-research/analyzing-chinchilla/"
            "92258837425e1b5f2851d624287f0120583a3d0e/data/svg_extracted_data.csv",
            23_224,
            "193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30",
        )
    },
    build=chinchilla.build,
    schema=1,
    citation="Besiroglu et al. 2024, Chinchilla Scaling: A replication attempt, arXiv 2404.10102; "
    "runs: Hoffmann et al. 2022, arXiv 2203.15556",
    licence="none stated by the publisher (t2lib ships only aggregates)",
    page="https://github.com/epoch-research/analyzing-chinchilla/tree/"
    "92258837425e1b5f2851d624287f0120583a3d0e",
)

GEMSTONES = Source(
    tables={
        "gemstones": Table(
            "Log-likelihood of the correct answer to every test item of ARC-Easy, ARC-Challenge "
            "and OpenBookQA, for 770 checkpoints of 22 models (50M to 2B parameters, 10B to 350B "
            "tokens, constant learning rate)",
            3_116_960,
        ),
        "gemstones-loss": Table("Pretraining loss of the same 770 checkpoints", 770),
        "gemstones-cooldown": Table(
            "Pretraining loss after a cooldown, 20 of the models at 11B to 110B tokens", 199
        ),
    },
    files={
        "archive": RemoteFile(
            "https://codeload.github.com/mcleish7/gemstone-scaling-laws/zip/" + gemstones.COMMIT,
            300_000_000,
            None,
            limit=2_000_000_000,
        )
    },
    build=gemstones.build,
    schema=1,
    citation="McLeish et al. 2025, Gemstones: A Model Suite for Multi-Faceted Scaling Laws, "
    "arXiv 2502.06857",
    licence="MIT",
    page=f"https://github.com/mcleish7/gemstone-scaling-laws/tree/{gemstones.COMMIT}",
    members=gemstones.members_sha256(),
)

SOURCES: tuple[Source, ...] = (PYTHIA, CHINCHILLA, GEMSTONES)


def source_of(name: str) -> Source:
    """Return the source that holds the table ``name``.

    Raises ValueError that lists the names.
    """
    for source in SOURCES:
        if name in source.tables:
            return source
    names = ", ".join(repr(n) for source in SOURCES for n in source.tables)
    raise ValueError(
        f"name must be one of {names}, got {name!r}. list_sources() says what each one holds."
    )
