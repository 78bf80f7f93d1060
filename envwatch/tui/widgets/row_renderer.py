"""Draws the lines of the table: segments from an environment or a group, without any state in between.

Which rows there are, and where the cursor stands, is `environment_table`'s business.
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

    from envwatch.fleet.fleets import Fleets
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.tui.glyphs import Glyphs
    from envwatch.tui.state import MonitorState
    from envwatch.views.columns import Column
    from envwatch.views.grouping import TableLine
    from envwatch.views.table_view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRenderer:
    """Draws the lines of one frame."""

    width: int
    columns: tuple[tuple[Column, int], ...]
    """Each with its width."""
    state: MonitorState
    glyphs: Glyphs
    base: Style
    style: Callable[[str], Style]
    """Returns what a component class `table--<name>` of the stylesheet adds to the base."""

    def column_titles(self, view: View) -> Strip:
        """Draw the titles, with a mark on the one that sorts."""
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
        id_, fleet = tracked.environment.id, self.state.fleets.of(tracked)
        is_fresh, is_acked = tracked.is_fresh(fleet.listings), id_ in self.state.acks
        base = self.base
        if is_cursor:
            base += self.style("cursor")
        elif is_fresh and not is_acked:
            base += self.style("fresh")
        if id_ not in fleet.environments or tracked.presence is Presence.GONE:
            base += self.style("gone")
        server_now = fleet.clock.at(self.state.now.wall)
        segments = [Segment(self.glyphs.cursor if is_cursor else " ", base)]
        for column, width in self.columns:
            if column.id == "state":
                segments += self._state(tracked, server_now, base)
            elif column.id == "name":
                segments += self._name(tracked, width, base)
                mark = self.glyphs.acknowledged if is_acked else self.glyphs.changed if is_fresh else " "
                segments.append(Segment(f" {mark} ", base))
            else:
                segments.append(self._cell(column, width, tracked, server_now, base))
        return Strip(segments).adjust_cell_length(self.width, base)

    def group_header(self, header: GroupHeader, *, is_cursor: bool) -> Strip:
        """Draw the line over a group: its title, and the count of each presence."""
        fleets, now = self.state.fleets, self.state.now
        base = self.base + self.style("group")
        if is_cursor:
            base += self.style("cursor")
        sign = self.glyphs.opened if header.is_open else self.glyphs.closed
        is_unknown = all(fleets.is_unknown(tracked, now) for tracked in header.environments)
        tail: list[Segment] = []
        for presence in Presence:
            if count := header.counts.get(presence):
                glyph = "?" if is_unknown else glyph_of(presence, ascii_only=self.glyphs.is_ascii)
                style = base + self.style("unknown" if is_unknown else presence.value)
                tail += [Segment("  ", base), Segment(f"{glyph} {count}", style)]
        acked = f"{self.glyphs.acknowledged} " if self._is_acknowledged(header) else ""
        head = f"{self.glyphs.cursor if is_cursor else ' '}{sign} {acked}"
        room = self.width - cells(head) - sum(cells(segment.text) for segment in tail) - 1
        title = shortened(header.title, max(room, 1), keep="ends", ellipsis=self.glyphs.ellipsis)
        return Strip([Segment(f"{head}{title}", base), *tail]).adjust_cell_length(self.width, base)

    def _is_acknowledged(self, header: GroupHeader) -> bool:
        """Whether a group has problems, and all of them are acknowledged."""
        acks = self.state.acks
        problems = [tracked.environment.id for tracked in header.environments if tracked.is_problem] if acks else []
        return bool(problems) and all(id_ in acks for id_ in problems)

    def _state(self, tracked: TrackedEnvironment, server_now: float, base: Style) -> list[Segment]:
        state = style_of(tracked, is_unknown=self.state.fleets.is_unknown(tracked, self.state.now))
        glyph = state.ascii if self.glyphs.is_ascii else state.glyph
        age = short_age(span(server_now - tracked.quiet_at))
        return [Segment(f"{glyph} {state.word:<4}", base + self.style(state.style)), Segment(f"{age:>5} ", base)]

    def _name(self, tracked: TrackedEnvironment, width: int, base: Style) -> list[Segment]:
        """Return the name, with the end of the id if the name is ambiguous."""
        name = tracked.environment.name
        tail = id_tail(name, tracked.environment.id, self.state.ambiguous_names)
        text = shortened(name, width - len(tail), keep="ends", ellipsis=self.glyphs.ellipsis)
        faint = base + self.style("faint")
        rest = width - cells(text) - cells(tail)
        return [Segment(text, base), Segment(tail + " " * rest, faint)]

    def _cell(self, column: Column, width: int, tracked: TrackedEnvironment, server_now: float, base: Style) -> Segment:
        text = column.text(tracked, server_now)
        if text is None:
            return Segment(fitted(self.glyphs.nothing, width) + " ", base + self.style("faint"))
        style = base
        if column.id == "version" and is_behind(text, self.state.fleets.of(tracked).newest):
            text = Clean(f"{text} {self.glyphs.behind}")
        elif column.id == "mode" and text.endswith("!"):
            style += self.style("unrestricted")
        return Segment(fitted(text, width, keep=column.keep, ellipsis=self.glyphs.ellipsis) + " ", style)


def changed_lines(
    lines: Iterable[TableLine], fleets: Fleets, columns: Sequence[Column], old: Reading, new: Reading
) -> Iterator[int]:
    """Yield the places of the lines in which time alone has changed a cell right of the heartbeat's age."""
    if ticking := [column for column in columns if column.is_ticking]:
        for place, line in enumerate(lines):
            if not isinstance(line, GroupHeader):
                old_ms, new_ms = (fleets.of(line).clock.at(reading.wall) for reading in (old, new))
                if any(column.text(line, old_ms) != column.text(line, new_ms) for column in ticking):
                    yield place
