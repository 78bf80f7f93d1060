"""The lines below the table: a message, else trouble with the data, else news.

A message takes at most two lines; the event log has the whole text.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from envwatch.alerts.losses import LOSSES
from envwatch.fleet.events import BY_ANY_LISTING, Event, Kind, flatten
from envwatch.model import limits
from envwatch.model.text import EMPTY, SafeText, composed, counted, shortened
from envwatch.model.times import TimeStyle, clock_text, long_age, short_age, span
from envwatch.screen.state import NO_NOTICE, Notice, StateNode
from envwatch.screen.widgets.line import STATE_STYLES, TextLine
from envwatch.views.events.event_text import event_style, event_text, fitting_text, watched_since
from envwatch.views.events.headline import headline_event, merged, returned_since, same_environment
from envwatch.views.fitting import CUT_AT, MIN_CUT_CELLS, Part, Row, in_two_lines, width_of
from envwatch.views.state_style import doubt_text, hooks_text, is_silenced, quarantine_text
from envwatch.views.table.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.letta.poller import PollSchedule
    from envwatch.model.outcome import Failed

MESSAGE_S = 2.5
"""Seconds of an answer, doubled for two lines."""

NOTICE_S = 10.0
"""Seconds of a notice, doubled as well."""

_NEXT_TRY_CELLS = len("next try in 59m 59s")
"""A fixed width, so that the message breaks at the same word."""

_SOONER = ", r tries now"
_WITH_NEW_KEY = "a new key needs a restart"

_WIDEST_AGO = "119s ago"

_OTHERS = 1

_DOUBTS = frozenset({Kind.STALLED, Kind.CLOCK_WRONG})
"""Periods whose doubt says more than the event at the begin."""

_LINES_WITH_RULE = 3
_RULE: Row = (), ()


class NewsBar(TextLine, StateNode):
    """The most important line now, and recent events."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{style}" for style in (*STATE_STYLES, "faint", "blind", "flash")}

    message: reactive[Notice] = reactive(NO_NOTICE)

    def on_click(self) -> None:
        self.app.call_later(self.app.run_action, "events")

    room: reactive[int] = reactive(1)

    @dataclass
    class Cut(Message):
        """A message was cut."""

        text: str

    cut_text: SafeText = EMPTY
    """The cut message as in the log; may be empty."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_texts: deque[str] = deque(maxlen=20)
        """Logged failures; several, because failures alternate."""
        self._whole_rows: tuple[Sequence[Row], int] = ([], 0)

    def _fit(self) -> None:
        self.fit_rows(self._newest_rows())

    def strip_of(self, row: Row) -> Strip:
        if row is not _RULE:
            return super().strip_of(row)
        style = self.rich_style + self.get_component_rich_style("line--faint", partial=True)
        return Strip([Segment(self.options.glyphs.rule * self.size.width, style)])

    watch_state = watch_message = watch_room = on_resize = _fit

    def rows(self) -> Sequence[Row]:
        width, height = self.size
        rows, (whole, whole_width) = self._newest_rows(), self._whole_rows
        if len(rows) != height and len(whole) == height and whole_width == width:
            return whole
        self._whole_rows = rows, width
        return rows

    def _newest_rows(self) -> Sequence[Row]:
        self.cut_text = EMPTY
        first = self._message() or self._trouble()
        chosen, also_named = None, list[Event]()
        if first is None:
            if not self.room:
                return self._doubt() or []
            chosen = headline_event(self.state.monitor.event_log, self._server_now, self._is_told)
            first = None if self._is_fresh(chosen) else self._doubt()
            if first is None:
                row, also_named = self._headline_row(chosen)
                first = [row]
        events = reversed(self.state.monitor.event_log)
        in_headline = {id(event) for event in (chosen, *also_named)}
        others = (event for event in events if id(event) not in in_headline and not self._is_trouble(event))
        rows = [self._event_row(event) for event in islice(others, max(self.room - len(first), 0))]
        if not rows or self.room < _LINES_WITH_RULE:
            return [*first, *rows]
        return [_RULE, *first, *rows][: self.room]

    def _message(self) -> list[Row] | None:
        if answer := self._while_fresh(self.message, "flash", MESSAGE_S):
            return answer
        if self.state.is_reading:
            return self._in_lines([], Part("reading the history", "flash"), [])
        return self._while_fresh(self.state.notice, self.state.notice.style, NOTICE_S)

    def _while_fresh(self, notice: Notice, style: str, duration_s: float) -> list[Row] | None:
        age_s = self.state.present.monotonic - notice.given_at
        if age_s >= 2 * duration_s:
            return None
        rows = self._in_lines([], Part(notice.text, style), [])
        return rows if len(rows) > 1 or age_s < duration_s else None

    def _in_lines(self, before: list[Part], text: Part, after: list[Part]) -> list[Row]:
        rows, is_cut = in_two_lines(before, text, after, self.size.width, Part("e: all of it", "faint", 9))
        if is_cut:
            self.cut_text = composed(text.text)
            if text.text not in self._logged_texts:
                self._logged_texts.append(text.text)
                self.post_message(self.Cut(text.text))
        return rows

    def _trouble(self) -> list[Row] | None:
        fleet = self.state.monitor.fleet
        for profile_state in fleet:
            schedule = self.state.schedules.get(profile_state.profile)
            if profile_state.failure is not None and (schedule is not None or self.state.rewound is not None):
                return self._in_lines(*self._failure(profile_state, profile_state.failure, schedule))
        return self._warning(lambda each: quarantine_text(each, self.state.now, self.options.zone))

    def _is_trouble(self, event: Event) -> bool:
        profile_state = self.state.monitor.fleet.by_profile.get(event.profile)
        since = None if profile_state is None else profile_state.periods.get(event.kind)
        return event.kind in BY_ANY_LISTING and since is not None and since in {event.at, event.since}

    def _doubt(self) -> list[Row] | None:
        zone = self.options.zone
        doubts = self._warning(lambda each: doubt_text(each, zone))
        hooks = hooks_text(self.state.failing_hooks, zone)
        return doubts or (None if hooks is None else self._in_lines([], Part(hooks, "late"), []))

    def _is_fresh(self, event: Event | None) -> bool:
        """Whether a recent event precedes a doubt. While all rows are in doubt, only a loss does."""
        if event is None or event.kind in _DOUBTS:
            return False
        is_in_doubt = any(_DOUBTS & profile_state.periods.keys() for profile_state in self.state.monitor.fleet)
        if is_in_doubt and not any(single.kind in LOSSES for single in flatten([event])):
            return False
        return self._server_now(event) - event.at < limits.HEADLINE_STANDS / timedelta(milliseconds=1)

    def _warning(self, text_of: Callable[[ProfileState], SafeText | None]) -> list[Row] | None:
        for profile_state in self.state.monitor.fleet:
            if (text := text_of(profile_state)) is not None:
                return self._in_lines(self._whose(profile_state), Part(text, "late"), [])
        return None

    def _whose(self, profile_state: ProfileState) -> list[Part]:
        return [Part(f"{profile_state.profile}:", "", 7)] if self.state.monitor.fleet.are_several else []

    def _failure(
        self, profile_state: ProfileState, failure: Failed, schedule: PollSchedule | None
    ) -> tuple[list[Part], Part, list[Part]]:
        last = profile_state.snapshot
        pages = last.requests if last and last.requests > failure.pages_read else "?"
        partial = f" · partial ({failure.pages_read}/{pages})" if failure.pages_read else ""
        if schedule is None:
            following = ""
        elif schedule.next_at is None:
            following = "trying" if schedule.is_polling else "paused"
        else:
            left = timedelta(seconds=math.ceil(max(schedule.next_at - self.state.now.monotonic, 0)))
            following = f"next try in {long_age(left)}"
        is_told = self.room >= _LINES_WITH_RULE and not self.state.monitor.fleet.is_listed  # by the empty table
        cause = Part(f"{failure.cause}{partial}{'' if is_told else ':'}", "blind", 7)
        right = [Part(following.rjust(_NEXT_TRY_CELLS), "faint", 8)] if following else []
        needs_restart = profile_state.is_refused and profile_state.profile in self.state.new_keys_by
        if following and needs_restart:
            right = [Part(_WITH_NEW_KEY, "late", 8)]
        elif following and not failure.retry_after:  # else the key r reports that the server asked to wait
            sooner = _SOONER if following.startswith("next") else " " * len(_SOONER)
            right.append(Part(sooner, "faint", 5, is_joined=True))
        if is_told:
            return self._whose(profile_state), cause, right
        return [*self._whose(profile_state), cause], Part(failure.message, "", 6), right

    def _server_now(self, event: Event) -> float:
        fleet = self.state.monitor.fleet
        profile_state = fleet.by_profile.get(event.profile) or next(iter(fleet))
        return profile_state.clock.server_time(self.state.now.wall)

    def _is_told(self, key: EnvironmentKey) -> bool:
        tracked = self.state.monitor.fleet.tracked(key)
        if tracked is None or key in self.state.block.keys:
            return True
        return is_silenced(tracked, self.state.judge)

    def _headline_row(self, event: Event | None) -> tuple[Row, list[Event]]:
        if event is None:
            since = watched_since(self.state.monitor.fleet, self.state.now, self.options.zone)
            text = "" if since is None else f"nothing has changed since {since}"
            reason = ", when envwatch began to watch"
            if text and len(text + reason) <= self.size.width - 2:
                text += reason
            return ([Part(text, "faint", cut_at=CUT_AT)], []), []
        log = self.state.monitor.event_log
        same_poll = log.with_poll_of(event)
        shown, others = merged(event, same_poll)
        also = same_environment(shown, same_poll)
        right = [Part(f"{back:,} back", "online", 8)] if (back := returned_since(shown, log)) else []
        if others:
            right.append(Part(counted(others, "other change"), "faint", _OTHERS))
        return self._event_row(shown, also, right), [*(shown.members if shown is not event else ()), *also]

    def _event_row(self, event: Event, also: Iterable[Event] = (), right: Sequence[Part] = ()) -> Row:
        glyphs, zone = self.options.glyphs, self.options.zone
        name = [Part(event.profile, "faint", 5)] if event.profile else []
        if event.name is not None:
            tail = id_tail(event.name, event.id, self.state.ambiguous_names)
            room = max(self.size.width // 3, MIN_CUT_CELLS) - len(tail)
            shown = shortened(event.name, room, keep="ends", ellipsis=glyphs.ellipsis)
            name.append(Part(f"{shown}{tail}", "plain", 8))
        clock, ago = [Part(clock_text(event.at, zone), "faint", 6)], list[Part]()
        if self.options.times is TimeStyle.RELATIVE:
            clock, ago = [], [Part(f"{short_age(span(self._server_now(event) - event.at))} ago", "faint", 6)]
        look = event_style(event, self.state.block)
        glyph = Part(glyphs.of(look), look.style, 9)
        widest = [Part(_WIDEST_AGO) for _ in ago]  # a new second must not change the names
        kept = [part for part in right if part.weight > _OTHERS]
        room = self.size.width - width_of((*clock, glyph, *name, Part(""), *kept, *widest))
        text = " · ".join([fitting_text(event, zone, room), *(event_text(other, zone) for other in also)])
        return [*clock, glyph, *name, Part(text, look.style, 7, cut_at=CUT_AT)], [*right, *ago]
