"""How many examples a property gets: few by default, all under `--hypothesis-profile deep`, as in `.ci/run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

DEEP = 100
"""Examples of a property that sets no number of its own, in the profile `deep`."""

QUICK = 10
"""The same in the default profile."""


def register() -> None:
    """Register both profiles and load the quick one; pytest's option loads another afterwards.

    Neither has a deadline: machines under load are slow and not wrong.
    """
    settings.register_profile("deep", max_examples=DEEP, deadline=None, print_blob=True)
    settings.register_profile("quick", max_examples=QUICK, deadline=None, print_blob=True)
    settings.load_profile("quick")


def examples(deep: int) -> int:
    """Return how many examples to try now of so many that the profile `deep` tries."""
    return max(deep * settings().max_examples // DEEP, 1)


def first_quick(values: Sequence[Any]) -> list[Any]:
    """Return values for a test that tries the first by default, and the others where everything is run."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.slow) for value in others)]
