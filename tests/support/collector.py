"""The garbage collector while tests run: what a suite allocates mostly lives on, so that it is asked less often."""

from __future__ import annotations

import gc

DEFAULTS = gc.get_threshold()
"""Python's own thresholds, for the tests that compare with them."""


def relax() -> None:
    """Collect young objects every 20,000 allocations; Python's default is 700 or 2,000."""
    gc.set_threshold(20_000, 20, 20)
