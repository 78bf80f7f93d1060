"""Frames for slow links: an App that sends the terminal only the cells that changed.

Textual sends whole regions, whatever changed in them. `FrugalApp` stands at the one place where frames leave for the
terminal, keeps a shadow of what the terminal shows (`shadow.py`), and sends the difference. While the terminal does not
keep up, it sends nothing, so that a stalled link never blocks the dashboard; then the difference to the newest frame.

Every use of Textual's private parts stands in this module: `App._display`, which paints a frame, with the attributes in
`_ATTRIBUTES` that it reads; the shapes of its updates (`_ScreenUpdate`, `_SpansUpdate`); and, of the Linux driver,
`_writer_thread` with its `_queue`. Where they are not as expected, Textual paints.
It must not know any widget, nor what the frames are about.
"""

from __future__ import annotations

from inspect import signature
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeGuard

from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS
from textual.app import App, ReturnType
from textual.events import Resize
from textual.geometry import Size

from envwatch.tui.terminal.cells import cells_of
from envwatch.tui.terminal.screen_buffer import ScreenBuffer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType
    from textual.driver import Driver
    from textual.geometry import Region
    from textual.screen import Screen
    from textual.strip import Strip
    from textual.timer import Timer

BACKLOG_LIMIT: Final = 800
"""Characters that may wait for the terminal when a frame is sent.

Textual's queue blocks the event loop at 30 writes. It holds 17 when an app starts, of 8 characters each, so they are
not what is counted; three ticks of ages are.
"""

RETRY_AFTER: Final = 0.1
"""Seconds until a terminal that did not keep up is tried again."""

_SYNC_FROM: Final = 1_000
"""Characters from which a frame is marked as one: a shorter one arrives in one packet and cannot be seen half drawn."""

_SYNC_START: Final = "\x1b[?2026h"
_SYNC_END: Final = "\x1b[?2026l"

_ATTRIBUTES: Final = ("_batch_count", "_closed", "_driver", "_running", "_sync_available")


class _ScreenUpdate(Protocol):
    """Textual's `LayoutUpdate`: lines of strips, side by side from the region's left edge."""

    strips: list[Iterable[Strip | None]]
    region: Region


class _SpansUpdate(Protocol):
    """Textual's `ChopsUpdate`: spans of lines to draw, from lines cut into strips where widgets begin and end."""

    chops: Sequence[Mapping[int, Strip | None]]
    """For each line the strips by the column of their start; None where nothing was rendered."""
    spans: list[tuple[int, int, int]]
    """Line, first column, and the column after the last."""
    chop_ends: list[list[int]]
    """For each line the columns after the strips' last ones, in the strips' order."""


class Patch(NamedTuple):
    """A part of a line that is drawn anew."""

    x: int
    y: int
    strip: Strip
    width: int
    """Cells from the strip's start on that changed; the rest is as it was."""


class Frame(NamedTuple):
    """What Textual wants to be drawn at once."""

    width: int
    """Columns of the whole screen."""
    height: int
    """Lines of the whole screen."""
    patches: list[Patch]


def _is_spans_update(update: object) -> TypeGuard[_SpansUpdate]:
    return all(hasattr(update, name) for name in ("chops", "spans", "chop_ends"))


def _is_screen_update(update: object) -> TypeGuard[_ScreenUpdate]:
    return all(hasattr(update, name) for name in ("strips", "region"))


def frame_of(update: object) -> Frame | None:
    """The frame in one of Textual's updates; None for anything else, which Textual must draw itself."""
    patches: list[Patch] = []
    if _is_spans_update(update):
        # Strips are not cropped to the span, as Textual does: that can cut a wide character in two.
        for y, start, stop in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is not None and x < stop and end > start:
                    patches.append(Patch(x, y, strip, min(stop, end) - x))
        return Frame(max((ends[-1] for ends in update.chop_ends), default=0), len(update.chops), patches)
    if _is_screen_update(update):
        region = update.region
        for y, line in enumerate(update.strips, region.y):
            x = region.x
            for strip in filter(None, line):
                patches.append(Patch(x, y, strip, strip.cell_length))
                x += strip.cell_length
        return Frame(region.right, region.bottom, patches)
    return None


