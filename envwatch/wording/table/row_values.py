"""The values of the table's lines at a moment, and how each line stands out.

Acknowledgements, silences and alert decisions are ranked here, so that widgets only draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import ChangeTag
from envwatch.model.shared_marks import shared_silence_of
from envwatch.model.text import SafeText, cells, clean, composed
from envwatch.wording.state_style import (
    PRESENCE_STYLES,
    Piece,
    StateStyle,
    ack_text,
    glyph_of,
    shared_silence_text,
    silence_text,
    style_of,
)
from envwatch.wording.table.table_view import GroupHeader, id_tail

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from envwatch.alerts.silences import Silenced
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.presentation import Presentation, RowContext


AGES: Final = 3
"""Columns left of NAME: the state, the time in the state, and the heartbeat's age."""
Mark: TypeAlias = Literal["acknowledged", "silenced"]
Tone: TypeAlias = Literal["healthy", "gone"]
_LOUD: Final = frozenset({"offline", "late", "flapping"})
"""Styles of states that need a person, unless the alert policy says otherwise."""


class StaticCells(NamedTuple):
    """The values right of the heartbeat's age."""

    tracked: TrackedEnvironment
    tag: ChangeTag | None
    mark: Mark | None
    """Replaces the tag."""
    tail: SafeText
    """The part of the id behind an ambiguous name."""
    newest: SafeText | None
    """The version that is not behind; None if most rows are behind."""
    tone: Tone | None
    ticking: Sequence[SafeText | None]
    """The texts of columns that have a `cell`."""


class RowSnapshot(NamedTuple):
    """The values of a row at one moment."""

    is_unknown: bool
    is_soft: bool
    """Whether the row raises no alert, like every down row outside the block."""
    ages: Sequence[SafeText | None]
    rest: StaticCells

    @property
    def look(self) -> StateStyle:
        """The look of the state, without the colour of a loss if the row raises no alert."""
        look = style_of(self.rest.tracked, is_unknown=self.is_unknown)
        return look._replace(style="gone") if self.is_soft and look.style in _LOUD else look


def snapshot_of(
    tracked: TrackedEnvironment,
    context: RowContext,
    columns: Sequence[tuple[Presentation, int]],
    ambiguous: frozenset[SafeText],
    mostly_behind: Collection[SafeText],
) -> RowSnapshot:
    """Return the values of a row.

    `columns` have widths, `ambiguous` are names of several rows, and `mostly_behind` are profiles.
    """
    monitor, now, profile_state, at, _, _ = context
    environment, presence = tracked.environment, tracked.presence
    silenced, is_acked = monitor.silenced(tracked, now), monitor.is_acked(tracked)
    is_unknown = profile_state.is_unknown(tracked, now)
    is_soft = presence is not Presence.ONLINE and (
        presence is not Presence.LATE or silenced is not None or not monitor.decision_of(tracked, at).counts
    )
    tag = None if is_acked or silenced is not None else tracked.tag(at)
    if tag is ChangeTag.NEW:
        tag = None  # such a loss stands in the block
    tone: Tone | None = None
    if environment.id not in profile_state.environments or (is_soft and presence is not Presence.LATE):
        tone = "gone"
    elif presence is Presence.ONLINE and tag is None:
        tone = "healthy"
    texts: list[SafeText | None] = []
    for column, width in columns[1:]:
        if column.cell is not None:
            text = column.cell(tracked, context)
            if column.id == "why":
                is_promise = is_unknown and presence is Presence.LATE  # a countdown
                text = _why(tracked, context, silenced, None if is_promise else text, width)
            texts.append(text)
    return RowSnapshot(
        is_unknown,
        is_soft,
        texts[: AGES - 1],
        StaticCells(
            tracked,
            tag=tag,
            mark=_mark_of(tracked, context, silenced, is_acked=is_acked),
            tail=id_tail(environment.name, environment.id, ambiguous) if environment.name else environment.name,
            newest=None if tracked.profile in mostly_behind else profile_state.newest,
            tone=tone,
            ticking=texts[AGES - 1 :],
        ),
    )


def _mark_of(
    tracked: TrackedEnvironment, context: RowContext, silenced: Silenced | None, *, is_acked: bool
) -> Mark | None:
    """An acknowledgement precedes a silence."""
    if is_acked:
        return "acknowledged"
    if silenced is not None:
        return "silenced"
    return None if shared_silence_of(tracked.environment, context.now.wall) is None else "silenced"


def _why(
    tracked: TrackedEnvironment, context: RowContext, silenced: Silenced | None, why: SafeText | None, width: int
) -> SafeText | None:
    """Return silence or acknowledgement, with the reason before if both fit."""
    monitor, now, zone = context.monitor, context.now, context.monitor.policy_of(tracked.profile).zone
    text: SafeText | None
    if silenced is not None:
        text = silence_text(silenced, monitor, tracked.profile, now, width)
    elif (ack := monitor.ack_of(tracked)) is not None:
        text = ack_text(ack, context.at, zone, width)
    else:
        text = shared_silence_text(tracked.environment, now.wall, zone, width)
    if text is None:
        return why
    if cells(text) > width:
        text = clean(text.removeprefix("silenced "))  # the row has the sign of a silence
    both = composed(f"{why} {'-' if context.ascii_only else '·'} {text}")
    return both if why and cells(both) <= width else text


def are_headers_ticking(contexts: Mapping[SafeText, RowContext]) -> bool:
    """Whether the values of a group's header may change with time alone."""
    return any(context.monitor.has_silences for context in contexts.values())


def header_values(header: GroupHeader, contexts: Mapping[SafeText, RowContext]) -> tuple[Mark | None, list[Piece]]:
    """Return the mark of a group, and the counts of its rows, with the end of a silence that covers all rows."""
    rows = [(tracked, contexts[tracked.profile]) for tracked in header.environments]
    is_unknown = all(context.profile_state.is_unknown(tracked, context.now) for tracked, context in rows)
    pieces: list[Piece] = []
    for presence in Presence:
        if count := header.counts.get(presence):
            glyph = "?" if is_unknown else glyph_of(presence, ascii_only=rows[0][1].ascii_only)
            look = PRESENCE_STYLES[presence].style
            # Down rows that need a person stand in the block.
            style = "unknown" if is_unknown else "gone" if look == "offline" else look
            pieces.append(Piece(composed(f"{glyph} {count:,}"), style))
    if (until := _silenced_text(rows)) is not None:
        return "silenced", [*pieces, Piece(until)]
    return _shared_mark(rows), pieces


def _silenced_text(rows: Iterable[tuple[TrackedEnvironment, RowContext]]) -> SafeText | None:
    """Return until when all rows are silenced."""
    found: list[tuple[Silenced, RowContext]] = []
    for tracked, context in rows:
        if (silenced := context.monitor.silenced(tracked, context.now)) is None:
            return None
        found.append((silenced, context))
    first, context = min(found, key=lambda each: each[0].until)
    return silence_text(first, context.monitor, context.profile_state.profile, context.now, width=0)


def _shared_mark(rows: Iterable[tuple[TrackedEnvironment, RowContext]]) -> Mark | None:
    """Return the mark of all unhealthy rows; a silence of one row precedes acknowledgements."""
    marks: list[Mark] = []
    for tracked, context in rows:
        if tracked.is_unhealthy:
            monitor, now, *_ = context
            silenced = monitor.silenced(tracked, now)
            mark = _mark_of(tracked, context, silenced, is_acked=monitor.is_acked(tracked))
            if mark is None:
                return None
            marks.append(mark)
    return "silenced" if "silenced" in marks else "acknowledged" if marks else None
