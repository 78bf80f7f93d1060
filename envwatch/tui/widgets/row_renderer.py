"""Draws the lines of the table: segments from an environment or a group, without any state in between.

Which rows there are, and where the cursor stands, is `environment_table`'s business.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from math import ceil
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from textual.strip import Strip

from envwatch.fleet.fleet import Freshness
from envwatch.fleet.hours import HOUR_MS
from envwatch.fleet.outages import State
from envwatch.fleet.presence import Presence
from envwatch.fleet.recent_changes import ChangeTag
from envwatch.model import limits
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.shared_marks import shared_ack_of, shared_silence_of
from envwatch.model.text import Clean, cells, counted, fitted, shortened, wrapped
from envwatch.model.versions import is_behind
from envwatch.views.column_widths import GUTTER, SCROLLBAR, gap_after
from envwatch.views.columns import LAST_DAY
from envwatch.views.grouping import GroupHeader, Rule
from envwatch.views.last_day import hour_marks
from envwatch.views.state_details import shared_text, silence_text
from envwatch.views.state_style import HOUR_STYLES, glyph_of, style_of, style_of_presence
from envwatch.views.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.style import Style

    from envwatch.fleet.hours import LastDays
    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.silences import Silence
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.tui.glyphs import Glyphs
    from envwatch.tui.state import MonitorState
    from envwatch.views.columns import Column
    from envwatch.views.grouping import Line
    from envwatch.views.table_view import View

NOTHING: Final = Clean("")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRenderer:
    """Draws the lines of a frame, and of those after it that look the same but for the cursor and what is in sight."""

    width: int
    columns: tuple[tuple[Column, int], ...]
    """Each with its width."""
    state: MonitorState
    glyphs: Glyphs
    base: Style
    style: Callable[[str], Style] = field(compare=False)
    """Returns what a component class `table--<name>` of the stylesheet adds to the base."""
    days: LastDays = field(compare=False)
    _rows: dict[tuple[EnvironmentKey, bool], Strip] = field(default_factory=dict, compare=False)
    """Environments that were drawn, with the cursor or without."""

    def column_titles(self, view: View, out_of_sight: Clean = NOTHING) -> Strip:
        """Draw the titles, with a mark on the one that sorts, and at the right what problems are out of sight."""
        plain = self.base + self.style("header")
        segments = [Segment(" " * GUTTER, plain)]
        for column, width in self.columns:
            title, style, mark = Clean(column.title), plain, ""
            if column.id == view.sort:
                falls = view.is_inverted is not column.falls
                mark = self.glyphs.descending if falls else self.glyphs.ascending
                style = self.base + self.style("sorted")
            title = Clean(f"{title[: width - len(mark)]}{mark}")
            if column.id == LAST_DAY:
                title = hour_marks(width, title)
            segments.append(Segment(fitted(title, width, align=column.align), style))
            segments.append(Segment(" " * gap_after(column), plain))
        return self.with_alarm(Strip(segments).adjust_cell_length(self.width, plain), out_of_sight)

    def with_alarm(self, strip: Strip, text: Clean) -> Strip:
        """Return a line with a text over its right end; the line as it is for none."""
        if not text:
            return strip
        text = shortened(text, max(self.width - SCROLLBAR - 1, 1), ellipsis=self.glyphs.ellipsis)
        alarm = Segment(f" {text}", self.base + self.style("alarm"))
        start = max(self.width - SCROLLBAR - alarm.cell_length, 0)
        return Strip([*strip.crop(0, start), alarm]).adjust_cell_length(self.width, self.base)

    def row(self, tracked: TrackedEnvironment, *, is_cursor: bool) -> Strip:
        """Draw one environment, once."""
        key = (tracked.key, is_cursor)
        strip = self._rows.get(key)
        if strip is None:
            strip = self._rows[key] = self._row(tracked, is_cursor=is_cursor)
        return strip

    def _row(self, tracked: TrackedEnvironment, *, is_cursor: bool) -> Strip:
        id_, fleet = tracked.environment.id, self.state.fleets.of(tracked)
        now = fleet.clock.at(self.state.now.wall)
        silence = self.state.silence_of(tracked)
        is_quiet = id_ in self.state.acks or silence is not None
        tag = None if is_quiet else tracked.tag(now)
        known = self._known_mark(tracked, silence)
        mark_style = None if known else tag
        is_unknown = self.state.fleets.is_unknown(tracked, self.state.now)
        base = self.base
        if is_cursor:
            base += self.style("cursor")
        if id_ not in fleet.environments or tracked.presence is Presence.GONE:
            base += self.style("gone")
        segments = self._gutter(tag, base, is_cursor=is_cursor)
        for column, width in self.columns:
            if column.id == "state":
                segments.append(self._state(tracked, base, is_unknown=is_unknown))
            elif column.id == "name":
                style = self._tag_style(tracked, mark_style, base)
                segments += self._name(tracked, width, known or tag or "", base, style)
            elif column.id == LAST_DAY:
                segments += self._last_day(tracked, width, base)
            else:
                text = column.shown(tracked, now, fleet.limits)
                if column.id == "why":
                    is_promise = is_unknown and tracked.presence is Presence.LATE  # a countdown
                    text = self._why(tracked, None if is_promise else text, width, silence)
                segments.append(self._cell(column, width, tracked, text, base, tag))
            segments.append(Segment(" " * gap_after(column), base))
        return Strip(segments).adjust_cell_length(self.width, base)

    def _known_mark(self, tracked: TrackedEnvironment, silence: Silence | None) -> str:
        """Return the mark of what people know: here, or else on the host that serves the listing; empty if unknown."""
        if tracked.environment.id in self.state.acks:
            return self.glyphs.acknowledged
        if silence is not None:
            return self.glyphs.silenced
        if shared_ack_of(tracked.environment) is not None:
            return self.glyphs.acknowledged
        is_silenced = shared_silence_of(tracked.environment, self.state.now.wall) is not None
        return self.glyphs.silenced if is_silenced else ""

    def _why(self, tracked: TrackedEnvironment, why: Clean | None, width: int, silence: Silence | None) -> Clean | None:
        """Return the cause, with who knows of it behind that if there is room for both, and in its place if not."""
        wall = self.state.now.wall
        text: Clean | None = None
        if silence is not None:
            text = silence_text(silence, wall)
        elif tracked.environment.id not in self.state.acks:
            text = shared_text(tracked.environment, wall, width)
        if text is None:
            return why
        both = Clean(f"{why} {self.glyphs.separator} {text}")
        return both if why and cells(both) <= width else text

    def empty_line(self, text: Clean, number: int) -> Strip:
        """Draw a line of the text that says why there is no row: of none, and below its end, a blank one."""
        lines = wrapped(text, self.width - 4)
        if not text or not 0 <= number < len(lines):
            return Strip.blank(self.width, self.base)
        segment = Segment(f"  {lines[number]}", self.base + self.style("empty"))
        return Strip([segment]).adjust_cell_length(self.width, self.base)

    def _gutter(self, tag: ChangeTag | None, base: Style, *, is_cursor: bool) -> list[Segment]:
        """Return the bar of a loss or a return, and the mark of the cursor beside it."""
        mark = Segment(self.glyphs.cursor if is_cursor else " ", base)
        style = _BARS.get(tag)
        if style is None:
            return [Segment(" ", base), mark]
        bar = self.glyphs.lost if style == "loss" else self.glyphs.returned
        # Not on the cursor's background, which is the foreground where it is shown by reverse video.
        return [Segment(bar, self.base + self.style(style)), mark]

    def rule(self, rule: Rule) -> Strip:
        """Draw the line below the block of problems: how many environments follow, and how many of them changed."""
        counts: Counter[str] = Counter()
        for (profile, what), count in rule.counts.items():
            fleet = self.state.fleets.by_profile[profile]
            is_unknown = fleet.freshness(self.state.now) is Freshness.BLIND or fleet.stall_detector.is_stalled
            counts["unknown" if is_unknown and what != "gone" else what] += count
        words = [what for what in ("online", "unknown", "old", "gone") if counts[what]] or ["online"]
        parts = [f"{counts[what]:,} {what}" for what in words]
        if rule.changed:
            parts.append(f"{rule.changed:,} changed in {limits.RECENT / timedelta(minutes=1):.0f} min")
        text = Clean(f" {self.glyphs.separator} ".join(parts))
        style = self.base + self.style("rule")
        text = shortened(text, max(self.width - 4, 1), ellipsis=self.glyphs.ellipsis)
        line = f"{self.glyphs.rule * 2} {text} "
        return Strip([Segment(line + self.glyphs.rule * max(self.width - cells(Clean(line)), 0), style)]).crop(
            0, self.width
        )

    def group_header(self, header: GroupHeader, problems: int, *, is_cursor: bool) -> Strip:
        """Draw the line over a group: its title, the count of each presence, and of the problems folded in it."""
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
                style = base + self.style("unknown" if is_unknown else style_of_presence(presence))
                tail += [Segment("  ", base), Segment(f"{glyph} {count}", style)]
        if problems:
            tail += [Segment("  ", base), Segment(counted(problems, "problem"), base + self.style("alarm"))]
        silence = self._silence_of(header)
        if silence is not None:
            tail += [Segment("  ", base), Segment(silence_text(silence, now.wall), base)]
        mark = self.glyphs.silenced if silence else self._mark_of(header)
        head = f" {self.glyphs.cursor if is_cursor else ' '}{sign} {f'{mark} ' if mark else ''}"
        room = self.width - cells(head) - sum(cells(segment.text) for segment in tail) - 1
        title = shortened(header.title, max(room, 1), keep="ends", ellipsis=self.glyphs.ellipsis)
        return Strip([Segment(f"{head}{title}", base), *tail]).adjust_cell_length(self.width, base)

    def _mark_of(self, header: GroupHeader) -> str:
        """Return the mark of a group whose problems are all acknowledged or silenced; empty without problems."""
        mark = ""
        for tracked in header.environments:
            if tracked.is_unhealthy:
                known = self._known_mark(tracked, self.state.silence_of(tracked))
                if not known:
                    return ""
                mark = known if mark != self.glyphs.silenced else mark
        return mark

    def _silence_of(self, header: GroupHeader) -> Silence | None:
        """Return the silence of a group's members that ends first, if all of them are silenced."""
        found: list[Silence] = []
        for tracked in header.environments:
            if (silence := self.state.silence_of(tracked)) is None:
                return None
            found.append(silence)
        return min(found, key=attrgetter("until"))

    def _state(self, tracked: TrackedEnvironment, base: Style, *, is_unknown: bool) -> Segment:
        state = style_of(tracked, is_unknown=is_unknown)
        glyph = state.ascii if self.glyphs.is_ascii else state.glyph
        return Segment(f"{glyph} {state.word:<4}", base + self.style(state.style))

    def _last_day(self, tracked: TrackedEnvironment, width: int, base: Style) -> Iterator[Segment]:
        """Yield the cells of the last 24 hours; the newest, where not all of them fit."""
        for state, cells_alike in groupby(self.days.cells(tracked)[-width:]):
            look = HOUR_STYLES[state]
            glyph = look.ascii if self.glyphs.is_ascii else look.glyph
            # Without colours, that of the state offline is reverse, in which a full block would be an empty cell.
            style = "loss" if state is State.DOWN else look.style
            yield Segment(glyph * len([*cells_alike]), base + self.style(style))

    def _name(
        self, tracked: TrackedEnvironment, width: int, mark: str, base: Style, mark_style: Style
    ) -> list[Segment]:
        """Return the name, with the end of the id if the name is ambiguous, and at the right the mark or tag.

        A name without a mark has the cells of both.
        """
        name, id_ = tracked.environment.name, tracked.environment.id
        room = width - (len(mark) + 1 if mark else 0)
        tail = id_tail(name, id_, self.state.ambiguous_names) if name else ""
        text = shortened(name or id_, max(room - len(tail), 0), keep="ends", ellipsis=self.glyphs.ellipsis)
        faint = base + self.style("faint")
        space = " " * max(width - cells(text) - len(tail) - len(mark), 0)
        return [
            Segment(text, base if name else faint),
            Segment(tail + space, faint),
            Segment(mark, mark_style),
        ]

    def _tag_style(self, tracked: TrackedEnvironment, tag: ChangeTag | None, base: Style) -> Style:
        if tag is None:
            return base
        is_alarming = tag is ChangeTag.MODE and mode_of(tracked.environment.mode) == UNRESTRICTED
        style = "unrestricted" if is_alarming else _BARS.get(tag, "plain")
        return base + self.style(style) + self.style("tag")

    def _cell(  # noqa: PLR0913, PLR0917  all that decides how one cell looks
        self,
        column: Column,
        width: int,
        tracked: TrackedEnvironment,
        text: Clean | None,
        base: Style,
        tag: ChangeTag | None,
    ) -> Segment:
        if text is None:
            nothing = Clean("") if column.id == "why" else self.glyphs.nothing
            return Segment(fitted(nothing, width, align=column.align), base + self.style("faint"))
        style = base
        if column.id == "version" and is_behind(text, self.state.fleets.of(tracked).newest):
            text = Clean(f"{text} {self.glyphs.behind}")
        elif column.id == "mode" and mode_of(tracked.environment.mode) == UNRESTRICTED:
            style += self.style("unrestricted")
            if tag is ChangeTag.MODE:
                style += self.style("tag")
        return Segment(fitted(text, width, keep=column.keep, align=column.align, ellipsis=self.glyphs.ellipsis), style)


