"""Base of text lines, which drop the lightest parts where room is short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from envwatch.views.fitting import MARGINS, Row, fit, gap_between, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from envwatch.views.fitting import Part


STATE_STYLES: Final = ("online", "late", "offline", "flapping", "unknown", "gone", "unrestricted", "plain")

_ROW_STYLES: Final = ("cursor", "loss", "return", "tag", "hit", "faint", "usual", "healthy")
TABLE_STYLES: Final = {
    f"table--{style}" for style in (*STATE_STYLES, *_ROW_STYLES, "header", "sorted", "group", "empty")
}

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

    def parts(self) -> Row:
        """Return left and right parts."""
        raise NotImplementedError

    def rows(self) -> Sequence[Row]:
        return [self.parts()]

    def refresh_if_changed(self) -> None:
        self.draw(self.rows())

    def strip_of(self, row: Row) -> Strip:
        width, base = self.size.width, self.rich_style
        left, right = fit(*row, width)
        segments = [Segment(" ", base), *self._segments(left, base)]
        if right:
            spare = width - (width_of(left) + width_of(right) - MARGINS)  # both sides count the margins
            segments += [Segment(" " * max(spare, 0), base), *self._segments(right, base)]
        return Strip(segments).adjust_cell_length(width, base)

    def _segments(self, parts: Sequence[Part], base: Style) -> list[Segment]:
        segments: list[Segment] = []
        for place, part in enumerate(parts):
            style = base + self.get_component_rich_style(f"line--{part.style}", partial=True) if part.style else base
            gap = " " * gap_between(parts[place - 1], part) if place else ""
            segments += [Segment(gap, base), Segment(part.text + part.tail, style)]
        return segments
