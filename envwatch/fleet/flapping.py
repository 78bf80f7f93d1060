"""Nagios' flap detection over the instants at which an environment changed.

Pure; instants are in ms by one clock, the constants stand in `limits`. Nagios looks at the newest 21 samples of a
service, so at 20 possible changes, and weighs a change by its age from 1.25 (newest) to 0.75 (oldest). Here a sample is
a slot of 30 s, and a slot counts as a change if the environment changed its presence or connection in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envwatch.model import limits
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterable

_SLOTS = limits.FLAP_SAMPLES - 1
_SLOT_MS = limits.FLAP_EVERY / MS
_STEP = (limits.FLAP_HIGH_WEIGHT - limits.FLAP_LOW_WEIGHT) / (_SLOTS - 1)


def change_rate(changed_at: Iterable[float], now: float) -> float:
    """Return the weighted share of slots with a change, in percent from 0 to 100."""
    slots = {int((now - at) // _SLOT_MS) for at in changed_at}
    return sum(limits.FLAP_HIGH_WEIGHT - _STEP * slot for slot in slots if 0 <= slot < _SLOTS) * 100 / _SLOTS


def is_flapping(changed_at: Iterable[float], now: float, *, was_flapping: bool) -> bool:
    """Return whether the environment flaps: on from 30 %, off again at 20 % or less."""
    rate = change_rate(changed_at, now)
    return rate > limits.FLAP_OFF if was_flapping else rate >= limits.FLAP_ON
