"""Describe the public sources and their tables.

What each holds, its pinned files, who to cite, its licence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from t2lib.data.sources import bigcode, chinchilla, gemstones, losses, pythia
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

    @property
    def verified(self) -> bool:
        """Return whether its tables were made from the real files and checked."""
        return not any(file.recorded for file in self.files.values())


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

_KEMPNER_COMMIT = "457ce81a019019bc3981937c20a70c52f5fad436"
KEMPNER = Source(
    tables={
        "kempner": Table(
            "Validation loss and losses on eight tasks of 529 runs on six corpora (20M to 1.7B "
            "parameters, 2 to 191 tokens per parameter)",
            529,
        )
    },
    files={
        "sweep": RemoteFile(
            "https://raw.githubusercontent.com/KempnerInstitute/loss-to-loss-notebooks/"
            f"{_KEMPNER_COMMIT}/data/sweep.csv",
            791_700,
            "1a9fd71e3bd6ecf35bdd32b660a9b42dbb3b8635630b1a358633fa18d61fb13c",
        )
    },
    build=losses.kempner,
    schema=2,
    citation="Brandfonbrener et al. 2024, Loss-to-Loss Prediction: Scaling Laws for All Datasets, "
    "arXiv 2411.12925",
    licence="none stated by the publisher (t2lib ships only aggregates)",
    page="https://github.com/KempnerInstitute/loss-to-loss-notebooks/tree/" + _KEMPNER_COMMIT,
)

_STEPLAW_COMMIT = "32a8f4cc50247695fb56cc6c9117abdf67c97763"
STEPLAW = Source(
    tables={
        "steplaw": Table(
            "Training loss of the best of about 118 settings of learning rate and batch size, in "
            "17 cells (215M to 1.1B parameters, 19 to 466 tokens per parameter)",
            17,
        ),
        "steplaw-runs": Table("The 1,911 runs that the best settings are chosen from", 1_911),
    },
    files={
        "runs": RemoteFile(
            "https://raw.githubusercontent.com/step-law/steplaw/"
            f"{_STEPLAW_COMMIT}/data/dense_lr_bs_loss.csv",
            344_476,
            "9e46181076c04d450294d75dfe6f72adc416e231e154a07b337e378f9410002c",
        )
    },
    build=losses.steplaw,
    schema=1,
    citation="Li et al. 2025, Predictable Scale: Part I, Optimal Hyperparameter Scaling Law in "
    "Large Language Model Pretraining, arXiv 2503.04715",
    licence="none stated by the publisher (t2lib ships only aggregates)",
    page=f"https://github.com/step-law/steplaw/tree/{_STEPLAW_COMMIT}",
)

_OBSSCALING_COMMIT = "4d6e1e43fd2635d04654aa77d1df9d5266ea0382"
OBSSCALING = Source(
    tables={
        "obsscaling": Table(
            "Accuracies of 123 public base models with known N and D (70M to 405B parameters), on "
            "GSM8K, HumanEval and six more: landmarks, at k = 1",
            123,
        )
    },
    files={
        "models": RemoteFile(
            "https://raw.githubusercontent.com/ryoungj/ObsScaling/"
            f"{_OBSSCALING_COMMIT}/eval_results/base_llm_benchmark_eval.csv",
            28_155,
            "511996815735a4c46251dc585dcc525e370d148201f86561e6f927f9df2d0db8",
        )
    },
    build=losses.obsscaling,
    schema=1,
    citation="Ruan, Maddison and Hashimoto 2024, Observational Scaling Laws and the Predictability "
    "of Language Model Performance, arXiv 2405.10938",
    licence="that of the publisher's repository, see its page (t2lib ships only aggregates)",
    page=f"https://github.com/ryoungj/ObsScaling/tree/{_OBSSCALING_COMMIT}",
)

BIGCODE = Source(
    tables={
        "bigcode-passk": Table(
            "UNVERIFIED (never read here, columns as documented): samples drawn (n) and correct "
            "(c) per HumanEval problem, language and model of an isoFLOP suite, 11M to 7.3B "
            "parameters at 6e18 to 1e21 FLOPs",
            340_214,
        )
    },
    files={
        "counts": RemoteFile(
            "https://huggingface.co/datasets/nuprl/pass_k_with_MultiPL-E/resolve/"
            "bigcode_scaling_laws/data/train-00000-of-00001.parquet",
            1_900_000,
            None,
            limit=100_000_000,
            recorded=True,
        )
    },
    build=bigcode.build,
    schema=1,
    citation="nuprl/pass_k_with_MultiPL-E on Hugging Face, revision bigcode_scaling_laws; method: "
    "Cassano et al. 2023, MultiPL-E, arXiv 2208.08227",
    licence="not known here: read the data set's card before use",
    page="https://huggingface.co/datasets/nuprl/pass_k_with_MultiPL-E/tree/bigcode_scaling_laws",
)

SOURCES: tuple[Source, ...] = (
    PYTHIA,
    CHINCHILLA,
    GEMSTONES,
    KEMPNER,
    STEPLAW,
    OBSSCALING,
    BIGCODE,
)


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
