"""The base of widgets of lines: parts on the left and on the right; the lightest go where room is short."""

from __future__ import annotations

from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self, TypeAlias

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from envwatch.model.text import cells, composed, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style


STATE_STYLES: Final = ("online", "late", "offline", "flapping", "unknown", "gone", "unrestricted", "plain")
"""Names of the states' styles, in the stylesheet and in the themes."""

TABLE_STYLES: Final = {
    f"table--{style}"
    for style in (
        *STATE_STYLES,
        "header",
        "sorted",
        "group",
        "cursor",
        "loss",
        "return",
        "tag",
        "hit",
        "faint",
        "healthy",
        "empty",
    )
}
"""Component classes of the table, and of the block above the table."""

CUT_AT: Final = 4
"""The weight at which most parts that may be cut are: lighter ones are dropped before."""

MIN_CUT_CELLS = 12
"""Cells that a cut part keeps; other parts are dropped before it gets shorter."""


class Part(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = ""
    """A component class of the widget without `line--`; empty for the line's own style."""
    weight: int = 5
    """The part of least weight is dropped first."""
    cut_at: int | None = None
    """It is shortened before parts of this weight are dropped; None if it is never shortened."""
    keep: Literal["start", "ends"] = "start"
    """What of it stays when it is shortened."""
    tail: str = ""
    """Follows the text without a gap, and is never cut."""
    is_joined: bool = False
    """Whether the part follows the part before it without a gap, and is dropped with that part. Joined parts of one
    weight are dropped together: no count keeps its word where another count has none."""


Row: TypeAlias = "tuple[Sequence[Part], Sequence[Part]]"
"""The parts of one line: on the left, and on the right."""


class TextLine(Widget):
    """A widget of one line, or few."""

    GAP = 2
    """Cells between two parts."""

    _drawn: Sequence[Row] | None = None
    """The newest lines; None while everything is to be drawn anew."""
    _drawn_size = Size(0, 0)
    """The widget's size for which they were made."""

    def parts(self) -> Row:
        """Return the parts of the first line."""
        raise NotImplementedError

    def rows(self) -> Sequence[Row]:
        """Return the parts of every line."""
        return [self.parts()]

    def refresh_if_changed(self) -> None:
        """Redraw each line of which the parts have changed."""
        self.show(self.rows())

    def show(self, rows: Sequence[Row]) -> None:
        """Draw these lines, as far as they differ from those of the last frame."""
        drawn = self._drawn
        if drawn is None or len(drawn) != len(rows):
            self.refresh()
            return
        self._drawn = rows
        lines = [y for y, (before, row) in enumerate(zip(drawn, rows, strict=True)) if row != before]
        if lines:
            super().refresh(*(Region(0, y, self.size.width, 1) for y in lines))

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        if not regions:
            self._drawn = None
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self._drawn is None or self._drawn_size != self.size:
            self._drawn, self._drawn_size = self.rows(), self.size
        left, right = map(list, self._drawn[y] if y < len(self._drawn) else ((), ()))
        left, right = self.fitting(left, right, width)
        base = self.rich_style
        segments = [Segment(" ", base), *self._segments(left, base)]
        if tail := self._segments(right, base):
            taken = sum(cells(segment.text) for segment in (*segments, *tail)) + 1
            segments += [Segment(" " * max(width - taken, 0), base), *tail]
        return Strip(segments).adjust_cell_length(width, base)

    def _segments(self, parts: Sequence[Part], base: Style) -> list[Segment]:
        segments: list[Segment] = []
        for place, part in enumerate(parts):
            style = base + self.get_component_rich_style(f"line--{part.style}", partial=True) if part.style else base
            gap = " " * self._gap(parts[place - 1], part) if place else ""
            segments += [Segment(gap, base), Segment(part.text + part.tail, style)]
        return segments

    def fitting(self, left: list[Part], right: list[Part], width: int) -> tuple[list[Part], list[Part]]:
        """Drop or cut the lightest part until the rest fits; a part that is left alone is cut to any length.

        A cut part has back the cells that dropping others has made free. Dropped parts come back, the heaviest first,
        until one does not fit.
        """
        parts = [*left, *right]
        kept = dict(enumerate(parts))
        dropped: list[list[int]] = []

        def excess() -> int:
            return self.width_of([kept[place] for place in sorted(kept)]) - width

        while excess() > 0 and kept:
            is_alone = len(kept) == 1
            least = 0 if is_alone else MIN_CUT_CELLS
            cut = [place for place in kept if kept[place].cut_at is not None and cells(kept[place].text) > least]
            first = min(cut, key=lambda place: kept[place].cut_at or 0, default=None)
            lightest = min(kept, key=lambda place: kept[place].weight)
            if first is not None and (is_alone or (kept[first].cut_at or 0) <= kept[lightest].weight):
                part = kept[first]
                room = max(cells(part.text) - excess(), least)
                kept[first] = part._replace(text=shortened(composed(part.text), room, keep=part.keep))
            else:
                weight, is_joined = kept[lightest].weight, kept[lightest].is_joined
                alike = [place for place, part in kept.items() if part.is_joined and part.weight == weight]
                places = alike if is_joined else [lightest]
                dropped.append([gone for place in places for gone in _drop(place, kept, parts)])
        for place, part in kept.items():
            if part != parts[place] and (spare := -excess()) > 0:
                text = composed(parts[place].text)
                kept[place] = part._replace(text=shortened(text, cells(part.text) + spare, keep=part.keep))
        for places in sorted(dropped, key=lambda places: -parts[places[0]].weight):
            before, kept = kept, dict(kept)
            for place in places:
                if not parts[place].is_joined or place - 1 in kept:
                    kept[place] = parts[place]
            if excess() > 0:
                kept = before
                break
        places = sorted(kept)
        return [kept[place] for place in places if place < len(left)], [
            kept[place] for place in places if place >= len(left)
        ]

    def width_of(self, parts: Sequence[Part]) -> int:
        """Return the cells that parts take, with their gaps and both edges."""
        gaps = sum(self._gap(part, following) for part, following in pairwise(parts))
        return 2 + sum(cells(part.text + part.tail) for part in parts) + gaps

    def _gap(self, part: Part, following: Part) -> int:
        """Return the cells between two parts: none if joined, one after a colon."""
        if following.is_joined:
            return 0
        return 1 if part.text.endswith(":") else self.GAP


def _drop(place: int, kept: dict[int, Part], parts: Sequence[Part]) -> list[int]:
    """Remove a part by its place; with a part that is not joined go all parts that are joined to it."""
    dropped = [place]
    if not parts[place].is_joined:
        joined = takewhile(lambda following: parts[following].is_joined, range(place + 1, len(parts)))
        dropped += [following for following in joined if following in kept]
    for each in dropped:
        del kept[each]
    return dropped
