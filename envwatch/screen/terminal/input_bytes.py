"""Turns untrusted bytes of the terminal into Textual's messages.

Textual's parser raises on some escape sequences, types unknown sequences, and fails on invalid UTF-8. So bytes are cut
into text, escape sequences and pastes, and only valid units reach the parser.
"""

from __future__ import annotations

import asyncio
import re
from codecs import getincrementaldecoder
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from textual import constants
from textual._xterm_parser import XTermParser
from textual.events import AppBlur, AppFocus, CursorPosition, InputEvent, Key, MouseDown, MouseEvent, MouseUp, Paste

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from textual.app import App
    from textual.dom import DOMNode
    from textual.events import Event
    from textual.message import Message
    from textual.screen import Screen
    from textual.widget import Widget


STRING_TIMEOUT_S: Final = 1.0
"""An unfinished string (OSC, DCS, …) ends after this time without a byte."""

PASTE_TIMEOUT_S: Final = 5.0
"""Long enough for a stalled link."""

LONGEST_PASTE: Final = 1 << 20

LONGEST_SEQUENCE: Final = 32
"""Textual types the characters of a longer sequence."""

_LARGEST_SIDE: Final = 10_000

_LARGEST_SCREEN: Final = 1_000_000
"""Cells; a screen of 7,680 x 4,320 pixels in a font of 5 x 8 has 829,440."""

_LARGEST_PARAMETER: Final = 0x10FFFF

_SURROGATES: Final = range(0xD800, 0xE000)

_ESCAPE: Final = b"\x1b"
_X10_REPORT: Final = b"\x1b[M"
_STRING_STARTS: Final = (b"\x1b]", b"\x1bP", b"\x1bX", b"\x1b^", b"\x1b_")
_PASTE_START: Final = b"\x1b[200~"
_PASTE_END: Final = b"\x1b[201~"

_UNIT: Final = re.compile(
    rb"""
      \x1b\[M[^\x1b]{3}                                   # a mouse report of the first kind (X10): three raw bytes
    | \x1b\[\[[^\x1b]                                     # a function key of the Linux console
    | \x1b\[(?![M\[])[0-?]*[ -/]*[@-~]                    # a control sequence
    | \x1bO[0-?]*[@-~]                                    # a key of the application keypad
    | \x1b[\]PX^_][^\x07\x18\x1a\x1b]*(?:[\x07\x18\x1a]|\x1b\\)  # a string
    | \x1b[^\x1b\[O\]PX^_\xc2-\xf4]                         # alt with a key, which may be any character of UTF-8
    | \x1b(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})
    """,
    re.VERBOSE,
)

_UNFINISHED: Final = re.compile(
    rb"""
      \x1b\[M[^\x1b]{0,2}
    | \x1b\[\[
    | \x1b\[[0-?]*[ -/]*
    | \x1bO[0-?]*
    | \x1b[\]PX^_][^\x07\x18\x1a\x1b]*(?:\x1b\Z)?
    | \x1b(?:[\xc2-\xf4][\x80-\xbf]{0,2})?
    """,
    re.VERBOSE,
)

_WITH_ALT: Final = re.compile("\x1b[^\x1b]", re.DOTALL)

_NUMBER: Final = re.compile(rb"[0-9]+")

_SIZE_REPORT: Final = re.compile(rb"\x1b\[48;(\d+)(?::\d*)*;(\d+)(?::\d*)*;(\d+)(?::\d*)*;(\d+)(?::\d*)*t")
"""Groups: lines, columns, height and width in pixels."""

_IGNORED: Final = (AppFocus, AppBlur, CursorPosition)
"""A blurred app would route the next keys to another widget."""

_PARSER_STATE: Final = ("terminal_size", "terminal_pixel_size", "last_x", "last_y")


