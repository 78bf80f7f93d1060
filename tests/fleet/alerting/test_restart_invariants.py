"""Random lives of 20 rows under faulty listings: a watch that is ended, killed and started again announces the losses
that an uninterrupted watch announces."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW, environment, listed, reading
from support.policies import soon
from support.watch_night import LIMITS

from envwatch.fleet.alerting.alert_state import AlertState, alert_state, content_of, dropped_values
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.fleet.alerting.incidents import Incident
    from envwatch.model.environment import Environment

COUNT: Final = 20
POLLS: Final = 220
POLL_S: Final = 5
CHANGES_END: Final = 110
"""The poll after which no row changes, no listing is faulty, and no watch ends."""
LASTING: Final = POLLS + 1
POLICIES: Final = soon(blind_after=timedelta(seconds=100))
"""Doubtful losses wait for `blind_after`."""


class Outage(NamedTuple):
    row: int
    begin: int
    end: int
    """Polls; `LASTING` for a row that never comes back."""
    how: str
    """`closed`: the connection ended; `silent`: the heartbeats ended; `dropped`: the server lists the row no more."""


class Fault(NamedTuple):
    """A listing that lacks rows although the rows exist."""

    begin: int
    polls: int
    lacking: frozenset[int]


@dataclass
class Life:
    outages: Sequence[Outage]
    faults: Sequence[Fault]

    def is_up(self, number: int, poll: int) -> bool:
        return not any(each.row == number and each.begin <= poll < each.end for each in self.outages)

    def rows(self, poll: int) -> list[Environment]:
        lacking = {row for each in self.faults if each.begin <= poll < each.begin + each.polls for row in each.lacking}
        found = (self._row(number, poll) for number in range(COUNT) if number not in lacking)
        return [row for row in found if row is not None]

    def _row(self, number: int, poll: int) -> Environment | None:
        at, id_ = NOW + poll * POLL_S * 1000, f"e{number:02}"
        outage = next((each for each in self.outages if each.row == number and each.begin <= poll < each.end), None)
        if outage is None:
            return environment(id_, lastHeartbeat=at - 1_000, lastSeenAt=at - 1_000)
        if outage.how == "dropped":
            return None
        last = NOW + (outage.begin - 1) * POLL_S * 1000
        link: dict[str, Any] = {"lastHeartbeat": last}
        if outage.how == "closed":
            link = {"lastHeartbeat": None, "connectionId": None, "connectedAt": None}
        return environment(id_, lastSeenAt=last, **link)


@dataclass
class Watch:
    """A watch with the file that a new process reads; `written` are the newest two states on the disk."""

    monitor: Monitor = field(default_factory=lambda: Monitor.create(LIMITS, policies=POLICIES))
    opened: list[tuple[int, Incident]] = field(default_factory=list)
    resolved: list[tuple[int, Incident]] = field(default_factory=list)
    written: list[tuple[AlertState, int]] = field(default_factory=list)
    polled: int = 0

    def poll(self, life: Life, poll: int) -> None:
        self.polled = poll
        at = NOW + poll * POLL_S * 1000
        self.monitor, changes = self.monitor.apply(NO_PROFILE, listed(life.rows(poll), at), reading(at))
        self.opened += ((poll, incident) for incident in changes.opened)
        self.resolved += ((poll, incident) for incident in changes.resolved)
        state = self.monitor.alert_state(NO_PROFILE, reading(at))
        if not self.written or replace(state, looked_at=self.written[-1][0].looked_at) != self.written[-1][0]:
            self.written = [*self.written[-1:], (state, poll)]

    def restart(self, poll: int, *, is_killed: bool) -> None:
        """Start anew before a poll; a kill comes before the write of the newest poll."""
        began = reading(NOW + poll * POLL_S * 1000)
        if self.written:
            state, written = self.written[0 if is_killed and self.written[-1][1] == self.polled else -1]
            content = content_of(state, reading(NOW + written * POLL_S * 1000))
            stored = json.loads(json.dumps(content))
            read = alert_state(stored, NO_PROFILE, began)
            assert read is not None
            assert dropped_values(stored, read) == {}
            self.monitor = Monitor.create(LIMITS, policies=POLICIES).with_alert_state(NO_PROFILE, read)

    def announced(self) -> Mapping[str, set[str]]:
        """Return the incidents that name a row."""
        found: dict[str, set[str]] = defaultdict(set)
        for _, incident in self.opened:
            for loss in incident.losses:
                found[str(loss.id)].add(incident.id)
        return found


def lives() -> st.SearchStrategy[Life]:
    numbers, polls = st.integers(0, COUNT - 1), st.integers(3, CHANGES_END)
    how = st.sampled_from(["closed", "silent", "dropped"])
    lasting = st.builds(Outage, numbers, polls, st.just(LASTING), how)
    short = st.builds(lambda row, begin, lasts, how: Outage(row, begin, begin + lasts, how), numbers, polls, polls, how)
    outages = st.lists(lasting | short, min_size=1, max_size=6, unique_by=lambda each: each.row)
    few = st.frozensets(numbers, min_size=1, max_size=2)
    half = st.sampled_from([frozenset(range(COUNT // 2)), frozenset(range(COUNT // 2, COUNT)), frozenset(range(COUNT))])
    # More faults in a row would prove that rows are gone.
    halves = st.lists(st.builds(Fault, polls, st.integers(1, 4), half), max_size=2)
    singles = st.lists(st.builds(Fault, polls, st.just(1), few), max_size=2)
    return st.builds(Life, outages, st.builds(list.__add__, halves, singles))


RESTARTS: Final = st.dictionaries(
    st.integers(2, CHANGES_END), st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=4
)
"""The polls at which the watch ends, the number of polls without a watch, and whether the watch is killed."""


@given(lives(), RESTARTS)
@settings(max_examples=examples(40), deadline=None)
def test_a_watch_that_is_ended_and_started_announces_what_an_uninterrupted_watch_announces(
    life: Life, restarts: Mapping[int, tuple[int, bool]]
) -> None:
    steady, watch, away_until = Watch(), Watch(), 0
    for poll in range(POLLS):
        steady.poll(life, poll)
        if poll in restarts and poll >= away_until:
            away, is_killed = restarts[poll]
            away_until = poll + away
            watch.restart(away_until, is_killed=is_killed)
        if poll >= away_until:
            watch.poll(life, poll)
    needs, found = steady.announced(), watch.announced()
    lasting = {f"e{each.row:02}" for each in life.outages if each.end == LASTING}
    assert lasting <= needs.keys()
    assert lasting <= found.keys(), "a loss is not announced"
    assert found.keys() <= {f"e{each.row:02}" for each in life.outages}, "a row that was never down is accused"
    assert {id_: ids for id_, ids in found.items() if id_ in lasting and len(ids) > 1} == {}, "announced twice"
    first_end = min(restarts)
    for poll, incident in steady.opened:
        if poll < first_end:
            assert incident.id in {id_ for ids in found.values() for id_ in ids}
    for each in (steady, watch):
        for poll, incident in each.resolved:
            for loss in incident.losses:
                number = int(str(loss.id)[1:])
                assert life.is_up(number, poll), "an incident is over while a member is down"
