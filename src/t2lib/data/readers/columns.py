"""Recognise the columns of other people's tables, and read numbers such as 1.4B in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from t2lib._check import Floats
from t2lib._files import printable
from t2lib.units import parse_quantity

if TYPE_CHECKING:
    import pandas as pd


# What other tools call our columns. One letter counts in its own case only: N and n differ.
SYNONYMS = {
    "model": "model model_name checkpoint run run_name run_id name",
    "N": "N params parameters parameter_count param_count n_params n_parameters num_params "
    "num_parameters model_params model_parameters total_params total_parameters model_size",
    "N_non_embedding": "N_non_embedding non_embedding_params non_embedding_parameters "
    "n_non_embedding num_non_embedding_params params_non_embedding",
    "D": "D tokens total_tokens train_tokens training_tokens tokens_seen token_count "
    "tokens_trained num_train_tokens n_train_tokens training_token_count",
    "task": "task task_name benchmark dataset",
    "item": "item item_id question question_id problem problem_id task_id doc_id sample_id "
    "example_id idx id",
    "n": "n n_samples num_samples samples n_total total attempts n_attempts num_attempts trials "
    "n_generations num_generations",
    "c": "c n_correct num_correct correct n_passed num_passed passes n_pass successes n_success "
    "num_success n_solved",
    "passed": "passed is_correct correct success solved pass",
    "logp": "logp log_p logprob log_prob loglikelihood log_likelihood log_probability "
    "sum_logprob sum_logprobs ll",
    "loss": "val/loss eval/loss valid/loss validation/loss val_loss eval_loss valid_loss "
    "validation_loss final_val_loss final_eval_loss final_loss loss",
    "k": "k",
    "nll": "nll",
    "accuracy": "accuracy pass_at_k pass@k",
    "seed": "seed random_seed",
    "gold": "gold answer target reference expected gold_answer",
    "state": "state status",
    "stage": "stage",
    "run": "run run_name name run_id model",
}
_PREFIXED = {"N", "D", "N_non_embedding", "seed"}  # may stand behind "throughput/" or "config."


def find_column(frame: pd.DataFrame, meaning: str) -> str | None:
    """Return the column of a table that holds ``meaning``, None where there is none.

    The name itself comes before its synonyms, and these before names with a prefix, such as
    ``throughput/total_tokens``.

    Raises
    ------
    ValueError
        When two columns could be meant and hold different values.
    """
    names = SYNONYMS[meaning].split()
    matches: list[str] = []
    for accept in (_is_itself, _is_synonym, *((_ends_so,) if meaning in _PREFIXED else ())):
        matches = [c for c in frame.columns if accept(c, meaning, names)]
        if matches:
            break
    if len(matches) > 1:
        first = frame[matches[0]]
        differing = [c for c in matches[1:] if not first.equals(frame[c])]
        if meaning in ("model", "run", "item"):  # the order of the synonyms decides
            return min(matches, key=lambda c: names.index(_plain(c)) if _plain(c) in names else 99)
        if differing:
            listed = " and ".join(repr(c) for c in [matches[0], differing[0]])
            raise ValueError(
                f"{where(frame)} must have one column for {meaning}, got {listed} with different "
                f"values. Rename the one that is meant to {meaning!r}, or drop the other."
            )
    return matches[0] if matches else None


def _is_itself(column: str, meaning: str, names: Sequence[str]) -> bool:
    return column == meaning


def _is_synonym(column: str, meaning: str, names: Sequence[str]) -> bool:
    if len(column) == 1:
        return column in names
    return _plain(column) in names


def _ends_so(column: str, meaning: str, names: Sequence[str]) -> bool:
    last = re.split(r"[/.:]", column)[-1]
    return last != column and (_plain(last) in names if len(last) > 1 else last in names)


def _plain(column: str) -> str:
    """Return a column's name in lower case with underscores, units in brackets left out."""
    name = re.sub(r"[(\[].*?[)\]]", "", column).strip().lower()
    return re.sub(r"[ -]+", "_", name)