class InputParser:
    """Turns bytes into messages; `kernel_size` returns columns and lines."""

    def __init__(self, kernel_size: Callable[[], tuple[int, int] | None]) -> None:
        self._kernel_size = kernel_size
        self._parser = XTermParser()
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._rest = b""
        self._is_incomplete = False
        self._paste: bytearray | None = None
        self._deadline_s = 0.0

    @property
    def is_waiting(self) -> bool:
        return bool(self._rest) or self._paste is not None

    def feed(self, data: bytes, now_s: float) -> Iterator[Message]:
        self._rest += data
        self._is_incomplete = False
        while self._rest and not self._is_incomplete:
            if self._paste is not None:
                yield from self._parse_paste(self._paste)
            else:
                yield from self._parse_text()
                if self._rest:
                    yield from self._parse_sequence()
        self._deadline_s = now_s + self._timeout_s()

    def tick(self, now_s: float) -> Iterator[Message]:
        if now_s < self._deadline_s:
            return
        rest, self._rest = self._rest, b""
        if self._paste is not None:
            yield from self._end_paste(self._paste + rest)
        elif rest:
            yield from self._handle_sequence(rest)

    def _timeout_s(self) -> float:
        if self._paste is not None:
            return PASTE_TIMEOUT_S
        is_string = self._rest.startswith(_STRING_STARTS) and len(self._rest) > 2  # else maybe alt with a key
        return STRING_TIMEOUT_S if is_string else constants.ESCAPE_DELAY

    def _parse_text(self) -> Iterator[Message]:
        text, escape, after = self._rest.partition(_ESCAPE)
        self._rest = escape + after
        for character in self._decode(text, final=bool(escape)):
            yield from self._by_textual(character)

    def _parse_sequence(self) -> Iterator[Message]:
        match = _UNIT.match(self._rest)
        if match is None:
            match = _UNFINISHED.match(self._rest)
            if match is None or match.end() == len(self._rest):
                self._is_incomplete = True
                if not self._rest.endswith(_ESCAPE):  # may begin a string's end
                    self._rest = self._rest[: LONGEST_SEQUENCE + 1]  # the additional byte marks an overlong sequence
                return
        self._rest = self._rest[match.end() :]
        yield from self._handle_sequence(match[0])

    def _parse_paste(self, paste: bytearray) -> Iterator[Message]:
        text, end, after = self._rest.partition(_PASTE_END)
        self._is_incomplete = not end
        if not end:
            partial = next(n for n in reversed(range(len(_PASTE_END))) if text.endswith(_PASTE_END[:n]))
            text, after = text[: len(text) - partial], text[len(text) - partial :]
        self._rest = after
        paste += text[: LONGEST_PASTE - len(paste)]
        if end:
            yield from self._end_paste(paste)

    def _end_paste(self, paste: bytearray) -> Iterator[Message]:
        self._paste = None
        yield Paste(paste.decode("utf-8", "replace").replace("\0", ""))

    def _handle_sequence(self, sequence: bytes) -> Iterator[Message]:
        if sequence == _PASTE_START:
            self._paste = bytearray()
        elif sequence != _PASTE_END and self._is_valid(sequence):
            yield from self._by_textual(sequence.decode("utf-8", "replace"))

    def _is_valid(self, sequence: bytes) -> bool:
        is_ignored = sequence.startswith((_X10_REPORT, *_STRING_STARTS)) and len(sequence) > 2
        if is_ignored or len(sequence) > LONGEST_SEQUENCE:
            return False
        if report := _SIZE_REPORT.fullmatch(sequence):
            return _is_plausible_size(report, self._kernel_size())
        numbers = [int(number) if len(number) < 10 else _LARGEST_PARAMETER + 1 for number in _NUMBER.findall(sequence)]
        return all(number <= _LARGEST_PARAMETER and number not in _SURROGATES for number in numbers)

    def _by_textual(self, unit: str) -> Iterator[Message]:
        if _WITH_ALT.fullmatch(unit):
            yield from (_with_alt(message) for message in self._by_textual(unit[1]))
            return
        parser = self._parser
        try:
            messages = list(parser.feed(unit))
            if unit == "\x1b" and parser._timeout_time is not None:  # the parser waits for a longer sequence
                parser._timeout_time = 0.0
                messages += parser.tick()
        except Exception:  # noqa: BLE001  its exceptions are undocumented, and only its own code runs here
            messages = []
            self._replace_parser()
        self._parser.mouse_pixels = False  # set by a size report in pixels; positions stay in cells
        if self._parser._timeout_time is not None:
            self._replace_parser()  # an unknown sequence would become keys
        yield from (message for message in messages if not isinstance(message, _IGNORED))

    def _replace_parser(self) -> None:
        old, self._parser = self._parser, XTermParser()
        for name in _PARSER_STATE:
            setattr(self._parser, name, getattr(old, name))


