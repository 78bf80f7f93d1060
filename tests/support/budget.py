"""Number of examples for a property: few by default, all under `--hypothesis-profile deep`, as in `.ci/run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

DEEP = 100
"""Default number of examples in the profile `deep`."""

QUICK = 10
"""Default number of examples in the default profile."""


def register() -> None:
    """Register both profiles and load the quick one; pytest's option loads another afterwards.

    No deadline, because machines under load are slow.
    """
    settings.register_profile("deep", max_examples=DEEP, deadline=None, print_blob=True)
    settings.register_profile("quick", max_examples=QUICK, deadline=None, print_blob=True)
    settings.load_profile("quick")


def examples(deep: int) -> int:
    """Return the present number of examples for a property with `deep` examples in the profile `deep`."""
    return max(deep * settings().max_examples // DEEP, 1)


def first_quick(values: Sequence[Any]) -> list[Any]:
    """Return values for a test that tries only the first by default."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.slow) for value in others)]
