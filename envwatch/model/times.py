"""Durations and instants as text.

Zone None is the configured zone, else this machine's. UTC replaces an offset of 24 hours or more: the C library accepts
`TZ=UTC-25` and `TZ=XXX+24:30`, but `datetime` does not.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from itertools import dropwhile

from envwatch.model.text import SafeText, clean

_zone: tzinfo | None = None


def use_zone(zone: tzinfo | None) -> None:
    """Set this process's configured zone."""
    global _zone  # noqa: PLW0603  one zone for the whole process
    _zone = zone


def configured_zone() -> tzinfo | None:
    """Return the configured zone."""
    return _zone


def in_zone(when: datetime, zone: tzinfo | None = None) -> datetime:
    """Return an instant in a zone.

    Raises:
        OverflowError: if `datetime` cannot hold the result.
    """
    try:
        return when.astimezone(zone or _zone)
    except ValueError:
        return when.astimezone(UTC)


def with_zone(when: datetime, zone: tzinfo | None = None) -> datetime:
    """Return a naive date in a zone."""
    zone = zone or _zone
    if zone is not None:
        return when.replace(tzinfo=zone)
    try:
        when.astimezone()
    except ValueError:
        return when.replace(tzinfo=UTC)
    return when


NOTHING = clean("–")
MS = timedelta(milliseconds=1)
DAY_MS = 86_400_000.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SECONDS_BELOW = 120
"""Seconds do not matter after a lost heartbeat."""


class TimeStyle(StrEnum):
    """The display of instants."""

    RELATIVE = "relative"
    LOCAL = "local"
    UTC = "UTC"

    @property
    def following(self) -> TimeStyle:
        """The next style."""
        styles = list(TimeStyle)
        return styles[(styles.index(self) + 1) % len(styles)]


_DURATION = re.compile(r"(?=.)(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?", re.ASCII)


def parse_duration(text: str) -> timedelta | None:
    """Return a typed duration: `30m`, `2h`, `1d`, `1h30m`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(count or 0) for count in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?", re.ASCII)
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?", re.ASCII
)


def parse_moment(text: str, now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """Return a typed moment in UTC, if valid; `now` has a zone.

    `text` is the next time of day (`15:30`, `15:30:10`), or a date with a time (`2026-11-25 15:30`, or ISO 8601).
    Clocks that go back show some times twice.
    """
    text = text.strip().upper()
    try:
        if match := _TIME.fullmatch(text):
            hour, minute, second = (int(number or 0) for number in match.groups())
            today = in_zone(now, zone).replace(hour=hour, minute=minute, second=second, microsecond=0, tzinfo=None)
            instants = (at for count in (0, 1) for at in _instants(today + timedelta(days=count), zone))
            return next(at for at in instants if at > now)
        if not _DATE.fullmatch(text):
            return None
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None else _instants(at, zone)[0]
    except (ValueError, OverflowError, OSError, StopIteration):
        return None


_PAST = re.compile(
    r"""(?: ( TODAY | YESTERDAY | [0-9]{4}-[0-9]{2}-[0-9]{2} ) (?: (?:T|[ ]) (?=[0-9]) | $ ) )?
    (?: ([0-9]{1,2}) : ([0-9]{2}) (?: : ([0-9]{2}) (?: \.[0-9]{1,6} )? )? (Z | [+-][0-9]{2} (?: :?[0-9]{2} )? )? )?""",
    re.ASCII | re.VERBOSE,
)


def parse_past_moment(text: str, now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """Return a typed moment of the past in UTC, if valid; `now` has a zone.

    `text` is `now`, a duration ago (`8h`, `3m ago`), the last time of day (`02:13:05`), a day's midnight (`yesterday`,
    `2026-11-25`), or a day with a time (`yesterday 14:00`, ISO 8601). A time may have an offset (`02:13:05+01`).
    Fractions of a second are dropped.

    If the clocks go back, a time of day is the last past instant, a day with a time the first. A skipped time has the
    offset before, as in RFC 5545.
    """
    text = " ".join(text.upper().split())
    try:
        if (ago := _time_ago(text)) is not None:
            return now.astimezone(UTC) - ago
        match = _PAST.fullmatch(text)
        if match is None or not text:
            return None
        day, *numbers, offset = match.groups()
        if offset:
            zone = datetime.fromisoformat(f"2000-01-01T00:00{offset}").tzinfo
        hour, minute, second = (int(number or 0) for number in numbers)
        time_of_day, today = time(hour, minute, second), in_zone(now, zone).date()
        if day is None:
            days = (today + timedelta(days=count) for count in (-2, -1, 0, 1))
            instants = [at for each in days for at in _instants(datetime.combine(each, time_of_day), zone)]
            return max((at for at in instants if at <= now), default=None)
        named = {"TODAY": today, "YESTERDAY": today - timedelta(days=1)}
        at = _instants(datetime.combine(named.get(day) or date.fromisoformat(day), time_of_day), zone)[0]
    except (ValueError, OverflowError, OSError):
        return None
    return at if at <= now else None


def _time_ago(text: str) -> timedelta | None:
    return timedelta() if text == "NOW" else parse_duration(text.removesuffix("AGO").replace(" ", "").lower())


def _instants(local: datetime, zone: tzinfo | None) -> tuple[datetime, ...]:
    # `astimezone` gives a skipped time of the machine's zone the offset after.
    shown = (with_zone(local.replace(fold=fold), zone).timestamp() for fold in (0, 1))
    first, second = (datetime.fromtimestamp(each, UTC) for each in shown)
    return (first, second) if first < second else (first,)


def zone_of(style: TimeStyle) -> tzinfo | None:
    """Return a style's zone; None for the configured zone."""
    return UTC if style is TimeStyle.UTC else None


