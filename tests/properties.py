"""How often a property is tried: a few times between two edits, many times where there is time for it."""

from typing import Final

from hypothesis import settings

FEWEST: Final = 25
"""Examples of a quick run."""

_SHARES: Final = {"quick": 10, "moderate": 3, "deep": 1}
"""By profile: one of how many examples of a property is run."""

settings.register_profile("quick", max_examples=FEWEST, deadline=None)
settings.register_profile("moderate", max_examples=50, deadline=None)
settings.register_profile("deep", max_examples=100, deadline=None)
settings.load_profile("quick")


def examples(number: int) -> settings:
    """With `--hypothesis-profile deep` as many examples, with `moderate` a third, otherwise a tenth; 25 at least."""
    share = _SHARES.get(settings.get_current_profile_name(), _SHARES["quick"])
    return settings(max_examples=max(min(FEWEST, number), number // share), deadline=None)
