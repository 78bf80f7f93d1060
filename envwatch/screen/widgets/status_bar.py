"""The status bar."""

from __future__ import annotations

from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive

from envwatch.fleet.events import Kind
from envwatch.fleet.plausibility import Doubt
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.letta.poller import PollSchedule
from envwatch.model.text import EMPTY, SafeText, clean, named_ids, shortened
from envwatch.model.times import moment, seconds_up, short_age
from envwatch.query import state_looks
from envwatch.screen.state import DisplayOptions, MonitorState, StateNode
from envwatch.screen.widgets.line import STATE_STYLES, TextLine
from envwatch.views import state_style
from envwatch.views.fitting import CUT_AT, Part, Row, width_of
from envwatch.views.table.columns import column_of
from envwatch.views.table.table_view import Preset, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.views.events.day_line import Day


_CUT_HOST = _SLOW = 5
"""Weight of the reason for slow polls; the host is cut first."""
_WORD = 6
"""Weight of the words that explain the counts: only counts, badges and marks stay longer."""
_VIEW = 4
"""Weight of the view's name, below the filter's count."""
_MARKED, _HIDDEN = 9, 7
_SORT_CELLS = 20

_REWOUND, _IDENTITY, _ALARM = 13, 12, 10
"""Weights of the parts that stay longest: the past, the identity, and trust in the data."""


_POLLED = (Freshness.LIVE, Freshness.STALE)
_WITH_AGE = (Doubt.STALE, Doubt.FAILING)
"""Doubts whose badge has the data's age."""

_LEAST_DAY = 10
_WITHOUT_LEGEND = 80


