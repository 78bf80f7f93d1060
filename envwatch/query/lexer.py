"""The surface of the filter language: a line of text becomes tokens, each knowing where it stands.

Owns spaces and quotes, and nothing that lies between them. Knows no field and no environment. Any text has tokens; a
quote that was never closed is told by its token, because a line that is still being typed has many of them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envwatch.model.text import Clean, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

_BARE = re.compile(r'[^\s",:!<>=*?]+')


class QueryError(ValueError):
    """A query that means nothing, and what to do about it, in one plain line.

    Attributes:
        message: the line.
        start: where the mistake begins in the query's text.
        end: the first position behind it.
    """

    def __init__(self, message: str, start: int, end: int) -> None:
        self.message: Clean = clean(message, 240)
        self.start = start
        self.end = end
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Token:
    """What stands between two spaces, its quotes taken off; or a part of that."""

    text: str
    shape: str
    """The text with `"` for each character that was quoted: what is found in here was typed bare and has its power."""
    places: tuple[int, ...]
    """Where each character stands, and where the token ends."""
    start: int
    """Where the token begins, quotes included."""
    is_open: bool = False
    """A quote was not closed."""

    @property
    def end(self) -> int:
        """The first position behind it."""
        return self.places[-1]

    def part(self, start: int, end: int | None = None) -> Token:
        """Return the characters from one index to another, both counted without quotes."""
        end = len(self.text) if end is None else end
        first = self.start if start == 0 else self.places[start - 1] + 1
        return Token(self.text[start:end], self.shape[start:end], self.places[start : end + 1], first, self.is_open)

    def parts(self, separator: str) -> Iterator[Token]:
        """Yield what stands between bare separators."""
        start = 0
        while (end := self.shape.find(separator, start)) >= 0:
            yield self.part(start, end)
            start = end + len(separator)
        yield self.part(start)

    def error(self, message: str) -> QueryError:
        """Return what to say of a mistake in this token."""
        return QueryError(message, self.start, self.end)


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a line. A quote inside quotes is doubled, as in CSV; a backslash is only a backslash."""
    letters: list[tuple[str, str, int]] = []
    start: int | None = None
    is_open, closed_at = False, -2
    for at, character in enumerate(text):
        if character == '"':
            if is_open:
                closed_at = at
            elif closed_at == at - 1:
                letters.append(('"', '"', at))
            is_open = not is_open
        elif is_open:
            letters.append((character, '"', at))
        elif not character.isspace():
            letters.append((character, character, at))
        elif start is not None:
            yield _token(letters, start, at, is_open=False)
            letters, start = [], None
            continue
        else:
            continue
        start = at if start is None else start
    if start is not None:
        yield _token(letters, start, len(text), is_open=is_open)


def written(text: str) -> str:
    """Return a text as it must be typed to mean only itself: quoted where it holds anything with a power."""
    if _BARE.fullmatch(text) and ".." not in text and text.casefold() != "none":
        return text
    return quoted(text)


def normalize(text: str) -> str:
    """Return a text as it is compared: case put aside, and how its accents are composed (macOS takes them apart)."""
    if text.isascii():
        return text.casefold()
    # Taken apart first, as Unicode wants it for caseless matching; then together, for `?` is one character.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def quoted(text: str) -> str:
    """Return a text in quotes."""
    return '"' + text.replace('"', '""') + '"'


def _token(letters: list[tuple[str, str, int]], start: int, end: int, *, is_open: bool) -> Token:
    text = "".join(character for character, _, _ in letters)
    shape = "".join(mark for _, mark, _ in letters)
    return Token(text, shape, (*(place for _, _, place in letters), end), start, is_open)
