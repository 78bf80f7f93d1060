"""Durations and instants as text: ages, clock times, dates, time zones. Pure: the moment is an argument.

A zone of None is the local zone: the configured zone, else this machine's. UTC stands in for a local zone whose offset
is 24 hours or more: the C library accepts `TZ=UTC-25` and `TZ=XXX+24:30`, Python's `datetime` refuses them.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from envwatch.model.text import SafeText, clean


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


NOTHING = clean("–")
MS = timedelta(milliseconds=1)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SECONDS_BELOW = 120
"""Seconds of a heartbeat's age are shown below this: there they decide the verdict."""


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


_DURATION = re.compile(r"(?=.)(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?", re.ASCII)


def duration_of(text: str) -> timedelta | None:
    """Return a duration as people write it, with units: `30m`, `2h`, `1d`, `1h30m`; None if it is none."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(count or 0) for count in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?", re.ASCII)
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?", re.ASCII
)


def moment_of(text: str, now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """Return a moment as people write it, in UTC; None if it is none.

    Args:
        text: a time of day (`15:30`, `15:30:10`: the next one), or a date with a time (`2026-11-25 15:30`, or ISO 8601
            with `T` and an offset).
        now: the present, with its zone.
        zone: of what is written without an offset; None for the local one.
    """
    text = text.strip().upper()
    try:
        if match := _TIME.fullmatch(text):
            hour, minute, second = (int(number or 0) for number in match.groups())
            today = in_zone(now, zone).replace(hour=hour, minute=minute, second=second, microsecond=0, tzinfo=None)
            days = (with_zone(today + timedelta(days=count), zone).astimezone(UTC) for count in (0, 1))
            return next(at for at in days if at > now)
        if not _DATE.fullmatch(text):
            return None
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is not None else with_zone(at, zone)).astimezone(UTC)
    except (ValueError, OverflowError, OSError, StopIteration):
        return None


_PAST = re.compile(
    r"""(?: ( TODAY | YESTERDAY | [0-9]{4}-[0-9]{2}-[0-9]{2} ) (?: (?:T|[ ]) (?=[0-9]) | $ ) )?
    (?: ([0-9]{1,2}) : ([0-9]{2}) (?: : ([0-9]{2}) (?: \.[0-9]{1,6} )? )? (Z | [+-][0-9]{2} (?: :?[0-9]{2} )? )? )?""",
    re.ASCII | re.VERBOSE,
)


def past_moment_of(text: str, now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """Return a moment in the past as people write it, in UTC; None if it is none, or has not come yet.

    Of a time that comes twice, because the clocks go back, a time of day is the last one that is past, and a day with a
    time the first one. One that the clocks skip has the offset before, as in RFC 5545.

    Args:
        text: `now`, a duration before it (`8h`, `1h30m`, `3m ago`), a time of day (`02:13`, `02:13:05`: the last one),
            a day (`today`, `yesterday`, `2026-11-25`: its midnight), or a day with a time (`yesterday 14:00`, ISO
            8601); a time may have an offset (`02:13:05+01`). Fractions of a second are dropped.
        now: the present, with its zone.
        zone: of what is written without an offset; None for the local one.
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
    return timedelta() if text == "NOW" else duration_of(text.removesuffix("AGO").replace(" ", "").lower())


def _instants(local: datetime, zone: tzinfo | None) -> tuple[datetime, ...]:
    """Return when the clocks of a zone show a time, in UTC, earliest first: twice if they go back then."""
    first, second = (with_zone(local.replace(fold=fold), zone).astimezone(UTC) for fold in (0, 1))
    return (first, second) if first < second else (first,)


def zone_of(style: TimeStyle) -> tzinfo | None:
    """Return the zone in which instants are shown; None for the local one."""
    return UTC if style is TimeStyle.UTC else None


def short_age(age: timedelta | None) -> SafeText:
    """Return a duration in at most four cells: `12s`, `119s`, `4m`, `23h`, `40d`, `3y`."""
    return NOTHING if age is None else _in_one_unit(int(age.total_seconds()), _SECONDS_BELOW)


def state_age(age: timedelta | None) -> SafeText:
    """Return how long a state has lasted in at most six cells: `8s`, `59m`, `12h`, `3d 7h`, `40d`, `3y`.

    Only the first minute changes each second; from the first day to the tenth, the hours are shown as well.
    """
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
    """Return a duration like `short_age`, but in no less than whole minutes, which seldom change: `<1m`, `1m`."""
    minutes = int(age.total_seconds()) // _MINUTE
    return clean(f"{minutes}m" if minutes else "<1m") if minutes < 2 else short_age(age)


def seconds_up(duration: timedelta) -> timedelta:
    """Return a duration rounded up to whole seconds."""
    return timedelta(seconds=math.ceil(duration.total_seconds()))


def long_age(age: timedelta | None) -> SafeText:
    """Return a duration in its two largest units: `4m 12s`, `3d 4h`."""
    if age is None:
        return NOTHING
    seconds = int(age.total_seconds())
    counts = (seconds // _DAY, seconds % _DAY // _HOUR, seconds % _HOUR // _MINUTE, seconds % _MINUTE)
    parts = list(zip(counts, "dhms", strict=True))
    largest = next((index for index, count in enumerate(counts) if count), 0)
    return clean(" ".join(f"{count}{unit}" for count, unit in parts[largest : largest + 2] if count) or "0s")


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
    if not when.utcoffset():
        return "Z"
    offset = f"{when:%z}"  # +0530
    hours, minutes = offset[:3], offset[3:5]
    return hours if minutes == "00" else f"{hours}:{minutes}"


def clock_text(at: float, zone: tzinfo | None) -> SafeText:
    """Return the time of day: `13:41:07` in the local zone, which is None, and with the offset in any other zone."""
    when = moment(at, zone)
    return clean(f"{when:%H:%M:%S}{'' if zone is None else offset_text(when)}") if when else NOTHING


def date_text(at: float | None, zone: tzinfo | None) -> SafeText:
    """Return date and time with the offset: `2026-10-04 13:41:07+01`."""
    when = moment(at, zone)
    return clean(f"{when:%Y-%m-%d %H:%M:%S}{offset_text(when)}") if when else NOTHING


def span(milliseconds: float) -> timedelta:
    """Return a duration, clamped to what is not negative and fits `timedelta`."""
    return timedelta(milliseconds=min(max(milliseconds, 0.0), 1e14))
