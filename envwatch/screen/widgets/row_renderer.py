"""Draws the table's lines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from textual.strip import Strip

from envwatch.fleet.tracking import ChangeTag
from envwatch.model.environment import STANDARD, UNRESTRICTED, mode_of
from envwatch.model.text import EMPTY, SafeText, cells, clean, composed, fitted, shortened, wrapped
from envwatch.model.versions import is_behind
from envwatch.screen.state import BAR_STYLES, Glyphs, MonitorState
from envwatch.views.table.columns import COLUMNS, GUTTER, LEFT, gap_after
from envwatch.views.table.row_values import AGES, are_headers_ticking, header_values, snapshot_of
from envwatch.views.table.table_view import OLD, GroupHeader, TableLine, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.style import Style

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.query.language import Query
    from envwatch.query.presentation import Presentation, RowContext
    from envwatch.query.state_looks import StateStyle
    from envwatch.views.table.row_values import RowSnapshot, StaticCells


_STATE_AND_FOR: Final = sum(COLUMNS[id_].width for id_ in ("state", "for")) - 2

_MOST_RESTS: Final = 500
"""Cached right parts of rows: more than the lines of any terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRenderer:
    """Draws the lines of a moment. Renderers with equal looks are equal, whatever the moment."""

    width: int
    columns: tuple[tuple[Presentation, int], ...]
    glyphs: Glyphs
    state: MonitorState = field(compare=False)
    contexts: Mapping[SafeText, RowContext] = field(compare=False)
    marked: frozenset[EnvironmentKey] = frozenset()
    query: Query
    """Words to underline in names."""
    base: Style
    style: Callable[[str], Style] = field(compare=False)
    _shown: dict[EnvironmentKey, RowSnapshot] = field(default_factory=dict, compare=False)
    _strips: dict[tuple[EnvironmentKey, bool], Strip] = field(default_factory=dict, compare=False)
    _rests: dict[tuple[EnvironmentKey, bool], tuple[StaticCells, Strip]] = field(default_factory=dict, compare=False)

    def as_of(self, state: MonitorState, contexts: Mapping[SafeText, RowContext]) -> RowRenderer:
        if len(self._rests) > _MOST_RESTS:
            self._rests.clear()
        return replace(self, state=state, contexts=contexts, _shown={}, _strips={})

    def changed_cells(self, line: TableLine, earlier: RowRenderer) -> int:
        """Return the changed width from the left, in cells."""
        if isinstance(line, GroupHeader):
            return self.width if are_headers_ticking(self.contexts) else 0
        now, before = self._shown_of(line), earlier._shown_of(line)
        return 0 if now == before else LEFT if now.rest == before.rest else self.width

    # Rows with equal values share cached cells.

    def line(self, line: TableLine, *, is_cursor: bool) -> Strip:
        if isinstance(line, GroupHeader):
            return self.group_header(line, is_cursor=is_cursor)
        return self.row(line, is_cursor=is_cursor)

    def column_titles(self, view: View) -> Strip:
        plain = self.base + self.style("header")
        segments = [Segment(" " * GUTTER, plain)]
        for column, width in self.columns:
            title, style, gap = clean(column.title[:width]), plain, gap_after(column)
            if column.id == view.sort:
                title = clean(f"{title}{self.glyphs.down if view.is_inverted else self.glyphs.up}")
                style = self.base + self.style("sorted")
            taken = gap if cells(title) > width else 0  # by the mark behind a title as wide as its column
            if column.marks is not None:
                title = column.marks(width, title)
            segments.append(Segment(fitted(title, width + taken, align=column.align), style))
            segments.append(Segment(" " * (gap - taken), plain))
        return Strip(segments).adjust_cell_length(self.width, plain)

    def row(self, tracked: TrackedEnvironment, *, is_cursor: bool) -> Strip:
        key = (tracked.key, is_cursor)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._row(tracked, is_cursor=is_cursor)
        return strip

    def _row(self, tracked: TrackedEnvironment, *, is_cursor: bool) -> Strip:
        shown = self._shown_of(tracked)
        base = self.base
        if is_cursor:
            base += self.style("cursor")
        if shown.rest.tone is not None:
            base += self.style(shown.rest.tone)
        segments = self._gutter(tracked, shown.rest.tag, base, is_cursor=is_cursor)
        look = shown.look
        segments += self._state(look, base)
        lasted, beat = shown.ages
        if lasted is not None and len(look.word) + cells(lasted) >= _STATE_AND_FOR:
            lasted = clean(lasted.replace(" ", ""))  # `gone 1d10h`: no space between STATE and FOR
        for (column, width), text in zip(self.columns[1:AGES], (lasted, beat), strict=True):
            segments += [self._cell(column, width, text, shown.rest, base), Segment(" " * gap_after(column), base)]
        rest = self._rest(shown.rest, base, is_cursor=is_cursor)
        return Strip([*segments, *rest], LEFT + rest.cell_length).adjust_cell_length(self.width, base)

    def _rest(self, rest: StaticCells, base: Style, *, is_cursor: bool) -> Strip:
        key = (rest.tracked.key, is_cursor)
        drawn = self._rests.get(key)
        if drawn is None or drawn[0] != rest:
            drawn = self._rests[key] = (rest, Strip(self._rest_segments(rest, base)))
        return drawn[1]

    def _rest_segments(self, rest: StaticCells, base: Style) -> Iterator[Segment]:
        tracked, ticking = rest.tracked, iter(rest.ticking)
        for column, width in self.columns[AGES:]:
            if column.id == "name":
                yield from self._name(rest, width, base)
            else:
                text = next(ticking) if column.is_ticking else column.text(tracked)
                if column.styles:
                    yield from self._styled(column, width, text or EMPTY, base)
                else:
                    yield self._cell(column, width, text, rest, base)
            yield Segment(" " * gap_after(column), base)

    def _shown_of(self, tracked: TrackedEnvironment) -> RowSnapshot:
        shown = self._shown.get(tracked.key)
        if shown is None or shown.rest.tracked is not tracked:
            shown = self._shown[tracked.key] = snapshot_of(
                tracked,
                self.contexts[tracked.profile],
                self.columns,
                self.state.ambiguous_names,
                self.state.counts.mostly_behind,
            )
        return shown

    def empty_line(self, text: SafeText, number: int) -> Strip:
        lines = wrapped(text, self.width - 4)
        if not text or not 0 <= number < len(lines):
            return Strip.blank(self.width, self.base)
        segment = Segment(f"  {lines[number]}", self.base + self.style("empty"))
        return Strip([segment]).adjust_cell_length(self.width, self.base)

    def _gutter(
        self, tracked: TrackedEnvironment, tag: ChangeTag | None, base: Style, *, is_cursor: bool
    ) -> list[Segment]:
        mark = Segment(self.glyphs.mark(is_cursor=is_cursor, is_marked=tracked.key in self.marked), base)
        if tag is None or tag not in BAR_STYLES:
            return [Segment(" ", base), mark]
        # No cursor background: in reverse video, that is the foreground.
        return [Segment(self.glyphs.bar(tag), self.base + self.style(BAR_STYLES[tag])), mark]

    def group_header(self, header: GroupHeader, *, is_cursor: bool) -> Strip:
        base = self.base + self.style("group")
        if header.key == OLD:
            base += self.style("gone")
        if is_cursor:
            base += self.style("cursor")
        mark, pieces = header_values(header, self.contexts)
        tail: list[Segment] = []
        for piece in pieces:
            tail += [Segment("  ", base), Segment(piece.text, base + self.style(piece.style) if piece.style else base)]
        sign = self.glyphs.opened if header.is_open else self.glyphs.closed
        head = f" {self.glyphs.cursor if is_cursor else ' '}{sign} {f'{self.glyphs.sign(mark)} ' if mark else ''}"
        room = self.width - cells(head) - sum(cells(segment.text) for segment in tail) - 1
        title = shortened(header.title, max(room, 1), keep="ends", ellipsis=self.glyphs.ellipsis)
        return Strip([Segment(f"{head}{title}", base), *tail]).adjust_cell_length(self.width, base)

    def _state(self, state: StateStyle, base: Style) -> list[Segment]:
        style = base + self.style(state.style)
        return [
            Segment(self.glyphs.of(state), style),
            Segment(f" {state.word:<4}", base if state.style == "unknown" else style),
        ]

    def _styled(self, column: Presentation, width: int, text: SafeText, base: Style) -> Iterator[Segment]:
        for style, alike in groupby(fitted(text, width, keep=column.keep, align=column.align), column.styles.get):
            yield Segment("".join(alike), base if style is None else base + self.style(style))

    def _name(self, rest: StaticCells, width: int, base: Style) -> list[Segment]:
        name, id_ = rest.tracked.environment.name, rest.tracked.environment.id
        mark = self.glyphs.sign(rest.mark) if rest.mark else rest.tag or ""
        room = width - (len(mark) + 1 if mark else 0)
        text = shortened(name or id_, max(room - len(rest.tail), 0), keep="ends", ellipsis=self.glyphs.ellipsis)
        faint = base + self.style("faint")
        space = " " * max(width - cells(text) - len(rest.tail) - len(mark), 0)
        return [
            *self._with_hits(text, base if name else faint),
            Segment(rest.tail + space, faint),
            Segment(mark, self._tag_style(rest.tracked, None if rest.mark else rest.tag, base)),
        ]

    def _with_hits(self, text: SafeText, style: Style) -> Iterator[Segment]:
        done = 0
        for begin, end in self.query.hits(text):
            yield from (Segment(text[done:begin], style), Segment(text[begin:end], style + self.style("hit")))
            done = end
        yield Segment(text[done:], style)

    def _tag_style(self, tracked: TrackedEnvironment, tag: ChangeTag | None, base: Style) -> Style:
        if tag is None:
            return base
        is_alarming = tag is ChangeTag.MODE and mode_of(tracked.environment.mode) == UNRESTRICTED
        style = "unrestricted" if is_alarming else BAR_STYLES.get(tag, "plain")
        return base + self.style(style) + self.style("tag")

    def _cell(self, column: Presentation, width: int, text: SafeText | None, rest: StaticCells, base: Style) -> Segment:
        if text is None:
            nothing = EMPTY if column.id == "why" else self.glyphs.nothing
            return Segment(fitted(nothing, width, align=column.align), base + self.style("faint"))
        style = base
        if column.id == "version" and is_behind(text, rest.newest):
            text = composed(f"{text} {self.glyphs.behind}")
        elif column.id == "mode" and mode_of(rest.tracked.environment.mode) == UNRESTRICTED:
            style += self.style("unrestricted")
            if rest.tag is ChangeTag.MODE:
                style += self.style("tag")
        elif column.id == "mode" and mode_of(rest.tracked.environment.mode) == STANDARD:
            is_under_cursor = base.bgcolor != self.base.bgcolor or base.reverse
            style = base if is_under_cursor else base + self.style("usual")
        return Segment(fitted(text, width, keep=column.keep, align=column.align, ellipsis=self.glyphs.ellipsis), style)
