"""A law holds what its fit found; what is made of fitted laws holds these and is no law itself."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

import t2lib as t2
from t2lib.data import io
from t2lib.laws.base import Law, Predictor
from t2lib.laws.fit import FitResult, NotFittedError
from t2lib.laws.mixture import MixLaw
from t2lib.selection.adaptive import AdaptiveItemLaw
from t2lib.selection.selected_law import selected_law

N, D = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), [1e9, 1e10, 1e11]))
NLL = (1.8 + 480 / N**0.35 + 2100 / D**0.37) * np.exp(0.01 * np.sin(np.arange(N.size)))


def fitted() -> t2.ChinchillaLaw:
    return t2.ChinchillaLaw().fit(N=N, D=D, nll=NLL)


def test_a_fit_is_one_result_that_nothing_changes():
    law = t2.ChinchillaLaw()
    assert law.result_ is None
    assert not hasattr(law, "status_")
    result = law.fit(N=N, D=D, nll=NLL).result_
    assert isinstance(result, FitResult)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.objective = 0.0
    law.bootstrap(5)
    assert law.evidence_ is not None
    assert (result.bootstrap, result.evidence) == (None, None)
    assert law.result_.params == result.params


def test_other_parameters_and_fewer_replicates_make_another_result():
    law = fitted()
    boot = law.bootstrap(5)
    twin, few = law.with_params(law.params_ | {"E": 2.0}), law.with_replicates(3)
    assert (twin.params_["E"], twin.fitted_range_) == (2.0, law.fitted_range_)
    for name in ("bootstrap_", "covariance_", "observations_", "evidence_", "noise_"):
        assert getattr(twin, name) is None
    assert len(few.bootstrap_) == 3
    assert law.bootstrap_ is boot


@pytest.mark.parametrize(
    "name", ["chinchilla-epoch", "text-macro", "gemstones-arc-easy-items", "pythia-gsm8k-counts"]
)
def test_a_law_file_is_written_as_it_was_read(name, tmp_path):
    t2.load_law(name).to_json(tmp_path / "law.json")
    shipped = io.data_dir() / "fits" / f"{name}.json"
    assert (tmp_path / "law.json").read_bytes() == shipped.read_bytes()


def test_laws_travel_to_other_processes():
    law, other = (t2.load_law(f"gemstones-{task}") for task in ("arc-easy", "openbookqa"))
    law.rivals_ = [other]
    mix, checked = MixLaw({"a": law, "b": other}), selected_law(law, t2.Verifier(0.9, 0.01))
    for sent in (law, mix, checked, fitted()):
        twin = pickle.loads(pickle.dumps(sent))
        assert twin.predict(N=1e9, D=2e10, k=16) == sent.predict(N=1e9, D=2e10, k=16)
        assert [rival.kind for rival in twin.rivals_] == [rival.kind for rival in sent.rivals_]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda easy, items: MixLaw({"a": easy, "b": easy}),
        lambda easy, items: selected_law(easy, t2.Verifier(0.9, 0.01)),
        lambda easy, items: AdaptiveItemLaw.of(items),
    ],
)
def test_what_is_made_of_laws_predicts_and_is_no_law(wrap):
    easy, items = (
        t2.load_law(name).with_replicates(4)
        for name in ("gemstones-arc-easy", "gemstones-arc-easy-items")
    )
    whole = wrap(easy, items)
    assert isinstance(whole, Predictor)
    assert not isinstance(whole, Law)
    assert len(whole.bootstrap_) == 4
    assert all(twin.result_.bootstrap is None for twin in whole.bootstrap_.laws())
    for name in ("fit", "bootstrap"):
        assert not hasattr(whole, name)
        with pytest.raises(NotFittedError, match=f"{type(whole).__name__} has no {name}: .*then"):
            getattr(whole, name)
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        whole.fitt(N=N)


def test_an_adaptive_law_is_written_as_it_was_read(tmp_path):
    law = AdaptiveItemLaw.of(t2.load_law("gemstones-arc-easy-items").with_replicates(4), share=0.5)
    law.to_json(tmp_path / "one.json")
    t2.load_law(tmp_path / "one.json").to_json(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


class Flat(Law):
    """A form of the user's own."""

    metric, uses_k, param_names = "nll", False, ("level",)

    def curve(self, params, N, D, k):
        return params["level"] + 0 * (N + D + k)


def test_a_form_of_ones_own_sets_its_result():
    law = Flat()
    law.result_ = FitResult({"level": 2.0})
    assert law.predict(N=1e9, D=1e10) == 2.0
    assert Flat.from_params({"level": 3.0}).predict(N=1e9, D=1e10) == 3.0
    data = fitted().observations_
    measured = Flat()
    measured.result_ = FitResult({"level": 2.0}, observations=data)
    with pytest.raises(TypeError, match="bootstrap needs a law that refits itself, and Flat does"):
        measured.bootstrap(5)
    older = Flat()
    with pytest.warns(DeprecationWarning, match="_params of Predictor is called params_ now"):
        older._params = {"level": 4.0}
    assert older.predict(N=1e9, D=1e10) == 4.0
