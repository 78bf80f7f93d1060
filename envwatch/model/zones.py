"""Conversion to a time zone. None is the local zone: the configured one, else this machine's.

UTC stands in for a local zone whose offset is 24 hours or more: the C library accepts `TZ=UTC-25` and `TZ=XXX+24:30`,
Python's `datetime` refuses them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo


class _Process:
    """The zone that is configured for this process."""

    zone: tzinfo | None = None


def use_zone(zone: tzinfo | None) -> None:
    """Let a zone be the local one of this process; None for this machine's."""
    _Process.zone = zone


def configured_zone() -> tzinfo | None:
    """Return the zone that is configured; None if none is."""
    return _Process.zone


def in_zone(when: datetime, zone: tzinfo | None = None) -> datetime:
    """Return an instant in a zone, None for the local one, or in UTC if the zone's offset is impossible.

    Raises:
        OverflowError: if `datetime` cannot hold the instant in that zone.
    """
    try:
        return when.astimezone(zone or _Process.zone)
    except ValueError:
        return when.astimezone(UTC)


def with_zone(when: datetime, zone: tzinfo | None = None) -> datetime:
    """Return a date without a time zone as one in a zone; None for the local one, UTC if its offset is impossible."""
    zone = zone or _Process.zone
    if zone is not None:
        return when.replace(tzinfo=zone)
    try:
        when.astimezone()
    except ValueError:
        return when.replace(tzinfo=UTC)
    return when
