"""When a listing was requested.

A relay such as `envwatch serve` answers from an earlier listing and sends its age, so a page dates from the relay's
request.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.model import limits
from envwatch.model.clock import WallMs
from envwatch.model.listing_api import AGE_HEADER, INTERVAL_HEADER, READ_ONLY, RIGHTS_HEADER
from envwatch.model.outcome import RelayInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.letta.transport import Response


_SECONDS: Final = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,9})?", re.ASCII)
_SLACK_S: Final = 0.1
"""Allowed error of a listing's age, because clocks drift; listings are 0.9 s or more apart."""


def age_in(headers: Mapping[str, str]) -> float | None:
    """Return the listing's age in seconds; None unless plausible."""
    return _seconds(headers, AGE_HEADER)


def asked_at_of(response: Response) -> WallMs:
    """Return the wall clock before a request, minus the listing's age."""
    return WallMs(response.asked_at - (age_in(response.headers) or 0.0) * 1000)


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(name, "").strip()
    seconds = float(text) if _SECONDS.fullmatch(text) else None
    return None if seconds is None or seconds > limits.LISTING_AGE_CAP.total_seconds() else seconds


class RelayedListing(NamedTuple):
    """A relay's listing, requested by the relay between `earliest` and `latest` (monotonic seconds)."""

    asked: float
    earliest: float
    latest: float
    interval: timedelta | None = None
    may_ack: bool = True

    @classmethod
    def from_response(cls, response: Response, asked: float, answered: float) -> RelayedListing | None:
        """Return a response's relayed listing, if any."""
        age_s = age_in(response.headers)
        if age_s is None:
            return None
        interval_s = _seconds(response.headers, INTERVAL_HEADER)
        interval = timedelta(seconds=interval_s) if interval_s else None
        may_ack = response.headers.get(RIGHTS_HEADER, "").strip() != READ_ONLY
        return cls(asked, asked - age_s, answered - age_s, interval, may_ack)

    def is_surely_after(self, other: RelayedListing) -> bool:
        """Whether the relay surely requested this listing after `other`."""
        return self.earliest > other.latest + _SLACK_S


def served_of(listing: RelayedListing | None, before: RelayedListing | None) -> RelayInfo | None:
    """Return a snapshot's relay information, if any.

    Unless surely newer than `before`, a snapshot is a repetition, whose absences must not count again.
    """
    if listing is None:
        return None
    is_repeat = before is not None and not listing.is_surely_after(before)
    age_s = max(listing.asked - listing.earliest, 0.0)
    return RelayInfo(age_s, listing.interval, is_repeat, may_ack=listing.may_ack)
