"""What speaks against a plan: evidence in law files, warnings, refusals."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.cli import main
from t2lib.cli.plan import EPILOG
from t2lib.data.evidence import Evidence, turning_points
from t2lib.data.measured import load_counts, load_passk
from t2lib.laws.base import Law
from t2lib.laws.fitting import fit, fit_counts
from t2lib.laws.items import ItemLaw
from t2lib.laws.mixture import MixLaw
from t2lib.planning.allocation import Allocation
from t2lib.selection.selected_law import selected_law

FITS = Path(__file__).resolve().parent.parent / "data/fits"


def noisy_runs(rng: np.random.Generator, *, fall: float = 0.0, se: float = 0.02) -> pd.DataFrame:
    """Return nine rising runs of eight checkpoints; the first may fall after its fifth."""
    D = np.geomspace(2e9, 3e11, 8)
    frames = []
    for i in range(9):
        truth = np.linspace(0.2, 0.5, 8) + 0.02 * i
        if i == 0:
            truth[5:] -= fall
        value = truth + se * rng.standard_normal(8)
        run = {"group": f"run {i}", "N": 1e8 * 2**i, "D": D, "k": 256.0, "value": value, "se": se}
        frames.append(pd.DataFrame(run))
    return pd.concat(frames, ignore_index=True)


def test_noise_alone_turns_no_run_and_a_true_fall_is_seen() -> None:
    rng = np.random.default_rng(0)
    false = [turning_points(noisy_runs(rng), "accuracy") for _ in range(100)]
    assert sum(map(bool, false)) <= 5
    hits = [turning_points(noisy_runs(rng, fall=0.3), "accuracy") for _ in range(20)]
    assert all(list(hit) == ["run 0"] for hit in hits)


def test_without_standard_errors_the_scatter_of_checkpoints_stands_in() -> None:
    rng = np.random.default_rng(1)
    unknown = [noisy_runs(rng, fall=fall).assign(se=np.nan) for fall in [0.0] * 50 + [0.3] * 10]
    hits = [bool(turning_points(table, "accuracy")) for table in unknown]
    assert sum(hits[:50]) <= 3
    assert all(hits[50:])
    losses = unknown[-1].assign(value=1 - unknown[-1]["value"])
    assert list(turning_points(losses, "nll")) == ["run 0"]


def test_pythia_160m_turned_at_63_billion_tokens() -> None:
    for name in ("pythia-gsm8k", "pythia-gsm8k-counts", "pythia-gsm8k-loss"):
        evidence = t2.load_law(name).evidence_
        assert evidence is not None
        assert evidence.turned["pythia-160m"] == pytest.approx(62.9e9, rel=0.01)
        assert "pythia-410m" not in evidence.turned
    evidence = t2.load_law("pythia-gsm8k").evidence_
    assert evidence is not None
    assert evidence.runs == 9
    first = evidence.nearest(1.64e8, 1.01e12, 426).iloc[0]
    assert (first["group"], first["k"]) == ("pythia-160m", 256.0)
    assert first["value"] == pytest.approx(0.1155, abs=1e-4)
    assert first["se"] == pytest.approx(0.025, abs=1e-3)


@pytest.mark.parametrize("path", sorted(FITS.glob("*.json")), ids=lambda path: path.stem)
def test_every_shipped_law_comes_with_what_it_was_fitted_to(path: Path) -> None:
    law = t2.load_law(path)
    evidence = law.evidence_
    assert evidence is not None
    assert len(evidence.measured) > 0
    assert evidence.toy == path.stem.startswith(("text", "reference"))
    for name in ("N", "D"):
        low, high = law.fitted_range_[name]
        assert evidence.measured[name].between(low * 0.999, high * 1.001).all()
    # What the law says of its own data is near, on the whole.
    rows = evidence.measured[(evidence.measured["value"] > 1e-3) & (evidence.measured["D"] > 2e9)]
    if len(rows):
        said = law.predict(N=rows["N"], D=rows["D"], k=rows["k"])
        assert 0.6 < np.median(said / rows["value"]) < 1.6


@pytest.mark.parametrize("kind", ["loss", "accuracy", "chinchilla"])
def test_a_fit_in_memory_has_evidence_that_survives_its_file(kind: str, tmp_path: Path) -> None:
    table = load_passk("pythia", task="gsm8k")
    law = fit(table, kind)
    assert law.evidence_ is not None
    assert law.evidence_.runs == 9
    assert "pythia-160m" in set(law.evidence_.measured["group"])
    assert law.evidence_.measured["se"].notna().all()
    law.to_json(tmp_path / "law.json")
    stored = t2.load_law(tmp_path / "law.json").evidence_
    assert stored is not None
    assert stored.to_dict() == law.evidence_.to_dict()


def test_counts_and_items_hold_pass_at_k_of_their_task() -> None:
    counts = fit_counts(load_counts("gsm8k")).evidence_
    table = load_passk("pythia", task="gsm8k", k=[1, 64, 256])
    assert counts is not None
    both = table.merge(counts.measured, on=["group", "N", "D", "k"])
    assert len(both) == len(table)
    assert both["value"].to_numpy() == pytest.approx(both["accuracy"].to_numpy(), rel=1e-5)
    assert both["se"].to_numpy() == pytest.approx(both["accuracy_se"].to_numpy(), rel=0.02)
    # Items: exact log-probabilities of made-up checkpoints.
    rng = np.random.default_rng(0)
    N, D = (v.ravel() for v in np.meshgrid([1e8, 3e8, 1e9], [1e9, 1e10, 1e11]))
    loss = 2 + 20 / N**0.2 + 100 / D**0.25
    logp = -loss[:, None] * (1 + rng.exponential(size=(9, 60)))
    items = ItemLaw().fit(N=N, D=D, nll=loss, logp=logp, groups=np.repeat([0, 1, 2], 3))
    assert items.evidence_ is not None
    assert items.evidence_.runs == 3
    row = items.evidence_.measured.query("k == 16").sort_values(["N", "D"]).iloc[0]
    exact = t2.pass_at_k(logp[(row["N"] == N) & (row["D"] == D)][0], 16)
    assert row["value"] == pytest.approx(exact.mean())
    assert row["se"] == pytest.approx(exact.std(ddof=1) / np.sqrt(60))


def test_laws_made_of_others_hold_what_was_measured_for_them() -> None:
    easy, hard = (t2.load_law(f"gemstones-{task}") for task in ("arc-easy", "arc-challenge"))
    mix = MixLaw({"easy": easy, "hard": hard}, {"easy": 1, "hard": 3}).evidence_
    assert mix is not None
    assert mix.runs == 22
    spot = [law.evidence_.nearest(1e9, 1e11, 256).iloc[0] for law in (easy, hard)]
    assert mix.nearest(1e9, 1e11, 256)["value"][0] == pytest.approx(
        0.25 * spot[0]["value"] + 0.75 * spot[1]["value"], rel=0.01
    )
    # Behind a verifier that errs, what was measured is another quantity.
    sure = selected_law(easy, t2.Verifier()).evidence_
    errs = selected_law(easy, t2.Verifier(fpr=0.01)).evidence_
    assert sure is easy.evidence_
    assert errs is not None
    assert errs.measured.empty
    assert errs.runs == 22
    twin = MixLaw.from_dict(MixLaw({"easy": easy}).to_dict())
    assert twin.evidence_ is not None
    planted = t2.ChinchillaLaw.from_params(
        {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28}
    )
    assert planted.evidence_ is None


def test_an_older_file_loads_without_evidence(tmp_path: Path) -> None:
    state = json.loads((FITS / "pythia-gsm8k.json").read_text())
    del state["evidence"]
    (tmp_path / "old.json").write_text(json.dumps(state))
    law = t2.load_law(tmp_path / "old.json")
    assert law.evidence_ is None
    assert law.params_ == t2.load_law("pythia-gsm8k").params_


def test_evidence_is_thinned_in_files_only() -> None:
    law = fit(load_passk("gemstones", task="arc_easy"), "loss")
    assert law.evidence_ is not None
    stored = Evidence.from_dict(law.evidence_.to_dict())
    assert law.evidence_.measured["k"].nunique() == 9
    assert stored.measured["k"].nunique() == 7
    runs = stored.measured.groupby("group")["D"]
    assert runs.nunique().max() <= 16
    whole = law.evidence_.measured.groupby("group")["D"]
    assert runs.max().to_numpy() == pytest.approx(whole.max().to_numpy(), rel=1e-5)
    assert runs.min().to_numpy() == pytest.approx(whole.min().to_numpy(), rel=1e-5)


# --- what speaks against a plan -------------------------------------------------------------------

DEFAULT = ("gemstones-arc-easy-unlisted-items", {"C_train": 1e20, "C_inf": 1.4e11})


def saved_without_evidence(name: str, folder: Path) -> Law:
    state = json.loads((FITS / f"{name}.json").read_text())
    del state["evidence"]
    (folder / "old.json").write_text(json.dumps(state))
    return t2.load_law(folder / "old.json")


def about(plan: Allocation, text: str) -> str:
    """Return the one warning that holds a text."""
    (sentence,) = [warning for warning in plan.warnings if text in warning]
    return sentence


@pytest.fixture(scope="module")
def pythia() -> Allocation:
    law = t2.load_law("pythia-gsm8k").with_replicates(100)
    with pytest.raises(t2.ExtrapolationError) as refusal:
        t2.allocate(law, C_train=1e21, C_inf=1.4e11)
    assert len(refusal.value.reasons) == 2
    assert "D = 1T is 3.4 times the largest" in refusal.value.reasons[0]
    assert "most frequent training answers solve 0.9" in refusal.value.reasons[1]
    assert "-unlisted" in str(refusal.value)
    assert "extrapolate=True" in str(refusal.value)
    forced = t2.allocate(law, C_train=1e21, C_inf=1.4e11, extrapolate=True)
    assert refusal.value.allocation == forced
    assert forced.warnings[:2] == refusal.value.reasons
    return forced


def test_the_nearest_measured_model_is_named_where_it_contradicts(pythia: Allocation) -> None:
    assert about(pythia, "nearest measured model") == (
        "The nearest measured model, 160M parameters on 300B tokens, reaches pass@256 = 0.12 ± "
        "0.03; the law says 0.36 there."
    )
    turned = about(pythia, "nearest in size")
    assert "pythia-160m" in turned
    assert "best at 63B tokens" in turned
    assert "9 independent training runs" in about(pythia, "runs: too few")
    assert "undecayed points of one cosine" in about(pythia, "Pythia's checkpoints")
    assert "theta2" in about(pythia, "at a bound")
    assert "extra samples of a small model buy little" in about(pythia, "slope 0.33")


def test_nearest_reach_chance_and_slope_can_be_computed_from_the_law(pythia: Allocation) -> None:
    law = pythia.law
    assert law is not None
    assert list(pythia.nearest) == ["N", "D", "k", "measured", "measured_se", "predicted"]
    first = pythia.nearest.iloc[0]
    assert pythia.nearest.index[0] == "pythia-160m"
    assert first["predicted"] == law.predict(N=first["N"], D=first["D"], k=first["k"])
    assert pythia.reach["D"] == pytest.approx(pythia.D / law.fitted_range_["D"][1])
    assert [name for name, factor in pythia.reach.items() if factor > 1] == ["D"]
    guess = t2.chance("gsm8k", k=pythia.k)["list"].item()
    assert pythia.chance == pytest.approx(guess, rel=0.02)
    values = law.predict(N=pythia.N, D=pythia.D, k=pythia.k * np.array([0.999, 1.001]))
    slope = np.diff(np.log(values)).item() / np.log(1.001 / 0.999)
    assert pythia.k_slope == pytest.approx(slope, abs=0.01)
    report = json.loads(json.dumps(pythia.to_dict()))
    assert report["warnings"] == pythia.warnings
    assert report["nearest"][0]["run"] == "pythia-160m"
    assert report["reach"] == pythia.reach
    assert report["chance"] == pythia.chance
    assert report["k_slope"] == pythia.k_slope
    assert report["held_out"] is None or "bias" in report["held_out"]


def test_a_toy_law_on_a_real_budget_is_refused() -> None:
    law = t2.load_law("text-macro").with_replicates(0)
    with pytest.raises(t2.ExtrapolationError, match="toy models of at most 920k parameters") as e:
        t2.allocate(law, C_train=1e21, C_inf=1.4e11)
    reasons = " ".join(e.value.reasons)
    for text in ("not identified", "D = 6,100T is 88M times", "D/N = ", "Training compute 6ND"):
        assert text in reasons
    loss = t2.load_law("text-macro-loss").with_replicates(0)
    assert "toys" in about(t2.allocate(loss, C_train=1e13, C_inf=2e6), "toys")


def test_limits_are_three_times_a_size_and_ten_times_the_compute() -> None:
    law = t2.ChinchillaLaw.from_params(
        {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28},
        fitted_range={"N": (1e8, 1e10), "D": (1e9, 1e12), "tokens_per_param": (1.0, 1e4),
                      "C_train": (1e18, 1e22)},
    )  # fmt: skip
    assert set(t2.allocate(law, C_train=1e21).reach.values()) == {1.0}
    near = t2.allocate(law, C_train=1e22, N_range=(2.9e10, 2.9001e10))
    assert near.reach["N"] == pytest.approx(2.9, rel=1e-3)
    assert "N lies beyond what was measured, by a factor of up to 2.9" in about(near, "forecast")
    for size, budget, reason in (
        (3.1e10, 1e22, "N = 31B is 3.1 times the largest"),
        (3.2e7, 1e20, "N = 32M is 1/3.1 of the smallest"),
        (5e9, 1.1e23, "D = 3.7T is 3.7 times the largest"),
        (2e10, 1.1e23, "Training compute 6ND = 1.1e23 is 11 times the largest"),
    ):
        with pytest.raises(t2.ExtrapolationError, match=reason):
            t2.allocate(law, C_train=budget, N_range=(size, 1.0001 * size))


def test_every_decision_refuses_and_can_be_forced() -> None:
    law = t2.load_law("gemstones-arc-easy").with_replicates(0)
    budget = {"C_train": 1e20, "C_inf": 1.4e11}
    shared = {"C_total": 1e22, "queries": 1e9, "tokens_per_sample": 500}
    decisions = [
        lambda **more: t2.allocate(law, **budget, **more),
        lambda **more: t2.allocate_total(law, **shared, **more),
        lambda **more: t2.near_optimal(law, **budget, **more).best,
        lambda **more: t2.allocate_selected(law, t2.Verifier(), **budget, **more),
    ]
    for decision in decisions:
        with pytest.raises(t2.ExtrapolationError, match="Guessing reaches more"):
            decision()
        assert "Guessing reaches more" in decision(extrapolate=True).warnings[0]
    # Tables and profiles say it in a column.
    assert len(t2.frontier(law, **budget)) == 1
    assert len(t2.isoflop(law, **budget)) == 200


@pytest.mark.parametrize(
    ("name", "budget"),
    [DEFAULT, ("gemstones-arc-easy-loss", {"C_train": 1e20, "C_inf": 1.4e11})],
)
def test_a_default_plan_agrees_with_its_nearest_measurement(name: str, budget: dict) -> None:
    law = t2.load_law(name)
    plan = t2.allocate(law, **budget)
    assert not [text for text in plan.warnings if "nearest measured" in text or "better" in text]
    row = plan.nearest.iloc[0]
    assert law.evidence_ is not None
    place = {key: row[key] for key in ("N", "D", "k")}
    lo, hi = law.bootstrap_.predict_interval(**place)
    error = np.hypot(row["measured_se"], law.evidence_.scatter(plan.k) * row["measured"])
    assert lo - 1.96 * error <= row["measured"] <= hi + 1.96 * error
    assert max(plan.reach.values()) == 1.0
    assert plan.chance is None or plan.chance < plan.value


def test_a_file_without_evidence_says_what_it_cannot_judge(tmp_path: Path) -> None:
    law = saved_without_evidence("gemstones-macro-loss", tmp_path)
    plan = t2.allocate(law, C_train=1e20, C_inf=1.4e11)
    assert "cannot be compared with the nearest measured models" in about(plan, "fitted to")
    assert plan.nearest.empty
    toy = saved_without_evidence("text-macro", tmp_path)
    with pytest.raises(t2.ExtrapolationError, match="toy models"):
        t2.allocate(toy.with_replicates(0), C_train=1e21, C_inf=1.4e11)


def test_held_out_errors_are_said_in_the_direction_of_the_plan() -> None:
    law = t2.load_law("gemstones-macro-loss").with_replicates(0)
    assert law.evidence_ is not None
    result = {"cut": 50.0, "n": 9, "error": 0.4, "bias": 0.7, "coverage": 0.5, "metric": "nll"}
    law.evidence_ = replace(law.evidence_, held_out=result)
    plan = t2.allocate(law, C_train=1e20, C_inf=1.4e11)
    assert "predicted 1.7 times what was measured" in about(plan, "Held out")
    law.evidence_ = replace(law.evidence_, held_out=result | {"cut": 1e5})
    plan = t2.allocate(law, C_train=1e20, C_inf=1.4e11)
    assert not [text for text in plan.warnings if "Held out" in text]


def test_notebooks_and_figures_show_the_nearest_models_and_the_warnings(
    pythia: Allocation,
) -> None:
    page = pythia._repr_html_()
    assert "nearest measured models" in page
    assert "0.12 ± 0.02" in page or "0.12 ± 0.03" in page
    assert "<li>The nearest measured model, 160M parameters" in page
    pytest.importorskip("matplotlib").use("Agg")
    labels = pythia.plot().get_legend_handles_labels()[1]
    assert any("nearest measured models" in label for label in labels)


def test_an_allocation_made_by_hand_says_nothing() -> None:
    plan = Allocation(1e9, 2e10, 1.0, 20.0, 2.5, None, 1.2e20, None)
    assert plan.warnings == []
    assert plan.nearest.empty
    assert plan.to_dict()["chance"] is None


def test_the_command_refuses_prints_and_forces(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--law", "pythia-gsm8k", "--c-train", "1e21", "--c-inf", "1.4e11"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--extrapolate gives the forecast" in err
    assert main([*words, "--extrapolate"]) == 0
    out, err = capsys.readouterr()
    assert "Against this plan:\n- D = 1T is 3.4 times" in out
    assert "guessing reaches" in out
    assert main([*words, "--extrapolate", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"warnings", "nearest", "reach", "chance", "k_slope", "held_out"} <= set(report)


# Options of another law than the one that was fitted, or of several plans.
OTHER = ("--mix", "--task", "--adaptive", "--tpr", "--list", "my-fit.json", "--csv")
PRINTED = [
    shlex.split(line)[1:]
    for line in EPILOG.partition("examples:")[2].replace("\\\n", " ").strip().splitlines()
    if not any(word in line for word in OTHER)
]


@pytest.mark.parametrize("words", PRINTED, ids=" ".join)
def test_printed_plans_lie_where_the_law_agrees_with_its_nearest_measurement(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main([*words, *([] if "--json" in words else ["--json"])]) == 0
    report = json.loads(capsys.readouterr().out)
    row = report["nearest"][0]
    law = t2.load_law(report["law"])
    k = {"k": row["k"]} if law.uses_k else {}
    interval = law.predict_interval(N=row["N"], D=row["D"], **k, kind="measurement").iloc[0]
    assert interval["lo"] <= row["measured"] <= interval["hi"]
    assert report["chance"] is None or report["chance"] < report["value"]
