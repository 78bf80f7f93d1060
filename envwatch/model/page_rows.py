r"""Splits a page of JSON into its rows without parsing them, where a JSON parser refuses the page as a whole.

One row can hold what no parser accepts: deep nesting, bytes that are not UTF-8, a number of 5,000 digits. Only brackets
outside of strings are counted here, so that such a row can be set aside alone. Works on bytes: JSON's syntax is ASCII,
and no byte of a longer UTF-8 sequence is. Time is linear in the size, without recursion.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# An unterminated string matches as well: otherwise the search would restart at each of its escaped quotes and read to
# the end of the page every time.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|([\[{]+)|([\]}]+)', re.DOTALL)
_SPACE: Final = rb"[ \t\r\n]*"
_ARRAY: Final = re.compile(_SPACE + rb":" + _SPACE + rb"\[")
_FIRST_ROW: Final = re.compile(_SPACE + rb"(?=\{)")
_NEXT_ROW: Final = re.compile(_SPACE + rb"," + _SPACE + rb"(?=\{)")
_LAST: Final = re.compile(_SPACE + rb"(?=\])")
_TEXT: Final = re.compile(_SPACE + rb":" + _SPACE + rb'("[^"\\]*(?:\\.[^"\\]*)*")', re.DOTALL)


class Pieces(NamedTuple):
    """A page that was split."""

    rows: list[bytes]
    """Each object of the array `connections`, from its opening bracket to its closing one."""
    rest: bytes
    """The page with that array empty."""


def split(page: bytes) -> Pieces | None:
    """Return the rows of a page, or None without a complete array of objects named `connections`.

    Neither the rows nor the rest of the page are validated.
    """
    start = next((array.end() for key in _members(page, b'"connections"') if (array := _ARRAY.match(page, key))), None)
    if start is None:
        return None
    rows = []
    end = start
    row = _FIRST_ROW.match(page, start)
    while row is not None:
        closed = _end_of(page, row.end())
        if closed is None:
            return None
        rows.append(page[row.end() : closed])
        end = closed
        row = _NEXT_ROW.match(page, end)
    last = _LAST.match(page, end)
    return Pieces(rows, page[:start] + page[last.end() :]) if last else None


def id_in(row: bytes) -> bytes | None:
    """Return the text of a row's `id` as it is written, with its quotes; None if the row has no such text."""
    texts = [text[1] for key in _members(row, b'"id"') if (text := _TEXT.match(row, key))]
    return texts[-1] if texts else None


def _members(text: bytes, name: bytes) -> Iterator[int]:
    """Yield the end of each key of that name that belongs to the outermost object."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if depth == 1 and token[0] == name:
            yield token.end()
        depth += _change(token)


def _end_of(text: bytes, start: int) -> int | None:
    """Return the end of the object that begins at `start`, or None if it is incomplete."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        change = _change(token)
        if depth + change <= 0 and change < 0:
            return token.start() + depth
        depth += change
    return None


def _change(token: re.Match[bytes]) -> int:
    """Return the change of nesting depth: positive for opening brackets, negative for closing ones, 0 for a string."""
    if token.lastindex is None:
        return 0
    brackets = token.end() - token.start()
    return brackets if token.lastindex == 1 else -brackets
