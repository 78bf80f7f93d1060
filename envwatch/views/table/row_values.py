"""The values and emphasis of the table's lines: acknowledgements, silences and alert decisions are ranked here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from envwatch.fleet.presence import Presence
from envwatch.fleet.tracking import TABLE_TAGS, ChangeTag
from envwatch.model.shared_marks import shared_silence_of
from envwatch.model.text import SafeText, cells, clean, composed
from envwatch.query.state_looks import PRESENCE_STYLES, StateStyle, glyph_of, style_of
from envwatch.views.state_style import Piece, ack_text, shared_silence_text, silence_text
from envwatch.views.table.table_view import GroupHeader, id_tail

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from envwatch.alerts.silences import Silenced
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.presentation import Presentation, RowContext


AGES: Final = 3
"""Number of columns left of NAME."""
Mark: TypeAlias = Literal["acknowledged", "silenced"]
Tone: TypeAlias = Literal["healthy", "gone"]
_LOUD: Final = frozenset({"offline", "late", "flapping"})
"""Styles of states that usually need a person."""


class StaticCells(NamedTuple):
    """A row's values right of BEAT."""

    tracked: TrackedEnvironment
    tag: ChangeTag | None
    mark: Mark | None
    """Shown instead of the tag."""
    tail: SafeText
    newest: SafeText | None
    """The profile's newest version; None if most rows are behind."""
    tone: Tone | None
    ticking: Sequence[SafeText | None]
    """The texts of columns with a `cell`."""


class RowSnapshot(NamedTuple):
    """A row's values at a moment."""

    is_unknown: bool
    is_soft: bool
    """Whether a row that is not online raises no alert."""
    ages: Sequence[SafeText | None]
    rest: StaticCells

    @property
    def look(self) -> StateStyle:
        """The state's look, without a loss's colour if `is_soft`."""
        look = style_of(self.rest.tracked, is_unknown=self.is_unknown)
        return look._replace(style="gone") if self.is_soft and look.style in _LOUD else look


def snapshot_of(
    tracked: TrackedEnvironment,
    context: RowContext,
    columns: Sequence[tuple[Presentation, int]],
    ambiguous: frozenset[SafeText],
    mostly_behind: Collection[SafeText],
) -> RowSnapshot:
    """Return a row's values; `mostly_behind` holds profiles."""
    _, judge, profile_state, at, _, _ = context
    environment, presence = tracked.environment, tracked.presence
    silenced, is_acked = judge.silenced(tracked), judge.is_acked(tracked)
    is_unknown = profile_state.is_unknown(tracked, judge.now)
    is_soft = presence is not Presence.ONLINE and (
        presence is not Presence.LATE or silenced is not None or not judge.decision_of(tracked).counts
    )
    tag = None if is_acked or silenced is not None else tracked.tag(at)
    if tag is ChangeTag.NEW or tag not in TABLE_TAGS:
        tag = None  # the block has such a loss, the log has the others
    tone: Tone | None = None
    if environment.id not in profile_state.environments or (is_soft and presence is not Presence.LATE):
        tone = "gone"
    elif presence is Presence.ONLINE and tag is None:
        tone = "healthy"
    texts: list[SafeText | None] = []
    for column, width in columns[1:]:
        if column.is_ticking:
            text = column.cell_text(tracked, context)
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
    if is_acked:
        return "acknowledged"
    if silenced is not None:
        return "silenced"
    return None if shared_silence_of(tracked.environment, context.now.wall) is None else "silenced"


def _why(
    tracked: TrackedEnvironment, context: RowContext, silenced: Silenced | None, why: SafeText | None, width: int
) -> SafeText | None:
    judge, zone = context.judge, context.judge.policy_of(tracked.profile).zone
    text: SafeText | None
    if silenced is not None:
        text = silence_text(silenced, judge, tracked.profile, width)
    elif (ack := judge.ack_of(tracked)) is not None:
        text = ack_text(ack, context.at, zone, width)
    else:
        text = shared_silence_text(tracked.environment, judge.now.wall, zone, width)
    if text is None:
        return why
    if cells(text) > width:
        text = clean(text.removeprefix("silenced "))  # the row has the sign of a silence
    both = composed(f"{why} {'-' if context.ascii_only else '·'} {text}")
    return both if why and cells(both) <= width else text


def are_headers_ticking(contexts: Mapping[SafeText, RowContext]) -> bool:
    """Whether group headers may change with time alone."""
    return any(context.judge.has_silences for context in contexts.values())


def header_values(header: GroupHeader, contexts: Mapping[SafeText, RowContext]) -> tuple[Mark | None, list[Piece]]:
    """Return a group's mark and row counts, with the earliest end if all rows are silenced."""
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
    found: list[tuple[Silenced, RowContext]] = []
    for tracked, context in rows:
        if (silenced := context.judge.silenced(tracked)) is None:
            return None
        found.append((silenced, context))
    first, context = min(found, key=lambda each: each[0].until)
    return silence_text(first, context.judge, context.profile_state.profile, width=0)


def _shared_mark(rows: Iterable[tuple[TrackedEnvironment, RowContext]]) -> Mark | None:
    """Return the mark if all unhealthy rows have a mark; any silence precedes acknowledgements."""
    marks: list[Mark] = []
    for tracked, context in rows:
        if tracked.is_unhealthy:
            silenced = context.judge.silenced(tracked)
            mark = _mark_of(tracked, context, silenced, is_acked=context.judge.is_acked(tracked))
            if mark is None:
                return None
            marks.append(mark)
    return "silenced" if "silenced" in marks else "acknowledged" if marks else None