def _with_alt(message: Message) -> Message:
    if not isinstance(message, Key):
        return message
    is_upper = len(message.key) == 1 and message.key.isupper()
    return Key(f"alt+shift+{message.key.lower()}" if is_upper else f"alt+{message.key}", message.character)


def _is_plausible_size(report: re.Match[bytes], kernel_size: tuple[int, int] | None) -> bool:
    """Whether a reported size is possible; the kernel's size, if any, decides."""
    if any(len(number) > 6 for number in report.groups()):
        return False
    lines, columns, height, width = map(int, report.groups())
    is_possible = 0 < lines <= _LARGEST_SIDE and 0 < columns <= _LARGEST_SIDE and lines * columns <= _LARGEST_SCREEN
    return is_possible and height > 0 and width > 0 and kernel_size in {None, (columns, lines)}


_TIMEOUT_S: Final = 0.5
"""An event delays the next event at most this long."""

_FRAME_S: Final = 0.02
"""Time to draw before the queue checks whether a key is handled."""


class InputQueue:
    """The queue of an app's input: a key waits until the previous key has moved the focus."""

    def __init__(self, app: App[Any], deliver: Callable[[Event], Awaitable[None]]) -> None:
        self._app = app
        self._deliver = deliver
        self._events: deque[InputEvent | Paste] = deque()
        self._is_busy = False
        self._focus: tuple[Screen[Any], Widget | None] | None = None
        self._became_busy, self._next_waits = asyncio.Event(), asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._events

    async def put(self, event: InputEvent | Paste) -> None:
        self._events.append(event)
        await self._deliver_waiting()

    async def run(self) -> None:
        while await self._became_busy.wait():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._next_waits.wait(), _FRAME_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.settle(), _TIMEOUT_S)
            self._became_busy.clear()
            self._next_waits.clear()
            self._is_busy = False
            self._app.call_later(self._deliver_waiting)

    async def _deliver_waiting(self) -> None:
        while self._events and not self._is_busy:
            event = self._events.popleft()
            if isinstance(event, Key) and (keys := self._without_alt(event)):
                event, following = keys
                self._events.appendleft(following)
            self._is_busy = self.holds_up_next(event)
            self._focus = (self._app.screen, self._app.focused)
            await self._deliver(event)
            if self._is_busy:
                self._became_busy.set()
        if self._events:
            self._next_waits.set()

    def _without_alt(self, event: Key) -> tuple[Key, Key] | None:
        """Return escape and the key if alt+key is unbound: terminals send the same for both."""
        name = event.key.removeprefix("alt+")
        if name == event.key or event.key in self._app.screen.active_bindings:
            return None
        if name.startswith("shift+") and len(name) == len("shift+") + 1:
            name = name[-1].upper()
        keys = Key("escape", "\x1b"), Key(name, event.character or (name if len(name) == 1 else None))
        for key in keys:
            key.set_sender(self._app)
        return keys

    def holds_up_next(self, event: InputEvent | Paste) -> bool:
        """Whether an event may move the focus; movement keys of a widget, which arrive in crowds, do not."""
        if isinstance(event, Key):
            bound = self._app.screen.active_bindings.get(event.key)
            if bound is None or bound.node is not self._app.focused:
                return True
            return not (bound.binding.id or "").startswith("move.")
        return not isinstance(event, MouseEvent) or isinstance(event, MouseDown | MouseUp)

    async def settle(self) -> None:
        """Wait until messages are handled and the focus is stable."""
        app = self._app
        await self._drain_messages()
        while app.screen_stack and self._focus != (focus := (app.screen, app.focused)):
            self._focus = focus
            for _ in range(2):  # first the size, then the layout
                await _called(focus[0].call_after_refresh)
                await self._drain_messages()

    async def _drain_messages(self) -> None:
        app = self._app
        target: DOMNode | None = app.focused or app.screen if app.screen_stack else None
        while target is not None:
            await _called(target.call_later)
            target = target.parent


async def _called(schedule: Callable[[Callable[[], None]], bool]) -> None:
    called = asyncio.Event()
    if schedule(called.set):
        await called.wait()
