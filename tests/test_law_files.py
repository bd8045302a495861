"""Law files: each field is checked before a law is made of it, and the message names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import t2lib as t2
from t2lib.data.measured import load_counts, load_passk
from t2lib.laws.fitting import fit, fit_counts

FITS = Path(__file__).resolve().parent.parent / "data/fits"


def written(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Write a shipped law with one change."""
    state = json.loads((FITS / "reference-macro-loss.json").read_text())
    change(state)
    path = folder / "law.json"
    path.write_text(json.dumps(state))
    return path


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(state: dict[str, Any]) -> None:
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value

    return change


WRONG = [
    ("params.E", put("params", "E", value="1.2")),
    ("params.E", put("params", "E", value=True)),
    ("params.E", put("params", "E", value=10**400)),
    ("params.E must be finite, got inf", put("params", "E", value=float("inf"))),
    ("objective must be finite, got nan", put("objective", value=float("nan"))),
    ("params must be an object", put("params", value=[1.0])),
    ("params must be an object", put("params", value={})),
    ("format", put("format", value=99)),
    ("kind", put("kind", value="lss")),
    ("kind", put("kind", value=["loss"])),
    ("status.code", put("status", "code", value="fine")),
    ("status.message", put("status", "message", value=3)),
    ("domain.N", put("domain", "N", value=[1e-300, 1e300])),
    ("domain.N", put("domain", "N", value=[5e5, 4e3])),
    ("domain.D", put("domain", "D", value=1e9)),
    ("domain.k", put("domain", "k", value=[0.0, 10.0])),
    ("domain.D", lambda state: state["domain"].pop("D")),
    ("covariance", put("covariance", value=[[1.0]])),
    ("bootstrap.params", put("bootstrap", "params", "E", value=[])),
    ("bootstrap.params", lambda s: [v.clear() for v in s["bootstrap"]["params"].values()]),
    ("bootstrap.params.E", put("bootstrap", "params", "E", value=["x"] * 400)),
    ("bootstrap.seed", put("bootstrap", "seed", value="0")),
    ("bootstrap must be null or", put("bootstrap", value=[1])),
    ("finite values", put("params", "alpha", value=-1e6)),
    ("meta", put("meta", value="pythia")),
    ("meta.points must be finite", put("meta", "points", value=float("inf"))),
    ("params.E must be finite", put("params", "E", value=10**400)),
    ("evidence must be null or an object", put("evidence", value=[1])),
    ("evidence.runs", put("evidence", "runs", value="9")),
    ("evidence.toy", put("evidence", "toy", value=1)),
    ("evidence.measure must be one of", put("evidence", "measure", value="some")),
    ("evidence.turned", put("evidence", "turned", value={"a": float("nan")})),
    ("evidence.held_out", put("evidence", "held_out", value=3)),
    ("evidence.chance.k", put("evidence", "chance", value={"list": [0.1]})),
    ("evidence.chance must", put("evidence", "chance", value={"k": [1], "list": [0.1, 0.2]})),
    ("evidence.measured must", put("evidence", "measured", value=None)),
    ("evidence.measured.N", put("evidence", "measured", "N", value=[1.0])),
    ("evidence.measured.group", lambda s: s["evidence"]["measured"]["group"].__setitem__(0, 99)),
    ("evidence.measured.k", put("evidence", "measured", "k", value=[4.0, 1.0])),
    ("evidence.measured.value", put("evidence", "measured", "value", value=[[0.1]])),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("field", "change"), WRONG)
