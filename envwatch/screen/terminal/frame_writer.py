"""Frames for slow links: only changed cells, and nothing during a backlog.

Textual sends whole regions, and a stalled link blocks the dashboard.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from rich.cells import cell_len, get_character_cell_size
from rich.color import Color, ColorSystem
from rich.console import COLOR_SYSTEMS
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.geometry import Size

from envwatch.screen.themes import in_16_colours

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.segment import Segment
    from rich.style import Style
    from textual.app import App
    from textual.driver import Driver
    from textual.drivers._writer_thread import WriterThread
    from textual.strip import Strip
    from textual.timer import Timer


_BACKLOG_LIMIT: Final = 800
"""Characters that may wait for a frame, about three ticks of ages.

Textual's queue blocks at 30 writes, but 17 short writes wait at the start."""

_RETRY_S: Final = 0.1

_SYNC_FROM: Final = 1_000
"""Characters of a synchronized frame; shorter frames arrive in a single packet."""


Patch: TypeAlias = "tuple[int, int, Strip, int]"


def frame_of(update: object) -> tuple[Size, list[Patch]] | None:
    """Return screen size and patches; None if Textual must draw the update."""
    patches: list[Patch] = []
    if isinstance(update, ChopsUpdate):
        # `chops` has strips by first column (None if not rendered); `chop_ends` has end columns.
        # A strip cropped to the span could lose half of a wide character.
        for y, start, stop in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is not None and x < stop and end > start:
                    patches.append((x, y, strip, min(stop, end) - x))
        return Size(max((ends[-1] for ends in update.chop_ends), default=0), len(update.chops)), patches
    if isinstance(update, LayoutUpdate):
        region = update.region
        for y, line in enumerate(update.strips, region.y):
            x = region.x
            for strip in filter(None, line):
                patches.append((x, y, strip, strip.cell_length))
                x += strip.cell_length
        return Size(region.right, region.bottom), patches
    return None


def _writer_of(driver: Driver | None) -> WriterThread | None:
    """Return the writer thread, which changes when the driver takes the terminal."""
    return driver._writer_thread if isinstance(driver, LinuxDriver) else None


def _backlog_of(driver: Driver | None) -> int:
    if (writer := _writer_of(driver)) is None:
        return 0
    queue = writer._queue
    with queue.mutex:
        return sum(len(text) for text in queue.queue if text)


class FrameWriter:
    """Draws an app's frames on the terminal."""

    def __init__(self, app: App[Any], *, has_colours: bool = True) -> None:
        self._app = app
        self._has_colours = has_colours
        self._buffer = ScreenBuffer(0, 0)
        self._writer: object = None
        self._retry_timer: Timer | None = None
        self._size: Size | None = None

    def draw(self, update: object) -> bool:
        """Draw an update, or return False to leave the update to Textual."""
        app = self._app
        if update is None or app._batch_count or not app._running or app._closed:
            return False
        is_foreign = app.is_headless or app.is_inline or app.is_web or _writer_of(app._driver) is None
        frame = None if is_foreign else frame_of(update)
        if frame is None:
            self._buffer.invalidate()
            return False
        size, patches = frame
        if size != self._buffer.size:
            self._buffer = ScreenBuffer(*size)
        known = COLOR_SYSTEMS.get(app.console.color_system or "", ColorSystem.TRUECOLOR)
        color_system = known if self._has_colours else None
        for x, y, strip, width in patches:
            self._buffer.put(x, y, cells_of(strip, color_system, width))
            # A whole line's cache is a reference cycle until the next full collection.
            strip._divide_cache.clear()
        self.send_difference()
        return True

    def resize(self, event: Resize) -> None:
        """Forget the copy: the terminal may have reflowed or cut lines."""
        is_in_band = event.pixel_size is not None
        # Terminals repeat an in-band size when reporting starts; a signal never does.
        if event.size != self._size or not is_in_band:
            self._buffer.invalidate()
            if event.size == self._buffer.size:
                self.send_difference()
        self._size = event.size
        if _writer_of(self._app._driver) is not None and not is_in_band:
            # If a signal interrupts another signal's handling, the older size arrives last.
            size = Size(*get_terminal_size())
            if event.size != size:
                self._app.post_message(Resize(size, size))

    def send_difference(self) -> None:
        """Send the changed cells; retry later during a backlog."""
        app, driver = self._app, self._app._driver
        if driver is None or not app._running or app._closed or not all(self._buffer.size):
            return
        if (writer := _writer_of(driver)) is not self._writer:
            self._writer = writer
            self._buffer.invalidate()
        if _backlog_of(driver) > _BACKLOG_LIMIT:
            if self._retry_timer is None:
                self._retry_timer = app.set_timer(_RETRY_S, self._retry)
            return
        cursor = Size(*self._buffer.size).clamp_offset(app.cursor_position)
        if sequence := self._buffer.update(cursor):
            if app._sync_available and len(sequence) >= _SYNC_FROM:
                sequence = f"\x1b[?2026h{sequence}\x1b[?2026l"
            driver.write(sequence)
            driver.flush()

    def _retry(self) -> None:
        self._retry_timer = None
        self.send_difference()