def short_age(age: timedelta | None) -> SafeText:
    """Return a duration in at most four cells: `119s`, `59m`, `40d`."""
    return NOTHING if age is None else _in_one_unit(int(age.total_seconds()), _SECONDS_BELOW)


def state_age(age: timedelta | None) -> SafeText:
    """Return a state's duration in at most six cells: `59s`, `59m`, `3d 7h`."""
    if age is None:
        return NOTHING
    seconds = int(age.total_seconds())
    hours = seconds % _DAY // _HOUR
    text = _in_one_unit(seconds, _MINUTE)
    return clean(f"{text} {hours}h") if hours and _DAY <= seconds < 10 * _DAY else text


def _in_one_unit(seconds: int, seconds_below: int) -> SafeText:
    for limit, unit, name in ((seconds_below, 1, "s"), (_HOUR, _MINUTE, "m"), (_DAY, _HOUR, "h")):
        if seconds < limit:
            return clean(f"{seconds // unit}{name}")
    days = seconds // _DAY
    return clean(f"{days}d" if days < 1000 else f"{min(days // 365, 999)}y")


def minutes_age(age: timedelta) -> SafeText:
    """Return `short_age` without seconds, which changes seldom: `<1m`, `1m`."""
    seconds = int(age.total_seconds())
    return clean("<1m") if seconds < _MINUTE else _in_one_unit(seconds, _MINUTE)


def seconds_up(duration: timedelta) -> timedelta:
    """Return a duration rounded up to whole seconds."""
    return timedelta(seconds=math.ceil(duration.total_seconds()))


def long_age(age: timedelta | None) -> SafeText:
    """Return a duration in two units: `4m 12s`, `3d 4h`."""
    if age is None:
        return NOTHING
    seconds = int(age.total_seconds())
    counts = (seconds // _DAY, seconds % _DAY // _HOUR, seconds % _HOUR // _MINUTE, seconds % _MINUTE)
    largest = list(dropwhile(lambda part: not part[0], zip(counts, "dhms", strict=True)))[:2]
    return clean(" ".join(f"{count}{unit}" for count, unit in largest if count) or "0s")


def moment(at: float | None, zone: tzinfo | None) -> datetime | None:
    """Return an instant in ms as a date, if `datetime` can hold the instant."""
    if at is None:
        return None
    try:
        return in_zone(datetime.fromtimestamp(at / 1000, UTC), zone)
    except (ValueError, OverflowError, OSError):
        return None


def offset_text(when: datetime) -> str:
    """Return a date's shortest offset: `Z`, `+01`, `+05:30`."""
    if not when.utcoffset():
        return "Z"
    offset = f"{when:%z}"
    hours, minutes = offset[:3], offset[3:5]
    return hours if minutes == "00" else f"{hours}:{minutes}"


def clock_text(at: float, zone: tzinfo | None) -> SafeText:
    """Return the time of day (`13:41:07`), with the offset outside the configured zone."""
    when = moment(at, zone)
    return clean(f"{when:%H:%M:%S}{'' if zone is None else offset_text(when)}") if when else NOTHING


def date_text(at: float | None, zone: tzinfo | None) -> SafeText:
    """Return date and time with the offset: `2026-10-04 13:41:07+01`."""
    when = moment(at, zone)
    return clean(f"{when:%Y-%m-%d %H:%M:%S}{offset_text(when)}") if when else NOTHING


def span(milliseconds: float) -> timedelta:
    """Return a duration as a `timedelta`; negative durations become zero."""
    return timedelta(milliseconds=min(max(milliseconds, 0.0), 1e14))
