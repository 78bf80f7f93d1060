"""When a profile was watched, by the server's clock in ms, because this machine's clock may be set.

A past poll's local time is converted with the server clock's present offset.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Event, Kind, blind_after
from envwatch.fleet.profile_state import ProfileState, blind_since
from envwatch.model import limits
from envwatch.model.clock import ServerClock, ServerMs
from envwatch.model.outcome import PollResult, RecordedPoll
from envwatch.model.times import MS, span

if TYPE_CHECKING:
    from collections.abc import Iterable


SPANS_KEPT: Final = 1_000
_UNSEEN: Final = frozenset({Kind.VISIBLE, Kind.SLEPT, Kind.WHILE_BLIND})
"""Events about a time that nobody watched, from `since` to `at`."""


class Span(NamedTuple):
    """A span of time, by the server's clock in ms."""

    since: ServerMs
    until: ServerMs


@dataclass(frozen=True, slots=True)
class WatchedTime:
    """The spans between believed listings."""

    spans: tuple[Span, ...] = ()
    """Oldest first, without overlap. A single listing is a span of no length."""

    @classmethod
    def recorded(cls, polls: Iterable[RecordedPoll], events: Iterable[Event], clock: ServerClock) -> WatchedTime:
        """Return the watched time of a recorded past.

        A span ends with a sleep, with the run, and when no listing follows within `blind_after`. `polls` are in order;
        the events of the same time tell which listings were believed.
        """
        spans: list[list[float]] = []  # by this machine's clock
        run: int | None = None
        interval_s = 0.0
        for _, at, result, poll_run, poll_interval_s in polls:
            longest_s, interval_s = max(interval_s, poll_interval_s), poll_interval_s
            if result is PollResult.FAILED:
                continue
            if result is PollResult.SLEPT:
                run = None
            elif run == poll_run and 0 <= at - spans[-1][1] <= _patience_ms(longest_s):
                spans[-1][1] = at
            else:
                spans.append([at, at])
                run = poll_run
        offset = clock.offset
        watched = cls(_united(Span(ServerMs(since + offset), ServerMs(until + offset)) for since, until in spans))
        for event in events:
            if event.kind in _UNSEEN and event.since is not None:
                watched = watched.without(event.since, event.at)
            if event.id is not None or event.members:
                watched = watched.begun_by(event.at)
        return watched

    def begun_by(self, asked_at: ServerMs) -> WatchedTime:
        """Return the watched time, extended to the request of a span's first listing."""
        place = bisect_right(self.spans, asked_at, key=attrgetter("since"))
        is_within = place > 0 and asked_at <= self.spans[place - 1].until
        # The longest time from a listing's request to the recorded poll.
        if is_within or place == len(self.spans) or self.spans[place].since - asked_at > limits.BLIND_AT_LEAST / MS:
            return self
        return WatchedTime(_united((*self.spans, Span(asked_at, self.spans[place].since))))

    def apply(self, before: ProfileState, profile_state: ProfileState) -> WatchedTime:
        """Return the watched time after an outcome."""
        if profile_state.listings == before.listings or profile_state.listed is None:
            return self
        at = profile_state.clock.server_time(profile_state.listed.wall)
        is_seen = (
            before.listed is not None
            and blind_since(before.with_interval(profile_state.interval), profile_state.listed) is None
        )
        if self.spans and (is_seen or at <= self.spans[-1].until):
            return self.seen_until(at)
        return WatchedTime((*self.spans[1 - SPANS_KEPT :], Span(at, at)))

    def seen_until(self, at: ServerMs) -> WatchedTime:
        """Return the watched time with the newest span extended."""
        if not self.spans or at <= self.spans[-1].until:
            return self
        return WatchedTime((*self.spans[:-1], Span(self.spans[-1].since, at)))

    def united(self, other: WatchedTime) -> WatchedTime:
        """Return the union of both watched times."""
        return WatchedTime(_united((*self.spans, *other.spans)))

    def without(self, since: ServerMs, until: ServerMs) -> WatchedTime:
        """Return the watched time without a span."""
        rest: list[Span] = []
        for each in self.spans:
            if since < each.until and each.since < until:
                rest += [Span(each.since, since)] if each.since <= since else []
                rest += [Span(until, each.until)] if until <= each.until else []
            else:
                rest.append(each)
        return WatchedTime(tuple(rest))

    def between(self, since: ServerMs, until: ServerMs) -> WatchedTime:
        """Return the watched time within a span."""
        return WatchedTime(
            tuple(
                Span(max(each.since, since), min(each.until, until))
                for each in self.spans
                if each.since <= until and since <= each.until
            )
        )

    def span_at(self, at: float) -> Span | None:
        """Return the span at a moment; of two adjacent spans the later."""
        place = bisect_right(self.spans, at, key=attrgetter("since")) - 1
        return self.spans[place] if place >= 0 and at <= self.spans[place].until else None

    @property
    def began_at(self) -> ServerMs | None:
        """The first span's begin."""
        return self.spans[0].since if self.spans else None

    @property
    def until(self) -> ServerMs | None:
        """The newest span's end."""
        return self.spans[-1].until if self.spans else None

    @property
    def shape(self) -> tuple[object, ...]:
        """A value that changes when a span begins, but not while the newest span goes on."""
        if not self.spans:
            return ()
        *earlier, newest = self.spans
        return (*earlier, newest.since, newest.since < newest.until)


NOT_WATCHED: Final = WatchedTime()


@lru_cache(64)
def _patience_ms(interval_s: float) -> float:
    return blind_after(span(interval_s * 1000)) / MS


def _united(spans: Iterable[Span]) -> tuple[Span, ...]:
    united: list[Span] = []
    for each in sorted(spans):
        if united and each.since <= united[-1].until:
            united[-1] = Span(united[-1].since, max(united[-1].until, each.until))
        else:
            united.append(each)
    return tuple(united)
