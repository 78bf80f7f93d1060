"""Conversion to a time zone, with UTC in place of a local zone whose offset is 24 hours or more.

The C library accepts `TZ=UTC-25` and `TZ=XXX+24:30`, Python's `datetime` refuses them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo


def in_zone(when: datetime, zone: tzinfo | None = None) -> datetime:
    """Return an instant in a zone, None for the local one, or in UTC if the zone's offset is impossible.

    Raises:
        OverflowError: if `datetime` cannot hold the instant in that zone.
    """
    try:
        return when.astimezone(zone)
    except ValueError:
        return when.astimezone(UTC)


def with_zone(when: datetime, zone: tzinfo | None = None) -> datetime:
    """Return a date without a time zone as one in a zone; None for the local one, UTC if its offset is impossible."""
    if zone is not None:
        return when.replace(tzinfo=zone)
    try:
        when.astimezone()
    except ValueError:
        return when.replace(tzinfo=UTC)
    return when
