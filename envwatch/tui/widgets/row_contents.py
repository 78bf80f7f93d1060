"""What a row of the table shows at a moment, before it is drawn.

Two rows with equal values look the same, so what is drawn of one is kept as long as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.presence import Presence
from envwatch.fleet.recent_changes import ChangeTag
from envwatch.model.shared_marks import shared_ack_of, shared_silence_of
from envwatch.model.text import SafeText, cells, composed
from envwatch.views.state_style import marked_text, shared_text, silence_text
from envwatch.views.table.columns import LAST_DAY
from envwatch.views.table.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envwatch.fleet.alerting.silences import Silence
    from envwatch.fleet.outages import UptimeState
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import ServerMs
    from envwatch.past.hours import LastDays
    from envwatch.tui.glyphs import Glyphs
    from envwatch.tui.state import MonitorState
    from envwatch.views.table.columns import Column

AGES: Final = 3
"""Columns left of NAME: the state, the time in it, and the heartbeat's age."""


class StaticCells(NamedTuple):
    """What a row shows right of its heartbeat's age: equal as long as that looks the same."""

    tracked: TrackedEnvironment
    tag: ChangeTag | None
    known: str
    """The mark of an acknowledgement or a silence; empty without one."""
    tail: str
    """The end of its id behind an ambiguous name."""
    newest: SafeText | None
    """The newest version of its fleet."""
    is_listed: bool
    ticking: tuple[SafeText | None, ...]
    """The texts of the columns that change with time, in their order."""
    hours: tuple[UptimeState, ...]
    """The last 24 hours, where they are shown."""


class RowSnapshot(NamedTuple):
    """What a row shows at one moment."""

    is_unknown: bool
    is_soft: bool
    """Whether nobody is needed, whatever its state: a row that is down and needs a person stands in the block."""
    ages: tuple[SafeText | None, ...]
    """The time in its state, and the heartbeat's age."""
    rest: StaticCells


@dataclass(frozen=True, slots=True, kw_only=True)
class RowContents:
    """What rows show at one moment. Two are equal if rows look alike in them but for the moment."""

    columns: tuple[tuple[Column, int], ...]
    """Each with its width; the first three and their gaps take `LEFT` cells, with the gutter."""
    glyphs: Glyphs
    state: MonitorState = field(compare=False)
    moments: Mapping[SafeText, ServerMs] = field(compare=False)
    """The time of each profile's server."""
    days: LastDays = field(compare=False)
    marked: frozenset[EnvironmentKey] = frozenset()
    """The environments that the user marked."""

    def snapshot(self, tracked: TrackedEnvironment) -> RowSnapshot:
        """Return what the row of an environment shows."""
        id_, name, state = tracked.environment.id, tracked.environment.name, self.state
        profile_state, silence, now = (
            state.monitor.fleet.for_environment(tracked),
            state.monitor.silence_of(tracked, state.now),
            self.moments[tracked.profile],
        )
        is_unknown = profile_state.is_unknown(tracked, state.now)
        tag = tracked.tag(now)
        ticking: list[SafeText | None] = []
        hours: tuple[UptimeState, ...] = ()
        for column, width in self.columns[AGES:]:
            if column.id == LAST_DAY:
                hours = self.days.cells(tracked)
            elif column.is_ticking:
                text = column.text(tracked, now, profile_state.limits)
                if column.id == "why":
                    is_promise = is_unknown and tracked.presence is Presence.LATE  # a countdown
                    text = self._why(tracked, None if is_promise else text, width, silence)
                ticking.append(text)
        if tag is ChangeTag.NEW:
            tag = None  # a loss that needs a person stands in the block
        return RowSnapshot(
            is_unknown,
            tracked.presence is not Presence.ONLINE
            and (
                tracked.presence is not Presence.LATE
                or silence is not None
                or not state.monitor.policy_of(tracked.profile).concerns(tracked, now)
            ),
            tuple([column.text(tracked, now, profile_state.limits) for column, _ in self.columns[1:AGES]]),
            StaticCells(
                tracked,
                tag=None if state.monitor.is_acked(tracked) or silence is not None else tag,
                known=self.mark_of(tracked, silence),
                tail=id_tail(name, id_, state.ambiguous_names) if name else "",
                newest=profile_state.newest,
                is_listed=id_ in profile_state.environments,
                ticking=tuple(ticking),
                hours=hours,
            ),
        )

    def mark_of(self, tracked: TrackedEnvironment, silence: Silence | None) -> str:
        """Return the mark of an acknowledgement or a silence, of this or the serving host; empty without one."""
        if self.state.monitor.is_acked(tracked):
            return self.glyphs.acknowledged
        if silence is not None:
            return self.glyphs.silenced
        if shared_ack_of(tracked.environment) is not None:
            return self.glyphs.acknowledged
        is_silenced = shared_silence_of(tracked.environment, self.state.now.wall) is not None
        return self.glyphs.silenced if is_silenced else ""

    def _why(
        self, tracked: TrackedEnvironment, why: SafeText | None, width: int, silence: Silence | None
    ) -> SafeText | None:
        """Return the cause, and behind the cause the silence or acknowledgement; without room, the latter alone."""
        wall, ack = self.state.now.wall, self.state.monitor.ack_of(tracked)
        text: SafeText | None
        if silence is not None:
            text = silence_text(silence, wall, width)
        elif ack is not None:
            text = marked_text("acked", note=ack.note, width=width)
        else:
            text = shared_text(tracked.environment, wall, width)
        if text is None:
            return why
        both = composed(f"{why} {self.glyphs.separator} {text}")
        return both if why and cells(both) <= width else text
