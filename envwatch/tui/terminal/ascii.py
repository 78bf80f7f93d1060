"""What an ASCII terminal shows in place of other characters: something alike, and exactly as wide.

The last step before the terminal, for whatever widget drew it: names of machines, Textual's own scroll bars and frames.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from unicodedata import name, normalize

from envwatch.model.text import cells

_OTHERS: Final = re.compile(r"[^\x00-\x7f]")

_ALIKE: Final = str.maketrans("…·•–—−‘’“”↑↓←→▲▼▸▾⏎●◐○Δ▁", "..*---''\"\"^v<>^v>v<+~x*_")


def to_ascii(text: str) -> str:
    """Return a text of as many cells in ASCII."""
    return text if text.isascii() else _OTHERS.sub(_stand_in, text)


def _stand_in(match: re.Match[str]) -> str:
    return _alike(match[0])


@lru_cache(maxsize=4096)
def _alike(character: str) -> str:
    width = cells(character)
    likeness = character.translate(_ALIKE)
    if not likeness.isascii():
        likeness = _drawing(name(character, "")) or normalize("NFKD", character)[:1]
    return likeness.ljust(width) if width and likeness.isascii() else "?" * width


def _drawing(named: str) -> str:
    """Return what stands for a part of a frame or a bar, by its name in Unicode; nothing for anything else."""
    if named.startswith("BOX DRAWINGS"):
        is_flat, is_upright = "HORIZONTAL" in named, "VERTICAL" in named
        return "-" if is_flat and not is_upright else "|" if is_upright and not is_flat else "+"
    if named.endswith(" BLOCK"):
        return "|" if named.startswith(("LEFT", "RIGHT")) else "#"
    return ""
