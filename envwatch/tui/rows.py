"""How a row of the table looks: segments from a watch, and nothing remembered in between.

Owns the drawing of cells. Which rows there are, and where the cursor stands, is `table`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip

from envwatch.columns import MARK_WIDTH, quiet_at
from envwatch.phrases import face_of, glyph_of, short_age
from envwatch.presence import Presence, span
from envwatch.sections import Heading
from envwatch.text import Clean, cells, fitted, shortened
from envwatch.versions import is_behind
from envwatch.view import id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.style import Style

    from envwatch.acknowledged import Acks
    from envwatch.clock import Reading
    from envwatch.columns import Column
    from envwatch.fleets import Fleets
    from envwatch.sections import Line
    from envwatch.tui.marks import Marks
    from envwatch.view import View
    from envwatch.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
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
    marks: Marks
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
                mark = self.marks.descending if falls else self.marks.ascending
                title = Clean(f"{' '.join(title.split())[: width - 1]}{mark}")
                style = self.base + self.style("sorted")
            segments.append(Segment(fitted(title, width + 1), style))
            if column.id == "name":
                segments.append(Segment(" " * MARK_WIDTH, plain))
        return Strip(segments).adjust_cell_length(self.width, plain)

    def row(self, watch: Watch, *, is_cursor: bool) -> Strip:
        """Draw one environment."""
        fleet = self.fleets.of(watch)
        is_fresh = watch.is_fresh(fleet.listings)
        base = self.base
        if is_cursor:
            base += self.style("cursor")
        elif is_fresh and watch.environment.id not in self.acks:
            base += self.style("fresh")
        is_ghost = watch.environment.id not in fleet.watches
        if is_ghost or watch.presence is Presence.GONE:
            base += self.style("gone")
        server_now = fleet.clock.at(self.now.wall) if self.now is not None else 0.0
        segments = [Segment(self.marks.cursor if is_cursor else " ", base)]
        for column, width in self.columns:
            if column.id == "state":
                segments += self._state(watch, server_now, base)
            elif column.id == "name":
                segments += self._name(watch, width, base)
                is_acked = watch.environment.id in self.acks
                mark = self.marks.acknowledged if is_acked else self.marks.changed if is_fresh else " "
                segments.append(Segment(f" {mark} ", base))
            else:
                segments.append(self._cell(column, width, watch, server_now, base))
        return Strip(segments).adjust_cell_length(self.width, base)

    def heading(self, heading: Heading, *, is_cursor: bool) -> Strip:
        """Draw the line over a group: what it has in common, and how many of which presence."""
        base = self.base + self.style("heading")
        if is_cursor:
            base += self.style("cursor")
        sign = self.marks.opened if heading.is_open else self.marks.closed
        is_unknown = self.now is not None and all(self.fleets.doubts(watch, self.now) for watch in heading.watches)
        tail: list[Segment] = []
        for presence in Presence:
            if count := heading.counts.get(presence):
                glyph = "?" if is_unknown else glyph_of(presence, ascii_only=self.marks.is_ascii)
                style = base + self.style("unknown" if is_unknown else presence.value)
                tail += [Segment("  ", base), Segment(f"{glyph} {count}", style)]
        seen_to = f"{self.marks.acknowledged} " if self._is_seen_to(heading) else ""
        head = f"{self.marks.cursor if is_cursor else ' '}{sign} {seen_to}"
        room = self.width - cells(head) - sum(cells(segment.text) for segment in tail) - 1
        title = shortened(heading.title, max(room, 1), keep="ends", ellipsis=self.marks.ellipsis)
        return Strip([Segment(f"{head}{title}", base), *tail]).adjust_cell_length(self.width, base)

    def _is_seen_to(self, heading: Heading) -> bool:
        """Whether a group has problems, and all of them are acknowledged."""
        acks = self.acks
        are_acknowledged = [watch.environment.id in acks for watch in heading.watches if acks and watch.is_problem]
        return bool(are_acknowledged) and all(are_acknowledged)

    def _state(self, watch: Watch, server_now: float, base: Style) -> list[Segment]:
        is_unknown = self.now is not None and self.fleets.doubts(watch, self.now)
        face = face_of(watch, is_unknown=is_unknown)
        style = base + self.style(face.style)
        glyph = face.ascii if self.marks.is_ascii else face.glyph
        age = short_age(span(server_now - quiet_at(watch)))
        return [Segment(f"{glyph} {face.word:<4}", style), Segment(f"{age:>5} ", base)]

    def _name(self, watch: Watch, width: int, base: Style) -> list[Segment]:
        """Return the name, with the end of the id where the name alone could be taken for another's."""
        name = watch.environment.name
        tail = id_tail(name, watch.environment.id, self.ambiguous)
        text = shortened(name, width - len(tail), keep="ends", ellipsis=self.marks.ellipsis)
        faint = base + self.style("faint")
        rest = width - cells(text) - cells(tail)
        return [Segment(text, base), Segment(tail + " " * rest, faint)]

    def _cell(self, column: Column, width: int, watch: Watch, server_now: float, base: Style) -> Segment:
        text = column.text(watch, server_now)
        if text is None:
            style = base + self.style("faint")
            return Segment(fitted(self.marks.nothing, width) + " ", style)
        style = base
        if column.id == "version" and is_behind(text, self.fleets.of(watch).newest):
            text = Clean(f"{text} {self.marks.behind}")
        elif column.id == "mode" and text.endswith("!"):
            style += self.style("unrestricted")
        return Segment(fitted(text, width, keep=column.keep, ellipsis=self.marks.ellipsis) + " ", style)


def aged(
    lines: Iterable[Line], fleets: Fleets, columns: Sequence[Column], before: Reading, now: Reading
) -> Iterator[int]:
    """Yield the places of those lines that read otherwise than before by a column on the right: by the time alone."""
    if ticking := [column for column in columns if column.is_ticking]:
        for place, line in enumerate(lines):
            if not isinstance(line, Heading):
                was, at = (fleets.of(line).clock.at(reading.wall) for reading in (before, now))
                if any(column.text(line, was) != column.text(line, at) for column in ticking):
                    yield place
