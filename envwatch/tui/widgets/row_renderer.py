"""How a row of the table looks: segments from a watch, and nothing remembered in between.

Owns the drawing of cells. Which rows there are, and where the cursor stands, is `table`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip

from envwatch.fleet.presence import Presence
from envwatch.model.text import Clean, cells, fitted, shortened
from envwatch.model.times import short_age, span
from envwatch.model.versions import is_behind
from envwatch.views.columns import MARK_WIDTH
from envwatch.views.grouping import GroupHeader
from envwatch.views.state_style import glyph_of, style_of
from envwatch.views.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.style import Style

    from envwatch.fleet.acknowledgements import Acks
    from envwatch.fleet.fleets import Fleets
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.tui.glyphs import Glyphs
    from envwatch.views.columns import Column
    from envwatch.views.grouping import TableLine
    from envwatch.views.table_view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRenderer:
    """What all lines of one frame have in common."""

    width: int
    columns: tuple[tuple[Column, int], ...]
    """Each with its width."""
    fleets: Fleets
    acks: Acks
    """Problems that are acknowledged."""
    now: Reading | None
    """By profile; whatever is not the newest of its fleet is marked."""
    ambiguous: frozenset[Clean]
    """Names that do not tell environments apart."""
    glyphs: Glyphs
    base: Style
    style: Callable[[str], Style]
    """The style to be added to the base for a part of the table, by its name in the stylesheet."""

    def header(self, view: View) -> Strip:
        """Draw the titles, the one that sorts marked."""
        plain = self.base + self.style("header")
        segments = [Segment(" ", plain)]
        for column, width in self.columns:
            title = Clean(column.title)
            style = plain
            if column.id == view.sort:
                falls = view.is_inverted is not column.falls
                mark = self.glyphs.descending if falls else self.glyphs.ascending
                title = Clean(f"{' '.join(title.split())[: width - 1]}{mark}")
                style = self.base + self.style("sorted")
            segments.append(Segment(fitted(title, width + 1), style))
            if column.id == "name":
                segments.append(Segment(" " * MARK_WIDTH, plain))
        return Strip(segments).adjust_cell_length(self.width, plain)

    def row(self, tracked: TrackedEnvironment, *, is_cursor: bool) -> Strip:
        """Draw one environment."""
        fleet = self.fleets.of(tracked)
        is_fresh = tracked.is_fresh(fleet.listings)
        base = self.base
        if is_cursor:
            base += self.style("cursor")
        elif is_fresh and tracked.environment.id not in self.acks:
            base += self.style("fresh")
        is_ghost = tracked.environment.id not in fleet.environments
        if is_ghost or tracked.presence is Presence.GONE:
            base += self.style("gone")
        server_now = fleet.clock.at(self.now.wall) if self.now is not None else 0.0
        segments = [Segment(self.glyphs.cursor if is_cursor else " ", base)]
        for column, width in self.columns:
            if column.id == "state":
                segments += self._state(tracked, server_now, base)
            elif column.id == "name":
                segments += self._name(tracked, width, base)
                is_acked = tracked.environment.id in self.acks
                mark = self.glyphs.acknowledged if is_acked else self.glyphs.changed if is_fresh else " "
                segments.append(Segment(f" {mark} ", base))
            else:
                segments.append(self._cell(column, width, tracked, server_now, base))
        return Strip(segments).adjust_cell_length(self.width, base)

    def heading(self, heading: GroupHeader, *, is_cursor: bool) -> Strip:
        """Draw the line over a group: what it has in common, and how many of which presence."""
        base = self.base + self.style("heading")
        if is_cursor:
            base += self.style("cursor")
        sign = self.glyphs.opened if heading.is_open else self.glyphs.closed
        is_unknown = self.now is not None and all(
            self.fleets.is_unknown(tracked, self.now) for tracked in heading.environments
        )
        tail: list[Segment] = []
        for presence in Presence:
            if count := heading.counts.get(presence):
                glyph = "?" if is_unknown else glyph_of(presence, ascii_only=self.glyphs.is_ascii)
                style = base + self.style("unknown" if is_unknown else presence.value)
                tail += [Segment("  ", base), Segment(f"{glyph} {count}", style)]
        seen_to = f"{self.glyphs.acknowledged} " if self._is_seen_to(heading) else ""
        head = f"{self.glyphs.cursor if is_cursor else ' '}{sign} {seen_to}"
        room = self.width - cells(head) - sum(cells(segment.text) for segment in tail) - 1
        title = shortened(heading.title, max(room, 1), keep="ends", ellipsis=self.glyphs.ellipsis)
        return Strip([Segment(f"{head}{title}", base), *tail]).adjust_cell_length(self.width, base)

    def _is_seen_to(self, heading: GroupHeader) -> bool:
        """Whether a group has problems, and all of them are acknowledged."""
        acks = self.acks
        are_acknowledged = [
            tracked.environment.id in acks for tracked in heading.environments if acks and tracked.is_problem
        ]
        return bool(are_acknowledged) and all(are_acknowledged)

    def _state(self, tracked: TrackedEnvironment, server_now: float, base: Style) -> list[Segment]:
        is_unknown = self.now is not None and self.fleets.is_unknown(tracked, self.now)
        face = style_of(tracked, is_unknown=is_unknown)
        style = base + self.style(face.style)
        glyph = face.ascii if self.glyphs.is_ascii else face.glyph
        age = short_age(span(server_now - tracked.quiet_at))
        return [Segment(f"{glyph} {face.word:<4}", style), Segment(f"{age:>5} ", base)]

    def _name(self, tracked: TrackedEnvironment, width: int, base: Style) -> list[Segment]:
        """Return the name, with the end of the id where the name alone could be taken for another's."""
        name = tracked.environment.name
        tail = id_tail(name, tracked.environment.id, self.ambiguous)
        text = shortened(name, width - len(tail), keep="ends", ellipsis=self.glyphs.ellipsis)
        faint = base + self.style("faint")
        rest = width - cells(text) - cells(tail)
        return [Segment(text, base), Segment(tail + " " * rest, faint)]

    def _cell(self, column: Column, width: int, tracked: TrackedEnvironment, server_now: float, base: Style) -> Segment:
        text = column.text(tracked, server_now)
        if text is None:
            style = base + self.style("faint")
            return Segment(fitted(self.glyphs.nothing, width) + " ", style)
        style = base
        if column.id == "version" and is_behind(text, self.fleets.of(tracked).newest):
            text = Clean(f"{text} {self.glyphs.behind}")
        elif column.id == "mode" and text.endswith("!"):
            style += self.style("unrestricted")
        return Segment(fitted(text, width, keep=column.keep, ellipsis=self.glyphs.ellipsis) + " ", style)


def aged(
    lines: Iterable[TableLine], fleets: Fleets, columns: Sequence[Column], before: Reading, now: Reading
) -> Iterator[int]:
    """Yield the places of those lines that read otherwise than before by a column on the right: by the time alone."""
    if ticking := [column for column in columns if column.is_ticking]:
        for place, line in enumerate(lines):
            if not isinstance(line, GroupHeader):
                was, at = (fleets.of(line).clock.at(reading.wall) for reading in (before, now))
                if any(column.text(line, was) != column.text(line, at) for column in ticking):
                    yield place
