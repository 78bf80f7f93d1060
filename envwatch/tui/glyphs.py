"""The glyphs on the screen, in Unicode and in ASCII."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from envwatch.model.text import SafeText, clean

_DASH: Final = clean("–")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """One set of glyphs, each one cell wide except the ASCII ellipsis; the Unicode ones by default."""

    is_ascii: bool = False
    cursor: str = "►"
    marked: str = "+"
    marked_cursor: str = "◆"
    """Of a marked row under the cursor."""
    lost: str = "▌"
    """The bar at the left edge of what was lost lately."""
    returned: str = "▌"
    """The bar of what came or came back lately."""
    acknowledged: str = "✓"
    silenced: str = "⊘"
    behind: str = "↓"
    """On a version older than the fleet's newest."""
    up: str = "▲"
    down: str = "▼"
    ellipsis: str = "…"
    nothing: SafeText = _DASH
    """In place of a missing value."""
    separator: str = "·"
    rule: str = "─"
    opened: str = "▾"
    closed: str = "▸"

    def mark(self, *, is_cursor: bool, is_marked: bool) -> str:
        """Return the glyph at the left of a line."""
        if is_cursor:
            return self.marked_cursor if is_marked else self.cursor
        return self.marked if is_marked else " "


UNICODE = Glyphs()
ASCII = Glyphs(
    is_ascii=True,
    cursor=">",
    marked="=",
    marked_cursor="#",
    lost="!",
    returned="*",
    acknowledged="a",
    silenced="M",
    behind="<",
    up="^",
    down="v",
    ellipsis="..",
    nothing=clean("-"),
    separator="-",
    rule="-",
    opened="-",
    closed="+",
)
