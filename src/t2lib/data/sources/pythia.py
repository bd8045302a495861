"""Read how often Pythia solved problems of GSM8K and MATH.

Samples drawn and correct per problem, from the published files.

What the files hold, as examined
--------------------------------
- GSM8K: 9 sizes × 9 token counts = 81 checkpoints, 10,273 rows (checkpoint × problem). All but
  three have 128 problems: 12B at 2M tokens has 30, 410M at 20B has 130, 2.8B at 2B has 129 (two
  problems occur at only one or two checkpoints).
- MATH: 9 sizes × 8 token counts (the one at 512M is missing) = 72 checkpoints, 9,097 rows, 128
  problems; 12B at 2M tokens has 9.
- n, the samples drawn, runs from 128 to 2,980,608 (GSM8K) and 3,720,320 (MATH), and differs between
  the problems of one checkpoint at 43 of 81 and 68 of 72 checkpoints. At some of them a few
  problems were sampled far longer than the rest, often until a first success: the counts are valid
  for a likelihood, while c/n of those few is biased upward. Average per problem, do not pool.
- No success at all: 2 of 81 GSM8K checkpoints (12B at 2M, 410M at 64M) and 34 of 72 of MATH.
- The published ``pass@k`` equals 1 wherever k > n − c: 46,022 (GSM8K) and 38,290 (MATH) rows, of
  which 20,152 and 27,851 have c = 0 and k > n, where nothing is known. Only the counts are used
  here. They are the same at every k, and equal n·pass@1 to 1e-9.
- Parameters and tokens are nominal there. The exact ones: N = N_non_embedding + 2·V·d (input and
  output embeddings are not tied), with the padded vocabulary V = 50,304, but 50,432 for 6.9B and
  50,688 for 12B (padded for their tensor parallelism); D = step × 1,024 × 2,048. So "14M" is
  14,067,712 and "2M tokens" 2,097,152.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

TOKENS_PER_STEP = 1024 * 2048
VOCABULARY = 50_304
VOCABULARY_OF = {"EleutherAI/pythia-6.9b": 50_432, "EleutherAI/pythia-12b": 50_688}
TASKS = ("gsm8k", "math")


def build(paths: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """Make the table "pythia-passk".

    One row per checkpoint × task × problem.

    Columns: model, N, N_non_embedding, D, N_nominal, D_nominal, step, task, item, n, c.
    """
    models = _models(paths["models"])
    parts = [_counts(paths[task], task).merge(models, on="nickname") for task in TASKS]
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.sort_values(["task", "N", "D", "item"], ignore_index=True)
    columns = ["model", "N", "N_non_embedding", "D", "N_nominal", "D_nominal", "step"]
    return {"pythia-passk": frame[[*columns, "task", "item", "n", "c"]]}


def _models(path: Path) -> pd.DataFrame:
    """Read exact model sizes, one row per checkpoint.

    With the nickname that the count files use.
    """
    raw = pd.read_csv(path)
    repo = raw["HuggingFace Path"]
    vocabulary = repo.map(VOCABULARY_OF).fillna(VOCABULARY)
    inner = raw["Parameters Excluding Embeddings"].astype("float64")
    step = raw["HuggingFace Revision"].str.removeprefix("step").astype("int64")
    return pd.DataFrame(
        {
            "nickname": raw["Model Nickname"],
            "model": repo.str.split("/").str[-1],
            "N": inner + 2.0 * vocabulary * raw["Dimension"],
            "N_non_embedding": inner,
            "D": step * float(TOKENS_PER_STEP),
            "N_nominal": raw["Parameters"].astype("float64"),
            "D_nominal": raw["Tokens"].astype("float64"),
            "step": step,
        }
    )


def _counts(path: Path, task: str) -> pd.DataFrame:
    """Count samples per checkpoint and problem.

    From the rows at k = 1.
    """
    used = ["Model Nickname", "prompt_idx", "Num. Samples", "Num. Samples Correct", "k", "pass@k"]
    raw = pd.read_parquet(path, columns=used)
    raw = raw[raw["k"] == 1]
    n = raw["Num. Samples"].to_numpy("int64")
    exact = n * raw["pass@k"].to_numpy("float64")
    c = np.rint(exact).astype("int64")
    stated = raw["Num. Samples Correct"].to_numpy("float64")
    bad = (np.abs(exact - c) > 1e-6) | (c != stated) | (c < 0) | (c > n)
    if bad.any():
        row = raw[bad].iloc[0].to_dict()
        raise ValueError(
            f"{path.name}: in {int(bad.sum())} rows n × pass@1 is not the whole number of correct "
            f"samples that is stated, first {row}. The file is not what was examined."
        )
    return pd.DataFrame(
        {
            "nickname": raw["Model Nickname"].to_numpy(),
            "task": task,
            "item": raw["prompt_idx"].to_numpy("int64"),
            "n": n,
            "c": c,
        }
    )