def where(frame: pd.DataFrame) -> str:
    """Return what a message calls a table: its file, or "table"."""
    return str(frame.attrs.get("path", "table"))


def line_of(frame: pd.DataFrame, position: int) -> str:
    """Name one row of a table for messages, with the line of its file."""
    row = frame.iloc[position]
    text = ", ".join(f"{name}={value}" for name, value in list(row.items())[:8])
    noun = "line" if "path" in frame.attrs else "row"
    return f"{where(frame)}, {noun} {frame.index[position]} ({printable(text, 120)})"


def numbers(frame: pd.DataFrame, column: str, *, missing: bool = False) -> Floats:
    """Return a column as floats, reading "1.4B" and "300B" as what they mean.

    Parameters
    ----------
    frame : table as ``files.read_table`` gives it
    column : its column
    missing : whether empty cells become NaN; else they are refused

    Raises
    ------
    ValueError
        For text that is no number, and gaps, with the line.
    """
    values = frame[column]
    if values.dtype.kind in "iuf" or values.dtype.kind == "b":
        result = values.to_numpy(dtype=np.float64)
    else:
        import pandas as pd

        codes, distinct = pd.factorize(values)
        parsed = np.array([_number(frame, column, values, text) for text in distinct])
        result = np.where(codes >= 0, np.append(parsed, np.nan)[codes], np.nan)
    if not missing and np.isnan(result).any():
        position = int(np.flatnonzero(np.isnan(result))[0])
        raise ValueError(
            f"{line_of(frame, position)} must have a number in column {column!r}, got an empty "
            "cell. Fill it in, or drop the row."
        )
    return result


def _number(frame: pd.DataFrame, column: str, values: pd.Series[Any], text: Any) -> float:
    """Parse one value of a column.

    ValueError names its line.
    """
    word = str(text).strip().lower()
    if word in ("nan", "inf", "-inf", "infinity", "none", "null", "", "na", "n/a"):
        return float("nan")
    if word in ("true", "false"):
        return float(word == "true")
    try:
        return parse_quantity(text if isinstance(text, str) else float(text), name=column)
    except (ValueError, TypeError) as error:
        position = int(np.flatnonzero((values == text).to_numpy())[0])
        raise ValueError(f"{line_of(frame, position)}: {error}") from None


def whole_numbers(frame: pd.DataFrame, column: str) -> NDArray[np.int64]:
    """Return a column of counts, ≥ 0.

    ValueError names the first line that holds no whole number.
    """
    result = numbers(frame, column)
    bad = ~((result >= 0) & (result == np.floor(result)) & (result < 2**53))
    if bad.any():
        position = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{line_of(frame, position)} must have a whole number of at least 0 in column "
            f"{column!r}, got {result[position]:g}. Write how many samples there were, not a share."
        )
    return result.astype(np.int64)


def need(frame: pd.DataFrame, column: str | None, meaning: str, remedy: str = "") -> str:
    """Return a column that was found, else ValueError with the names that would do."""
    if column is not None:
        return column
    accepted = ", ".join(SYNONYMS[meaning].split()[:6])
    raise ValueError(
        f"{where(frame)} must have a column for {meaning} (such as {accepted}), got "
        f"{printable(', '.join(map(str, frame.columns[:12])), 200)}. "
        f"{remedy or 'Rename or add it.'}"
    )


def item_ids(values: pd.Series[Any]) -> Any:
    """Return ids of questions: whole numbers where all of them are, else text."""
    if values.dtype.kind in "iu":
        return values.to_numpy(dtype=np.int64)
    if values.dtype.kind == "f" and values.notna().all() and (values % 1 == 0).all():
        return values.to_numpy(dtype=np.int64)
    text = values.astype(str)
    if text.str.fullmatch(r"(?:0|[1-9]\d{0,17})").all():
        return text.to_numpy().astype(np.int64)
    return text.to_numpy(dtype=object)
