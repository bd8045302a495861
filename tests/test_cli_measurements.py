"""Commands on logs and tables of other tools: import, fit, passk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib import cli
from t2lib.data.intervals import wilson, with_intervals
from t2lib.data.readers.recognise import kind_of
from t2lib.data.tables import passk_table_from_counts

LOGS = Path(__file__).parent / "data" / "logs"
SIZES = {"70M": 7e7, "410M": 4.1e8, "1.4B": 1.4e9}
TOKENS = {"10B": 1e10, "40B": 4e10, "160B": 1.6e11, "600B": 6e11}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write counts and losses of twelve checkpoints that follow a law."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("tables")
    hard = rng.normal(0, 1.2, 60)
    counts, runs = (
        ["params,tokens,problem_id,n_samples,n_correct,answer"],
        ["params,tokens,val_loss"],
    )
    for size, N in SIZES.items():
        for tokens, D in TOKENS.items():
            loss = 1.7 + 400 / N**0.34 + 400 / D**0.28
            runs.append(f"{size},{tokens},{loss * np.exp(rng.normal(0, 0.003)):.5f}")
            solved = rng.binomial(64, 1 / (1 + np.exp(3 * (loss - 2.6) - hard)))
            counts += [f"{size},{tokens},q{i},64,{c},{i % 7}" for i, c in enumerate(solved)]
    (folder / "counts.csv").write_text("\n".join(counts) + "\n")
    (folder / "runs.csv").write_text("\n".join(runs) + "\n")
    (folder / "answers.txt").write_text("0\n0\n1\n")
    pd.DataFrame({"model": ["tiny-16", "tiny-32"], "N": [1e6, 2e6], "D": [1e9, 2e9]}).to_csv(
        folder / "models.csv", index=False
    )
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in words])
    caught = capsys.readouterr()
    return code, caught.out, caught.err


def test_from_a_table_of_runs_to_a_plan(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "fit", tables / "runs.csv", "--out", tmp_path / "law.json")
    assert code == 0
    assert "Chosen: Chinchilla" in out
    assert "read: 12 runs with N, D and loss" in err
    code, out, _ = run(
        capsys, "plan", "--law", tmp_path / "law.json", "--c-train", "1e20", "--json"
    )
    assert code == 0
    assert json.loads(out)["N"] > 0


def test_a_table_and_its_suite_give_the_same_law(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "suite"
    code, out, _ = run(capsys, "import", "counts", tables / "counts.csv", "--out", suite)
    assert code == 0
    assert "12 checkpoints, 720 counted questions of own: written to" in out
    laws = []
    for source in (tables / "counts.csv", suite):
        words = ("fit", source, "--law", "accuracy", "--replicates", 0, "--json")
        code, out, _ = run(capsys, *words)
        assert code == 0
        laws.append(json.loads(out))
    assert laws[0]["params"] == pytest.approx(laws[1]["params"], rel=1e-6)
    assert laws[0]["file"] is None
    code, out, _ = run(capsys, "collect", "--status", "--out", suite)
    assert code == 0
    assert "12 checkpoints trained elsewhere, imported into" in out


def test_losses_become_a_suite_that_fits(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "suite"
    assert run(capsys, "import", "runs", tables / "runs.csv", "--out", suite)[0] == 0
    words = ("fit", suite, "--law", "chinchilla", "--replicates", 0, "--json")
    params = [json.loads(run(capsys, *words)[1])["params"]]
    words = ("fit", tables / "runs.csv", *words[2:])
    params.append(json.loads(run(capsys, *words)[1])["params"])
    assert params[0] == pytest.approx(params[1], rel=1e-6)


def test_a_picture_is_written(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "law.png"
    words = ("fit", tables / "runs.csv", "--law", "chinchilla", "--replicates", 0)
    assert run(capsys, *words, "--plot", picture)[0] == 0
    assert picture.read_bytes()[1:4] == b"PNG"


def test_logs_of_the_harness_are_imported(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tables / "models.csv"
    words = ("import", "lm-eval", LOGS / "lm-eval", "--models", models, "--out", tmp_path / "s")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "Choose with" in err
    assert "--task tiny_choice tiny_last_word" in err
    code, out, err = run(capsys, *words, "--task", "tiny_digits", "--json")
    assert code == 0
    assert json.loads(out)["kind"] == "counts"
    assert "graded again" in err


def test_passk_has_intervals_and_what_guessing_reaches(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tables / "answers.txt"
    words = ("passk", tables / "counts.csv", "--k", 1, 8, "--answers", answers, "--json")
    code, out, _ = run(capsys, *words)
    assert code == 0
    table = pd.DataFrame(json.loads(out))
    counts = t2.read_counts(tables / "counts.csv")
    wanted = passk_table_from_counts(counts, [1, 8])
    np.testing.assert_allclose(table["pass_at_k"], wanted["accuracy"])
    assert ((table["lo"] < table["pass_at_k"]) & (table["pass_at_k"] < table["hi"])).all()
    at_8 = table[table["k"] == 8].iloc[0]
    assert at_8["chance_list"] == pytest.approx(18 / 60)  # answers 0 and 1 of 0 to 6
    assert at_8["chance_prior"] < at_8["chance_list"]


def test_passk_needs_no_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"task_id": f"HumanEval/{i}", "passed": i < 2} for i in (0, 1, 2) for _ in range(4)]
    path = tmp_path / "model_results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = run(capsys, "passk", path, "--k", 1, 4)
    assert code == 0
    assert out.count("HumanEval") == 2
    code, _, err = run(capsys, "passk", path, "--k", 5)
    assert code == 2
    assert "--k must be at most 4" in err


def test_intervals_of_pass_at_k_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = total = 0
    for a, b, k in ((0.3, 3.0, 1), (0.3, 3.0, 8), (0.1, 4.0, 4)):
        truth = 1 - np.exp(np.log1p(-rng.beta(a, b, 200_000)) * k).mean()
        counts = pd.DataFrame(
            {
                "model": np.repeat(np.arange(200), 80).astype(str),
                "N": 1.0,
                "D": 1.0,
                "task": "t",
                "item": np.tile(np.arange(80), 200),
                "n": 16,
                "c": rng.binomial(16, rng.beta(a, b, 16_000)),
            }
        )
        table, _ = with_intervals(counts, k)
        held += int(((table["lo"] <= truth) & (truth <= table["hi"])).sum())
        total += len(table)
    assert 0.92 < held / total < 0.98


def test_intervals_at_the_ends_do_not_vanish() -> None:
    lo, hi = wilson(np.array([0.0, 1.0]), np.zeros(2), np.array([20.0, 20.0]), 0.95)
    assert lo.tolist() == pytest.approx([0.0, 0.8389], abs=1e-4)
    assert hi.tolist() == pytest.approx([0.1611, 1.0], abs=1e-4)


def test_kinds_are_told_by_content(tables: Path, tmp_path: Path) -> None:
    assert kind_of(LOGS / "lm-eval") == "lm-eval"
    assert kind_of(next((LOGS / "lm-eval").rglob("*choice*.jsonl"))) == "lm-eval"
    assert {kind_of(path) for path in (LOGS / "inspect").iterdir()} == {"inspect"}
    assert kind_of(LOGS / "inspect") == "inspect"
    assert kind_of(tables / "counts.csv") == "counts"
    assert kind_of(tables / "runs.csv") == "runs"
    table = tmp_path / "passk.csv"
    table.write_text("N,D,k,accuracy,nll\n1e6,1e9,1,0.5,0.7\n")
    assert kind_of(table) == "passk"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "item,n,c,logp,N,D\n0,2,1,-1,1,1\n", "could hold counts or logp .* t2 import"),
        ("b.csv", "x,y\n1,2\n", r"must have columns for counts \(item, n, c\)"),
        ("results_2026.json", '{"results": {}, "configs": {}}', "Run lm_eval with --log_samples"),
    ],
)
def test_what_is_no_kind_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        kind_of(path)
    assert run(capsys, "fit", path)[0] == 2


def test_options_that_do_not_go_together_are_refused(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "fit", "reference", "--models", tables / "models.csv")
    assert code == 2
    assert "--models must be left out for 'reference'" in err
    code, _, err = run(capsys, "fit", tables / "counts.csv", "--loss-column", "x")
    assert code == 2
    assert "--loss-column must be left out for measurements of the kind counts" in err
