"""The lexer of the filter language.

Any text can be split: an open quote is common while a person types.

A date or version covers everything that begins alike: `2026-11-01` is the whole day, `0.34` every 0.34.x. `>` starts
after that range and `<` ends before, as in npm's `>0.34`. A compared duration is exact (`>2m` is more than 120 s).
Without an operator, `2m` covers the ages shown as `2m`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from envwatch.model.text import SafeText, clean
from envwatch.model.times import with_zone
from envwatch.model.versions import end_of_range, is_version, version_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_BARE = re.compile(r'[^\s",:!<>=*?()\[\]]+')


class QueryError(ValueError):
    """A mistake in a query, with a remedy and the place in the line."""

    def __init__(self, message: str, start: int, end: int) -> None:
        self.message: SafeText = clean(message, 240)
        self.start = start
        self.end = end
        super().__init__(self.message)


class Token(NamedTuple):
    """A word's characters without quotes, or a part of a token."""

    text: str
    shape: str
    """`"` replaces each quoted character, so operators here were typed without quotes."""
    places: tuple[int, ...]
    """The index of each character, and the end."""
    start: int
    is_open: bool = False

    @property
    def end(self) -> int:
        """The index after the token."""
        return self.places[-1]

    def part(self, start: int, end: int | None = None) -> Token:
        """Return the characters between two indices of `text`."""
        end = len(self.text) if end is None else end
        first = self.start if start == 0 else self.places[start - 1] + 1
        return Token(self.text[start:end], self.shape[start:end], self.places[start : end + 1], first, self.is_open)

    def parts(self, separator: str) -> Iterator[Token]:
        """Split the token at each unquoted separator."""
        start = 0
        while (end := self.shape.find(separator, start)) >= 0:
            yield self.part(start, end)
            start = end + len(separator)
        yield self.part(start)

    def error(self, message: str) -> QueryError:
        """Return an error for this token."""
        return QueryError(message, self.start, self.end)


