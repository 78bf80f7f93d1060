"""The glyphs on the screen, in Unicode and in ASCII."""

from __future__ import annotations

from dataclasses import dataclass

from envwatch.model.text import Clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """One set of glyphs, each one cell wide except the ASCII ellipsis."""

    is_ascii: bool
    cursor: str
    lost: str
    """The bar at the left edge of what was lost lately."""
    returned: str
    """The bar of what came or came back lately."""
    acknowledged: str
    silenced: str
    behind: str
    """On a version older than the fleet's newest."""
    ascending: str
    descending: str
    ellipsis: str
    nothing: Clean
    """In place of a missing value."""
    separator: str
    above: str
    below: str
    rule: str
    opened: str
    closed: str


UNICODE = Glyphs(
    is_ascii=False,
    cursor="►",
    lost="▌",
    returned="▌",
    acknowledged="✓",
    silenced="⊘",
    behind="↓",
    ascending="▲",
    descending="▼",
    ellipsis="…",
    nothing=Clean("–"),
    separator="·",
    above="▲",
    below="▼",
    rule="─",
    opened="▾",
    closed="▸",
)
ASCII = Glyphs(
    is_ascii=True,
    cursor=">",
    lost="!",
    returned="*",
    acknowledged="a",
    silenced="M",
    behind="<",
    ascending="^",
    descending="v",
    ellipsis="..",
    nothing=Clean("-"),
    separator="-",
    above="^",
    below="v",
    rule="-",
    opened="-",
    closed="+",
)
