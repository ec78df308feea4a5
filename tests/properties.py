"""How often a property is tried: a few times between two edits, many times where there is time for it."""

from typing import Final

from hypothesis import settings

FEWEST: Final = 25
"""Examples of a quick run."""

settings.register_profile("quick", max_examples=FEWEST, deadline=None)
settings.register_profile("deep", max_examples=100, deadline=None)
settings.load_profile("quick")


def examples(number: int) -> settings:
    """As many examples in a run with `--hypothesis-profile deep`; a tenth of them, but not under 25, in any other."""
    is_deep = settings.get_current_profile_name() == "deep"
    return settings(max_examples=number if is_deep else max(FEWEST, number // 10), deadline=None)
