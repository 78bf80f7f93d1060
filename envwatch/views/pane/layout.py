"""Lays out the detail pane's labelled lines in rows.

Only a word, an argument or an id wider than the pane is broken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.model.text import EMPTY, SafeText, cells, clean, composed, fitted, shortened, sliced, words_of, wrapped
from envwatch.views.state_style import FAINT, KEY, TITLE, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LABEL_CELLS: Final = 9
"""The width of a label, with the gap behind."""

_CONTINUED: Final = clean(" \\")
"""End of a row after which POSIX shells continue the pasted command."""
_INDENT: Final = 2
_SEPARATOR: Final = "·"
_NOT_TYPEABLE: Final = clean("this terminal cannot show all of it")
"""Replaces a command that in ASCII would name another environment."""


class Fit(Enum):
    """How to fit a text wider than the room."""

    WORDS = auto()
    ENDS = auto()
    """Shorten in the middle, as for an id."""
    END = auto()
    """Keep the end, as for a directory."""
    COMMAND = auto()
    """Wrap between arguments, with continuation marks for POSIX shells."""
    WINDOWS_COMMAND = auto()
    """Wrap between arguments: no mark works in all shells of Windows."""


class DetailLine(NamedTuple):
    """A label and a text."""

    label: str
    text: SafeText
    style: str = ""
    depth: int = 0
    """The line belongs to the last line above with a smaller depth."""
    fit: Fit = Fit.WORDS
    letter: str = ""
    """The key that copies the text, after `y`."""


Row: TypeAlias = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class PaneLayout:
    """The room for the rows, and the glyphs."""

    width: int
    is_ascii: bool = False
    ellipsis: str = "…"
    rule: str = "─"

    def title(self, text: SafeText) -> list[Row]:
        """Return a name in at most two rows."""
        name = shortened(text, 2 * self.width, keep="ends", ellipsis=self.ellipsis)
        return [(Piece(row, TITLE),) for row in wrapped(name, self.width)]

    def section(self, title: str) -> Row:
        """Return the rule that begins a section: `── about ─────`."""
        head = shortened(composed(f"{self.rule * 2} {title} "), self.width, ellipsis=self.ellipsis)
        return (Piece(composed(head + self.rule * (self.width - cells(head))), FAINT),)

    def sentence(self, pieces: Iterable[Piece], indent: int = 0) -> list[Row]:
        """Return pieces wrapped into rows, without separators at a row's begin or end."""
        width = self.width - indent
        rows: list[list[Piece]] = [[]]
        room = width
        for word, word_cells in _words(pieces, width):
            needed = word_cells + bool(rows[-1])
            if needed > room and rows[-1]:
                if rows[-1][-1].text == _SEPARATOR:
                    rows[-1].pop()
                rows.append([])
                room, needed = width, word_cells
            if rows[-1] or word.text != _SEPARATOR:
                rows[-1].append(word)
                room -= needed
        margin = [Piece(clean(" " * indent))] if indent else []
        return [(*margin, *_joined(row)) for row in rows if row]

    @lru_cache(512)  # noqa: B019  a layout is a value: equal ones share the rows
    def rows(self, line: DetailLine) -> tuple[Row, ...]:
        """Return the rows of a labelled line."""
        hint = f"y {line.letter}" if line.letter else ""
        label = composed(f"{'  ' * line.depth}{line.label}")
        beside = self.width - LABEL_CELLS - (len(hint) + 2 if hint else 0)
        body = self._beside(line, beside)
        indent = LABEL_CELLS
        if is_below := body is None:
            indent = _INDENT
            rows = self._command(line, self.width - indent, beside)
            if is_below := cells(rows[0]) > beside:
                rows = self._command(line, self.width - indent, self.width - indent)
            body = [part for row in rows for part in _cut(row, self.width - indent)]
        if not is_below and cells(label) < LABEL_CELLS:
            head = [Piece(fitted(label, LABEL_CELLS), FAINT), Piece(body.pop(0), line.style)]
        else:
            room = self.width - (len(hint) + 1 if hint else 0)
            head = [Piece(shortened(label, room, keep="ends", ellipsis=self.ellipsis), FAINT)]
        if hint:
            gap = self.width - sum(cells(piece.text) for piece in head) - len(hint)
            head += [Piece(clean(" " * gap)), Piece(clean(hint), KEY)]
        margin = Piece(clean(" " * indent))
        return (tuple(head), *((margin, Piece(row, line.style)) for row in body if row))

    def _beside(self, line: DetailLine, room: int) -> list[SafeText] | None:
        match line.fit:
            case Fit.WORDS if cells(line.text) <= room:
                return [line.text]
            case Fit.WORDS:
                sentence = replace(self, width=room).sentence([Piece(line.text)])
                return [composed("".join(piece.text for piece in row)) for row in sentence] or [EMPTY]
            case Fit.ENDS:
                return [shortened(line.text, room, keep="ends", ellipsis=self.ellipsis)]
            case Fit.END:
                return [shortened(line.text, room, keep="end", ellipsis=self.ellipsis)]
            case _ if self.is_ascii and not line.text.isascii():
                return wrapped(_NOT_TYPEABLE, room)
            case _:
                rows = self._command(line, room, room)
                return rows if max(map(cells, rows)) <= room else None

    def _command(self, line: DetailLine, width: int, first: int) -> list[SafeText]:
        return command_rows(line.text, width, _CONTINUED if line.fit is Fit.COMMAND else EMPTY, first=first)


