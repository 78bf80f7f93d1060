"""The modes of a terminal after some bytes: private modes, keyboard protocol, colours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SEQUENCE = re.compile(rb"\x1b\[([<>?=]?)([0-9;:]*)([a-zA-Z])")

USUAL = {7, 25}
"""Private modes set in a fresh terminal: line wrap and a visible cursor."""

ALTERNATE_SCREEN, SYNCHRONISED, BRACKETED_PASTE, FOCUS, IN_BAND_RESIZE = 1049, 2026, 2004, 1004, 2048
MOUSE = {1000, 1002, 1003, 1005, 1006, 1015, 1016}


@dataclass
class Modes:
    private: set[int] = field(default_factory=lambda: set(USUAL))
    keyboard: int = 0
    """Depth of the stack of keyboard protocols."""
    rendition: bytes = b""
    """The current colours and attributes; empty for the defaults."""
    titles: int = 0
    """Depth of the stack of titles."""
    ever: set[int] = field(default_factory=set)


def modes_after(received: bytes | bytearray) -> Modes:
    modes = Modes()
    saved = b""
    for prefix, numbers, final in (match.groups() for match in _SEQUENCE.finditer(received)):
        if prefix == b"?" and final in b"hl":
            changed = {int(number) for number in numbers.split(b";")}
            modes.private = modes.private | changed if final == b"h" else modes.private - changed
            if final == b"h":
                modes.ever |= changed
            if ALTERNATE_SCREEN in changed:
                # Terminals save the colours together with the cursor.
                modes.rendition, saved = (modes.rendition, modes.rendition) if final == b"h" else (saved, saved)
        elif prefix in {b">", b"<"} and final == b"u":
            modes.keyboard = max(modes.keyboard + (1 if prefix == b">" else -1), 0)
        elif not prefix and final == b"t" and numbers in {b"22;2", b"23;2"}:
            modes.titles += 1 if numbers == b"22;2" else -1
        elif not prefix and final == b"m":
            modes.rendition = b"" if numbers in {b"", b"0"} else numbers
    return modes


def is_fresh(modes: Modes) -> bool:
    return (modes.private, modes.keyboard, modes.rendition, modes.titles) == (USUAL, 0, b"", 0)
