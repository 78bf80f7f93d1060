"""Which listing a server answers from, if it is one of its own, as `envwatch serve` does.

Owns the headers that say so. A served listing is as old as it is: its pages count from when the server asked for it,
not from when it was asked. All moments here are those of this machine's monotonic clock, in seconds, which no setting
of the wall clock moves.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.listing_api import AGE_HEADER, INTERVAL_HEADER
from envwatch.model.outcome import RelayInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.sources.letta.transport import Response

_ERROR_CODES: Final = ("envwatch_blind", "envwatch_waiting", "envwatch_stopping")
_SECONDS: Final = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,9})?", re.ASCII)
_SLACK_S: Final = 0.1
"""What the clocks of two machines may differ in over the age of a listing. Listings are 0.9 s or more apart."""


def age_in(headers: Mapping[str, str]) -> float | None:
    """Return the age of the listing in a response, in seconds; None if it has none that can be true."""
    return _seconds(headers, AGE_HEADER)


def relayed_words(response: Response) -> str | None:
    """Return why a server that answers from listings of its own has none to give; None for any other response.

    Such a server is well: it is blind, has just started, or is about to stop.
    """
    if response.status != HTTPStatus.SERVICE_UNAVAILABLE:
        return None
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    words = document.get("error")
    is_ours = document.get("errorCode") in _ERROR_CODES
    return words if is_ours and isinstance(words, str) and words else None


def asked_at_of(response: Response) -> WallMs:
    """Return the wall clock before a request, or as much earlier as the listing that it was answered from was old."""
    return WallMs(response.asked_at - (age_in(response.headers) or 0.0) * 1000)


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(name, "").strip()
    seconds = float(text) if _SECONDS.fullmatch(text) else None
    return None if seconds is None or seconds > limits.LISTING_AGE_CAP.total_seconds() else seconds


@dataclass(frozen=True, slots=True)
class RelayedListing:
    """The listing that a page was taken from: the server asked for it between two moments."""

    asked: float
    """When the page was asked for."""
    earliest: float
    latest: float
    interval: timedelta | None = None
    """From one such listing to the next, if the server says so."""

    @classmethod
    def from_response(cls, response: Response, asked: float, answered: float) -> RelayedListing | None:
        """Return the listing behind a response, by when it was asked for and had come; None if there is none."""
        age_s = age_in(response.headers)
        if age_s is None:
            return None
        interval_s = _seconds(response.headers, INTERVAL_HEADER)
        return cls(asked, asked - age_s, answered - age_s, timedelta(seconds=interval_s) if interval_s else None)

    def is_surely_after(self, other: RelayedListing) -> bool:
        """Whether it is a later listing than another one: both cannot have been asked for at one moment."""
        return self.earliest > other.latest + _SLACK_S


def united(listings: Sequence[RelayedListing]) -> RelayedListing | None:
    """Return the listings of some pages, the first one first, as one; None for none."""
    if not listings:
        return None
    intervals = [each.interval for each in listings if each.interval is not None]
    return RelayedListing(
        listings[0].asked,
        min(each.earliest for each in listings),
        max(each.latest for each in listings),
        max(intervals, default=None),
    )


def served_of(listing: RelayedListing | None, before: RelayedListing | None) -> RelayInfo | None:
    """Return what a snapshot says of the listing that its pages were taken from, given that of the snapshot before.

    It is a repetition unless all of its pages are surely later than all pages of the snapshot before: an absence must
    not be counted twice because it was served twice.
    """
    if listing is None:
        return None
    is_repeat = before is not None and not listing.is_surely_after(before)
    return RelayInfo(max(listing.asked - listing.earliest, 0.0), listing.interval, is_repeat)
