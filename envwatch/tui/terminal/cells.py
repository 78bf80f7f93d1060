"""Terminal cells: what is visible of styled text, one value per column.

Owns pens (how a cell is drawn), the shortest change from one to another, and cells. It must not know where on a screen
they are, nor anything of Textual.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, get_character_cell_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.color import Color, ColorSystem
    from rich.segment import Segment
    from rich.style import Style

_SGR_OF_ATTRIBUTE = {
    name: str(code)
    for code, name in (
        *enumerate(("bold", "dim", "italic", "underline", "blink", "blink2", "reverse", "conceal", "strike"), 1),
        *((21, "underline2"), (51, "frame"), (52, "encircle"), (53, "overline")),
    )
}
_SGR_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "6": "25", "7": "27", "8": "28", "9": "29"}
"""The code that ends an attribute on every terminal; others end by a full reset."""

VISIBLE_ON_BLANKS = frozenset({"4", "7", "9", "21", "51", "52", "53"})
"""Lines, frames and reverse: the attributes that show without a character."""

_JOINERS = "\u200d\ufe0f"
"""Zero-width joiner and emoji presentation: they change the width of their neighbours."""


class Pen(NamedTuple):
    """How a cell is drawn, as SGR parameters. Links and metadata are invisible, so they are no part of it."""

    attributes: frozenset[str]
    color: str
    """Empty for the terminal's default, as `background`."""
    background: str


Cell = tuple[str, Pen]
"""A character with its combining marks; the further cells of a wide character have no text."""

PLAIN = Pen(frozenset(), "", "")
BLANK: Cell = (" ", PLAIN)


def _sgr_of_color(color: Color | None, color_system: ColorSystem | None, *, foreground: bool) -> str:
    if color is None or color.is_default or color_system is None:
        return ""
    return ";".join(color.downgrade(color_system).get_ansi_codes(foreground))


@lru_cache(maxsize=2048)
def pen_of(style: Style | None, color_system: ColorSystem | None) -> Pen:
    """Return the pen that draws a style; without a colour system, the pen has no colours."""
    if style is None:
        return PLAIN
    return Pen(
        frozenset(sgr for name, sgr in _SGR_OF_ATTRIBUTE.items() if getattr(style, name)),
        _sgr_of_color(style.color, color_system, foreground=True),
        _sgr_of_color(style.bgcolor, color_system, foreground=False),
    )


@lru_cache(maxsize=2048)
def pen_change(before: Pen, after: Pen) -> str:
    """Return the shortest SGR sequence from one pen to another; empty if they are equal."""
    if before == after:
        return ""
    ordered = sorted(after.attributes, key=int)
    # An empty first parameter means 0, the reset; after PLAIN there is nothing to reset.
    full = [*([] if before == PLAIN else [""]), *ordered, *filter(None, (after.color, after.background))]
    sequences = [f"\x1b[{';'.join(full)}m"]
    if (before.attributes | after.attributes) <= _SGR_OFF.keys():
        ended = {_SGR_OFF[attribute] for attribute in before.attributes - after.attributes}
        # Bold and dim share their end, so the one that stays is set again.
        steps = [*sorted(ended), *(a for a in ordered if a not in before.attributes or _SGR_OFF[a] in ended)]
        if before.color != after.color:
            steps.append(after.color or "39")
        if before.background != after.background:
            steps.append(after.background or "49")
        sequences.append(f"\x1b[{';'.join(steps)}m")
    return min(sequences, key=len)


def blank_of(pen: Pen) -> Cell:
    """Return a space with only what is visible on it, so that blanks which look alike are equal."""
    return " ", pen if pen.attributes & VISIBLE_ON_BLANKS else Pen(frozenset(), "", pen.background)


class _SharedCells(dict[str, Cell]):
    """The cells of one pen by character, each created once, as many segments are kept in memory."""

    def __init__(self, pen: Pen) -> None:
        super().__init__({" ": blank_of(pen)})
        self._pen = pen

    def __missing__(self, character: str) -> Cell:
        cell = self[character] = (character, self._pen)
        return cell


_shared_cells = lru_cache(maxsize=128)(_SharedCells)
"""To be used for single printable ASCII characters only, which are few."""


def _widths_of(text: str) -> list[int]:
    """Return the cells that each character adds."""
    if any(joiner in text for joiner in _JOINERS):
        totals = [cell_len(text[:length]) for length in range(len(text) + 1)]
        return [after - before for before, after in pairwise(totals)]
    return [get_character_cell_size(character) for character in text]


@lru_cache(maxsize=1024)
def _cells_of_segment(text: str, style: Style | None, color_system: ColorSystem | None) -> tuple[str, Sequence[Cell]]:
    """Return the marks that belong to the character before the segment, and the segment's own cells."""
    pen = pen_of(style, color_system)
    shared = _shared_cells(pen)
    if text.isascii() and text.isprintable():
        return "", tuple([shared[character] for character in text])
    marks = ""
    cells: list[Cell] = []
    for character, width in zip(text, _widths_of(text), strict=True):
        if character < " " or "\x7f" <= character < "\xa0":
            continue  # A control character. Text is cleaned where it comes in; this is the last line of defence.
        if width and character not in _JOINERS:
            cells.append((character, pen))
            cells.extend([("", pen)] * (width - 1))
        elif cells:
            _join(cells, character)
            cells.extend([("", pen)] * width)
        else:
            marks += character
    return marks, tuple([shared[cell[0]] if cell[0].isascii() else cell for cell in cells])


def _join(cells: list[Cell], marks: str) -> None:
    """Add marks to the last character."""
    head = len(cells) - 1
    while head and not cells[head][0]:
        head -= 1
    text, pen = cells[head]
    cells[head] = (text + marks, pen)


def cells_of(segments: Iterable[Segment], color_system: ColorSystem | None, limit: int | None = None) -> list[Cell]:
    """Return the cells of a line of segments, without control segments and control characters.

    After `limit` cells, further segments may be left out.
    """
    cells: list[Cell] = []
    for text, style, control in segments:
        if control:
            continue
        marks, own = _cells_of_segment(text, style, color_system)
        if marks and cells:
            _join(cells, marks)
        if limit is not None and len(cells) >= limit:
            break
        cells.extend(own)
    return cells
