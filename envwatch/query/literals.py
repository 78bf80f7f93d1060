"""Durations, dates, versions and text patterns as they are typed in a query.

A date or version covers everything that begins like it: `2026-11-01` is that whole day, `0.34` is every 0.34.x. `>`
starts after its end and `<` ends before its start, as in npm's `>0.34`. A compared duration is exact (`>2m` is more
than 120 s); without an operator, `2m` covers the ages that the screen shows as `2m`.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from envwatch.model.text import SafeText, clean
from envwatch.model.times import with_zone
from envwatch.model.versions import end_of_range, is_version, version_key
from envwatch.query.lexer import normalize, quote_if_needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from envwatch.model.versions import VersionKey
    from envwatch.query.lexer import Token

_UNITS_MS = {"s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0, "w": 604_800_000.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(Z|[+-][0-9]{2}(?::[0-9]{2})?)?)?"
)


class Limit(NamedTuple):
    """The bounded side of a one-sided comparison, such as `>90s`."""

    kind: str
    """Limits are comparable within one kind: `age`, `date` or `version`."""
    side: Literal["from", "to"]
    """Whether values after the limit match, or values before it."""
    position: Any
    """A number or version key that sorts within its kind."""


@dataclass(frozen=True, slots=True)
class OrderedLiteral(ABC):
    """A typed value that others can be compared with."""

    text: str
    """The canonical spelling."""
    kind: Literal["age", "date", "version"]
    start: Any
    """The first value that it covers."""
    end: Any
    """Sorts after every value that it covers."""

    @abstractmethod
    def test(self, operator: str) -> Callable[[Any], bool]:
        """Return the test of a value against this literal; no operator means equality."""

    def limit(self, operator: str) -> Limit | None:
        """Return the limit that an operator sets; None for equality, which sets two."""
        # `>90s,<90s` leaves out a single instant, which counts as nothing: there, a duration ends where it starts.
        end = self.start if self.kind == "age" else self.end
        match operator:
            case ">":
                return Limit(self.kind, "from", end)
            case ">=":
                return Limit(self.kind, "from", self.start)
            case "<":
                return Limit(self.kind, "to", self.start)
            case "<=":
                return Limit(self.kind, "to", end)
            case _:
                return None


@dataclass(frozen=True, slots=True)
class TimeSpan(OrderedLiteral):
    """A duration (kind `age`, compared with the time since an instant) or a span of the calendar (`date`), in ms.

    A duration covers one point: its `end` is the next float above `start`.
    """

    shown_end: float
    """The first value that the screen shows differently: 3m for `2m`. For a date, the same as `end`."""

    def test(self, operator: str) -> Callable[[float], bool]:
        """Return the test of an age or an instant, in ms."""
        low, high = {
            ">": (self.end, math.inf),
            ">=": (self.start, math.inf),
            "<": (-math.inf, self.start),
            "<=": (-math.inf, self.end),
        }.get(operator, (self.start, self.shown_end))
        return lambda value_ms: low <= value_ms < high


def time_span_of(token: Token, zone: tzinfo | None) -> TimeSpan:
    """Read a duration (`90s`, `1h30m`) or a date with or without a time (`2026-11-24T03:00`).

    Args:
        token: what was typed.
        zone: of dates without an offset; None for this machine's.

    Raises:
        QueryError: if it is neither, or the date does not exist.
    """
    if _DURATION.fullmatch(text := token.text.lower()):
        parts = [(int(part[:-1]), _UNITS_MS[part[-1]]) for part in re.findall(r"[0-9]+[a-z]", text)]
        start = sum(count * unit for count, unit in parts)
        return TimeSpan(text, "age", start, math.nextafter(start, math.inf), start + min(unit for _, unit in parts))
    if match := _TIME.fullmatch(text := token.text.upper()):
        try:
            start, end = _calendar_bounds(match, zone)
        except (ValueError, OverflowError, OSError):
            raise token.error(f"there is no {text} in the calendar") from None
        return TimeSpan(text.replace(" ", "T"), "date", start, end, end)
    if len(text) < 10 and text.isascii() and text.isdecimal():
        raise token.error(f"{text} of what? Write {text}s, {text}m, {text}h, {text}d or {text}w")
    raise token.error("write a duration like 1h30m or a date like 2026-11-24T03:00")


def _calendar_bounds(match: re.Match[str], zone: tzinfo | None) -> tuple[float, float]:
    date, minute, second, offset = match.groups()
    start = datetime.fromisoformat(f"{date}T{minute or '00:00'}{second or ''}{offset or ''}")
    if offset is None:
        start = with_zone(start, zone)
    if minute is None:
        # Calendar arithmetic: a day on which the clocks change has 23 or 25 hours.
        return start.timestamp() * 1000, (start + timedelta(days=1)).timestamp() * 1000
    start_ms = start.timestamp() * 1000
    return start_ms, start_ms + _UNITS_MS["m" if second is None else "s"]


@dataclass(frozen=True, slots=True)
class Version(OrderedLiteral):
    """A version, or the beginning of one: 0.34 covers 0.34.12, and 0.34-rc1 comes before it."""

    def test(self, operator: str) -> Callable[[str], bool]:
        """Return the test of a version; a text that is none never passes."""
        places = {">": (1,), ">=": (0, 1), "<": (-1,), "<=": (-1, 0)}.get(operator, (0,))

        def holds(text: str) -> bool:
            return is_version(text) and self._place(version_key(text)) in places

        return holds

    def _place(self, key: VersionKey) -> int:
        """Return -1, 0 or 1 for a version before it, covered by it, or after it."""
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
    return Version(text, "version", version_key(text), end_of_range(text))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text to look for; false if it is empty."""

    pieces: tuple[SafeText, ...]
    """Literal texts alternating with runs of wildcards: `*` for any characters, `?` for one."""

    def __bool__(self) -> bool:
        return any(self.pieces)

    def __str__(self) -> str:
        """Return it as it must be typed."""
        return "".join(
            piece if index % 2 else quote_if_needed(piece) for index, piece in enumerate(self.pieces) if piece
        )

    @property
    def plain(self) -> SafeText | None:
        """The text, if there are no wildcards."""
        return self.pieces[0] if len(self.pieces) == 1 else None


