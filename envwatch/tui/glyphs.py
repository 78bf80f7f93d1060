"""The glyphs on the screen, in Unicode and in ASCII."""

from __future__ import annotations

from dataclasses import dataclass

from envwatch.model.text import Clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """One set of glyphs, each one cell wide except the ASCII ellipsis."""

    is_ascii: bool
    cursor: str
    changed: str
    acknowledged: str
    behind: str
    """On a version older than the fleet's newest."""
    ascending: str
    descending: str
    ellipsis: str
    nothing: Clean
    """In place of a missing value."""
    separator: str
    rule: str
    beat: str
    missed: str
    opened: str
    closed: str


UNICODE = Glyphs(
    is_ascii=False,
    cursor="▌",
    changed="Δ",
    acknowledged="✓",
    behind="↓",
    ascending="▲",
    descending="▼",
    ellipsis="…",
    nothing=Clean("–"),
    separator="·",
    rule="─",
    beat="▇",
    missed="▁",
    opened="▾",
    closed="▸",
)
ASCII = Glyphs(
    is_ascii=True,
    cursor=">",
    changed="*",
    acknowledged="a",
    behind="<",
    ascending="^",
    descending="v",
    ellipsis="..",
    nothing=Clean("-"),
    separator="-",
    rule="-",
    beat="#",
    missed="_",
    opened="-",
    closed="+",
)
