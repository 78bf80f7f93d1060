"""Durations and instants as text: ages, clock times, dates. Pure: the moment is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum

from envwatch.model.text import Clean
from envwatch.model.zones import in_zone

NOTHING = Clean("–")
MS = timedelta(milliseconds=1)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SECONDS_BELOW = 120
"""Seconds are shown below this: there a heartbeat's age decides the verdict."""


class TimeStyle(StrEnum):
    """How instants are shown."""

    RELATIVE = "relative"
    LOCAL = "local"
    UTC = "UTC"

    @property
    def following(self) -> TimeStyle:
        """The next style in turn."""
        styles = list(TimeStyle)
        return styles[(styles.index(self) + 1) % len(styles)]


def zone_of(style: TimeStyle) -> tzinfo | None:
    """Return the zone in which instants are shown; None for the local one."""
    return UTC if style is TimeStyle.UTC else None


def short_age(age: timedelta | None) -> Clean:
    """Return a duration in at most four cells: `12s`, `119s`, `4m`, `26h`, `40d`, `3y`."""
    if age is None:
        return NOTHING
    seconds = int(age.total_seconds())
    for limit, unit, name in ((_SECONDS_BELOW, 1, "s"), (100 * _MINUTE, _MINUTE, "m"), (100 * _HOUR, _HOUR, "h")):
        if seconds < limit:
            return Clean(f"{seconds // unit}{name}")
    days = seconds // _DAY
    return Clean(f"{days}d" if days < 1000 else f"{min(days // 365, 999)}y")


def minutes_age(age: timedelta) -> Clean:
    """Return a duration like `short_age`, but in no less than whole minutes, which seldom change: `<1m`, `1m`."""
    minutes = int(age.total_seconds()) // _MINUTE
    return Clean(f"{minutes}m" if minutes else "<1m") if minutes < 2 else short_age(age)


def long_age(age: timedelta | None) -> Clean:
    """Return a duration in its two largest units: `4m 12s`, `3d 4h`."""
    if age is None:
        return NOTHING
    seconds = int(age.total_seconds())
    counts = (seconds // _DAY, seconds % _DAY // _HOUR, seconds % _HOUR // _MINUTE, seconds % _MINUTE)
    parts = list(zip(counts, "dhms", strict=True))
    largest = next((index for index, count in enumerate(counts) if count), 0)
    return Clean(" ".join(f"{count}{unit}" for count, unit in parts[largest : largest + 2] if count) or "0s")


def moment(at: float | None, zone: tzinfo | None) -> datetime | None:
    """Return an instant in ms as a date in a zone, None for the local one; None if `datetime` cannot hold it."""
    if at is None:
        return None
    try:
        return in_zone(datetime.fromtimestamp(at / 1000, UTC), zone)
    except (ValueError, OverflowError, OSError):
        return None


def offset_text(when: datetime) -> str:
    """Return a date's offset in its shortest form: `Z`, `+01`, `+05:30`."""
    offset = when.utcoffset() or timedelta()
    if not offset:
        return "Z"
    minutes = int(offset / timedelta(minutes=1))
    sign = "+" if minutes > 0 else "-"
    hours, minutes = divmod(abs(minutes), 60)
    return f"{sign}{hours:02}" + (f":{minutes:02}" if minutes else "")


def clock_text(at: float, zone: tzinfo | None) -> Clean:
    """Return the time of day with its offset: `13:41:07+01`."""
    when = moment(at, zone)
    return Clean(f"{when:%H:%M:%S}{offset_text(when)}") if when else NOTHING


def date_text(at: float | None, zone: tzinfo | None) -> Clean:
    """Return date and time with the offset: `2026-10-04 13:41:07+01`."""
    when = moment(at, zone)
    return Clean(f"{when:%Y-%m-%d %H:%M:%S}{offset_text(when)}") if when else NOTHING


def span(milliseconds: float) -> timedelta:
    """Return a duration, clamped to what is not negative and fits `timedelta`."""
    return timedelta(milliseconds=min(max(milliseconds, 0.0), 1e14))
