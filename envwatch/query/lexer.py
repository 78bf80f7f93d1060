"""The lexer of the filter language: a line of text becomes tokens, each with its place in the line.

Owns spaces and quotes. Must not know fields or environments. Any text can be split into tokens: a quote that is not
closed yet is no error here, because it is common while a person types; the token carries `is_open` instead.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

_BARE = re.compile(r'[^\s",:!<>=*?]+')


class QueryError(ValueError):
    """A query that cannot be understood.

    Attributes:
        message: what is wrong and what to write instead, in one line.
        start: index in the query's text at which the mistake begins.
        end: index after the mistake.
    """

    def __init__(self, message: str, start: int, end: int) -> None:
        self.message: SafeText = clean(message, 240)
        self.start = start
        self.end = end
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Token:
    """A run of characters between spaces, with its quotes removed; or a part of one."""

    text: str
    shape: str
    """The text with `"` in place of each quoted character: an operator found here was typed without quotes."""
    places: tuple[int, ...]
    """The index in the line of each character, and the index after the token."""
    start: int
    """The index in the line at which the token begins, quotes included."""
    is_open: bool = False
    """Whether a quote is not closed."""

    @property
    def end(self) -> int:
        """The index in the line after the token."""
        return self.places[-1]

    def part(self, start: int, end: int | None = None) -> Token:
        """Return the characters from one index of `text` to another."""
        end = len(self.text) if end is None else end
        first = self.start if start == 0 else self.places[start - 1] + 1
        return Token(self.text[start:end], self.shape[start:end], self.places[start : end + 1], first, self.is_open)

    def parts(self, separator: str) -> Iterator[Token]:
        """Split the token at each separator that is not quoted."""
        start = 0
        while (end := self.shape.find(separator, start)) >= 0:
            yield self.part(start, end)
            start = end + len(separator)
        yield self.part(start)

    def error(self, message: str) -> QueryError:
        """Return an error that points at this token."""
        return QueryError(message, self.start, self.end)


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a line. A quote within quotes is doubled, as in CSV; a backslash has no special meaning."""
    letters: list[tuple[str, str, int]] = []
    start: int | None = None
    is_open, closed_at = False, -2
    for index, character in enumerate(text):
        if character == '"':
            if is_open:
                closed_at = index
            elif closed_at == index - 1:
                letters.append(('"', '"', index))
            is_open = not is_open
        elif is_open:
            letters.append((character, '"', index))
        elif not character.isspace():
            letters.append((character, character, index))
        elif start is not None:
            yield _token(letters, start, index, is_open=False)
            letters, start = [], None
            continue
        else:
            continue
        start = index if start is None else start
    if start is not None:
        yield _token(letters, start, len(text), is_open=is_open)


def quote_if_needed(text: str) -> str:
    """Return a text as it must be typed to be taken literally: in quotes if any character has a special meaning."""
    if _BARE.fullmatch(text) and ".." not in text and text.casefold() != "none":
        return text
    return quoted(text)


def normalize(text: str) -> str:
    """Return a text for comparison: case-folded, and accents in composed form (macOS file names decompose them)."""
    if text.isascii():
        return text.casefold()
    # Caseless matching by the Unicode standard decomposes before it folds. Composed again so that `?` is one letter.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def quoted(text: str) -> str:
    """Return a text in quotes."""
    return '"' + text.replace('"', '""') + '"'


def _token(letters: list[tuple[str, str, int]], start: int, end: int, *, is_open: bool) -> Token:
    text = "".join(character for character, _, _ in letters)
    shape = "".join(mark for _, mark, _ in letters)
    return Token(text, shape, (*(place for _, _, place in letters), end), start, is_open)
