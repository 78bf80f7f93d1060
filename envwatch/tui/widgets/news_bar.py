"""The line at the foot of the table: answers and notices, what is wrong with our view, else the newest event."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from textual.reactive import reactive

from envwatch.fleet.fleets import Fleets
from envwatch.model import limits
from envwatch.model.text import shortened
from envwatch.model.times import TimeStyle, clock_text, long_age, short_age, span, zone_of
from envwatch.sources.poller import PollSchedule, PollState
from envwatch.tui.glyphs import UNICODE, Glyphs
from envwatch.tui.widgets.line import Part, TextLine
from envwatch.views.event_text import event_style, event_text
from envwatch.views.headline import headline
from envwatch.views.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.events import Event
    from envwatch.fleet.fleet import Fleet
    from envwatch.model.clock import Reading
    from envwatch.model.text import Clean

_WORTH_READING = 12
"""Cells of a name that it keeps, however narrow the screen."""

MESSAGE_FOR = 2.5
"""Seconds for which an answer to a key stands."""

NOTICE_FOR = 10.0
"""Seconds for which a notice stands, that nobody waits for."""

NO_NOTICE: Final = ("", float("-inf"))


class NewsBar(TextLine):
    """One line for what a person should know now."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line--faint",
        "line--plain",
        "line--online",
        "line--late",
        "line--offline",
        "line--unknown",
        "line--flapping",
        "line--gone",
        "line--unrestricted",
        "line--alarm",
        "line--flash",
    }

    fleets: reactive[Fleets] = reactive(Fleets, init=False)
    ambiguous: reactive[frozenset[Clean]] = reactive(frozenset)
    """Names that do not tell environments apart."""
    now: reactive[Reading | None] = reactive(None, init=False, repaint=False)
    schedules: reactive[Mapping[Clean, PollSchedule]] = reactive(dict)
    event_log: reactive[Sequence[Event]] = reactive(())
    """All events, oldest first."""
    message: reactive[tuple[str, float]] = reactive(NO_NOTICE)
    """The answer to the last key, and the monotonic second at which it was given."""
    notice: reactive[tuple[str, float]] = reactive(NO_NOTICE)
    """The last notice, and the monotonic second at which it was given."""
    times: reactive[TimeStyle] = reactive(TimeStyle.RELATIVE)
    glyphs: reactive[Glyphs] = reactive(UNICODE)

    def on_click(self) -> None:
        """Open the log of events."""
        self.app.call_later(self.app.run_action, "events")

    def watch_now(self) -> None:
        """Let what is said of the time tick: mostly nothing is."""
        self.tick()

    def parts(self) -> tuple[Sequence[Part], Sequence[Part]]:
        """Return a flash, else a notice, else trouble, else the gravest event of late or the newest."""
        for (text, given_at), style, stands in (
            (self.message, "flash", MESSAGE_FOR),
            (self.notice, "late", NOTICE_FOR),
        ):
            if self.now is not None and self.now.monotonic - given_at < stands:
                return [Part(text, style, is_cut=True)], []
        return self._trouble() or self._event()

    def _trouble(self) -> tuple[list[Part], list[Part]] | None:
        """Return what is wrong under the first profile with trouble: a failed poll before a listing that is held."""
        fleets = list(self.fleets)
        troubled = next((fleet for fleet in fleets if fleet.failure), None)
        troubled = troubled or next((fleet for fleet in fleets if fleet.hold), None)
        if troubled is None or self.now is None:
            return None
        parts, tail = self._trouble_of(troubled, self.now)
        whose = [Part(f"{troubled.profile}:", "", 7)] if self.fleets.are_several else []
        return [*whose, *parts], tail

    def _trouble_of(self, fleet: Fleet, now: Reading) -> tuple[list[Part], list[Part]]:
        failure, schedule = fleet.failure, self.schedules.get(fleet.profile)
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
            left = timedelta(seconds=math.ceil(max(schedule.next_at - now.monotonic, 0)))
            sooner = ", r tries now" if failure.cause.is_refusal else ""
            following = f"next try in {long_age(left)}{sooner}"
        cause = Part(f"{failure.cause}{partial}:", "alarm", 7)
        return [cause, Part(failure.message, "", 6, is_cut=True)], [Part(following, "late", 8)]

    def _time_of(self, event: Event) -> float:
        """Return the moment by the clock of an event's server."""
        return self.fleets.by_profile[event.profile].clock.at(self.now.wall) if self.now is not None else event.at

    def _event(self) -> tuple[list[Part], list[Part]]:
        event = headline(self.event_log, self._time_of)
        if event is None:
            text = "no events yet: the first listing is the baseline" if self.fleets.is_listed else ""
            return [Part(text, "faint")], []
        face = event_style(event)
        when = clock_text(event.at, zone_of(self.times))
        name = [Part(event.profile, "faint", 5)] if event.profile else []
        if event.name is not None:
            tail = id_tail(event.name, event.id, self.ambiguous)
            room = max(self.size.width // 3, _WORTH_READING) - len(tail)
            kept = shortened(event.name, room, keep="ends", ellipsis=self.glyphs.ellipsis)
            name.append(Part(f"{kept}{tail}", "plain", 8))
        glyph = face.ascii if self.glyphs.is_ascii else face.glyph
        ago = []
        if self.times is TimeStyle.RELATIVE and self.now is not None:
            ago = [Part(f"{short_age(span(self._time_of(event) - event.at))} ago", "faint", 4)]
        text = event_text(event, zone_of(self.times))
        return [Part(when, "faint", 6), Part(glyph, face.style, 9), *name, Part(text, face.style, 7, is_cut=True)], ago
