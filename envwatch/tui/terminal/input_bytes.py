"""Bytes from the terminal to Textual's messages. They are untrusted: whatever comes, keys work afterwards.

Textual's own parser ends with an exception on some escape sequences, takes those that it does not know for keys, and is
given text by a decoder that ends on the first byte that is not UTF-8. So bytes are cut into whole units here: text, one
escape sequence, or one pasted text. Only a unit that makes sense reaches Textual's parser; what that does not recognise
is dropped, never typed.

Every use of Textual's private parts for this stands here: `_xterm_parser.XTermParser`, with its `_timeout_time`, which
is set while a sequence waits for its end, and its `mouse_pixels`, `terminal_size`, `terminal_pixel_size`, `last_x` and
`last_y`, which outlive a parser that had to be replaced. This module knows neither the app nor a clock.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Final

from textual import constants
from textual._xterm_parser import XTermParser
from textual.events import AppBlur, AppFocus, CursorPosition, Paste

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from textual.message import Message

STRING_PATIENCE: Final = 1.0
"""Seconds without a byte after which a string from the terminal (OSC, DCS, …) that lacks its end has ended."""

PASTE_PATIENCE: Final = 5.0
"""Seconds without a byte after which a pasted text that lacks its end has ended: long enough for a link that stalls."""

LONGEST_PASTE: Final = 1 << 20
"""Bytes of a pasted text that are kept; the line to type in takes far fewer."""

LONGEST_SEQUENCE: Final = 32
"""Bytes of an escape sequence that may mean something: Textual makes keys of the characters of a longer one."""

LARGEST_SIDE: Final = 10_000
"""Columns or lines that a terminal can have."""

LARGEST_SCREEN: Final = 1_000_000
"""Cells that a terminal can have: a screen of 7,680 x 4,320 pixels in a font of 5 x 8 has 829,440."""

LARGEST_PARAMETER: Final = 0x10FFFF
"""Unicode's last code point: no other parameter of an escape sequence comes near it."""

_SURROGATES: Final = range(0xD800, 0xE000)
"""Code points that are no characters."""

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
"""An escape sequence that is complete."""

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
"""An escape sequence whose end has not come yet, if nothing stands behind it."""

_ALONE: Final = re.compile("\x1b[^\x1b]?", re.DOTALL)
"""Escape, or alt with a key: Textual takes both for the start of something longer until time has passed."""

_NUMBER: Final = re.compile(rb"[0-9]+")

_SIZE_REPORT: Final = re.compile(rb"\x1b\[48;(\d+)(?::\d*)*;(\d+)(?::\d*)*;(\d+)(?::\d*)*;(\d+)(?::\d*)*t")
"""Lines, columns, height and width in pixels."""

_DROPPED: Final = (AppFocus, AppBlur, CursorPosition)
"""What changes nothing here. A blurred app would give the keys that are on their way to something else."""