def _writer_of(driver: Driver | None) -> object:
    """The thread that writes to the terminal: another one each time that the terminal is taken."""
    return getattr(driver, "_writer_thread", None)


def _backlog_of(driver: Driver | None) -> int:
    """Characters that wait for the terminal, without those that are being written."""
    queue = getattr(_writer_of(driver), "_queue", None)
    if queue is None:
        return 0
    with queue.mutex:
        return sum(len(text) for text in queue.queue if text)


class FrugalApp(App[ReturnType]):
    """An App that sends only what changed, and only while the terminal keeps up."""

    # Set on the class, so that nothing depends on the order in which the constructors run.
    _frugal_shadow: ScreenBuffer = ScreenBuffer(0, 0)
    _frugal_writer: object = None
    _frugal_retry: Timer | None = None
    _frugal_size: Size | None = None

    def ignore(self) -> None:
        """Take nothing for granted of what the terminal shows: the next frame draws every cell.

        To be called when something else wrote to the terminal.
        """
        self._frugal_shadow.ignore()

    def on_mount(self) -> None:
        """Draw again when the process is continued: Textual does not if the terminal kept its size."""
        self.app_resume_signal.subscribe(self, self._draw_after_resume)

    def _draw_after_resume(self, _: App[Any]) -> None:
        self._send_difference()

    def on_resize(self, event: Resize) -> None:
        """Forget what the terminal shows: it may have reflowed or cut its lines."""
        in_band = event.pixel_size is not None
        # A size reported in the terminal's own band repeats itself when reporting is switched on; a signal never does.
        if event.size != self._frugal_size or not in_band:
            self.ignore()
            if event.size == self._frugal_shadow.size:
                # There and back, too fast for Textual to see: nothing else would draw.
                self._send_difference()
        self._frugal_size = event.size
        if _writer_of(self._driver) is not None and not in_band:
            # A signal that interrupts the handling of the one before it has its newer size overtaken by the older one.
            size = Size(*get_terminal_size())
            if event.size != size:
                self.post_message(Resize(size, size))

    if list(signature(getattr(App, "_display", lambda: None)).parameters) == ["self", "screen", "renderable"]:

        def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
            """Draw an update from Textual's compositor, for which Textual calls this."""
            expected = all(hasattr(self, name) for name in _ATTRIBUTES)
            if renderable is None or not expected or self._batch_count or not self._running or self._closed:
                super()._display(screen, renderable)  # Nothing is drawn, or Textual alone draws.
                return
            foreign = self.is_headless or self.is_inline or self.is_web or _writer_of(self._driver) is None
            frame = None if foreign else frame_of(renderable)
            if frame is None:
                super()._display(screen, renderable)
                self.ignore()
                return
            if frame[:2] != self._frugal_shadow.size:
                self._frugal_shadow = ScreenBuffer(frame.width, frame.height)
            color_system = COLOR_SYSTEMS.get(self.console.color_system or "", ColorSystem.TRUECOLOR)
            for x, y, strip, width in frame.patches:
                self._frugal_shadow.put(x, y, cells_of(strip, color_system, width))
            self._send_difference()
            self.post_display_hook()

    def _send_difference(self) -> None:
        """Bring the terminal up to date, now or when it is ready."""
        driver = self._driver
        if driver is None or not self._running or self._closed or not all(self._frugal_shadow.size):
            return
        if (writer := _writer_of(driver)) is not self._frugal_writer:
            self._frugal_writer = writer
            self.ignore()
        if _backlog_of(driver) > BACKLOG_LIMIT:
            if self._frugal_retry is None:
                self._frugal_retry = self.set_timer(RETRY_AFTER, self._retry)
            return
        cursor = Size(*self._frugal_shadow.size).clamp_offset(self.cursor_position)
        if sequence := self._frugal_shadow.update(cursor):
            if self._sync_available and len(sequence) >= _SYNC_FROM:
                sequence = f"{_SYNC_START}{sequence}{_SYNC_END}"
            driver.write(sequence)
            driver.flush()

    def _retry(self) -> None:
        self._frugal_retry = None
        self._send_difference()

    def send(self, sequence: str) -> None:
        """Send the terminal something that is no frame."""
        if self._driver is not None:
            self._driver.write(sequence)
