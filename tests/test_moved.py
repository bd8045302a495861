"""Old import paths go on for one release, and say where things are now."""

from __future__ import annotations

import importlib
import sys

import pytest

import t2lib as t2
from t2lib._moved import MODULES, RENAMED

OLD_NAMES = {
    "store": ("load_suite", "write_json", "provenance", "write_sums"),
    "laws.forms": ("ChinchillaLaw", "AccuracyLaw", "load_law"),
    "laws.recipes": ("fit_passk",),
    "laws.allocate": ("allocate", "Allocation"),
    "laws.rules": ("Verifier", "vote_curve"),
    "laws.skills": ("MixLaw", "signal_to_noise"),
    "measured": ("load_passk",),
    "sources": ("load_source",),
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_an_old_path_warns_and_leads_to_the_new_one(name: str) -> None:
    sys.modules.pop(f"t2lib.{name}", None)
    with pytest.warns(DeprecationWarning, match=rf"t2lib\.{name} has moved to t2lib\."):
        module = importlib.import_module(f"t2lib.{name}")
    for attribute in OLD_NAMES.get(name, ()):
        assert getattr(module, attribute) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        _ = module.nope


def test_what_was_never_there_stays_unknown() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("t2lib.laws.nothing")
    assert t2.load_law("chinchilla-epoch").kind == "chinchilla"


@pytest.mark.parametrize("old", sorted(set(RENAMED) - {"fit_passk"}))
def test_a_renamed_function_or_class_keeps_its_old_name_for_a_release(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"t2lib\.{old} is called t2lib\.{RENAMED[old]}"):
        assert getattr(t2, old) is getattr(t2, RENAMED[old])


def test_the_package_of_costs_answers_as_the_module_did() -> None:
    from t2lib import costs

    assert costs.DenseCost is t2.DenseCost
    with pytest.warns(DeprecationWarning, match="VerificationCost"):
        assert costs.VerdictCost is t2.VerificationCost
    with pytest.raises(AttributeError, match="has no attribute 'fit_passk'"):
        _ = costs.fit_passk


def test_renamed_arguments_and_attributes_keep_their_old_names_for_a_release() -> None:
    with pytest.warns(DeprecationWarning, match="votes of Verifier is called n_verifications"):
        verifier = t2.Verifier(0.9, 0.1, votes=3)  # type: ignore[call-arg]
    assert verifier == t2.Verifier(0.9, 0.1, n_verifications=3)
    with pytest.warns(DeprecationWarning, match="n_verifications"):
        assert verifier.votes == 3  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="rivals of MajorityVote is called n_wrong_answers"):
        assert t2.MajorityVote(rivals=5) == t2.MajorityVote(5)  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="rivals of majority_vote"):
        assert t2.majority_vote(-1.0, 1, rivals=5) == t2.majority_vote(-1.0, 1, 5)  # type: ignore[call-arg]