def pattern_of(token: Token) -> Pattern:
    """Read a text in which `*` and `?` outside quotes are wildcards."""
    pieces, start = [], 0
    for shape in re.split(r"([*?]+)", token.shape):
        pieces.append(clean(token.text[start : start + len(shape)]))
        start += len(shape)
    return Pattern(tuple(pieces))


def text_test(pattern: Pattern, *, is_exact: bool = False, is_prefix: bool = False) -> Callable[[str], bool]:
    """Return the test whether a text, normalised by `normalize`, matches a pattern.

    The text may have several lines: a pattern with wildcards must match one of them whole.

    Args:
        pattern: what was typed.
        is_exact: a pattern without wildcards must be the whole text.
        is_prefix: a pattern without wildcards must begin the text.
    """
    if pattern.plain is None:
        search = wildcards(pattern).search
        return lambda text: search(text) is not None
    sought = normalize(pattern.plain)
    if is_exact:
        return lambda text: text == sought
    if is_prefix:
        return lambda text: text.startswith(sought)
    return lambda text: sought in text


def wildcards(pattern: Pattern) -> re.Pattern[str]:
    """Return the expression that finds a line, normalised by `normalize`, which matches a pattern with wildcards."""
    between = [""]
    for index, piece in enumerate(pattern.pieces):
        between[-1] += "." * piece.count("?") if index % 2 else re.escape(normalize(piece))
        if index % 2 and "*" in piece:
            between.append("")
    first, *others = between
    if not others:
        return re.compile(f"^{first}$", re.MULTILINE)
    # Atomic groups keep it linear: the leftmost match of each piece is as good as any other, so none is retried.
    middle = "".join(f"(?>.*?{piece})" for piece in others[:-1])
    return re.compile(f"^{first}{middle}.*{others[-1]}$", re.MULTILINE)
