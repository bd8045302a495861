"""Old import paths go on for one release, and say where things are now."""

from __future__ import annotations

import importlib
import sys

import pytest

import t2lib as t2
from t2lib._moved import FRONT, MODULES, RENAMED
from t2lib.selection.voting import MajorityVote, majority_vote

OLD_NAMES = {
    "store": ("load_suite", "write_json", "provenance", "write_sums"),
    "laws.forms": ("ChinchillaLaw", "AccuracyLaw", "load_law"),
    "laws.recipes": ("fit_passk",),
    "laws.decide": ("decide", "Decision"),
    "laws.regret": ("regret", "largest_drop"),
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


@pytest.mark.parametrize("old", sorted(set(RENAMED) - {"Decision", "fit_passk"}))
def test_a_renamed_function_or_class_keeps_its_old_name_for_a_release(old: str) -> None:
    new = RENAMED[old]
    with pytest.warns(DeprecationWarning, match=rf"t2lib\.{old} is called t2lib\.(.*\.)?{new} now"):
        assert getattr(t2, old) is getattr(importlib.import_module(home_of(new)), new)


def home_of(name: str) -> str:
    """Return the module of something that stands, or stood, in ``t2lib`` itself."""
    return ".".join(filter(None, ["t2lib", FRONT.get(name)]))


@pytest.mark.parametrize("name", sorted(FRONT))
def test_a_name_that_left_the_front_door_warns_and_leads_to_its_module(name: str) -> None:
    assert name not in t2.__all__
    home = home_of(name)
    with pytest.warns(DeprecationWarning, match=rf"t2lib\.{name} is called {home}\.{name} now"):
        assert getattr(t2, name) is getattr(importlib.import_module(home), name)


def test_the_package_of_costs_answers_as_the_module_did() -> None:
    from t2lib import costs

    with pytest.warns(DeprecationWarning, match="VerificationCost"):
        assert costs.VerdictCost is costs.VerificationCost
    with pytest.raises(AttributeError, match="has no attribute 'fit_passk'"):
        _ = costs.fit_passk


def test_renamed_arguments_and_attributes_keep_their_old_names_for_a_release() -> None:
    with pytest.warns(DeprecationWarning, match="votes of Verifier is called n_verifications"):
        verifier = t2.Verifier(0.9, 0.1, votes=3)  # type: ignore[call-arg]
    assert verifier == t2.Verifier(0.9, 0.1, n_verifications=3)
    with pytest.warns(DeprecationWarning, match="n_verifications"):
        assert verifier.votes == 3  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="rivals of MajorityVote is called n_wrong_answers"):
        assert MajorityVote(rivals=5) == MajorityVote(5)  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="rivals of majority_vote"):
        assert majority_vote(-1.0, 1, rivals=5) == majority_vote(-1.0, 1, 5)  # type: ignore[call-arg]
