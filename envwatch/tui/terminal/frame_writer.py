"""Frames for slow links: the terminal gets only changed cells, and only while it keeps up.

Textual sends whole regions. `FrameWriter` sends the difference to a copy of the terminal's content, and nothing during
a backlog, so that a stalled link never blocks the dashboard.
"""

from __future__ import annotations

from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.geometry import Size

from envwatch.tui.terminal.screen_buffer import ScreenBuffer, cells_of

if TYPE_CHECKING:
    from textual.app import App
    from textual.driver import Driver
    from textual.drivers._writer_thread import WriterThread
    from textual.strip import Strip
    from textual.timer import Timer

_BACKLOG_LIMIT: Final = 800
"""Characters that may wait when a frame is sent: about three ticks of ages.

Textual's queue blocks at 30 writes, but 17 short writes wait at the start."""

_RETRY_S: Final = 0.1

_SYNC_FROM: Final = 1_000
"""Frames from this many characters on are synchronized. Shorter frames arrive in one packet."""


Patch: TypeAlias = "tuple[int, int, Strip, int]"


def frame_of(update: object) -> tuple[Size, list[Patch]] | None:
    """Return the screen's size and the patches; None if Textual must draw the update."""
    patches: list[Patch] = []
    if isinstance(update, ChopsUpdate):
        # `chops` has strips by first column (None if not rendered); `chop_ends` has end columns.
        # Strips are not cropped to the span, because that can cut a wide character in two.
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
    """Return the writer thread, which is new each time the driver takes the terminal."""
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
        """Draw an update, and return whether that was possible now.

        Textual must handle a refused update, such as an update that is no full-screen frame.
        """
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
        self.send_difference()
        return True

    def resize(self, event: Resize) -> None:
        """Forget the copy, because the terminal may have reflowed or cut lines."""
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
