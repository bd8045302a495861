"""Tables whose columns are models or samples are known without their kind being named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib import cli
from t2lib.data.readers.recognise import kind_of

MODELS = pd.DataFrame({"model": ["a", "b"], "params": ["1.4B", "70M"], "tokens": ["300B", "2B"]})
ITEMS = ["q0", "q1", "q2"]
COUNTED = pd.DataFrame(
    {"problem_id": ITEMS, "n_a": [4, 4, 8], "c_a": [0, 2, 8], "n_b": [4, 4, 8], "c_b": [1, 1, 1]}
)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_counts_side_by_side(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"wide.{ending}"
    match ending:
        case "csv":
            COUNTED.to_csv(path, index=False)
        case "parquet":
            COUNTED.to_parquet(path)
        case _:
            COUNTED.to_json(path, orient="records", lines=True)
    obs = t2.read_measurements(path, MODELS)
    assert obs.attrs["kind"] == "counts"
    assert obs[obs["model"] == "a"]["c"].tolist() == [0, 2, 8]
    assert obs[obs["model"] == "a"]["N"].unique().tolist() == [1.4e9]


def test_other_wide_forms(tmp_path: Path) -> None:
    tries = tmp_path / "tries.csv"
    pd.DataFrame({"item": ITEMS, "sample_1": [0, 1, 1], "sample_2": [0, 0, 1]}).to_csv(
        tries, index=False
    )
    assert kind_of(tries) == "counts"
    logp = tmp_path / "logp.csv"
    pd.DataFrame({"item": ITEMS, "a": [-1.0, -2, -3], "b": [-2.0, -3, -4]}).to_csv(
        logp, index=False
    )
    obs = t2.read_measurements(logp, MODELS)
    assert obs.attrs["kind"] == "logp"
    np.testing.assert_allclose(obs[obs["model"] == "b"]["logp"], [-2, -3, -4])
    with pytest.raises(ValueError, match="must have columns for counts"):
        kind_of(logp)  # without their names, columns a and b could be anything
    one_n = tmp_path / "one.csv"
    pd.DataFrame({"item": ITEMS, "n": [4, 4, 4], "a": [1, 2, 3], "b": [0, 0, 4]}).to_csv(
        one_n, index=False
    )
    assert t2.read_measurements(one_n, MODELS)["c"].tolist() == [1, 2, 3, 0, 0, 4]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "wide.csv", "--law", "acuracy"], "Did you mean accuracy?"),
        (["fit", "wid.csv"], "Did you mean wide.csv?"),
        (["passk", "wid.csv"], "must be a file or folder, or one of"),
        (["fit", "wide.csv"], "--models), a CSV with lines such as 'model,N,D'"),
        (["fit", "empty.csv"], "empty.csv is empty"),
        (["fit", "two.csv"], "must have one column for D, got 'tokens' and 'total_tokens'"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    COUNTED.to_csv("wide.csv", index=False)
    Path("empty.csv").write_text("\n")
    rows = {"params": ["1B"], "tokens": ["2B"], "total_tokens": ["3B"], "item": ["q"]}
    pd.DataFrame({**rows, "n": [2], "c": [1]}).to_csv("two.csv", index=False)
    assert cli.main(words) == 2
    assert message in capsys.readouterr().err
