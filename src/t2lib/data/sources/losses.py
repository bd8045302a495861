"""Read losses and accuracies of other people's training runs over N and D.

What the files hold, as examined
--------------------------------
- Kempner sweep (``sweep.csv``): 529 finished runs, 84 to 91 on each of 6 corpora. 24 shapes from 4
  layers × 256 to 32 × 2048, at 8 budgets of 2e17 to 4.84e19 FLOPs; 6·N·D is the budget to rounding.
  N is 12·layers·width² + 2·32,000·width and the norms: both embeddings are counted. Tokens per
  parameter go from 2.0 to 191. ``val_loss`` is the validation loss on the corpus that the run was
  trained on. A task's ``ce_loss`` is the loss of the correct answer; the file does not say over
  what it is averaged. No cell is repeated.
- Step law (``dense_lr_bs_loss.csv``): 1,911 runs in 17 cells of N and D, 47 to 120 settings of
  learning rate and batch size each. N leaves the embeddings out (4·layers·h² + 3·layers·h·ffn, to
  the last digit). ``loss`` is that of the last step: its minimum over settings is that of the noise
  of small batches (536M parameters: 2.16 at 28B tokens, 2.22 at 50B), so "smooth loss" is used,
  which the publishers plot too. Tokens per parameter go from 18.6 to 466.
- ObsScaling (``base_llm_benchmark_eval.csv``): 148 base models, 123 with their number of training
  tokens. N and D are nominal; of a mixture of experts N is what a token uses. Two slips are put
  right and marked ``corrected``: BTLM-3B's tokens (627 T; it was trained on 627 B) and the size of
  open_llama_7b_v2 (13 B). Accuracies are few-shot scores of the Open LLM leaderboard, HumanEval's
  pass@1 is of greedy answers: landmarks beside a plan, not measurements in one protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from t2lib import _check

__all__ = ["CORPORA", "TASKS", "kempner", "obsscaling", "steplaw"]

Frames = dict[str, pd.DataFrame]

CORPORA = {
    "fineweb-100b": "fineweb",
    "fineweb-edu-100b": "fineweb-edu",
    "proof-pile-2": "proof-pile-2",
    "slimpajama-chunk1": "slimpajama",
    "smollm-corpus": "smollm",
    "starcoder": "starcoder",
}
TASKS = {  # name here: name in the file
    "arc_challenge": "arc_challenge",
    "arc_easy": "arc_easy",
    "boolq": "boolq",
    "hellaswag": "hellaswag",
    "openbookqa": "openbook_qa",
    "piqa": "piqa",
    "sciq": "sciq",
    "winogrande": "winogrande",
}
C4 = "eval/c4_val/CrossEntropyLoss"
SEQUENCE = 2048  # tokens; D = steps × batch × 2048 in the step-law file
BENCHMARKS = {
    "mmlu": "MMLU",
    "arc_challenge": "ARC-C",
    "hellaswag": "HellaSwag",
    "winograd": "Winograd",
    "truthfulqa": "TruthfulQA",
    "gsm8k": "GSM8K",
    "xwinograd": "XWinograd",
    "humaneval": "HumanEval",
}
# Model: column, what the file says, what is true.
SLIPS = {
    "cerebras/btlm-3b-8k-base": ("Pretraining Data Size (T)", 627.0, 0.627),
    "openlm-research/open_llama_7b_v2": ("Model Size (B)", 13.0, 7.0),
}


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file that must have ``columns``."""
    raw = pd.read_csv(path)
    return _check.need_columns(path.name, raw, columns, "The file is not what was examined.")


def kempner(paths: Mapping[str, Path]) -> Frames:
    """Make the table "kempner", one row per run.

    Columns: corpus, model, N, D, C_train, nll (validation loss on the corpus, nats per token),
    nll_c4 (loss on C4), and ``nll_<task>``, the loss of the correct answer to eight tasks.
    """
    tasks = {
        f"nll_{name}": f"eval/downstream_ce_loss/{label}_test_ce_loss"
        for name, label in TASKS.items()
    }
    sizes = ["data", "n_layers", "d_model", "params", "tokens", "val_loss"]
    raw = _read(paths["sweep"], [*sizes, C4, *tasks.values()])
    n, d = raw["params"].astype("float64"), raw["tokens"].astype("float64")
    frame = pd.DataFrame(
        {
            "corpus": raw["data"].map(CORPORA).fillna(raw["data"]).astype(str),
            "model": raw["n_layers"].astype(str) + "x" + raw["d_model"].astype(str),
            "N": n,
            "D": d,
            "C_train": 6.0 * n * d,
            "nll": raw["val_loss"].astype("float64"),
            "nll_c4": raw[C4].astype("float64"),
            **{name: raw[label].astype("float64") for name, label in tasks.items()},
        }
    )
    return {"kempner": frame.sort_values(["corpus", "N", "D"], ignore_index=True)}


def steplaw(paths: Mapping[str, Path]) -> Frames:
    """Make the tables "steplaw-runs", one row per run, and "steplaw", the best run of each cell.

    Columns: N (embeddings left out), D, C_train, nll (smoothed training loss), nll_last (of the
    last step), lr, batch (tokens); "steplaw" has n_settings, the runs that the best is of, too.
    """
    raw = _read(paths["runs"], ["N", "D", "loss", "smooth loss", "lr", "bs"])
    n, d = raw["N"].astype("float64"), raw["D"].astype("float64")
    runs = pd.DataFrame(
        {
            "N": n,
            "D": d,
            "C_train": 6.0 * n * d,
            "nll": raw["smooth loss"].astype("float64"),
            "nll_last": raw["loss"].astype("float64"),
            "lr": raw["lr"].astype("float64"),
            "batch": raw["bs"].astype("float64") * SEQUENCE,
        }
    ).sort_values(["N", "D", "nll"], ignore_index=True)
    cells = runs.groupby(["N", "D"])
    best = cells.head(1).reset_index(drop=True)  # rows are sorted by loss within a cell
    best["n_settings"] = cells.size().to_numpy()
    return {"steplaw-runs": runs, "steplaw": best}


def obsscaling(paths: Mapping[str, Path]) -> Frames:
    """Make the table "obsscaling", one row per base model with known training tokens.

    Columns: model, family, N, D, C_train, corrected, and accuracies (mmlu, arc_challenge,
    hellaswag, winograd, truthfulqa, gsm8k, xwinograd, humaneval), NaN where none was measured.
    """
    named = ["Model", "Model Family", "Model Size (B)", "Pretraining Data Size (T)"]
    raw = _read(paths["models"], [*named, *BENCHMARKS.values()])
    corrected = pd.Series(False, index=raw.index)
    for model, (column, stated, value) in SLIPS.items():
        slip = (raw["Model"] == model) & (raw[column] == stated)
        raw.loc[slip, column] = value
        corrected |= slip
    n = raw["Model Size (B)"].astype("float64") * 1e9
    d = raw["Pretraining Data Size (T)"].astype("float64") * 1e12
    frame = pd.DataFrame(
        {
            "model": raw["Model"].astype(str),
            "family": raw["Model Family"].astype(str),
            "N": n,
            "D": d,
            "C_train": 6.0 * n * d,
            "corrected": corrected,
            **{name: raw[label].astype("float64") for name, label in BENCHMARKS.items()},
        }
    )
    frame = frame[frame["D"].notna()].sort_values(["family", "N", "D"], ignore_index=True)
    return {"obsscaling": frame}
