"""The block above the table: open incidents, and a rule with further counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip

from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import ChangeTag
from envwatch.model.text import EMPTY, SafeText, cells, clean, composed, shortened
from envwatch.screen.state import BAR_STYLES, MonitorState, StateNode
from envwatch.screen.widgets.line import TABLE_STYLES, DrawnRows
from envwatch.screen.widgets.status_bar import StatusBar
from envwatch.views.table import block_text
from envwatch.views.table.block import Block, BlockLine, LineKey
from envwatch.views.table.columns import GUTTER, LEFT
from envwatch.views.table.cursor import More
from envwatch.views.table.table_view import GroupHeader, Line, id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from textual import events
    from textual.app import ComposeResult

    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment


_TAG: Final = 4
_STATE: Final = LEFT - GUTTER - _TAG - 2
"""Cells that align names in block and table; a longer state widens all lines."""
_SECONDS: Final = 3
"""Cells of `59s`, so that widths stay when `1m` follows."""
_LEAST_WHY: Final = 10
_NOW: Final = clean(" now ")
_INDENT: Final = "   "


class _LineParts(NamedTuple):
    mark: str
    state: tuple[str, str]
    lasted: SafeText
    names: Callable[[int], SafeText]
    why: SafeText
    is_acked: bool
    is_cursor: bool
    profile: SafeText = EMPTY
    """Precedes the names, unless room is short."""
    tag: ChangeTag | None = None

    @property
    def state_cells(self) -> int:
        return cells(self.state[0]) + 1 + max(cells(self.lasted), _SECONDS)


class _BlockLines(DrawnRows["list[Segment]"], StateNode):
    COMPONENT_CLASSES: ClassVar[set[str]] = TABLE_STYLES | {"table--rule"}

    _cursor: LineKey | None = None
    _marked: frozenset[EnvironmentKey] = frozenset()

    def _fit(self) -> None:
        if self.is_mounted and self._width:
            self.fit_rows(self.rows())

    watch_state = watch_options = on_resize = _fit

    @property
    def _width(self) -> int:
        return self.size.width or self.screen.size.width

    def notify_style_update(self) -> None:
        self._drawn = None
        super().notify_style_update()

    def strip_of(self, row: list[Segment]) -> Strip:
        return Strip(row).adjust_cell_length(self.size.width, self.rich_style)

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"table--{part}", partial=True)

    def _incident(self, line: BlockLine, state: MonitorState) -> _LineParts:
        glyphs, wall, monitor, is_cursor = self.options.glyphs, state.now.wall, state.monitor, line.key == self._cursor
        look, words = block_text.line_state(line, monitor, state.now)
        style, tag = look.style, block_text.tag_of(line, wall)
        if tag is not None and style not in {"unknown", "faint"}:
            style = BAR_STYLES[tag]
        is_marked = bool(line.members) and all(tracked.key in self._marked for tracked in line.members)
        ambiguous = state.ambiguous_names
        return _LineParts(
            mark=glyphs.mark(is_cursor=is_cursor, is_marked=is_marked),
            state=(f"{glyphs.acknowledged if line.is_acked else glyphs.of(look)} {words}", style),
            lasted=block_text.line_age_text(line, wall),
            tag=tag,
            names=lambda room: block_text.line_names_text(
                line, ambiguous, room, has_profiles=monitor.fleet.are_several, ellipsis=glyphs.ellipsis
            ),
            profile=line.profile if monitor.fleet.are_several else EMPTY,
            why=self._why(block_text.why_text(line, state.judge), line.off),
            is_acked=line.is_acked,
            is_cursor=is_cursor,
        )

    def _why(self, why: SafeText, off: Sequence[TrackedEnvironment]) -> SafeText:
        acking = self.state.acking
        if not acking or not off or not all(tracked.key in acking for tracked in off):
            return why
        return composed(f"ack{self.options.glyphs.ellipsis}{' · ' if why else ''}{why}")

    def _segments(self, line: _LineParts, state_cells: int = _STATE, taken: int = 0) -> list[Segment]:
        """Draw a line; names have priority over the reason."""
        plain, glyphs = self.rich_style, self.options.glyphs
        mark, state, lasted, names, why, is_acked, is_cursor, profile, tag = line
        base = plain + self._style("cursor") if is_cursor else plain
        tagged = Style() if tag is None else self._style(BAR_STYLES[tag])
        is_new = tag is ChangeTag.NEW
        bar = Segment(" ", base) if tag is None else Segment(glyphs.bar(tag), plain + tagged)
        width = self._width - taken
        state_and_age = cells(state[0]) + cells(lasted)
        gap = max(state_cells - state_and_age, 1)
        left = GUTTER + state_and_age + gap + 1 + _TAG + 1
        tag_cells = _TAG
        if taken and width - left - 1 < block_text.LEAST_NAMES:
            tag, tag_cells, left = None, 0, left - _TAG  # the bar marks a fresh loss too
        room = max(width - left - 1, 1)
        whole = cells(names(room))
        for_names = max(min(whole, room - cells(why) - 2), min(block_text.LEAST_NAMES, whole))
        if room - for_names - 2 < min(_LEAST_WHY, cells(why)):
            why, for_names = EMPTY, room
        text = names(for_names)
        reason = shortened(why, max(room - cells(text) - 2, 0), ellipsis=glyphs.ellipsis)
        space = max(room - cells(text) - cells(reason), 0)
        words = base + self._style("faint") if is_acked else base
        named = text.removeprefix(f"{profile} ") if profile else text
        return [
            bar,
            Segment(mark, base),
            Segment(state[0], base + self._style("faint" if is_acked else state[1])),
            Segment(" " * gap + lasted + " ", words),
            Segment(f"{tag or '':<{tag_cells}}", base if tag is None else base + tagged + self._style("tag")),
            Segment(f" {text[: len(text) - len(named)]}", base + self._style("faint")),
            Segment(f"{named}{' ' * space}", words + Style(bold=True) if is_new else words),
            Segment(f"{reason} ", words),
        ]


class ProblemBlock(_BlockLines):
    """The block's lines, and the rule."""

    @dataclass
    class LineClicked(Message):
        """The user clicked on a line of the block."""

        key: LineKey

    def __init__(self) -> None:
        super().__init__()
        self.content: Sequence[Line | More] = ()
        self._has_rule = False

    def show(
        self,
        content: Sequence[Line | More],
        cursor: LineKey | None,
        marked: frozenset[EnvironmentKey],
        *,
        has_rule: bool,
    ) -> None:
        shown = (content, cursor, marked, has_rule)
        if shown != (self.content, self._cursor, self._marked, self._has_rule):
            self.content, self._cursor, self._marked, self._has_rule = shown
            self._fit()

    def on_click(self, event: events.Click) -> None:
        lines = self.content[event.y :]
        if lines and not isinstance(lines[0], More):
            self.post_message(self.LineClicked(lines[0].key))

    def rows(self) -> list[list[Segment]]:
        drawn = [*self._drawn_lines()]
        widths = [line.state_cells for line in drawn if isinstance(line, _LineParts)]
        state_cells = max(_STATE, *widths) if widths else _STATE
        lines = [self._segments(line, state_cells) if isinstance(line, _LineParts) else line for line in drawn]
        if self._has_rule:
            lines.append(self._rule(self.state.block))
        return lines

    def _drawn_lines(self) -> Iterator[_LineParts | list[Segment]]:
        said = EMPTY
        for line in self.content:
            parts = self._line(line)
            if isinstance(parts, _LineParts):
                if isinstance(line, BlockLine):
                    said = parts.why
                elif parts.is_acked and parts.why == said:
                    parts = parts._replace(why=EMPTY)  # the incident's line has the note of all
            yield parts

    def _line(self, line: Line | More) -> _LineParts | list[Segment]:
        glyphs = self.options.glyphs
        if isinstance(line, More) and line.members:
            text = composed(f"{_INDENT} {line.members:,} more: enter shows them all")
            return [Segment(text, self.rich_style + self._style("faint"))]
        if isinstance(line, More):
            fresh = f", {line.fresh:,} new" if line.fresh else ""
            text = composed(f" +{line.machines:,} more{fresh} {glyphs.separator} n")
            return [Segment(text, self.rich_style + self._style("loss" if line.fresh else "faint"))]
        if isinstance(line, BlockLine):
            return self._incident(line, self.state)
        return [] if isinstance(line, GroupHeader) else self._member(line)

    def _member(self, tracked: TrackedEnvironment) -> _LineParts:
        state, glyphs, is_cursor = self.state, self.options.glyphs, tracked.key == self._cursor
        look, lasted, cause, acked = block_text.member_texts(tracked, state.judge)
        label = tracked.environment.label
        name = composed(label + id_tail(label, tracked.environment.id, state.ambiguous_names))
        return _LineParts(
            mark=glyphs.mark(is_cursor=is_cursor, is_marked=tracked.key in self._marked),
            state=(f"{_INDENT}{glyphs.of(look) if acked is None else glyphs.acknowledged} {look.word}", look.style),
            lasted=lasted,
            names=lambda room: shortened(name, room, keep="ends", ellipsis=glyphs.ellipsis),
            why=self._why(cause if acked is None else acked, [tracked]),
            is_acked=acked is not None,
            is_cursor=is_cursor,
        )

    def _rule(self, block: Block) -> list[Segment]:
        glyphs = self.options.glyphs
        silenced = f" ({block.silenced_up:,} silenced)" if block.silenced_up else ""
        counts = [(block.presences.get(Presence.ONLINE, 0), f"on{silenced}"), (block.unknown, "unknown")]
        counts += block.aside_counts
        none = ["0 on"] if self.state.monitor.fleet.is_listed else ["no answer yet"]
        parts = [f"{count:,} {word}" for count, word in counts if count] or none
        width = self._width
        text = composed(f" {glyphs.separator} ".join(parts))
        text = shortened(text, max(width - 4, 1), ellipsis=glyphs.ellipsis)
        line = f"{glyphs.rule * 2} {text} "
        line += glyphs.rule * max(width - cells(line), 0)
        return [Segment(line, self.rich_style + self._style("rule"))]


class NewestLoss(_BlockLines):
    """The newest loss, where the present's block is not visible: in the past, and above another screen (`is_over`)."""

    def __init__(self, *, is_over: bool) -> None:
        super().__init__()
        self._is_over = is_over

    def rows(self) -> list[list[Segment]]:
        rewound = self.state.rewound
        present = self.state if rewound is None else rewound.present_state
        if present is None or (rewound is None and not self._is_over) or (newest := present.block.newest) is None:
            return []
        if rewound is None:
            return [self._segments(self._incident(newest, present))]
        now = Segment(_NOW, self.rich_style + self._style("header"))
        return [[now, *self._segments(self._incident(newest, present), taken=cells(_NOW))]]


class PresentLines(Vertical, StateNode):
    """Status line and newest loss above another screen, so that no screen hides a loss."""

    def compose(self) -> ComposeResult:
        cls = PresentLines
        below = next((bar for screen in self.app.screen_stack for bar in screen.query(StatusBar)), None)
        if below is not None:
            yield below.copy().data_bind(cls.state, cls.options)
        yield NewestLoss(is_over=True).data_bind(cls.state, cls.options)

    def on_mount(self) -> None:
        for name in ("state", "options"):
            self.watch(self.app, name, partial(setattr, self, name))