_TOKEN = re.compile(r'(?:"(?:[^"]|"")*(?:"|\Z)|[^\s"])+')
_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")*)(?P<end>"|\Z)|(?P<bare>[^\s"]+)')
_LETTER = re.compile(r'""|.', re.DOTALL)


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a line. A quote within quotes is doubled, as in CSV."""
    for match in _TOKEN.finditer(text):
        letters, shape, places, is_open = "", "", list[int](), False
        for part in _PART.finditer(text, *match.span()):
            is_quoted, is_open = part["bare"] is None, part["end"] == ""
            for letter in _LETTER.finditer(text, *part.span("quoted" if is_quoted else "bare")):
                letters += letter[0][-1]
                shape += '"' if is_quoted else letter[0]
                places.append(letter.end() - 1)
        yield Token(letters, shape, (*places, match.end()), match.start(), is_open)


def quote_if_needed(text: str) -> str:
    """Return a text, quoted if any character is special."""
    if _BARE.fullmatch(text) and ".." not in text and text.casefold() != "none":
        return text
    return quoted(text)


def normalize(text: str) -> str:
    """Return a text for comparison: case-folded, accents composed (macOS file names decompose accents)."""
    if text.isascii():
        return text.casefold()
    # Unicode's caseless matching decomposes before folding; composed again so that `?` is a letter.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def quoted(text: str) -> str:
    """Return a text in quotes."""
    return '"' + text.replace('"', '""') + '"'


_UNITS_MS = {"s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0, "w": 604_800_000.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(Z|[+-][0-9]{2}(?::[0-9]{2})?)?)?"
)


_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%?")


Limit: TypeAlias = "tuple[str, Literal['from', 'to'], Any]"
"""The bounded side of a comparison such as `>90s`: kind, side, position."""


class OrderedLiteral(NamedTuple):
    """A typed duration (kind `age`), date (ms), version (sort key), percentage or number.

    0.34-rc1 sorts before 0.34. A duration, percentage or number covers a point: `end` is the next float.
    """

    text: str
    kind: Literal["age", "date", "version", "percent", "number"]
    start: Any
    end: Any
    """The first position after every covered value."""
    shown_end: Any
    """The first value shown differently: 3m for `2m`, 91 for `90`. Otherwise `end`."""

    def interval(self, operator: str) -> tuple[Any, Any]:
        """Return the first matching position and the first position after; None for an open side."""
        start, end = self.start, self.end
        intervals = {">": (end, None), ">=": (start, None), "<": (None, start), "<=": (None, end)}
        return intervals.get(operator, (start, self.shown_end))

    def limit(self, operator: str) -> Limit | None:
        """Return the operator's limit, or None for equality, which sets two limits."""
        low, high = self.interval(operator)
        if low is not None and high is not None:
            return None
        # `>90s,<90s` leaves out a single instant, so here a point ends at its start.
        position = self.start if self.kind in {"age", "percent", "number"} else low if high is None else high
        return self.kind, "from" if high is None else "to", position


def within(low: Any, high: Any) -> Callable[[Any], bool]:  # noqa: ANN401 - any position
    """Return the test of `OrderedLiteral.interval`."""
    if high is None:
        return lambda value: value >= low
    return (lambda value: value < high) if low is None else (lambda value: low <= value < high)


def parse_time_span(token: Token, zone: tzinfo | None) -> OrderedLiteral:
    """Read a duration (`90s`, `1h30m`) or a date (`2026-11-24T03:00`).

    Raises:
        QueryError: for any other text, and for a date outside the calendar.
    """
    if _DURATION.fullmatch(text := token.text.lower()):
        parts = [(int(part[:-1]), _UNITS_MS[part[-1]]) for part in re.findall(r"[0-9]+[a-z]", text)]
        start = sum(count * unit for count, unit in parts)
        return OrderedLiteral(
            text, "age", start, math.nextafter(start, math.inf), start + min(unit for _, unit in parts)
        )
    if match := _TIME.fullmatch(text := token.text.upper()):
        try:
            start, end = _calendar_bounds(match, zone)
        except (ValueError, OverflowError, OSError):
            raise token.error(f"there is no {text} in the calendar") from None
        return OrderedLiteral(text.replace(" ", "T"), "date", start, end, end)
    if len(text) < 8 and text.isascii() and text.isdecimal():
        raise token.error(f"{text} of what? Write {text}s, {text}m, {text}h, {text}d or {text}w")
    raise token.error("write a duration like 1h30m or a date like 2026-11-24T03:00")


def _calendar_bounds(match: re.Match[str], zone: tzinfo | None) -> tuple[float, float]:
    date, minute, second, offset = match.groups()
    start = datetime.fromisoformat(f"{date}T{minute or '00:00'}{second or ''}{offset or ''}")
    if offset is None:
        start = with_zone(start, zone)
    if minute is None:
        # A day on which the clocks change has 23 or 25 hours.
        return start.timestamp() * 1000, (start + timedelta(days=1)).timestamp() * 1000
    start_ms = start.timestamp() * 1000
    return start_ms, start_ms + _UNITS_MS["m" if second is None else "s"]


def parse_version(token: Token) -> OrderedLiteral:
    """Read a version.

    Raises:
        QueryError: if the token is no version.
    """
    text = token.text.lower()
    if not is_version(text):
        raise token.error("write a version like 0.34, 0.34.12 or 22")
    end = end_of_range(text)
    return OrderedLiteral(text, "version", version_key(text), end, end)


def parse_percent(token: Token) -> OrderedLiteral:
    """Read a percentage.

    Raises:
        QueryError: if the token is no percentage.
    """
    match = _PERCENT.fullmatch(token.text)
    if match is None or (start := float(match[1])) > 100.0:
        raise token.error("write a percentage like 90 or 99.5")
    return OrderedLiteral(match[1], "percent", start, math.nextafter(start, math.inf), math.floor(start) + 1.0)


def parse_number(token: Token) -> OrderedLiteral:
    """Read a number.

    Raises:
        QueryError: if the token is no number.
    """
    if _NUMBER.fullmatch(token.text) is None:
        raise token.error("write a number like 3 or 0.5")
    start = float(token.text)
    end = math.nextafter(start, math.inf)
    return OrderedLiteral(token.text, "number", start, end, end)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text to search; false if empty."""

    pieces: tuple[SafeText, ...]
    """Literal texts alternating with runs of wildcards."""

    def __bool__(self) -> bool:
        return any(self.pieces)

    def __str__(self) -> str:
        return "".join(
            piece if index % 2 else quote_if_needed(piece) for index, piece in enumerate(self.pieces) if piece
        )

    @property
    def plain(self) -> SafeText | None:
        """The text without wildcards, or None."""
        return self.pieces[0] if len(self.pieces) == 1 else None


def parse_pattern(token: Token) -> Pattern:
    """Read a text with unquoted `*` and `?` as wildcards."""
    pieces, start = [], 0
    for shape in re.split(r"([*?]+)", token.shape):
        pieces.append(clean(token.text[start : start + len(shape)]))
        start += len(shape)
    return Pattern(tuple(pieces))


def text_test(pattern: Pattern, *, is_exact: bool = False) -> Callable[[str], bool]:
    """Return the test of a normalised text.

    Wildcards must match a whole line. A plain text must be equal (`is_exact`) or occur.
    """
    if pattern.plain is None:
        search = wildcards(pattern).search
        return lambda text: search(text) is not None
    sought = normalize(pattern.plain)
    if is_exact:
        return lambda text: text == sought
    return lambda text: sought in text


def wildcards(pattern: Pattern) -> re.Pattern[str]:
    """Return the expression that finds a normalised line."""
    between = [""]
    for index, piece in enumerate(pattern.pieces):
        between[-1] += "." * piece.count("?") if index % 2 else re.escape(normalize(piece))
        if index % 2 and "*" in piece:
            between.append("")
    first, *others = between
    if not others:
        return re.compile(f"^{first}$", re.MULTILINE)
    # Atomic groups keep the search linear: leftmost matches are good enough.
    middle = "".join(f"(?>.*?{piece})" for piece in others[:-1])
    return re.compile(f"^{first}{middle}.*{others[-1]}$", re.MULTILINE)
