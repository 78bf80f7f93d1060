"""Numbers of state files. Pure."""

from __future__ import annotations

import math


def finite_number(raw: object) -> float | None:
    """Return a value of JSON as a finite number; None if it is none."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
