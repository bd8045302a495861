"""The package's front door: light, complete and typed."""

from __future__ import annotations

import pytest

import t2lib as t2


def test_every_public_name_resolves_and_is_listed():
    for name in t2.__all__:
        assert getattr(t2, name) is not None
    assert set(t2.__all__) == set(t2._homes())
    assert set(t2.__all__) <= set(dir(t2))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = t2.nope
