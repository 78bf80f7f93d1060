"""The line below the table: an answer or a notice, else what is wrong with the data, else an event."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive

from envwatch.model import limits
from envwatch.model.text import shortened
from envwatch.model.times import TimeStyle, clock_text, long_age, short_age, span, zone_of
from envwatch.sources.poller import PollState
from envwatch.tui.state import NO_NOTICE, DisplayOptions, MonitorState, Notice
from envwatch.tui.widgets.line import MIN_CUT_CELLS, STATE_STYLES, Part, TextLine
from envwatch.views.event_text import event_style, event_text
from envwatch.views.headline import headline
from envwatch.views.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.fleet.events import Event
    from envwatch.fleet.fleet import Fleet

MESSAGE_S = 2.5
"""Seconds for which an answer to a key is shown."""

NOTICE_S = 10.0
"""Seconds for which a notice is shown: it comes unexpectedly, so it needs longer."""


class NewsBar(TextLine):
    """The one line that matters most now."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{style}" for style in (*STATE_STYLES, "faint", "alarm", "flash")}

    state: reactive[MonitorState] = reactive(MonitorState, init=False, repaint=False)
    message: reactive[Notice] = reactive(NO_NOTICE)
    """The answer to the last key."""
    options: reactive[DisplayOptions] = reactive(DisplayOptions)

    def on_click(self) -> None:
        self.app.call_later(self.app.run_action, "events")

    def watch_state(self) -> None:
        self.refresh_if_changed()

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return an answer, else a notice, else what is wrong, else the gravest recent event or the newest."""
        for notice, style, duration_s in ((self.message, "flash", MESSAGE_S), (self.state.notice, "late", NOTICE_S)):
            if self.state.now.monotonic - notice.given_at < duration_s:
                return [Part(notice.text, style, is_cut=True)], []
        return self._trouble() or self._event()

    def _trouble(self) -> tuple[list[Part], list[Part]] | None:
        """Return what is wrong under one profile: a failed poll, else a listing that is held."""
        fleets = self.state.fleets
        troubled = next((fleet for fleet in fleets if fleet.failure), None)
        troubled = troubled or next((fleet for fleet in fleets if fleet.hold), None)
        if troubled is None:
            return None
        parts, tail = self._trouble_of(troubled)
        profile = [Part(f"{troubled.profile}:", "", 7)] if fleets.are_several else []
        return [*profile, *parts], tail

    def _trouble_of(self, fleet: Fleet) -> tuple[list[Part], list[Part]]:
        failure, schedule = fleet.failure, self.state.schedules.get(fleet.profile)
        if failure is None or schedule is None:
            hold = fleet.hold
            until = f"{limits.ANOMALY_POLLS} listings and {limits.ANOMALY_AFTER.total_seconds():.0f} s"
            text = f"{hold.finding.text}: not believed before {until}" if hold else ""
            return [Part(text, "late", is_cut=True)], []
        last = fleet.snapshot
        pages = last.requests if last and last.requests > failure.pages_read else "?"
        partial = f" · partial ({failure.pages_read}/{pages})" if failure.pages_read else ""
        if schedule.next_at is None:
            following = "trying" if schedule.state is PollState.POLLING else "paused"
        else:
            left = timedelta(seconds=math.ceil(max(schedule.next_at - self.state.now.monotonic, 0)))
            sooner = ", r tries now" if failure.cause.is_refusal else ""
            following = f"next try in {long_age(left)}{sooner}"
        cause = Part(f"{failure.cause}{partial}:", "alarm", 7)
        return [cause, Part(failure.message, "", 6, is_cut=True)], [Part(following, "late", 8)]

    def _server_now(self, event: Event) -> float:
        """Return the present by the clock of the event's server, in milliseconds."""
        return self.state.fleets.by_profile[event.profile].clock.at(self.state.now.wall)

    def _event(self) -> tuple[list[Part], list[Part]]:
        state, glyphs, zone = self.state, self.options.glyphs, zone_of(self.options.times)
        event = headline(state.event_log, self._server_now)
        if event is None:
            text = "no events yet: the first listing is the baseline" if state.fleets.is_listed else ""
            return [Part(text, "faint")], []
        name = [Part(event.profile, "faint", 5)] if event.profile else []
        if event.name is not None:
            tail = id_tail(event.name, event.id, state.ambiguous_names)
            room = max(self.size.width // 3, MIN_CUT_CELLS) - len(tail)
            shown = shortened(event.name, room, keep="ends", ellipsis=glyphs.ellipsis)
            name.append(Part(f"{shown}{tail}", "plain", 8))
        ago = []
        if self.options.times is TimeStyle.RELATIVE:
            ago = [Part(f"{short_age(span(self._server_now(event) - event.at))} ago", "faint", 4)]
        look = event_style(event)
        return [
            Part(clock_text(event.at, zone), "faint", 6),
            Part(look.ascii if glyphs.is_ascii else look.glyph, look.style, 9),
            *name,
            Part(event_text(event, zone), look.style, 7, is_cut=True),
        ], ago