class InputParser:
    """Makes messages of bytes.

    Args:
        kernel_size: columns and lines as the kernel has them; None where it does not know.
    """

    def __init__(self, kernel_size: Callable[[], tuple[int, int] | None]) -> None:
        self._kernel_size = kernel_size
        self._parser = XTermParser()
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._rest = b""
        """What has not been looked at yet, or lacks its end."""
        self._lacks_end = False
        self._pasted: bytearray | None = None
        """The pasted text that has come so far, while its end has not."""
        self._due = 0.0
        """When what lacks its end counts as ended."""

    def feed(self, data: bytes, now: float) -> Iterator[Message]:
        """Yield what some bytes complete.

        Args:
            data: what was read.
            now: seconds, by any clock that does not jump.
        """
        self._rest += data
        self._lacks_end = False
        while self._rest and not self._lacks_end:
            if self._pasted is not None:
                yield from self._take_pasted(self._pasted)
            else:
                yield from self._take_text()
                if self._rest:
                    yield from self._take_sequence()
        self._due = now + self._patience()

    def tick(self, now: float) -> Iterator[Message]:
        """Yield what is complete since nothing has come behind it for long enough."""
        if now < self._due:
            return
        ended, self._rest = self._rest, b""
        if self._pasted is not None:
            yield from self._end_paste(self._pasted + ended)
        elif ended:
            yield from self._unit(ended)

    def _patience(self) -> float:
        if self._pasted is not None:
            return PASTE_PATIENCE
        is_string = self._rest.startswith(_STRING_STARTS) and len(self._rest) > 2  # else it may be alt with that key
        return STRING_PATIENCE if is_string else constants.ESCAPE_DELAY

    def _take_text(self) -> Iterator[Message]:
        text, escape, behind = self._rest.partition(_ESCAPE)
        self._rest = escape + behind
        for character in self._decode(text, final=bool(escape)):
            yield from self._parse(character)

    def _take_sequence(self) -> Iterator[Message]:
        match = _UNIT.match(self._rest)
        if match is None:
            match = _UNFINISHED.match(self._rest)
            if match is None or match.end() == len(self._rest):
                self._lacks_end = True
                self._rest = _shortened(self._rest)
                return
        self._rest = self._rest[match.end() :]
        yield from self._unit(match[0])

    def _take_pasted(self, pasted: bytearray) -> Iterator[Message]:
        text, end, behind = self._rest.partition(_PASTE_END)
        self._lacks_end = not end
        if not end:
            begun = next(n for n in reversed(range(len(_PASTE_END))) if text.endswith(_PASTE_END[:n]))
            text, behind = text[: len(text) - begun], text[len(text) - begun :]
        self._rest = behind
        pasted += text[: LONGEST_PASTE - len(pasted)]
        if end:
            yield from self._end_paste(pasted)

    def _end_paste(self, pasted: bytearray) -> Iterator[Message]:
        self._pasted = None
        yield Paste(pasted.decode("utf-8", "replace").replace("\0", ""))

    def _unit(self, unit: bytes) -> Iterator[Message]:
        """Yield what one escape sequence means."""
        if unit == _PASTE_START:
            self._pasted = bytearray()
        elif unit != _PASTE_END and self._makes_sense(unit):
            yield from self._parse(unit.decode("utf-8", "replace"))

    def _makes_sense(self, unit: bytes) -> bool:
        if len(unit) > LONGEST_SEQUENCE or (unit.startswith((_X10_REPORT, *_STRING_STARTS)) and len(unit) > 2):
            return False
        if (report := _SIZE_REPORT.fullmatch(unit)) is not None:
            return _is_plausible(report, self._kernel_size())
        numbers = [int(number) if len(number) < 10 else LARGEST_PARAMETER + 1 for number in _NUMBER.findall(unit)]
        return all(number <= LARGEST_PARAMETER and number not in _SURROGATES for number in numbers)

    def _parse(self, unit: str) -> Iterator[Message]:
        """Yield what Textual makes of one character or one escape sequence."""
        parser = self._parser
        try:
            messages = list(parser.feed(unit))
            if _ALONE.fullmatch(unit) and parser._timeout_time is not None:
                parser._timeout_time = 0.0
                messages += parser.tick()
        except Exception:  # noqa: BLE001 - it does not say what it fails with, and nothing but it runs here
            messages = []
            self._replace_parser()
        if self._parser._timeout_time is not None:
            self._replace_parser()  # it does not know the sequence, and would make keys of its characters
        yield from (message for message in messages if not isinstance(message, _DROPPED))

    def _replace_parser(self) -> None:
        before, self._parser = self._parser, XTermParser()
        for name in ("mouse_pixels", "terminal_size", "terminal_pixel_size", "last_x", "last_y"):
            setattr(self._parser, name, getattr(before, name))


def _shortened(sequence: bytes) -> bytes:
    """Return an unfinished sequence, or of one that is too long to mean anything as much as shows that it is."""
    is_ending = sequence.endswith(_ESCAPE)  # as a string does
    return sequence if is_ending else sequence[: LONGEST_SEQUENCE + 1]


def _is_plausible(report: re.Match[bytes], kernel_size: tuple[int, int] | None) -> bool:
    """Tell whether the terminal can have the size that it reports. Where the kernel knows better, its size counts."""
    if any(len(number) > 6 for number in report.groups()):
        return False
    lines, columns, height, width = map(int, report.groups())
    is_possible = 0 < lines <= LARGEST_SIDE and 0 < columns <= LARGEST_SIDE and lines * columns <= LARGEST_SCREEN
    return is_possible and height > 0 and width > 0 and kernel_size in {None, (columns, lines)}
