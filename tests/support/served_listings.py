"""Listings as a viewer of `envwatch serve` gets them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envwatch.model.clock import Clocks, MonotonicS, WallMs
from envwatch.model.outcome import RelayInfo

if TYPE_CHECKING:
    from envwatch.model.outcome import Listed


def later(at: Clocks, seconds: float) -> Clocks:
    return Clocks(WallMs(at.wall + seconds * 1000), MonotonicS(at.monotonic + seconds))


def served(outcome: Listed, age_s: float, *, is_repeat: bool = False, jitter_s: float = 0.0) -> Listed:
    """Return a viewer's copy of a listing at an age; the viewer overestimates the age by `jitter_s`."""
    snapshot = outcome.snapshot._replace(served=RelayInfo(age_s + jitter_s, is_repeat=is_repeat))
    pages = tuple(replace(page, asked_at=WallMs(page.asked_at - jitter_s * 1000)) for page in snapshot.pages)
    return outcome._replace(
        snapshot=snapshot._replace(pages=pages),
        started=later(outcome.started, age_s),
        ended=later(outcome.ended, age_s),
    )