_BARS: Final[Mapping[ChangeTag | None, str]] = {
    ChangeTag.NEW: "loss",
    ChangeTag.BACK: "return",
    ChangeTag.JOINED: "return",
}
"""Styles of the changes that have a bar at the left edge."""
_QUARTER_MS: Final = HOUR_MS / 4
"""In every time zone a new hour begins with a quarter of an hour of UTC."""


def changed_lines(
    lines: Iterable[Line], monitor: Monitor, columns: Sequence[Column], old: Reading, new: Reading
) -> Iterator[int]:
    """Yield the places of the lines in which time alone has changed something right of the heartbeat's age."""
    fleets, ticking = monitor.fleets, [column for column in columns if column.is_ticking]
    has_hours = any(column.id == LAST_DAY for column in columns)
    for place, line in enumerate(lines):
        if isinstance(line, GroupHeader | Rule):
            if monitor.silences:
                yield place
            continue
        fleet = fleets.of(line)
        old_ms, new_ms = (fleet.clock.at(reading.wall) for reading in (old, new))
        if (
            line.tag(old_ms) != line.tag(new_ms)
            or (has_hours and ceil(old_ms / _QUARTER_MS) != ceil(new_ms / _QUARTER_MS))
            or _known_at(monitor, line, old) != _known_at(monitor, line, new)
            or any(
                column.shown(line, old_ms, fleet.limits) != column.shown(line, new_ms, fleet.limits)
                for column in ticking
            )
        ):
            yield place


def _known_at(monitor: Monitor, tracked: TrackedEnvironment, now: Reading) -> Clean | None:
    silence = monitor.silence_of(tracked, now)
    return shared_text(tracked.environment, now.wall, 0) if silence is None else silence_text(silence, now.wall)
