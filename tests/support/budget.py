"""Number of examples for a property: few by default, more with `--hypothesis-profile deep`, as in `.ci/run`.

All examples of `--hypothesis-profile thorough` take over half an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

THOROUGH = 100
"""Number of examples in the profile `thorough`, for a property that names no number."""

DEEP = 20
"""The same in the profile `deep`."""

QUICK = 10
"""The same in the default profile."""


def register() -> None:
    """Register the profiles and load the quick one; pytest's option loads another afterwards.

    No deadline, because machines under load are slow.
    """
    settings.register_profile("thorough", max_examples=THOROUGH, deadline=None, print_blob=True)
    settings.register_profile("deep", max_examples=DEEP, deadline=None, print_blob=True)
    settings.register_profile("quick", max_examples=QUICK, deadline=None, print_blob=True)
    settings.load_profile("quick")


def examples(thorough: int) -> int:
    """Return the present number of examples for a property with `thorough` examples in the profile `thorough`."""
    return max(thorough * settings().max_examples // THOROUGH, 1)


def first_quick(values: Sequence[Any]) -> list[Any]:
    """Return values for a test that tries only the first by default."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.slow) for value in others)]
