"""Durations, dates, versions and patterns as people write them in a query.

A literal stands for the whole of what it names: `2026-11-01` for that day, `0.34` for all of 0.34.x. What is later
than it comes after its end, what is earlier before its start; that is how npm reads `>0.34`, too. A duration that
something is compared with is a point, 120 s sharp for `>2m`; alone, `2m` or `=2m`, it means what the screen shows so.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, TypeAlias

from envwatch.model.text import Clean, clean
from envwatch.model.versions import is_release, is_version, version_key
from envwatch.model.zones import with_zone
from envwatch.query.lexer import normalize, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.model.versions import VersionKey
    from envwatch.query.lexer import Token

Bounds: TypeAlias = tuple[float, float]
"""From (included) and to (excluded)."""

_UNITS = {"s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0, "w": 604_800_000.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(Z|[+-][0-9]{2}(?::[0-9]{2})?)?)?"
)


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A duration or a piece of the calendar, in milliseconds."""

    text: str
    """As it is written best."""
    is_age: bool
    """A duration, to be compared with how long ago something was; else with when it was."""
    start: float
    end: float
    """The first moment behind it; for a duration, the next number above it."""
    shown_end: float
    """Until where the screen shows it so: `2m` until 3m. For a date, the same as `end`."""

    def bounds(self, operator: str) -> Bounds:
        """Return what an operator makes of it."""
        match operator:
            case ">":
                return (self.end, math.inf)
            case ">=":
                return (self.start, math.inf)
            case "<":
                return (-math.inf, self.start)
            case "<=":
                return (-math.inf, self.end)
            case _:
                return (self.start, self.shown_end)


def time_span_of(token: Token, zone: tzinfo | None) -> TimeSpan:
    """Read a duration (`90s`, `1h30m`) or a date with or without a time (`2026-11-24T03:00`, local unless it says).

    Args:
        token: what was typed.
        zone: of dates without an offset; None for this machine's.

    Raises:
        QueryError: if it is neither, or no such day exists.
    """
    if _DURATION.fullmatch(text := token.text.lower()):
        parts = [(int(part[:-1]), _UNITS[part[-1]]) for part in re.findall(r"[0-9]+[a-z]", text)]
        start = sum(count * unit for count, unit in parts)
        return TimeSpan(text, True, start, math.nextafter(start, math.inf), start + min(unit for _, unit in parts))
    if match := _TIME.fullmatch(text := token.text.upper()):
        try:
            start, end = _calendar_bounds(match, zone)
        except (ValueError, OverflowError, OSError):
            raise token.error(f"there is no {text} in the calendar") from None
        return TimeSpan(text.replace(" ", "T"), False, start, end, end)
    if len(text) < 10 and text.isascii() and text.isdecimal():
        raise token.error(f"{text} of what? Write {text}s, {text}m, {text}h, {text}d or {text}w")
    raise token.error("write a duration like 1h30m or a date like 2026-11-24T03:00")


def _calendar_bounds(match: re.Match[str], zone: tzinfo | None) -> Bounds:
    date, minute, second, offset = match.groups()
    start = datetime.fromisoformat(f"{date}T{minute or '00:00'}{second or ''}{offset or ''}")
    if offset is None:
        start = with_zone(start, zone)
    if minute is None:
        # By the calendar: a day on which the clocks change has 23 or 25 hours.
        return start.timestamp() * 1000, (start + timedelta(days=1)).timestamp() * 1000
    at = start.timestamp() * 1000
    return at, at + _UNITS["m" if second is None else "s"]


_BEHIND_ALL = (3, 0, "")
"""A part that sorts behind every part of a version."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version, or the beginning of one."""

    text: str
    start: VersionKey
    """The first that is meant: 0.34-rc1 comes before 0.34."""
    end: VersionKey
    """Behind the last that is meant: with a release, such as 0.34, all that begins like this."""

    def place(self, key: VersionKey) -> int:
        """Return -1, 0 or 1 for a version before it, within it or after it."""
        if key < self.start:
            return -1
        return 1 if key > self.end else 0


def version_of(token: Token) -> Version:
    """Read a version.

    Raises:
        QueryError: if it is none.
    """
    text = token.text.lower()
    if not is_version(text):
        raise token.error("write a version like 0.34, 0.34.12 or 22")
    key = version_key(text)
    return Version(text, key, (*(key[:-1] if is_release(text) else key), _BEHIND_ALL))


def version_test(version: Version, operator: str) -> Callable[[str], bool]:
    """Return whether a version in small letters stands to this one as an operator says; what is none never does."""
    places = {">": (1,), ">=": (0, 1), "<": (-1,), "<=": (-1, 0), "=": (0,)}[operator]

    def holds(sent: str) -> bool:
        return is_version(sent) and version.place(version_key(sent)) in places

    return holds


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text to look for; false where there is none."""

    pieces: tuple[Clean, ...]
    """Texts that mean themselves, every second piece a run of wildcards: `*` for any characters, `?` for one."""

    def __bool__(self) -> bool:
        return any(self.pieces)

    def __str__(self) -> str:
        """Return it as it must be typed."""
        return "".join(piece if at % 2 else written(piece) for at, piece in enumerate(self.pieces) if piece)

    @property
    def plain(self) -> Clean | None:
        """The text, if it has no wildcards."""
        return self.pieces[0] if len(self.pieces) == 1 else None


def pattern_of(token: Token) -> Pattern:
    """Read a text whose bare `*` and `?` are wildcards."""
    pieces, start = [], 0
    for shape in re.split(r"([*?]+)", token.shape):
        pieces.append(clean(token.text[start : start + len(shape)]))
        start += len(shape)
    return Pattern(tuple(pieces))


def text_test(pattern: Pattern, *, is_exact: bool = False, is_prefix: bool = False) -> Callable[[str], bool]:
    """Return whether folded text holds a typed one.

    The text may be several, one a line: then a pattern with wildcards must match one of them whole.

    Args:
        pattern: what was typed.
        is_exact: without wildcards, it must be the whole text.
        is_prefix: without wildcards, it must stand at the beginning.
    """
    if pattern.plain is None:
        search = _wildcards(pattern).search
        return lambda text: search(text) is not None
    sought = normalize(pattern.plain)
    if is_exact:
        return lambda text: text == sought
    if is_prefix:
        return lambda text: text.startswith(sought)
    return lambda text: sought in text


def _wildcards(pattern: Pattern) -> re.Pattern[str]:
    between = [""]
    for at, piece in enumerate(pattern.pieces):
        between[-1] += "." * piece.count("?") if at % 2 else re.escape(normalize(piece))
        if at % 2 and "*" in piece:
            between.append("")
    first, *others = between
    if not others:
        return re.compile(f"^{first}$", re.MULTILINE)
    # Atomic groups: the leftmost place of each piece is as good as any other, so a star is never tried twice.
    middle = "".join(f"(?>.*?{piece})" for piece in others[:-1])
    return re.compile(f"^{first}{middle}.*{others[-1]}$", re.MULTILINE)
