"""The shadow of a terminal: what it should show against what it does show, and the shortest way from one to the other.

Owns where cells stand and the escape sequences that draw them. It must not know Textual; `frames.py` brings the two
together.
"""

from __future__ import annotations

from rich.cells import get_character_cell_size

from envwatch.tui.terminal.cells import BLANK, PLAIN, SEEN_ON_A_BLANK, Cell, Pen, blank_of, pen_change


def _blank_out(cells: list[Cell], x: int) -> tuple[int, int]:
    """Replace the whole wide character that covers `x` by blanks, as a terminal does when half of it is overwritten.

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
            if self.pen.background != pen.background or self.pen.attributes & SEEN_ON_A_BLANK:
                self.set_pen(Pen(self.pen.attributes - SEEN_ON_A_BLANK, self.pen.color, pen.background))
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


class ScreenBuffer:
    """What a terminal should show, against what it does show.

    Args:
        width: Columns of the terminal.
        height: Lines of the terminal.
    """

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._wanted: list[list[Cell]] = [[BLANK] * width for _ in range(height)]
        self._shown: list[list[Cell | None]] = []
        self._dirty: dict[int, tuple[int, int]] = {}
        """For each line where something changed, the first column that may differ and the one after the last."""
        self._cursor: tuple[int, int] | None = None
        self.invalidate()

    def invalidate(self) -> None:
        """Take nothing for granted of what the terminal shows: the next update draws every cell."""
        width, height = self.size
        self._shown = [[None] * width for _ in range(height)]
        self._dirty = dict.fromkeys(range(height), (0, width))
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
        start, stop = self._dirty.get(y, (x, end))
        for edge in (x, end):
            if edge < width and not line[edge][0]:
                first, after = _blank_out(line, edge)
                start, stop = min(start, first), max(stop, after)
        line[x:end] = cells
        self._dirty[y] = (min(start, x), max(stop, end))

    def update(self, cursor: tuple[int, int]) -> str:
        """The sequences that make the terminal show what is wanted, and believed to be written from now on.

        Args:
            cursor: Column and line where the terminal's cursor must stand in the end.
        """
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
        wanted, shown = self._wanted[y], self._shown[y]
        for x in range(start, stop):
            cell = wanted[x]
            if cell == shown[x] or not cell[0]:
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
        shown[start:stop] = wanted[start:stop]
