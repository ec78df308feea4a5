"""The names a user may import from `tradepipe`: each is a promise."""

from types import ModuleType

import tradepipe

PUBLIC: list[str] = []
"""A name that is added or taken away belongs into the changelog too."""

EXPORTED = list(getattr(tradepipe, "__all__", []))


def test_the_public_names_are_these():
    assert PUBLIC == EXPORTED


def test_the_public_names_are_sorted():
    assert sorted(EXPORTED) == EXPORTED


def test_what_the_package_holds_is_what_it_exports():
    """Rooms appear as they are imported; they are reached by their own names."""
    held = {name for name, value in vars(tradepipe).items() if name[0] != "_" and not isinstance(value, ModuleType)}

    assert held == set(EXPORTED)


def test_every_public_name_is_documented():
    assert [] == [name for name in EXPORTED if not getattr(tradepipe, name).__doc__]
