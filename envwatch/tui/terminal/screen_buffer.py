"""The screen buffer: what a terminal should show against what it shows, and the shortest update between the two.

Owns where cells are and the escape sequences that draw them. It must not know Textual; `frame_writer.py` connects them.
"""

from __future__ import annotations

from rich.cells import get_character_cell_size

from envwatch.tui.terminal.cells import BLANK, PLAIN, VISIBLE_ON_BLANKS, Cell, Pen, blank_of, pen_change


def _blank_out(cells: list[Cell], x: int) -> tuple[int, int]:
    """Replace the wide character that covers `x` by blanks, as a terminal does when half of it is overwritten.

    Returns:
        The character's first column and the one after its last.
    """
    start, end = x, x + 1
    while start and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    cells[start:end] = [blank_of(cells[start][1])] * (end - start)
    return start, end


class _Output:
    """Builds an update: escape sequences, the cursor's position and its pen."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.parts: list[str] = []
        self.pen = PLAIN
        self.x: int | None = None
        """None where terminals disagree on the column."""
        self.y: int | None = None

    def move(self, x: int, y: int) -> None:
        """Move the cursor by the shortest sequence."""
        if (self.x, self.y) == (x, y):
            return
        sequences = [f"\x1b[{y + 1 if y else ''}{f';{x + 1}' if x else ''}H"]
        if self.y is not None and y >= self.y:
            down = "" if y == self.y else f"\x1b[{y - self.y if y > self.y + 1 else ''}B"
            if self.x is not None:
                right = x - self.x
                sequences.append(down + ("\b" * -right if right <= 0 else f"\x1b[{right if right > 1 else ''}C"))
            sequences.append(f"{down}\x1b[{x + 1 if x else ''}G")
        self.parts.append(min(sequences, key=len))
        self.x, self.y = x, y

    def set_pen(self, pen: Pen) -> None:
        if pen is not self.pen:
            self.parts.append(pen_change(self.pen, pen))
            self.pen = pen

    def write(self, cell: Cell) -> None:
        """Draw a cell at the cursor, with the others that its character covers."""
        text, pen = cell
        if text == " " and not pen.attributes:
            # On a blank only the background is visible, and attributes that draw without a character.
            if self.pen.background != pen.background or self.pen.attributes & VISIBLE_ON_BLANKS:
                self.set_pen(Pen(self.pen.attributes - VISIBLE_ON_BLANKS, self.pen.color, pen.background))
        else:
            self.set_pen(pen)
        self.parts.append(text)
        # Terminals disagree on the width of emoji and clusters, and on the column after the last cell of a line.
        is_certain = len(text) == 1 and get_character_cell_size(text) == 1 and self.x is not None
        self.x = self.x + 1 if is_certain and self.x is not None and self.x + 1 < self.width else None

    def takes_one_byte(self, cell: Cell) -> bool:
        """Whether one byte without a change of pen draws the cell."""
        text, pen = cell
        return len(text) == 1 and text.isascii() and pen == self.pen


class ScreenBuffer:
    """The cells of a terminal of some columns and lines."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._cells: list[list[Cell]] = [[BLANK] * width for _ in range(height)]
        """What the terminal should show."""
        self._displayed: list[list[Cell | None]] = []
        """What it shows; None for unknown."""
        self._dirty: dict[int, tuple[int, int]] = {}
        """By changed line, the first column that may differ and the one after the last."""
        self._cursor: tuple[int, int] | None = None
        self.invalidate()

    def invalidate(self) -> None:
        """Assume nothing about what the terminal shows: the next update draws every cell."""
        width, height = self.size
        self._displayed = [[None] * width for _ in range(height)]
        self._dirty = dict.fromkeys(range(height), (0, width))
        self._cursor = None

    def put(self, x: int, y: int, cells: list[Cell]) -> None:
        """Set the cells from column `x` of line `y` on, cut at the right edge."""
        width, height = self.size
        room = width - x
        if not 0 <= x < width or not 0 <= y < height:
            return
        if len(cells) > room:
            cells = cells.copy()
            _blank_out(cells, room)
            del cells[room:]
        line = self._cells[y]
        end = x + len(cells)
        if line[x:end] == cells:
            return
        start, stop = self._dirty.get(y, (x, end))
        for edge in (x, end):
            if edge < width and not line[edge][0]:
                first, after = _blank_out(line, edge)
                start, stop = min(start, first), max(stop, after)
        line[x:end] = cells
        self._dirty[y] = (min(start, x), max(stop, end))

    def update(self, cursor: tuple[int, int]) -> str:
        """Return what brings the terminal up to date with its cursor at (x, y), and assume that it is sent."""
        output = _Output(self.size[0])
        for y, (start, stop) in sorted(self._dirty.items()):
            self._draw_line(output, y, start, stop)
        self._dirty.clear()
        if not output.parts and cursor == self._cursor:
            return ""
        if output.pen != PLAIN:
            output.parts.append("\x1b[m")
        output.move(*cursor)
        self._cursor = cursor
        return "".join(output.parts)

    def _draw_line(self, output: _Output, y: int, start: int, stop: int) -> None:
        cells, displayed = self._cells[y], self._displayed[y]
        for x in range(start, stop):
            cell = cells[x]
            if cell == displayed[x] or not cell[0]:
                continue  # A cell without text is drawn by the wide character that covers it.
            gap = cells[output.x : x] if output.y == y and output.x is not None else []
            if 0 < len(gap) <= 3 and all(map(output.takes_one_byte, gap)):
                for unchanged in gap:  # Writing three cells again is shorter than a jump over them.
                    output.write(unchanged)
            output.move(x, y)
            if len(cell[0]) > 1 and x + 1 < len(cells) and not cells[x + 1][0]:
                # A terminal may draw the cluster narrow: clear what is beside it.
                output.write((" ", cell[1]))
                output.write((" ", cell[1]))
                output.move(x, y)
            output.write(cell)
        displayed[start:stop] = cells[start:stop]
