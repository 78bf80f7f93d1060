"""ASCII terminals: replaces every other character by a similar one of the same width.

The last step before the terminal, whatever widget drew the text: names of machines, Textual's scroll bars and frames.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from unicodedata import name, normalize

from envwatch.model.text import cells

_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")

_SIMILAR: Final = str.maketrans("…·•–—−‘’“”↑↓←→▲▼▸▾⏎●◐○Δ▁×≥", "..*---''\"\"^v<>^v>v<+~x*_x>")


def to_ascii(text: str) -> str:
    """Return an ASCII text of as many cells."""
    return text if text.isascii() else _NOT_ASCII.sub(lambda match: _replacement(match[0]), text)


@lru_cache(maxsize=4096)
def _replacement(character: str) -> str:
    width = cells(character)
    similar = character.translate(_SIMILAR)
    if not similar.isascii():
        similar = _line_or_block(name(character, "")) or normalize("NFKD", character)[:1]
    return similar.ljust(width) if width and similar.isascii() else "?" * width


def _line_or_block(unicode_name: str) -> str:
    """Return the replacement for a part of a frame or a bar; nothing for other characters."""
    if unicode_name.startswith("BOX DRAWINGS"):
        is_flat, is_upright = "HORIZONTAL" in unicode_name, "VERTICAL" in unicode_name
        return "-" if is_flat and not is_upright else "|" if is_upright and not is_flat else "+"
    if unicode_name.endswith(" BLOCK"):
        return "|" if unicode_name.startswith(("LEFT", "RIGHT")) else "#"
    return ""