def test_a_wrong_field_is_named(
    tmp_path: Path, field: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    path = written(tmp_path, change)
    with pytest.raises(ValueError, match="is not a law file of this version") as refusal:
        t2.load_law(path)
    assert field in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert len(str(refusal.value)) < 700


def test_control_characters_of_a_message_are_escaped(tmp_path: Path) -> None:
    law = t2.load_law(written(tmp_path, put("status", "message", value="\x1b[2Jgone")))
    assert law.status_.message == "\\x1b[2Jgone"


def test_every_shipped_law_still_loads() -> None:
    for path in sorted(FITS.glob("*.json")):
        assert t2.load_law(path).bootstrap_ is not None


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "a\nb", "\x1b[31m", "a" * 5000 + ".json", ""])
def test_an_absurd_name_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not shipped|cannot be the name|does not exist") as e:
        t2.load_law(name)
    assert len(str(e.value).splitlines()) == 1
    assert len(str(e.value)) < 900
    assert "\x1b" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gsm8k", "pythia-gsm8k"),
        ("pythia-gms8k", "pythia-gsm8k"),
        ("chinchila", "chinchilla-epoch"),
    ],
)
def test_the_law_that_was_meant_is_named(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=r"Did you mean .*" + meant):
        t2.load_law(name)


@pytest.mark.parametrize("kind", ["chinchilla-epoch", "gemstones-pretraining"])
def test_a_law_of_one_sample_has_one_sample(kind: str) -> None:
    law = t2.load_law(kind).with_replicates(20)
    limited = t2.allocate(law, C_train=1e21, C_inf=1e11, extrapolate=True)
    assert limited.k == 1.0
    assert limited.k_interval == (1.0, 1.0)
    assert limited.N == pytest.approx(t2.allocate(law, C_train=1e21, extrapolate=True).N, rel=1e-6)
    tight = t2.allocate(law, C_train=1e21, C_inf=1e9, extrapolate=True)  # here C_inf limits N
    assert (tight.N, tight.k) == (pytest.approx(5e8), 1.0)
    frame = t2.frontier(law, C_train=[1e20, 1e21], C_inf=1e11)
    assert frame["k"].tolist() == [1.0, 1.0]


def test_tables_of_other_people_name_their_groups_differently() -> None:
    table = load_passk("gemstones", task="arc_easy", k=[1, 64, 4096])
    named = fit(table)
    theirs = fit(table.rename(columns={"group": "model", "nll": "nll_of_mean"}))
    assert theirs.params_ == named.params_
    assert theirs.fingerprint_ == named.fingerprint_
    alone = fit(table.drop(columns="group"))
    assert alone.fingerprint_["n_groups"] > named.fingerprint_["n_groups"]
    with pytest.raises(ValueError, match="missing: accuracy"):
        fit(table.drop(columns="accuracy"))
    with pytest.raises(ValueError, match="groups must be a column of the table, got 'nope'"):
        fit(table, groups="nope")


def test_counts_need_neither_count_nor_group() -> None:
    table = load_counts("gsm8k")
    assert fit_counts(table).meta["source"] == "pythia"
    theirs = table.rename(columns={"group": "model"})
    theirs.attrs = {}
    law = fit_counts(theirs)
    assert "source" not in law.meta
    assert law.params_ == fit_counts(table).params_
    rows = pd.DataFrame(theirs.loc[theirs.index.repeat(1)]).drop(columns=["count"])
    assert fit_counts(rows).meta["task"] == "gsm8k"
    with pytest.raises(ValueError, match="missing: c "):
        fit_counts(theirs.drop(columns="c"))


def test_a_frontier_alone_is_drawn_and_a_law_without_a_budget_refused() -> None:
    law = t2.load_law("chinchilla-epoch").with_replicates(0)
    frame = t2.frontier(law, C_train=[1e20, 1e21], C_inf=[1e10, 2e10])
    for draw in (t2.figures.frontier, t2.figures.inference_line):
        assert draw(frame).get_lines()
        assert draw({"mine": frame}).get_lines()
        with pytest.raises(ValueError, match=r"C_train must be given to \w+ with a law, got None"):
            draw(law)
        with pytest.raises(TypeError, match=r"must be given a frame of t2lib.frontier, or several"):
            draw(1.0)
        with pytest.raises(ValueError, match="missing: tokens_per_param"):
            draw(frame.drop(columns="tokens_per_param"))