_SGR_OF_ATTRIBUTE = {
    name: str(code)
    for code, name in (
        *enumerate(("bold", "dim", "italic", "underline", "blink", "blink2", "reverse", "conceal", "strike"), 1),
        *((21, "underline2"), (51, "frame"), (52, "encircle"), (53, "overline")),
    )
}
_SGR_OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "6": "25", "7": "27", "8": "28", "9": "29"}
"""End codes; attributes without an end code need a full reset."""

VISIBLE_ON_BLANKS = frozenset({"4", "7", "9", "21", "51", "52", "53"})

_JOINERS = "\u200d\ufe0f"
"""Zero-width joiner and emoji presentation change the width of neighbours."""


class Pen(NamedTuple):
    """A cell's look as SGR parameters."""

    attributes: frozenset[str]
    color: str
    """Empty for the terminal's default."""
    background: str


Cell = tuple[str, Pen]
"""A character with combining marks, and a pen; no text behind a wide character."""

PLAIN = Pen(frozenset(), "", "")
BLANK: Cell = (" ", PLAIN)


def _sgr_of_color(color: Color | None, color_system: ColorSystem | None, *, foreground: bool) -> str:
    if color is None or color.is_default or color_system is None:
        return ""
    return ";".join(color.downgrade(color_system).get_ansi_codes(foreground))


@lru_cache(maxsize=2048)
def pen_of(style: Style | None, color_system: ColorSystem | None) -> Pen:
    """Return a style's pen."""
    if style is None:
        return PLAIN
    if color_system is ColorSystem.STANDARD:
        style = in_16_colours(style)
    return Pen(
        frozenset(sgr for name, sgr in _SGR_OF_ATTRIBUTE.items() if getattr(style, name)),
        _sgr_of_color(style.color, color_system, foreground=True),
        _sgr_of_color(style.bgcolor, color_system, foreground=False),
    )


@lru_cache(maxsize=2048)
def pen_change(before: Pen, after: Pen) -> str:
    """Return the shortest SGR sequence."""
    if before == after:
        return ""
    ordered = sorted(after.attributes, key=int)
    # An empty first parameter is the reset.
    full = [*([] if before == PLAIN else [""]), *ordered, *filter(None, (after.color, after.background))]
    sequences = [f"\x1b[{';'.join(full)}m"]
    if (before.attributes | after.attributes) <= _SGR_OFF.keys():
        ended = {_SGR_OFF[attribute] for attribute in before.attributes - after.attributes}
        # Bold and dim share an end code: the remaining attribute is set again.
        steps = [*sorted(ended), *(a for a in ordered if a not in before.attributes or _SGR_OFF[a] in ended)]
        if before.color != after.color:
            steps.append(after.color or "39")
        if before.background != after.background:
            steps.append(after.background or "49")
        sequences.append(f"\x1b[{';'.join(steps)}m")
    return min(sequences, key=len)


def blank_of(pen: Pen) -> Cell:
    """Return a space with the visible parts only, so that equal looks are equal cells."""
    return " ", pen if pen.attributes & VISIBLE_ON_BLANKS else Pen(frozenset(), "", pen.background)


