"""Terminal cells: what can be seen of styled text, one value for each column.

Owns pens (how a cell is drawn), the shortest change from one to another, and cells. It must not know where on a screen
they stand, nor anything of Textual.
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
    "bold": "1",
    "dim": "2",
    "italic": "3",
    "underline": "4",
    "blink": "5",
    "blink2": "6",
    "reverse": "7",
    "conceal": "8",
    "strike": "9",
    "underline2": "21",
    "frame": "51",
    "encircle": "52",
    "overline": "53",
}
_SGR_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "6": "25", "7": "27", "8": "28", "9": "29"}
"""What ends an attribute on every terminal; the others are ended by a full reset."""

SEEN_ON_A_BLANK = frozenset({"4", "7", "9", "21", "51", "52", "53"})
"""Lines, frames and reverse: the attributes that show where there is no character."""

_JOINERS = "\u200d\ufe0f"
"""Zero-width joiner and emoji presentation: they change the width of what stands around them."""


class Pen(NamedTuple):
    """How a cell is drawn, as SGR parameters. Links and metadata cannot be seen, so they are no part of it."""

    attributes: frozenset[str]
    color: str
    """Empty for the terminal's default."""
    background: str
    """Empty for the terminal's default."""


Cell = tuple[str, Pen]
"""One character with its combining marks; the cells that a wide character covers beyond its first hold no text."""

PLAIN = Pen(frozenset(), "", "")
BLANK: Cell = (" ", PLAIN)


def _sgr_of_color(color: Color | None, color_system: ColorSystem, *, foreground: bool) -> str:
    if color is None or color.is_default:
        return ""
    return ";".join(color.downgrade(color_system).get_ansi_codes(foreground))


@lru_cache(maxsize=2048)
def pen_of(style: Style | None, color_system: ColorSystem) -> Pen:
    """The pen that draws a style with the colours that the terminal has."""
    if style is None:
        return PLAIN
    return Pen(
        frozenset(sgr for name, sgr in _SGR_OF_ATTRIBUTE.items() if getattr(style, name)),
        _sgr_of_color(style.color, color_system, foreground=True),
        _sgr_of_color(style.bgcolor, color_system, foreground=False),
    )


@lru_cache(maxsize=2048)
def pen_change(before: Pen, after: Pen) -> str:
    """The shortest SGR sequence from one pen to another; empty if they are equal."""
    if before == after:
        return ""
    ordered = sorted(after.attributes, key=int)
    # An empty first parameter is 0, the reset; there is nothing to reset after PLAIN.
    whole = [*([] if before == PLAIN else [""]), *ordered, *filter(None, (after.color, after.background))]
    sequences = [f"\x1b[{';'.join(whole)}m"]
    if (before.attributes | after.attributes) <= _SGR_OFF.keys():
        ended = {_SGR_OFF[attribute] for attribute in before.attributes - after.attributes}
        # Bold and dim share their end, so the one that stays is set again.
        begun = [a for a in ordered if a not in before.attributes or _SGR_OFF[a] in ended]
        steps = [*sorted(ended), *begun]
        if before.color != after.color:
            steps.append(after.color or "39")
        if before.background != after.background:
            steps.append(after.background or "49")
        sequences.append(f"\x1b[{';'.join(steps)}m")
    return min(sequences, key=len)


def blank_of(pen: Pen) -> Cell:
    """A space: of its pen only what can be seen on it, so that blanks which look alike are equal."""
    return " ", pen if pen.attributes & SEEN_ON_A_BLANK else Pen(frozenset(), "", pen.background)


class _SharedCells(dict[str, Cell]):
    """The cells of one pen by their text, each made once, so that remembered segments share them."""

    def __init__(self, pen: Pen) -> None:
        super().__init__({" ": blank_of(pen)})
        self._pen = pen

    def __missing__(self, character: str) -> Cell:
        cell = self[character] = (character, self._pen)
        return cell


@lru_cache(maxsize=128)
def _shared_cells(pen: Pen) -> _SharedCells:
    """The shared cells of a pen; to be asked only for single printable ASCII characters, of which there are few."""
    return _SharedCells(pen)


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character < "\xa0"


def _widths_of(text: str) -> list[int]:
    """The cells that each character adds."""
    if any(joiner in text for joiner in _JOINERS):
        totals = [cell_len(text[:length]) for length in range(len(text) + 1)]
        return [after - before for before, after in pairwise(totals)]
    return [get_character_cell_size(character) for character in text]


@lru_cache(maxsize=1024)
def _cells_of_segment(text: str, style: Style | None, color_system: ColorSystem) -> tuple[str, Sequence[Cell]]:
    """The marks that belong to the character before the segment, and the segment's own cells."""
    pen = pen_of(style, color_system)
    shared = _shared_cells(pen)
    if text.isascii() and text.isprintable():
        return "", tuple([shared[character] for character in text])
    glyphs = ""
    cells: list[Cell] = []
    for character, width in zip(text, _widths_of(text), strict=True):
        if _is_control(character):
            continue  # Text is cleaned where it comes in; this is the last gate before the terminal.
        if width and character not in _JOINERS:
            cells.append((character, pen))
            cells.extend([("", pen)] * (width - 1))
        elif cells:
            _join(cells, character)
            cells.extend([("", pen)] * width)
        else:
            glyphs += character
    return glyphs, tuple([shared[cell[0]] if cell[0].isascii() else cell for cell in cells])


def _join(cells: list[Cell], glyphs: str) -> None:
    """Add marks to the last character."""
    head = len(cells) - 1
    while head and not cells[head][0]:
        head -= 1
    text, pen = cells[head]
    cells[head] = (text + glyphs, pen)


def cells_of(segments: Iterable[Segment], color_system: ColorSystem, needed: int | None = None) -> list[Cell]:
    """The cells that a line of segments covers. Control segments and control characters are left out.

    Args:
        segments: The line, or a part of one.
        color_system: The colours that the terminal has.
        needed: Cells after which whole segments may be left out; None for all.
    """
    cells: list[Cell] = []
    for text, style, control in segments:
        if control:
            continue
        glyphs, own = _cells_of_segment(text, style, color_system)
        if glyphs and cells:
            _join(cells, glyphs)
        if needed is not None and len(cells) >= needed:
            break
        cells.extend(own)
    return cells
