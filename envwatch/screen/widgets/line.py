"""Base of text lines, which drop the lightest parts where room is short."""

from __future__ import annotations

from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, Self, TypeAlias, TypeVar

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from envwatch.model.text import cells, composed, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style


STATE_STYLES: Final = ("online", "late", "offline", "flapping", "unknown", "gone", "unrestricted", "plain")

_ROW_STYLES: Final = ("cursor", "loss", "return", "tag", "hit", "faint", "usual", "healthy")
TABLE_STYLES: Final = {
    f"table--{style}" for style in (*STATE_STYLES, *_ROW_STYLES, "header", "sorted", "group", "empty")
}

CUT_AT: Final = 4
"""The usual weight of a cut; lighter parts are dropped first."""

MIN_CUT_CELLS = 12


class Part(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = ""
    """A component class without `line--`; empty for the line's style."""
    weight: int = 5
    cut_at: int | None = None
    """The part is shortened before parts of this weight are dropped; None: never."""
    keep: Literal["start", "ends"] = "start"
    tail: str = ""
    """Text that follows without a gap and is never cut."""
    is_joined: bool = False
    """Whether the part follows without a gap and is dropped with the predecessor. Joined parts of equal weight are
    dropped together, so that all counts keep or lose the word."""


Row: TypeAlias = "tuple[Sequence[Part], Sequence[Part]]"
RowT = TypeVar("RowT")


class DrawnRows(Widget, Generic[RowT]):
    """A widget of a few rows that draws only changes."""

    _drawn: Sequence[RowT] | None = None
    _drawn_size = Size(0, 0)

    def rows(self) -> Sequence[RowT]:
        raise NotImplementedError

    def strip_of(self, row: RowT) -> Strip:
        raise NotImplementedError

    def fit_rows(self, rows: Sequence[RowT]) -> None:
        """Take the rows' height; the resize calls this method again."""
        height = self.styles.height
        if height is None or height.value != len(rows):
            self.styles.height = len(rows)
        if len(rows) == self.size.height:
            self.draw(rows)

    def draw(self, rows: Sequence[RowT]) -> None:
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
        if self._drawn is None or self._drawn_size != self.size:
            self._drawn, self._drawn_size = self.rows(), self.size
        return self.strip_of(self._drawn[y]) if y < len(self._drawn) else Strip.blank(self.size.width, self.rich_style)


class TextLine(DrawnRows[Row]):
    """A line of text, or a few lines."""

    GAP = 2

    def parts(self) -> Row:
        """Return left and right parts."""
        raise NotImplementedError

    def rows(self) -> Sequence[Row]:
        return [self.parts()]

    def refresh_if_changed(self) -> None:
        self.draw(self.rows())

    def strip_of(self, row: Row) -> Strip:
        width, base = self.size.width, self.rich_style
        left, right = self.fitting(*row, width)
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

    def fitting(self, left: Sequence[Part], right: Sequence[Part], width: int) -> tuple[list[Part], list[Part]]:
        """Drop or cut the lightest part until the rest fits; a last part is cut to any length.

        Cut parts get back freed cells. Dropped parts return, the heaviest first.
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
        """Return cells with gaps and margins."""
        gaps = sum(self._gap(part, following) for part, following in pairwise(parts))
        return 2 + sum(cells(part.text + part.tail) for part in parts) + gaps

    def _gap(self, part: Part, following: Part) -> int:
        if following.is_joined:
            return 0
        return 1 if part.text.endswith(":") else self.GAP


def _drop(place: int, kept: dict[int, Part], parts: Sequence[Part]) -> list[int]:
    dropped = [place]
    if not parts[place].is_joined:
        joined = takewhile(lambda following: parts[following].is_joined, range(place + 1, len(parts)))
        dropped += [following for following in joined if following in kept]
    for each in dropped:
        del kept[each]
    return dropped
