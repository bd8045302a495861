"""Wrong input is refused with a word of help: a small share of what ``benchmarks/fuzz.py`` tries.

Each thing that a campaign once found is kept below as a test of its own.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from files import ROOT, load_file
from hypothesis import given, settings
from hypothesis import strategies as st

import t2lib as t2
from t2lib._yaml import parse_yaml
from t2lib.book import frontiers
from t2lib.book.parameters import Parameter, read_parameters
from t2lib.costs import DenseCost, ShapeLadder, price_per_flop
from t2lib.data import io
from t2lib.laws.counts import CountLaw
from t2lib.laws.mixture import MixLaw
from t2lib.measure.corpus import load_corpus
from t2lib.measure.running import locks
from t2lib.measure.running.progress import status
from t2lib.measure.suites.suite import SuiteSpec
from t2lib.measure.tasks.published import published_items
from t2lib.planning import design, profile
from t2lib.planning.profile import profile_intervals
from t2lib.planning.scenarios import compare_costs
from t2lib.selection import kscaling, selected_law, verifier, voting
from t2lib.selection.adaptive import adaptive_pass_at_k, adaptive_samples
from t2lib.selection.verifier import best_of_k
from t2lib.validation import holdout, regret
from t2lib.validation.protocol import load_validation
from t2lib.validation.signal import signal_to_noise

BEYOND = 10**9  # numbers of inputs that no campaign reaches
INPUTS = 25  # of each target


def _fuzz() -> ModuleType:
    sys.path.append(str(ROOT / "benchmarks"))  # it imports the modules beside it
    return load_file("benchmarks/fuzz.py")


FUZZ = _fuzz()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(FUZZ.TARGETS))
def test_wrong_input_is_refused_with_a_documented_exception(name: str, tmp_path: Path) -> None:
    found = [FUZZ.attempt(name, BEYOND + i, tmp_path) for i in range(INPUTS)]
    assert [why for verdict, why in found if verdict == "BAD"] == []


def public_names() -> set[str]:
    """Functions and classes that the library exports, at its front door or by module."""
    homes = ["t2lib", "t2lib.passk", "t2lib.data.sources"]
    for name in ("costs", "laws", "planning", "selection", "validation"):
        package = importlib.import_module(f"t2lib.{name}")
        parts = pkgutil.walk_packages(package.__path__, f"t2lib.{name}.")
        homes += [part.name for part in parts]
    homes += ["t2lib.book.forecasts", "t2lib.book.studies"]
    modules = [importlib.import_module(home) for home in homes]
    return {
        name
        for module in modules
        for name in getattr(module, "__all__", ())
        if callable(getattr(module, name))
    }


def test_every_public_name_is_a_target_or_says_why_not() -> None:
    tried = {name for one in FUZZ.TARGETS.values() for name in one.of}
    excused = set(FUZZ.NOT_TARGETS)
    assert public_names() - tried - excused == set()
    assert excused & tried == set()
    assert excused - public_names() == set(), "these are no longer public"


def test_the_campaign_notices_what_is_wrong(tmp_path: Path, monkeypatch) -> None:
    def silent(rng: Any, folder: Path) -> None:
        FUZZ.sane(float("nan"))

    def crash(rng: Any, folder: Path) -> None:
        raise KeyError("x")

    def mute(rng: Any, folder: Path) -> None:
        raise ValueError

    for call, expected in ((silent, "NaN"), (crash, "KeyError"), (mute, "without a message")):
        monkeypatch.setitem(FUZZ.TARGETS, "x", FUZZ.Target(call, 1))
        verdict, why = FUZZ.attempt("x", 0, tmp_path)
        assert verdict == "BAD"
        assert expected in why


# ---------------------------------------------------------------- found by the campaign


LONG = "x" * 5000
DEEP = "[" * 100_000


def test_names_too_long_for_a_path_are_just_unknown() -> None:
    from t2lib.measure.scoring.references import parse_reference

    with pytest.raises(ValueError, match="no suite"):
        t2.load_suite(LONG)
    with pytest.raises(ValueError, match="no validation of suite"):
        load_validation(LONG)
    assert parse_reference(f"hf:{LONG}").name == LONG


def test_numbers_beyond_float64_are_not_finite() -> None:
    body = FUZZ.suite_body()
    body["grid"]["min_steps"] = 10**400
    with pytest.raises(ValueError, match="min_steps must be a whole number"):
        SuiteSpec.from_dict(body)


def test_a_suite_file_whose_runs_are_no_list(tmp_path: Path) -> None:
    spec = SuiteSpec.from_dict(FUZZ.suite_body())
    io.write_json(tmp_path / "suite.json", {"spec": spec.to_dict(), "runs": 3.0})
    with pytest.raises(ValueError, match="lists other runs than its grid has"):
        status(tmp_path)


@pytest.mark.parametrize("part", ["params", "bootstrap"])
def test_a_law_file_without_a_parameter(tmp_path: Path, part: str) -> None:
    path = tmp_path / "law.json"
    law = t2.LossLaw().fit(**FUZZ.ROWS)
    law.bootstrap(3, seed=0)
    law.to_json(path)
    body = json.loads(path.read_text())
    del (body["params"] if part == "params" else body["bootstrap"]["params"])["alpha"]
    path.write_text(json.dumps(body))
    with pytest.raises(ValueError, match="is not a law file of this version"):
        t2.load_law(path)


@pytest.mark.parametrize("entry", ['"choices": null', '"choices": [1]', '"sep": 3'])
def test_a_task_line_with_odd_extras(tmp_path: Path, entry: str) -> None:
    line = f'{{"prompt": "a", "answer": "b", {entry}}}'
    (tmp_path / "sciq_test.jsonl").write_text(line)
    with pytest.raises(ValueError, match=r"line 1: 'sep' must be a string and 'choices' a list"):
        published_items("sciq", "test", tmp_path)


def test_nesting_without_end_is_no_file_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(DEEP)
    with pytest.raises(ValueError, match="is not valid JSON"):
        io.read_json(path)
    with pytest.raises(ValueError, match="is not a law file"):
        t2.load_law(path)
    assert locks.read_lock(path) == {}


def test_yaml_that_its_own_reader_chokes_on() -> None:
    with pytest.raises(ValueError, match="x must be valid YAML"):
        parse_yaml("[" * 3000, "x")
    assert parse_yaml("2026-13-45", "x") == "2026-13-45"


@pytest.mark.parametrize("pid", ["12", None, 3.5, [1]])
def test_a_lock_with_an_odd_process_number(pid: Any) -> None:
    assert locks.owner_died({**locks._identity(), "pid": pid}) is False


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("N", 10**400), ("seed", [1]), ("seed", 1 << 70), ("cell", 3), ("spec", 3.0),
        ("spec", {"model": 1}), ("loss_curve", [1.0]), ("loss_curve", True), ("val_loss", {}),
    ],
)  # fmt: skip
def test_a_record_with_an_entry_of_the_wrong_kind(tmp_path: Path, key: str, value: Any) -> None:
    (tmp_path / "runs").mkdir()
    io.write_json(tmp_path / "runs" / "aaa.json", FUZZ.RECORD | {key: value})
    with pytest.raises(ValueError, match=r"aaa\.json has .*restore it"):
        t2.load_runs(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": {"levels": 10**21}}, "levels must be a whole number ≥ 1 and ≤ 1000"),
        ({"grid": {"factor": 1e200, "levels": 9}}, "must stay below 1e300 FLOPs"),
        ({"repeats": {"seeds": 10**9}}, "seeds must be a whole number ≥ 2 and ≤ 100000"),
        ({"repeats": {"seeds": 90_000}}, "may hold at most 100,000 runs"),
        ({"model": {"vocab_size": 10**400}}, "vocab_size must be a whole number from 1"),
    ],
)
def test_a_grid_without_measure(change: dict[str, Any], message: str) -> None:
    body = FUZZ.suite_body()
    for part, values in change.items():
        target = body[part]["C_train"] if part == "grid" else body[part]
        target.update(values)
    with pytest.raises(ValueError, match=message):
        SuiteSpec.from_dict(body)


@pytest.mark.parametrize("key", ["source", "cell_type", "metadata"])
def test_a_notebook_cell_that_lacks_a_part(tmp_path: Path, key: str) -> None:
    body = json.loads(FUZZ.notebook_bytes())
    del body["cells"][0][key]
    (tmp_path / "x.ipynb").write_text(json.dumps(body))
    with pytest.raises(ValueError, match="is not a readable notebook"):
        read_parameters(tmp_path / "x.ipynb")


def test_a_number_too_large_for_a_parameter() -> None:
    with pytest.raises(TypeError, match="must be float"):
        Parameter("x", "float", 0.0, "x").check(10**400, "here")


def test_paths_too_long_in_descriptions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path must be a folder written by prepare_text"):
        load_corpus({"kind": "text", "path": LONG})
    with pytest.raises(ValueError, match="of its own folder only"):
        io.inside(tmp_path, LONG)


ROWS = pd.DataFrame(
    {"budget": 1e15, "N": [1e6, 3e6], "D": 1e8, "k": 4.0, "tokens_per_param": 20.0, "nll": 1.0,
     "nll_one": 1.2, "seeds": 1, "accuracy": [0.1, 0.2]}
)  # fmt: skip


FUZZ_TABLE = pd.DataFrame({"group": "a", "N": 1e6, "D": [1e8, 2e8], "k": 1.0, "task": "x"})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_of_k([-1.0], 3, 0.9), "verifier must be a Verifier, got float"),
        (lambda: verifier.outcomes([-1.0], 3, "x"), "verifier must be a Verifier"),
        (lambda: t2.Verifier(n_verifications=10**21),
         "n_verifications must be a whole number from 1 to 1,000"),
        (lambda: voting.vote_from_counts(1, [1], 1, draws=0), "draws must be a whole number"),
        (lambda: selected_law.rule_curves(None, [1], N=1e6, D=1e8, k=1), "rules must map names"),
        (lambda: selected_law.verifier_table(3, C_train=1e20, C_inf=1e12, tpr=1, fpr=0),
         "law must be a fitted law"),
        (lambda: adaptive_pass_at_k(-1.0, 8.0, believed=[-1.0]), "one entry per question"),
        (lambda: compare_costs(None, [1], C_train=1e20, C_inf=1e12), "costs must map names"),
        (lambda: MixLaw({"a": {"kind": "x"}}), "must be a fitted law, got dict"),
        (lambda: MixLaw({"a": t2.load_law("text-macro")}, [1.0]), "weights must map tasks"),
        (lambda: kscaling.population_weights("beta", -1.0, 2.0), "first must be positive"),
        (lambda: kscaling.population_weights("x", 1.0, 2.0), "family must be one of"),
        (lambda: kscaling.population_weights("beta", 1e308, 1e308),
         "first and second must be finite"),
        (lambda: design.Noise(-1.0, 0.5), "sd must be at least 0"),
        (lambda: design.Noise(1.0, 2.0), r"shared must be in \[0, 1\]"),
        (lambda: design.candidate_cells(3, allowance=1e18), "law must be a fitted law, got int"),
        (lambda: t2.next_runs(t2.LossLaw().fit(**FUZZ.ROWS), C_train=1e17, C_inf=1e10,
                              allowance=1e18, noise=0.1), "noise must be a Noise, got float"),
        (lambda: profile.interval_table(None, None, C_train=1e17, C_inf=1e10),
         "profile must be what profile_intervals gives"),
        (lambda: profile_intervals(t2.LossLaw().fit(**FUZZ.ROWS), C_train=1e17, C_inf=1e10,
                                      points=0), "points must be a whole number from 2"),
        (lambda: regret.regret(3, [1.0]), "rows must be a pandas DataFrame, got int"),
        (lambda: regret.regret(ROWS.drop(columns="nll"), [1.0]), "rows must have the columns"),
        (lambda: regret.regret(ROWS[:0], [1.0]), "rows must not be empty"),
        (lambda: regret.regret(ROWS.assign(accuracy=0.0), [1.0]), "'accuracy'.* must be positive"),
        (lambda: regret.mean_regret(ROWS, [1.0]), r"merits must have one value per row \(2\)"),
        (lambda: regret.regret_floor(ROWS, 1e300), r"noise must be in \[0, 10\]"),
        (lambda: frontiers.drop_by_noise([], 0.1), "values must be a series"),
        (lambda: frontiers.drop_by_noise([1.0], 0.1, replicates=0), "replicates must be a whole"),
        (lambda: holdout.errors([10**400], [1.0]), "predicted must be numeric"),
        (lambda: DenseCost().largest_size(10**400, train=1.0), "budget must be numeric"),
        (lambda: DenseCost().largest_size(1e20), "train or serve must be positive"),
        (lambda: ShapeLadder().shape(-1.0), "N must be positive"),
        (lambda: price_per_flop(1.0, flops_per_second=1e-320, utilisation=1e-5),
         "the price of a FLOP must be finite"),
        (lambda: signal_to_noise(FUZZ_TABLE.assign(nll=[1.0, 10**400])),
         r"table\['nll'\] must be numeric"),
        (lambda: adaptive_samples([], 8.0), "logp must have one entry per question"),
        (lambda: compare_costs(t2.load_law("pythia-gsm8k-loss"), {"6ND": DenseCost()},
                             C_train=1e20, C_inf=1e12, queries=10**400, tokens_per_sample=1.0),
         "queries must be numeric"),
    ],
)  # fmt: skip
def test_arguments_of_the_wrong_kind_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_a_count_law_whose_parameters_all_sit_on_limits_has_no_errors() -> None:
    never = {"N": FUZZ.GRID_N, "D": FUZZ.GRID_D, "n": np.full(12, 50), "c": np.full(12, 50)}
    law = CountLaw().fit(**never)
    assert not law.status_.ok or np.isnan(list(law.standard_errors().values())).any()


def test_a_task_that_was_read_once_per_model_has_no_signal_to_noise() -> None:
    from t2lib.validation import signal

    part = pd.DataFrame({"model": ["a", "b"], "score": 1.0, "residual": 0.0, "spent": 1})
    assert np.isnan(signal._signal_and_noise(part)).all()


# ---------------------------------------------------------------- anything at all


def refusal(call: Callable[[], Any]) -> str | None:
    """The message of a ValueError, None if there is none."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*FUZZ.suite_body(), "start", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(body=ANYTHING)
def test_any_value_is_a_suite_or_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="suite"):
        SuiteSpec.from_dict(body)


@settings(max_examples=60, deadline=None)
@given(key=st.sampled_from(list(FUZZ.suite_body())), value=ANYTHING)
def test_any_value_under_a_key_of_a_suite(key: str, value: Any) -> None:
    body = FUZZ.suite_body() | {key: value}
    assert refusal(lambda: SuiteSpec.from_dict(body).runs()) != ""


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=30))
def test_any_text_is_yaml_or_refused(text: str) -> None:
    said = refusal(lambda: parse_yaml(text, "here"))
    assert said is None or said.startswith(("here must be valid YAML", "here, line 1: "))