_UNBROKEN: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:\S+|[0-9][0-9.,]* (?:[KMGT]iB|%|m?s)(?!\w)|[0-9]+[dhm] [0-9]+[hms](?!\w)|\S+",
    re.ASCII,
)


def _words(pieces: Iterable[Piece], width: int) -> Iterator[tuple[Piece, int]]:
    """Yield words with their cells; a word wider than a row is broken."""
    for text, style in pieces:
        for match in _UNBROKEN.finditer(text):
            part = sliced(text, *match.span())
            taken = cells(part)
            if taken <= width:
                yield Piece(part, style), taken
                continue
            for row in wrapped(part, width):
                yield from ((Piece(word, style), cells(word)) for word in words_of(row))


def _joined(words: Sequence[Piece]) -> Row:
    pieces: list[Piece] = []
    for style, group in groupby(words, key=lambda word: word.style):
        texts = [word.text for word in group]
        pieces.append(Piece(composed(" ".join(["", *texts] if pieces else texts)), style))
    return tuple(pieces)


def _cut(text: SafeText, width: int) -> Iterator[SafeText]:
    start = 0
    for place in range(len(text)):
        if cells(text[start : place + 1]) > width:
            yield sliced(text, start, place)
            start = place
    yield sliced(text, start)


def command_rows(command: SafeText, width: int, continued: SafeText, *, first: int) -> list[SafeText]:
    """Return a command in rows of at most `width` cells, broken between arguments.

    `first` is the first row's room in cells; `continued` ends every row but the last.
    """
    if cells(command) <= first:
        return [command]
    name, *others = shell_arguments(command)
    rows = [name]
    for left, argument in enumerate(others, start=1 - len(others)):
        row = composed(f"{rows[-1]} {argument}")
        if cells(row) + (len(continued) if left else 0) <= (first if len(rows) == 1 else width):
            rows[-1] = row
        else:
            rows.append(argument)
    return [*(composed(row + continued) for row in rows[:-1]), rows[-1]]


_ARGUMENT: Final = re.compile(
    r"""\#.* | (?: \\.? | '[^']*'? | "(?:\\.|[^"\\])*\\?"? | (?<=[;|&()<>])\#.* | [^\ ] )+""", re.DOTALL | re.VERBOSE
)
"""`#` begins a comment at the start of a word and after an operator."""


def shell_arguments(command: SafeText) -> list[SafeText]:
    """Split a command at spaces outside quotes, where a POSIX shell allows a line break.

    A comment stays whole, because a second row would be a command.
    """
    return [sliced(command, *match.span()) for match in _ARGUMENT.finditer(command)] or [command]