class StatusBar(TextLine, StateNode):
    """Profile, host, counts by presence, and trust in the data."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line--{style}" for style in (*STATE_STYLES, "title", "faint", "badge", "alarm", "blind", "rewound")
    }

    view: reactive[View] = reactive(View)
    visible_rows: reactive[int] = reactive(0)
    marks: reactive[tuple[int, int]] = reactive((0, 0))
    """Numbers of marked environments: all, and hidden or absent."""

    def __init__(self, *, watched: tuple[str, str]) -> None:
        super().__init__()
        self._watched = watched

    def copy(self) -> StatusBar:
        other = StatusBar(watched=self._watched)
        for name in ("view", "visible_rows", "marks"):
            other.set_reactive(getattr(StatusBar, name), getattr(self, name))
        return other

    watch_state = TextLine.refresh_if_changed

    def parts(self) -> Row:
        profiles, host = self._watched
        left = [Part(profiles, "title", _IDENTITY, cut_at=_ALARM, keep="ends")]
        if host:
            separator = f" {self.options.glyphs.separator} "
            left += [
                Part(separator, "faint", _IDENTITY - 1, is_joined=True),
                Part(host, "faint", _IDENTITY - 1, cut_at=_CUT_HOST, keep="ends", is_joined=True),
            ]
        rewound = rewound_badges(self.state, self.options)
        return [*left, *self._presences()], [*rewound, *self._badges(), *self._ages()]

    def _profile_states(self) -> list[tuple[SafeText, ProfileState, Freshness]]:
        fleet, now = self.state.monitor.fleet, self.state.now
        return [
            (clean(f" {profile}" if fleet.are_several else ""), profile_state, profile_state.freshness(now))
            for profile, profile_state in fleet.by_profile.items()
        ]

    def _presences(self) -> list[Part]:
        """Return counts, empty before the first listing; the rule below the block counts further down rows."""
        counts, parts, block = self.state.counts, list[Part](), self.state.block
        if self.state.monitor.fleet.is_listed:
            parts += self._down()
            if late := block.presences.get(Presence.LATE, 0):
                parts += self._up(Presence.LATE, late, "late")
            if (online := block.presences.get(Presence.ONLINE, 0)) or not block.unknown:
                parts += self._up(Presence.ONLINE, online, "on")
        for count, subject in block.other_problems:
            parts.append(Part(f"{count:,} {subject}", "unknown", 9))
        newest = f" {counts.newest}" if counts.newest else ""
        if block.unknown:
            parts += _with_word(f"? {block.unknown:,}", "unknown", "unknown", 9)
        for count, text, style, weight in (
            (sum(line.acked for line in block.lines), "acked", "faint", 8),
            (counts.flapping, "flapping", "flapping", 3),
            (counts.unrestricted, "unrestricted", "unrestricted", 2),
            (counts.behind, f"behind{newest}", "faint", 1),
        ):
            if count:
                parts.append(Part(f"{count:,} {text}", style, weight))
        return parts

    def _down(self) -> list[Part]:
        """Return the machines that page, alone in the colour of a loss, then the others that are off."""
        paging, besides = self.state.block.paging, self.state.block.off_besides
        glyph = state_looks.glyph_of(Presence.OFFLINE, ascii_only=self.options.glyphs.is_ascii)
        parts = _with_word(f"{glyph} {paging:,}", "page", "offline", 9) if paging else []
        if besides:
            parts += _with_word(f"+{besides:,}" if paging else f"{glyph} +{besides:,}", "off", "faint", 7)
        return parts

    def _up(self, presence: Presence, count: int, word: str) -> list[Part]:
        style = state_looks.PRESENCE_STYLES[presence].style if count else "faint"
        glyph = state_looks.glyph_of(presence, ascii_only=self.options.glyphs.is_ascii)
        return _with_word(f"{glyph} {count:,}", word, style, 8)

    @property
    def _is_paused(self) -> bool:
        return any(schedule.is_paused for schedule in self.state.schedules.values())

    def _badges(self) -> list[Part]:
        parts: list[Part] = []
        for suffix, profile_state, freshness in self._profile_states():
            since = None if freshness is Freshness.BLIND else profile_state.none_up_since
            if since is not None:
                none_for = timedelta(seconds=self.state.now.monotonic - since.monotonic)
                parts.append(Part(f" NONE ON{suffix} {short_age(none_for)} ", "alarm", _ALARM))
            parts += _warnings(profile_state, suffix)
        if self.view.sort is not None and not self.view.has_named_order:
            glyphs = self.options.glyphs
            mark = glyphs.down if self.view.is_inverted else glyphs.up
            column = shortened(clean(column_of(self.view.sort).id), _SORT_CELLS, keep="ends", ellipsis=glyphs.ellipsis)
            parts.append(Part(f" SORT {column} {mark} ", "badge", 8))
        marked, hidden = self.marks
        if marked:
            parts.append(Part(f" {marked:,} marked", "badge", _MARKED))
            if hidden:
                parts.append(Part(f", {hidden:,} hidden", "badge", _HIDDEN, is_joined=True))
            parts.append(Part(" ", "badge", _MARKED, is_joined=True))
        if self.view.is_narrowed:
            parts += self._filter_parts(is_joined=bool(marked))
        if name := self.view.name:
            is_joined = self.view.is_narrowed
            parts.append(Part(f"{'' if is_joined else ' '}VIEW {name} ", "badge", _VIEW, is_joined=is_joined))
        if self.options.settings.bell:
            parts.append(Part("bell on", "faint", 1))
        if self._is_paused:
            parts.append(Part(" PAUSED ", "badge", 9))
        return parts

    def _filter_parts(self, *, is_joined: bool) -> list[Part]:
        view = self.view
        preset = "" if view.preset is Preset.ALL else view.preset
        query = " ".join(filter(None, (preset, "" if view.has_named_query else str(view.query))))
        parts: list[Part] = []
        if view.compares and (baseline := view.baseline) is not None:
            parts.append(Part(f" BASELINE {moment(baseline.marked_at, None):%H:%M}", "badge", 9, is_joined=is_joined))
        if query or not parts:
            parts.append(Part(f" {query}".rstrip(), "badge", 8, cut_at=CUT_AT, is_joined=is_joined or bool(parts)))
        parts[-1] = parts[-1]._replace(tail=f" {self.visible_rows:,}/{len(self.state.monitor.fleet):,} ")
        return parts

    def _ages(self) -> list[Part]:
        schedules, is_past = self.state.schedules, self.state.rewound is not None
        if not schedules and not is_past:
            return []
        parts, live, polled = list[Part](), list[ProfileState](), list[PollSchedule]()
        for suffix, profile_state, freshness in self._profile_states():
            doubt = state_style.doubt_of(profile_state, self.state.now)
            if doubt is not None:
                parts += _doubt_badge(*doubt, suffix)
            elif profile_state.is_refused or freshness not in _POLLED:
                parts.append(self._age_badge(profile_state, suffix, freshness))
                continue
            if is_past:
                continue
            if doubt is None or doubt[0] not in _WITH_AGE:
                live.append(profile_state)
            if profile_state.failure is None:
                polled.append(schedules[profile_state.profile])
        if live:
            parts.append(self._live(live))
        if polled and not self._is_paused:
            parts += _pace_parts(max(polled, key=attrgetter("interval")), is_joined=bool(live))
        return parts

    def _age_badge(self, profile_state: ProfileState, suffix: SafeText, freshness: Freshness) -> Part:
        age = profile_state.age(self.state.now)
        if profile_state.is_refused:
            text = f" KEY REFUSED{suffix} {'' if age is None else short_age(age)}"
            return Part(f"{text.rstrip()} ", "blind", _ALARM)
        if freshness is Freshness.WAITING and (profile_state.failure is not None or self.state.rewound is not None):
            return Part(f"no data yet{suffix}", "late", 7)
        if freshness is Freshness.WAITING:
            pages_read = self.state.pages_read
            pages = f" {self.options.glyphs.separator} page {pages_read + 1}" if pages_read else ""
            return Part(f"asking{suffix}{pages}", "late", 7)
        return Part(f" BLIND{suffix} {short_age(age)} ", "blind", _ALARM)

    def _live(self, fleet: Sequence[ProfileState]) -> Part:
        """Return the oldest age of profiles; data in doubt is not called live."""
        ages = filter(None, (profile_state.age(self.state.now) for profile_state in fleet))
        oldest = short_age(max(ages, default=timedelta()))
        if self._is_paused:
            text, style = f"as of {oldest} ago", "faint"
        elif any(state_style.doubt_of(profile_state, self.state.now) is not None for profile_state in fleet):
            text, style = f"data {oldest}", "late"
        else:
            text, style = f"live {oldest}", "online"
        return Part(text, style, _ALARM)


def _with_word(count: str, word: str, style: str, weight: int) -> list[Part]:
    return [Part(count, style, weight), Part(f" {word}", style, _WORD, is_joined=True)]


def _pace_parts(schedule: PollSchedule, *, is_joined: bool) -> list[Part]:
    interval, weight = short_age(schedule.interval), _SLOW if schedule.is_slow else 2
    text = f"/{interval}" if is_joined else f"every {interval}"
    parts = [Part(text, "faint", weight, is_joined=is_joined)]
    if schedule.requests:
        budget = Part(f" at {schedule.requests_per_minute:,}/min", "late", _SLOW - 2, is_joined=True)
        parts += [Part(f"{schedule.requests:,} pages", "late", _SLOW), budget]
    if schedule.took:
        parts.append(Part(f"a poll takes {short_age(seconds_up(schedule.took))}", "late", _SLOW))
    return parts


def rewound_badges(state: MonitorState, options: DisplayOptions) -> list[Part]:
    """Return the badge of a recorded moment; none in the present."""
    rewound = state.rewound
    if rewound is None:
        return []
    at, present, playing = state.now.wall, rewound.present.wall, rewound.playing
    word = "REWOUND" if playing is None else f"REPLAY {state_style.speed_text(playing)}" if playing else "PAUSED"
    text = [word]
    if rewound.at is not None:
        text.append(state_style.moment_text(at, present, options.zone))
        if playing is None:
            text.append(state_style.ago_text(at, present, ascii_only=options.glyphs.is_ascii))
    return [Part(f" {' '.join(text)} ", "rewound", _REWOUND)]


def _doubt_badge(doubt: Doubt, measure: SafeText, suffix: SafeText) -> list[Part]:
    """Return the badge; a failed poll alone is drawn calmly, because the data is fresh."""
    style = "late" if doubt is Doubt.FAILING else "badge"
    return [
        Part(f" DATA ?{suffix} {doubt}", style, _ALARM),
        Part(f" {measure} " if measure else " ", style, 8, is_joined=True),
    ]


def _warnings(profile_state: ProfileState, suffix: SafeText) -> list[Part]:
    parts = []
    if profile_state.date_error is None and Kind.CLOCK_WRONG not in profile_state.periods:
        if profile_state.clock.is_far_off:
            error = state_style.signed_error(-profile_state.clock.offset)
            parts.append(Part(f"our clock {error}{suffix}", "late", 6))
        elif profile_state.listed is not None and not profile_state.clock.is_known:
            parts.append(Part(f"server sends no time{suffix}", "late", 4))
    if profile_state.snapshot is not None and profile_state.snapshot.rejected:
        named = named_ids(profile_state.snapshot.rejected_ids, profile_state.snapshot.rejected)
        parts.append(Part(f"{profile_state.snapshot.rejected} unreadable{suffix}", "late", 8))
        parts.append(Part(named, "late", 7, is_joined=True))
    return parts


class DayBar(TextLine, StateNode):
    """Events and gaps of up to a day around the moment on the screen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{style}" for style in (*STATE_STYLES, "faint", "rewound")}

    _drawn_cells: tuple[tuple[Day, int, bool] | None, Sequence[state_style.Piece]] = (None, ())
    """Last cells with the key, cached because events are many."""

    def watch_state(self) -> None:
        is_past = self.state.rewound is not None
        if self.display != is_past:
            self.display = is_past
        if is_past:
            self.refresh_if_changed()

    def parts(self) -> Row:
        rewound = self.state.rewound
        news = [Part(f"live: {rewound.live}", "offline", 10)] if rewound is not None and rewound.live else []
        if rewound is None or rewound.day is None:
            return [Part("reading the events", "faint")], news
        from envwatch.views.events.day_line import day_cells, day_runs, ends_of, hour_labels

        day, is_ascii, zone = rewound.day, self.options.glyphs.is_ascii, self.options.zone
        begin, end = ends_of(day, zone)
        news = [*self._legend(is_ascii=is_ascii), *news]
        width = self.size.width - width_of((Part(begin), Part(""), Part(end), *news))
        if width < _LEAST_DAY:
            begin, end, width = EMPTY, EMPTY, max(self.size.width - width_of((Part(""), *news)), 0)
        if self._drawn_cells[0] != (key := (day, width, is_ascii)):
            self._drawn_cells = key, day_cells(day, width, ascii_only=is_ascii)
        hours = hour_labels(day, width, zone)
        runs = day_runs(day, self._drawn_cells[1], rewound.at, hours, ascii_only=is_ascii)
        cells = [Part(run.text, run.style, 9, is_joined=place > 0) for place, run in enumerate(runs)]
        labels = [Part(begin, "faint", 8)] if begin else []
        return [*labels, *cells], [*([Part(end, "faint", 8)] if end else []), *news]

    def _legend(self, *, is_ascii: bool) -> list[Part]:
        from envwatch.views.pane.legend import day_entries

        parts: list[Part] = []
        for sign, style, meaning in day_entries(ascii_only=is_ascii):
            entry = [Part(sign, style, 2), Part(f" {meaning}", "faint", 2, is_joined=True)]
            if width_of([*parts, *entry]) > self.size.width - _WITHOUT_LEGEND:
                break
            parts += entry
        return parts
