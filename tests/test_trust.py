"""What speaks against a plan: evidence in law files, warnings, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import t2lib as t2
from t2lib.data.evidence import Evidence, turning_points
from t2lib.data.measured import load_counts, load_passk
from t2lib.laws.fitting import fit, fit_counts

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
    items = t2.ItemLaw().fit(N=N, D=D, nll=loss, logp=logp, groups=np.repeat([0, 1, 2], 3))
    assert items.evidence_ is not None
    assert items.evidence_.runs == 3
    row = items.evidence_.measured.query("k == 16").sort_values(["N", "D"]).iloc[0]
    exact = t2.pass_at_k(logp[(row["N"] == N) & (row["D"] == D)][0], 16)
    assert row["value"] == pytest.approx(exact.mean())
    assert row["se"] == pytest.approx(exact.std(ddof=1) / np.sqrt(60))


def test_laws_made_of_others_hold_what_was_measured_for_them() -> None:
    easy, hard = (t2.load_law(f"gemstones-{task}") for task in ("arc-easy", "arc-challenge"))
    mix = t2.MixLaw({"easy": easy, "hard": hard}, {"easy": 1, "hard": 3}).evidence_
    assert mix is not None
    assert mix.runs == 22
    spot = [law.evidence_.nearest(1e9, 1e11, 256).iloc[0] for law in (easy, hard)]
    assert mix.nearest(1e9, 1e11, 256)["value"][0] == pytest.approx(
        0.25 * spot[0]["value"] + 0.75 * spot[1]["value"], rel=0.01
    )
    # Behind a verifier that errs, what was measured is another quantity.
    sure = t2.selected_law(easy, t2.Verifier()).evidence_
    errs = t2.selected_law(easy, t2.Verifier(fpr=0.01)).evidence_
    assert sure is easy.evidence_
    assert errs is not None
    assert errs.measured.empty
    assert errs.runs == 22
    twin = t2.MixLaw.from_dict(t2.MixLaw({"easy": easy}).to_dict())
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