@lru_cache(maxsize=128)
def _shared_cells(pen: Pen) -> dict[str, Cell]:
    return {character: (character, pen) for character in ("", *map(chr, range(0x21, 0x7F)))} | {" ": blank_of(pen)}


def _widths_of(text: str) -> list[int]:
    if any(joiner in text for joiner in _JOINERS):
        totals = [cell_len(text[:length]) for length in range(len(text) + 1)]
        return [after - before for before, after in pairwise(totals)]
    return [get_character_cell_size(character) for character in text]


@lru_cache(maxsize=1024)
def _cells_of_segment(text: str, style: Style | None, color_system: ColorSystem | None) -> tuple[str, Sequence[Cell]]:
    pen = pen_of(style, color_system)
    shared = _shared_cells(pen)
    if text.isascii() and text.isprintable():
        return "", tuple([shared[character] for character in text])
    marks = ""
    cells: list[Cell] = []
    for character, width in zip(text, _widths_of(text), strict=True):
        if character < " " or "\x7f" <= character < "\xa0":
            continue  # Texts are cleaned on arrival; this is the last defence.
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
    head = len(cells) - 1
    while head and not cells[head][0]:
        head -= 1
    text, pen = cells[head]
    cells[head] = (text + marks, pen)


def cells_of(segments: Iterable[Segment], color_system: ColorSystem | None, limit: int | None = None) -> list[Cell]:
    """Return the cells of segments without control characters; after `limit` cells, segments may be left out."""
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


def _blank_out(cells: list[Cell], x: int) -> tuple[int, int]:
    """Blank the wide character over `x`, as terminals do on a half overwrite; return start and end (exclusive)."""
    start, end = x, x + 1
    while start and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    cells[start:end] = [blank_of(cells[start][1])] * (end - start)
    return start, end


class _Output:
    def __init__(self, width: int) -> None:
        self.width = width
        self.parts: list[str] = []
        self.pen = PLAIN
        self.x: int | None = None
        """None where terminals disagree on the column."""
        self.y: int | None = None

    def move(self, x: int, y: int) -> None:
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
        text, pen = cell
        if text == " " and not pen.attributes:
            if self.pen.background != pen.background or self.pen.attributes & VISIBLE_ON_BLANKS:
                self.set_pen(Pen(self.pen.attributes - VISIBLE_ON_BLANKS, self.pen.color, pen.background))
        else:
            self.set_pen(pen)
        self.parts.append(text)
        # Terminals disagree on emoji, clusters, and the column after a line's last cell.
        is_certain = len(text) == 1 and get_character_cell_size(text) == 1 and self.x is not None
        self.x = self.x + 1 if is_certain and self.x is not None and self.x + 1 < self.width else None

    def takes_one_byte(self, cell: Cell) -> bool:
        text, pen = cell
        return len(text) == 1 and text.isascii() and pen == self.pen


class ScreenBuffer:
    """The cells of a terminal."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._cells: list[list[Cell]] = [[BLANK] * width for _ in range(height)]
        self._displayed: list[list[Cell | None]] = []
        """None is an unknown cell."""
        self._dirty: dict[int, tuple[int, int]] = {}
        """First changed column and end of the changes, by line."""
        self._cursor: tuple[int, int] | None = None
        self.invalidate()

    def invalidate(self) -> None:
        """Send all cells with the next update."""
        width, height = self.size
        self._displayed = [[None] * width for _ in range(height)]
        self._dirty = dict.fromkeys(range(height), (0, width))
        self._cursor = None

    def put(self, x: int, y: int, cells: list[Cell]) -> None:
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
        """Return the update with the cursor at (x, y); the caller must send the text."""
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
                continue
            gap = cells[output.x : x] if output.y == y and output.x is not None else []
            if 0 < len(gap) <= 3 and all(map(output.takes_one_byte, gap)):
                for unchanged in gap:  # shorter than a jump
                    output.write(unchanged)
            output.move(x, y)
            if len(cell[0]) > 1 and x + 1 < len(cells) and not cells[x + 1][0]:
                # A terminal may draw the cluster narrow: clear the next cell.
                output.write((" ", cell[1]))
                output.write((" ", cell[1]))
                output.move(x, y)
            output.write(cell)
        displayed[start:stop] = cells[start:stop]
