"""Readers of written values, shared by command line, variables and configuration file.

A reader's `ValueError` has the end of a sentence ("must be …"), and no long word of the value. Imports no pydantic: the
command line is parsed before the file is known.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final
from unicodedata import category

from envwatch.model.redactor import LIKE_A_KEY, ReportedError
from envwatch.model.text import SafeText, clean, did_you_mean
from envwatch.model.times import date_text, parse_moment, parse_past_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from dataclasses import Field

# No named groups: the JSON schema has the same pattern.
DURATION: Final = re.compile(
    r"(?=.)(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8}(?:\.[0-9]{1,6})?)s?)?"
)

MOST_EXPECTED: Final = 10_000

PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""Characters that every shell leaves alone."""

_LONGEST_WORD: Final = 16

_UNTYPEABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Controls, line ends, and bytes outside UTF-8."""


class ConfigError(ReportedError):
    """Unusable settings; `lines` has each mistake with the place."""

    def __init__(self, *lines: str) -> None:
        self.lines: tuple[SafeText, ...] = tuple(map(clean, lines))
        # No count: contradictory settings are found only without the first mistakes.
        others = " (the first of several mistakes: `envwatch config validate` lists all)" if len(lines) > 1 else ""
        super().__init__(f"{self.lines[0]}{others}")


def duration(low: float, high: float) -> Callable[[object], timedelta]:
    """Return a reader of durations from `low` to `high` seconds: `45s`, `1h30m`, `1d`, or a number of seconds."""

    def read(raw: object) -> timedelta:
        text = str(raw).strip() if isinstance(raw, (str, int, float)) and not isinstance(raw, bool) else ""
        if match := DURATION.fullmatch(text):
            days, hours, minutes, seconds = map(float, match.groups(default="0"))
            value = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            if timedelta(seconds=low) <= value <= timedelta(seconds=high):
                return value
        bounds = f"{seconds_text(low)} to {seconds_text(high)}"
        raise ValueError(f"must be {bounds}, written like 45s, 2m or a number of seconds")

    return read


PAST_TEXTS: Final = "in the past, like 8h, 02:13, 'yesterday 14:00', or ISO 8601"


def past(what: str) -> Callable[[object], str]:
    """Return a reader of past moments as text; `what` names the accepted texts.

    A text may be a day ahead, because the time zone is read later.
    """

    def read(raw: object) -> str:
        from envwatch.model.limits import ZONES_APART  # noqa: PLC0415 - only with such an option

        if parse_past_moment(str(raw), datetime.now(UTC) + ZONES_APART) is None:
            raise ValueError(f"must be {what}")
        return str(raw)

    return read


def future(raw: object) -> str:
    """Check that the text is a future time in some zone: the time zone is read later."""
    from envwatch.model.limits import ZONES_APART  # noqa: PLC0415 - only with such an option

    now = datetime.now(UTC)
    if (at := parse_moment(str(raw), now - ZONES_APART)) is None:
        raise ValueError("must be a time like 15:30 or '2026-11-25 15:30', or ISO 8601 with an offset")
    if at <= now - ZONES_APART:
        raise ValueError(past_end(now))
    return str(raw)


def past_end(now: datetime) -> str:
    """Return the mistake in an end that has passed."""
    return f"must be in the future: here it is {date_text(now.timestamp() * 1000, None)}"


def zone_named(name: str) -> tzinfo:
    """Return a time zone of the IANA database."""
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 - only with such a setting

    if name == "UTC":
        return UTC  # UTC needs no time zone data
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        if not (known := available_timezones()):
            raise ValueError(
                "cannot be used: this machine has no data of time zones (Debian: install tzdata)"
            ) from None
        hint = did_you_mean(name, known)
        raise ValueError(f"must be the name of a time zone, like Europe/Berlin or UTC{hint}") from None


def whole_number(low: int, high: int) -> Callable[[object], int]:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(raw: object) -> int:
        if isinstance(raw, (str, int)) and not isinstance(raw, bool):
            with suppress(ValueError):
                if low <= int(raw) <= high:
                    return int(raw)
        raise ValueError(f"must be a whole number from {low} to {high}")

    return read


def reader_of(setting: Field[Any]) -> Callable[[object], timedelta | int]:
    """Return the reader of a setting with bounds."""
    read = duration if isinstance(setting.default, timedelta) else whole_number
    return read(*setting.metadata["bounds"])


def path_text(raw: object) -> str:
    """Read a path, blanks included; refuse a text like an API key."""
    if not isinstance(raw, str) or not raw:
        raise ValueError("must be a path, not an empty text")
    if LIKE_A_KEY.fullmatch(raw):
        raise ValueError("must be a path, and this looks like an API key (a file of such a name is written ./NAME)")
    return raw


def query(raw: object) -> str:
    """Read a filter, empty for everything."""
    if isinstance(raw, str) and not any(category(character) in _UNTYPEABLE for character in raw):
        return raw.strip()
    raise ValueError("must be a text of one line")


def column_list(raw: object) -> tuple[str, ...]:
    """Read a list or comma-separated text of different columns."""
    from envwatch.views.table.columns import COLUMNS, META, is_column  # noqa: PLC0415 - only with such a setting

    parts = raw.split(",") if isinstance(raw, str) else raw
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        words = tuple(_column_id(part.strip()) for part in parts)
        if wrong := [word for word in words if not is_column(word)]:
            word, hint = word_text(wrong[0]) or "''", did_you_mean(wrong[0].lower(), COLUMNS)
            raise ValueError(f"cannot have {word}: the columns are {', '.join(COLUMNS)} and {META}KEY{hint}")
        if words and len(set(words)) == len(words):
            return words
    raise ValueError(f"must be a list of {', '.join(COLUMNS)} or {META}KEY, each at most once")


def _column_id(title: str) -> str:
    """Return the id for a title of the table, such as `META.team`."""
    from envwatch.views.table.columns import COLUMNS, META  # noqa: PLC0415 - only with such a setting

    lower = title.lower()
    if lower.startswith(META):
        return META + title[len(META) :]
    return lower if lower in COLUMNS else title


def word_text(word: str) -> SafeText:
    """Return a wrong word for a message; a long word may be a misplaced key."""
    return clean(word if len(word) <= _LONGEST_WORD else "…")


def column_or(words: Sequence[str]) -> Callable[[object], str]:
    """Return a reader of `words` and `meta.KEY`."""

    def read(raw: object) -> str:
        from envwatch.views.table.columns import META  # noqa: PLC0415 - only with such a setting

        word = _column_id(raw.strip()) if isinstance(raw, str) else ""
        if word in words or (word.startswith(META) and word != META):
            return word
        raise ValueError(f"must be one of {', '.join(words)}, or {META}KEY{did_you_mean(word, words)}")

    return read


def no_view(name: str, own: Collection[str], built_in: Iterable[str]) -> str:
    """Return a sentence about an unknown view."""
    views = [*own, *built_in]
    how = "" if own else ", and a table [views.NAME] makes a view"
    hint = did_you_mean(name, views) or f"; there are {', '.join(views)}{how}"
    return f"there is no view {word_text(name)}{hint}"


def seconds_text(seconds: float) -> str:
    """Return a duration in the largest whole unit: `2d`, `24h`, `90s`."""
    for size, least, unit in ((86_400, 172_800, "d"), (3600, 3600, "h"), (60, 60, "m")):
        if seconds >= least and seconds % size == 0:
            return f"{seconds // size:g}{unit}"
    return f"{seconds:g}s"
