"""Number of examples for a property: few by default, more with `--hypothesis-profile deep`, as in `.ci/run`.

All examples of `--hypothesis-profile thorough` take over half an hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

THOROUGH = 100
"""Number of examples in the profile `thorough`, for a property that names no number."""

DEEP = 20
"""The same in the profile `deep`."""

QUICK = 10
"""The same in the default profile."""

FEW = 3
"""The same in the profile `few`, which measures coverage."""


def register() -> None:
    """Register the profiles and load the quick one; pytest's option loads another afterwards.

    No deadline and no check of speed, because machines under load are slow.
    """
    for name, most in (("thorough", THOROUGH), ("deep", DEEP), ("few", FEW), ("quick", QUICK)):
        settings.register_profile(
            name, max_examples=most, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
        )
    settings.load_profile("quick")


def examples(thorough: int) -> int:
    """Return the present number of examples for a property with `thorough` examples in the profile `thorough`."""
    return max(thorough * settings().max_examples // THOROUGH, 1)


def first_quick(values: Sequence[Any]) -> list[Any]:
    """Return values for a test that tries only the first by default."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.slow) for value in others)]
