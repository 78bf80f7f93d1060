"""Terminal cells: what stands on a screen, and the shortest escape sequences from one screen to the next.

Owns pens (how a cell is drawn), cells, and the shadow of a terminal: what it should show against what it does show.
It must not know Textual's app, driver or compositor; `frames.py` brings those together with it.
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

_SEEN_ON_A_BLANK = frozenset({"4", "7", "9", "21", "51", "52", "53"})
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


def _blank_of(pen: Pen) -> Cell:
    """A space: of its pen only what can be seen on it, so that blanks which look alike are equal."""
    return " ", pen if pen.attributes & _SEEN_ON_A_BLANK else Pen(frozenset(), "", pen.background)


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
    blank = _blank_of(pen)
    if text.isascii() and text.isprintable():
        return "", tuple([blank if character == " " else (character, pen) for character in text])
    marks = ""
    cells: list[Cell] = []
    for character, width in zip(text, _widths_of(text), strict=True):
        if _is_control(character):
            continue  # Text is cleaned where it comes in; this is the last gate before the terminal.
        if width and character not in _JOINERS:
            cells.append(blank if character == " " else (character, pen))
            cells.extend([("", pen)] * (width - 1))
        elif cells:
            _join(cells, character)
            cells.extend([("", pen)] * width)
        else:
            marks += character
    return marks, tuple(cells)


def _join(cells: list[Cell], marks: str) -> None:
    """Add marks to the last character."""
    head = len(cells) - 1
    while head and not cells[head][0]:
        head -= 1
    text, pen = cells[head]
    cells[head] = (text + marks, pen)


def cells_of(segments: Iterable[Segment], color_system: ColorSystem) -> list[Cell]:
    """The cells that a line of segments covers. Control segments and control characters are left out."""
    cells: list[Cell] = []
    for text, style, control in segments:
        if control:
            continue
        marks, own = _cells_of_segment(text, style, color_system)
        if marks and cells:
            _join(cells, marks)
        cells.extend(own)
    return cells


def _blank_out(cells: list[Cell], x: int) -> None:
    """Replace the whole wide character that covers `x` by blanks, as a terminal does when half of it is overwritten."""
    start, end = x, x + 1
    while start and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    cells[start:end] = [_blank_of(cells[start][1])] * (end - start)


class _Output:
    """Escape sequences in the making: where the cursor stands, how it writes."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.parts: list[str] = []
        self.pen = PLAIN
        self.x: int | None = None
        """None where terminals disagree on the column."""
        self.y: int | None = None

    def move(self, x: int, y: int) -> None:
        """Put the cursor on a cell by the shortest way."""
        if (self.x, self.y) == (x, y):
            return
        ways = [f"\x1b[{y + 1 if y else ''}{f';{x + 1}' if x else ''}H"]
        if self.y is not None and y >= self.y:
            down = "" if y == self.y else f"\x1b[{y - self.y if y > self.y + 1 else ''}B"
            if self.x is not None:
                right = x - self.x
                ways.append(down + ("\b" * -right if right <= 0 else f"\x1b[{right if right > 1 else ''}C"))
            ways.append(f"{down}\x1b[{x + 1 if x else ''}G")
        self.parts.append(min(ways, key=len))
        self.x, self.y = x, y

    def set_pen(self, pen: Pen) -> None:
        """Change how the next cells are drawn."""
        if pen is not self.pen:
            self.parts.append(pen_change(self.pen, pen))
            self.pen = pen

    def write(self, cell: Cell) -> None:
        """Draw one cell, with the others that its character covers, where the cursor stands."""
        text, pen = cell
        if text == " " and not pen.attributes:
            # A blank shows no colour and no weight: only its background must be right, and nothing may be drawn on it.
            if self.pen.background != pen.background or self.pen.attributes & _SEEN_ON_A_BLANK:
                self.set_pen(Pen(self.pen.attributes - _SEEN_ON_A_BLANK, self.pen.color, pen.background))
        else:
            self.set_pen(pen)
        self.parts.append(text)
        # Terminals disagree on the width of emoji and clusters, and on the column after the last cell of a line.
        trusted = len(text) == 1 and get_character_cell_size(text) == 1 and self.x is not None
        self.x = self.x + 1 if trusted and self.x is not None and self.x + 1 < self.width else None

    def would_draw(self, cell: Cell) -> bool:
        """Whether one byte without a change of pen draws the cell."""
        text, pen = cell
        return len(text) == 1 and text.isascii() and pen == self.pen


class Shadow:
    """What a terminal should show, against what it does show.

    Args:
        width: Columns of the terminal.
        height: Lines of the terminal.
    """

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._wanted: list[list[Cell]] = [[BLANK] * width for _ in range(height)]
        self._shown: list[list[Cell | None]] = []
        self._dirty: set[int] = set()
        self._cursor: tuple[int, int] | None = None
        self.forget()

    def forget(self) -> None:
        """Take nothing for granted of what the terminal shows: the next update draws every cell."""
        width, height = self.size
        self._shown = [[None] * width for _ in range(height)]
        self._dirty = set(range(height))
        self._cursor = None

    def put(self, x: int, y: int, cells: list[Cell]) -> None:
        """Want these cells from column `x` of line `y` on; what reaches over the edges is cut off."""
        width, height = self.size
        room = width - x
        if not 0 <= x < width or not 0 <= y < height:
            return
        if len(cells) > room:
            cells = cells.copy()
            _blank_out(cells, room)
            del cells[room:]
        line = self._wanted[y]
        end = x + len(cells)
        if line[x:end] == cells:
            return
        for edge in (x, end):
            if edge < width and not line[edge][0]:
                _blank_out(line, edge)
        line[x:end] = cells
        self._dirty.add(y)

    def update(self, cursor: tuple[int, int]) -> str:
        """The sequences that make the terminal show what is wanted, and believed to be written from now on.

        Args:
            cursor: Column and line where the terminal's cursor must stand in the end.
        """
        output = _Output(self.size[0])
        for y in sorted(self._dirty):
            self._draw_line(output, y)
        self._dirty.clear()
        if not output.parts and cursor == self._cursor:
            return ""
        if output.pen != PLAIN:
            output.parts.append("\x1b[m")
        output.move(*cursor)
        self._cursor = cursor
        return "".join(output.parts)

    def _draw_line(self, output: _Output, y: int) -> None:
        wanted, shown = self._wanted[y], self._shown[y]
        for x, (cell, old) in enumerate(zip(wanted, shown, strict=True)):
            if cell is old or cell == old or not cell[0]:
                continue  # A cell without text is drawn by the wide character that covers it.
            gap = wanted[output.x : x] if output.y == y and output.x is not None else []
            if 0 < len(gap) <= 3 and all(output.would_draw(passed) for passed in gap):
                for passed in gap:  # Writing three cells again is shorter than a jump over them.
                    output.write(passed)
            output.move(x, y)
            if len(cell[0]) > 1 and x + 1 < len(wanted) and not wanted[x + 1][0]:
                # A terminal may take the cluster for narrow: leave nothing old beside it.
                output.write((" ", cell[1]))
                output.write((" ", cell[1]))
                output.move(x, y)
            output.write(cell)
        shown[:] = wanted
