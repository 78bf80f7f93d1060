"""Readers of written values: durations, whole numbers, paths, one-line texts.

The command line, the variables and the configuration file share these readers, so the same words and bounds hold in
all three. A reader takes what was written and returns the value, or raises `ValueError` with the end of a sentence
("must be …"). The message never contains the value, which may be a secret in the wrong place. Imports no pydantic: the
command line needs readers before it knows whether there is a file.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final
from unicodedata import category

from envwatch.model.text import SafeText, clean, did_you_mean
from envwatch.model.times import duration_of, past_moment_of
from envwatch.redactor import LIKE_A_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

# Without named groups: the JSON schema contains the same pattern, and its dialect has none.
DURATION: Final = re.compile(r"(?=.)(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8}(?:\.[0-9]{1,6})?)s?)?")

MOST_EXPECTED: Final = 10_000
"""Names that an inventory may have."""

PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""Names of profiles: no shell changes one."""

_UNTYPEABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of controls, line ends, and bytes that are not UTF-8."""


class ConfigError(ValueError):
    """Settings that cannot be used; `lines` has one plain line for each mistake, with its place."""

    def __init__(self, *lines: str) -> None:
        self.lines: tuple[SafeText, ...] = tuple(map(clean, lines))
        super().__init__("\n".join(self.lines))


def duration(low: int, high: int) -> Callable[[object], timedelta]:
    """Return a reader of durations from `low` to `high` seconds: `45s`, `2m`, `1m30s`, `1h`, a number of seconds."""

    def read(raw: object) -> timedelta:
        text = str(raw).strip() if isinstance(raw, (str, int, float)) and not isinstance(raw, bool) else ""
        if match := DURATION.fullmatch(text):
            hours, minutes, seconds = map(float, match.groups(default="0"))
            value = timedelta(hours=hours, minutes=minutes, seconds=seconds)
            if timedelta(seconds=low) <= value <= timedelta(seconds=high):
                return value
        bounds = f"{seconds_text(low)} to {seconds_text(high)}"
        raise ValueError(f"must be {bounds}, written like 45s, 2m or a number of seconds")

    return read


def period(low: int, high: timedelta) -> Callable[[object], timedelta]:
    """Return a reader of durations that must name a unit, from `low` seconds: `30m`, `2h`, `1d`, `1h30m`."""

    def read(raw: object) -> timedelta:
        value = duration_of(raw) if isinstance(raw, str) else None
        if value is None or not timedelta(seconds=low) <= value <= high:
            raise ValueError(f"must be {seconds_text(low)} to {high.days}d, written like 30m, 2h, 1d or 1h30m")
        return value

    return read


def past(what: str) -> Callable[[object], str]:
    """Return a reader of moments in the past as texts; `what` says which texts it takes.

    The settings say in which zone the text is meant, and are read later: so the text may be a day ahead.
    """

    def read(raw: object) -> str:
        from envwatch.model.limits import ZONES_APART  # noqa: PLC0415 - only with such an option

        if past_moment_of(str(raw), datetime.now(UTC) + ZONES_APART) is None:
            raise ValueError(f"must be {what}")
        return str(raw)

    return read


def zone_named(name: str) -> tzinfo:
    """Return a time zone by its name in the IANA database."""
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 - only with such a setting

    if name == "UTC":
        return UTC  # needs no data
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        if not (known := available_timezones()):
            raise ValueError(
                "cannot be used: this machine has no data of time zones (Debian: install tzdata)"
            ) from None
        hint = did_you_mean(name, known)
        raise ValueError(f"must be the name of a time zone, like Europe/Berlin or UTC{hint}") from None


def whole(low: int, high: int) -> Callable[[object], int]:
    """Return a reader of whole numbers within bounds, both included."""

    def read(raw: object) -> int:
        if isinstance(raw, (str, int)) and not isinstance(raw, bool):
            with suppress(ValueError):
                if low <= int(raw) <= high:
                    return int(raw)
        raise ValueError(f"must be a whole number from {low} to {high}")

    return read


def line(raw: object) -> str:
    """Read a non-empty text of one line."""
    if isinstance(raw, str) and raw.strip() and raw.isprintable():
        return raw.strip()
    raise ValueError("must be a text of one line")


def path_text(raw: object) -> str:
    """Read a path unchanged, blanks at its ends included; refuse what looks like an API key."""
    if not isinstance(raw, str) or not raw:
        raise ValueError("must be a path, not an empty text")
    if LIKE_A_KEY.fullmatch(raw):
        raise ValueError("must be a path, and this looks like an API key (a file of such a name is written ./NAME)")
    return raw


def query(raw: object) -> str:
    """Read a filter, empty for everything: any text that can be typed into the filter box."""
    if isinstance(raw, str) and not any(category(character) in _UNTYPEABLE for character in raw):
        return raw.strip()
    raise ValueError("must be a text of one line")


def seconds_text(seconds: float) -> str:
    """Return a duration as `duration` reads it, in its largest whole unit: `1h`, `90s`."""
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:g}{unit}"
    return f"{seconds:g}s"
