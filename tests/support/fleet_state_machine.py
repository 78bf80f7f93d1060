"""A simulated platform in any state, and the invariants of every fleet that polls the platform.

`FleetMachine` is a Hypothesis state machine: rules let time pass, change environments and poll, well or badly. Each
poll compares the fleet with the platform by a second implementation of the official rule, and replays events on a copy.
A subclass overrides `after` to watch or to follow the reducer.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from support.builders import NOW, environment, failed, listed
from support.policies import soon

from envwatch.alerts.monitor import Monitor
from envwatch.fleet.anomalies import Anomaly
from envwatch.fleet.events import NO_PROFILE, Event, Kind, flatten
from envwatch.fleet.presence import Presence
from envwatch.fleet.profile_state import ProfileState
from envwatch.model.clock import Clocks, MonotonicS, ServerMs, WallMs
from envwatch.model.environment import mode_of
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, Listed, Slept
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome

SIZE = 14
"""Enough environments for a mass loss and a stall, few enough for coincidences."""

DAY = 86_400_000

NUMBERS = st.integers(0, SIZE - 1)
SOME = st.sets(NUMBERS, max_size=4)
SEEDS = st.integers(0, 2**16)
SECONDS = st.sampled_from([1, 5, 30, 44, 46, 59, 61, 119, 120, 121, 600, 4_000])

_FIELDS = {
    Kind.RENAMED: "name",
    Kind.MODE: "mode",
    Kind.VERSION: "version",
    Kind.BRANCH: "branch",
    Kind.RECONNECTED: "connection",
    Kind.RESTARTED: "connection",
}
"""Fields that events with a value change; events of kinds not listed here carry a presence."""


@dataclass
class Box:
    number: int
    is_listed: bool = True
    is_beating: bool = True
    connections: int = 1
    is_connected: bool = True
    beat_at: float = NOW
    name: int = 0
    mode: str | None = "standard"
    version: int | None = 1
    branch: int | None = 1
    others: int = 0
    """Stands for directory, Node.js, OS, user and pod; the platform knows no pod of an offline machine."""

    @property
    def id(self) -> SafeText:
        return clean(f"env-{self.number}")

    def row(self, **changes: Any) -> Environment:
        connection = {"connectionId": f"conn-{self.number}-{self.connections}", "lastHeartbeat": self.beat_at}
        if not self.is_connected:
            connection = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None}
        metadata = {
            "lettaCodeVersion": self.version and f"0.{self.version}",
            "gitBranch": self.branch and "fix" * 2,
            "workingDirectory": f"/srv/{self.others}",
            "nodeVersion": f"v{self.others}",
            "os": f"os-{self.others}",
        }
        shown = {
            "connectionName": f"box {self.name}",
            "currentMode": self.mode,
            "userId": f"user-{self.others}",
            "podId": f"pod-{self.others}" if self.is_connected else None,
            "metadata": metadata,
        }
        return environment(self.id, **(shown | connection | changes))

    def connect(self, at: float) -> None:
        self.is_connected, self.is_beating, self.beat_at = True, True, at
        self.connections += 1


def values_in_events(tracked: TrackedEnvironment) -> dict[str, str | None]:
    row = tracked.environment
    return {
        "presence": "online" if tracked.verdict.is_up else tracked.presence.value,
        "name": row.name,
        "mode": mode_of(row.mode),
        "version": row.version,
        "branch": row.branch,
        "connection": row.connection_id,
    }


def _of_rows(events: tuple[Event, ...]) -> list[Event]:
    """Return the events about environments; sleeps are timed by a local clock alone."""
    return [event for event in events if event.id is not None or event.members]


class FleetMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now: float = NOW
        self.monotonic = 0.0
        self.skew = 0.0
        self.boxes = [Box(number) for number in range(SIZE)]
        self.profile_state = ProfileState()
        self.skewed = ProfileState()
        """The same fleet on a machine with a wrong wall clock."""
        self.replayed: dict[SafeText, dict[str, str | None]] = {}
        """Values known from events alone, since the first listing."""
        self.lacked: Counter[SafeText] = Counter()
        """Consecutive complete listings that lacked an id."""
        self.lacked_since: dict[SafeText, float] = {}
        """Monotonic seconds of the first listing in `lacked`."""
        self.confirmed: set[SafeText] = set()
        """Ids confirmed absent since they were last listed."""
        self.confirmed_absent: frozenset[SafeText] = frozenset()
        self.in_doubt: frozenset[SafeText] = frozenset()
        """Missing ids that the poll in progress leaves in doubt."""

    def after(self, profile_state: ProfileState, outcome: Outcome) -> tuple[ProfileState, tuple[Event, ...]]:
        return profile_state.apply(outcome)

    @initialize(skew=st.integers(-DAY, DAY), count=st.integers(0, SIZE))
    def begin(self, skew: int, count: int) -> None:
        self.skew = skew
        for box in self.boxes[count:]:
            box.is_listed = False

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.monotonic += seconds
        for box in self.boxes:
            if box.is_beating:
                box.beat_at = max(self.now - (self.now + 2_000 * box.number) % 30_000, box.beat_at)

    @rule(numbers=SOME, restart=st.booleans())
    def boxes_connect(self, numbers: set[int], *, restart: bool) -> None:
        for number in numbers:
            self.boxes[number].connect(self.now)
            if restart:
                self.boxes[number].version = (self.boxes[number].version or 0) + 1

    @rule(first=NUMBERS, count=st.sampled_from([1, 3, 10]))
    def boxes_disconnect(self, first: int, count: int) -> None:
        for box in self.boxes[first : first + count]:
            box.is_connected = box.is_beating = False

    @rule(numbers=SOME)
    def boxes_fall_silent(self, numbers: set[int]) -> None:
        for number in numbers:
            self.boxes[number].is_beating = False

    @rule()
    def every_heartbeat_stands_still(self) -> None:
        for box in self.boxes:
            box.is_beating = False

    @rule()
    def every_heartbeat_goes_on(self) -> None:
        for box in self.boxes:
            box.is_beating = box.is_connected

    @rule(numbers=SOME)
    def boxes_join_or_leave(self, numbers: set[int]) -> None:
        for number in numbers:
            self.boxes[number].is_listed ^= True

    @rule(number=NUMBERS, value=st.none() | st.sampled_from(["default", "standard", "unrestricted", "wild"]))
    def a_mode_changes(self, number: int, value: str | None) -> None:
        self.boxes[number].mode = value

    @rule(number=NUMBERS, value=st.none() | st.integers(1, 2))
    def a_name_and_a_branch_change(self, number: int, value: int | None) -> None:
        self.boxes[number].name, self.boxes[number].branch = value or 0, value

    @rule(number=NUMBERS, value=st.integers(0, 2))
    def other_fields_change(self, number: int, value: int) -> None:
        self.boxes[number].others = value

    @rule(lacking=SOME, doubled=SOME, withheld=SOME, seed=SEEDS)
    def a_poll_succeeds(self, lacking: set[int], doubled: set[int], withheld: set[int], seed: int) -> None:
        rows = self._rows(lacking, doubled, withheld, seed)
        self._take(rows, seed)

    @rule(first=NUMBERS, count=st.integers(1, SIZE), times=st.integers(1, 4), seconds=st.sampled_from([1, 5, 30, 59]))
    def polls_find_a_part(self, first: int, count: int, times: int, seconds: int) -> None:
        for seed in range(times):
            self._take(self._rows(set(range(first, first + count)), set(), set(), seed), seed)
            self.time_passes(seconds)

    @rule(lacking=st.sets(NUMBERS), asked=SOME, times=st.integers(1, 4))
    def polls_ask_about_some_that_are_missing(self, lacking: set[int], asked: set[int], times: int) -> None:
        """Ask about some boxes that the listing lacks; existing boxes are found."""
        for seed in range(times):
            rows = self._rows(lacking - asked, set(), set(), seed)
            self.confirmed_absent = frozenset(self.boxes[number].id for number in asked) - {row.id for row in rows}
            everything = frozenset(box.id for box in self.boxes)
            self.in_doubt = everything - {row.id for row in rows} - self.confirmed_absent
            self._take(rows, seed)
            self.confirmed_absent = self.in_doubt = frozenset()

    @rule(times=st.integers(1, 4))
    def polls_find_nothing(self, times: int) -> None:
        for _ in range(times):
            self._take([], 0)

    @rule(times=st.integers(2, 4), withheld=st.integers(3, SIZE))
    def polls_find_few_heartbeats(self, times: int, withheld: int) -> None:
        for seed in range(times):
            self._take(self._rows(set(), set(), set(range(withheld)), seed), seed)

    @rule(cause=st.sampled_from(Cause), pages_read=st.integers(0, 3))
    def a_poll_fails(self, cause: Cause, pages_read: int) -> None:
        all_events: list[Event] = []
        for profile_state, skew in ((self.profile_state, 0.0), (self.skewed, self.skew)):
            outcome = replace(failed(cause, pages_read=pages_read), started=self._clocks(skew))
            after, events = self.after(profile_state, outcome)
            all_events += events
            assert after.environments == profile_state.environments, "a failed poll changed a verdict"
        assert all(event.id is None and not event.members for event in all_events), "a failed poll changed a row"

    @rule(seconds=SECONDS, does_monotonic_stand=st.booleans())
    def this_machine_sleeps(self, seconds: int, *, does_monotonic_stand: bool) -> None:
        asleep, skewed_asleep = self._clocks(0), self._clocks(self.skew)
        monotonic = self.monotonic
        self.time_passes(seconds)
        if does_monotonic_stand:
            self.monotonic = monotonic
        self.profile_state, events = self.after(self.profile_state, Slept(asleep, self._clocks(0)))
        self.skewed, _ = self.after(self.skewed, Slept(skewed_asleep, self._clocks(self.skew)))
        assert [event.kind for event in events if event.kind is not Kind.SLEPT] == []

    @precondition(lambda self: self.profile_state.quarantine is None and not self._are_some_missing())
    @rule(seed=SEEDS)
    def two_polls_bring_the_same(self, seed: int) -> None:
        rows = self._rows({box.number for box in self.boxes if self.lacked[box.id]}, set(), set(), seed)
        self._take(rows, seed)
        if self.profile_state.quarantine or self._are_some_missing() or self._could_be_either_clock(rows):
            return
        again, events = self.after(self.profile_state, self._listed(rows, 0))
        assert not events, "the same listing once more was an event"
        assert again.environments == self.profile_state.environments

    def _are_some_missing(self) -> bool:
        return any(
            tracked.absent and tracked.presence is not Presence.GONE
            for tracked in self.profile_state.environments.values()
        )

    def _rows(self, lacking: set[int], doubled: set[int], withheld: set[int], seed: int) -> list[Environment]:
        """Return a listing in any order: rows missing, rows without heartbeats, older copies of rows."""
        rows = [
            box.row(**({"lastHeartbeat": None} if box.number in withheld else {}))
            for box in self.boxes
            if box.is_listed and box.number not in lacking
        ]
        beaten = {self.boxes[number].id for number in doubled}
        rows += [
            replace(row, last_heartbeat_at=ServerMs(row.last_heartbeat_at - 31_000), mode=None)
            for row in rows
            if row.id in beaten and row.last_heartbeat_at is not None
        ]
        random.Random(seed).shuffle(rows)
        return rows

    def _clocks(self, skew: float) -> Clocks:
        return Clocks(WallMs(self.now + skew), MonotonicS(self.monotonic))

    def _listed(self, rows: list[Environment], skew: float, page_size: int = 5) -> Listed:
        clocks = self._clocks(skew)
        outcome = listed(rows, self.now, skew=skew, page_size=page_size)
        known = outcome.snapshot._replace(confirmed_absent=self.confirmed_absent, in_doubt=self.in_doubt)
        return outcome._replace(snapshot=known, started=clocks, ended=clocks)

    def _could_be_either_clock(self, rows: list[Environment]) -> bool:
        """Whether all heartbeats are as old as the skewed clock is behind, and no other sign exists.

        No rule can then tell a wrong clock from a wrong `Date`.
        """
        ages = [
            self.now - row.last_heartbeat_at for row in rows if row.connection_id and row.last_heartbeat_at is not None
        ]
        is_fresh_there = any(-30_000 <= age + self.skew < 45_000 for age in ages)
        return not self.skewed.clock.is_known and is_fresh_there and all(age >= 120_000 for age in ages)

    def _take(self, rows: list[Environment], seed: int) -> None:
        if self._could_be_either_clock(rows):
            return
        before, outcome = self.profile_state, self._listed(rows, 0)
        after, events = self.after(before, outcome)
        self.skewed, skewed_events = self.after(self.skewed, self._listed(rows, self.skew))
        assert self.skewed.environments == after.environments, "a wrong local clock changed a verdict"
        assert _of_rows(skewed_events) == _of_rows(events), "a wrong local clock changed an event"
        assert [event.kind for event in skewed_events] == [event.kind for event in events]
        self._check_order(before, after, events, rows, seed)

        newest = _newest(rows)
        for id_ in self.replayed.keys() | newest.keys():
            self.lacked[id_] = 0 if id_ in newest else self.lacked[id_] + 1
            if self.lacked[id_] == 1:
                self.lacked_since[id_] = self.monotonic
        self.confirmed = (self.confirmed | self.confirmed_absent) - newest.keys()
        if after.listings == before.listings:
            assert after.quarantine is not None
            assert not rows or any(row.last_heartbeat_at is None for row in rows), "a healthy listing was not believed"
            assert {id_: tracked.verdict for id_, tracked in after.environments.items()} == {
                id_: tracked.verdict for id_, tracked in before.environments.items()
            }
            assert not _of_rows(events)
        else:
            self._check_verdicts(before, after, newest)
            self._check_events(before, after, events)
            self._check_absences(before, after, newest)
        self.profile_state = after

    def _check_order(
        self, before: ProfileState, after: ProfileState, events: tuple[Event, ...], rows: list[Environment], seed: int
    ) -> None:
        shuffled = random.Random(~seed).sample(rows, len(rows))
        other, other_events = self.after(before, self._listed(shuffled, 0, page_size=1 + seed % 7))
        assert other.environments == after.environments, "the order of the rows or the size of the pages mattered"
        assert Counter(flatten(other_events)) == Counter(flatten(events))
        assert Counter(event.kind for event in other_events) == Counter(event.kind for event in events)

    def _check_verdicts(self, before: ProfileState, after: ProfileState, newest: dict[SafeText, Environment]) -> None:
        for id_, tracked in after.environments.items():
            was = before.environments.get(id_)
            row = newest.get(id_)
            if row is None:
                proven = self.lacked[id_] >= 2 and id_ not in self.in_doubt
                assert was is not None
                assert tracked.presence is was.presence or (tracked.presence is Presence.GONE and proven), (
                    "gone unproven"
                )
                continue
            beat = row.last_heartbeat_at
            if was and was.environment.connection_id == row.connection_id and beat is not None:
                beat = max(beat, was.environment.last_heartbeat_at or beat)
            listed = replace(row, last_heartbeat_at=beat)
            if was is not None and not tracked.verdict.is_up:  # an offline row keeps values that the server drops
                kept: dict[str, Any] = {key: value for key, value in (was.environment.metadata or {}).items() if value}
                sent = {key: value for key, value in (row.metadata or {}).items() if value or key not in kept}
                listed = replace(listed, mode=row.mode or was.environment.mode, metadata=kept | sent or row.metadata)
            assert tracked.environment == listed, "not the row with the newest heartbeat"
            assert not tracked.clock_suspect, "no clock is wrong"
            is_up = bool(row.connection_id) and beat is not None and self.now - beat < 120_000
            is_excused = (
                was and was.verdict.is_up and row.connection_id and beat and not after.stall_detector.beats_count
            )
            assert tracked.verdict.is_up is is_up or (tracked.verdict.is_up and is_excused), "not the official rule"

    def _check_absences(self, before: ProfileState, after: ProfileState, newest: dict[SafeText, Environment]) -> None:
        missing = {id_: tracked for id_, tracked in before.environments.items() if id_ not in newest}
        known = {id_ for id_, tracked in before.environments.items() if tracked.presence is not Presence.GONE}
        if after.quarantine is not None:
            assert after.quarantine.anomaly is Anomaly.VANISHED
            for id_ in missing.keys() & known & after.quarantine.missing:
                tracked, was = after.environments[id_], before.environments[id_]
                assert (tracked.verdict, tracked.absent) == (was.verdict, was.absent), "held, and changed"
        at_once = Counter(
            self.lacked_since[id_]
            for id_ in missing.keys() & known - self.confirmed
            if after.environments[id_].presence is Presence.GONE and self.monotonic - self.lacked_since[id_] < 60
        )
        most = max(at_once.values(), default=0)
        assert most < 5 or most <= len(known) / 2, "half of the machines vanished, gone within a minute"

    def _check_events(self, before: ProfileState, after: ProfileState, events: tuple[Event, ...]) -> None:
        if before.listings == 0:
            assert not _of_rows(events), "the first listing was an event"
            self.replayed = {id_: values_in_events(tracked) for id_, tracked in after.environments.items()}
            return
        for event in flatten(events):
            if event.id is not None:
                self._replay(event.id, event, values_in_events(after.environments[event.id]))
        for id_, values in self.replayed.items():
            if id_ not in after.environments:
                assert values["presence"] == "gone", "forgotten, and not gone"
                continue
            is_now = values_in_events(after.environments[id_])
            if is_now["presence"] != "online":
                is_now["connection"] = values["connection"]
            assert values == is_now, "the events disagree with the fleet"
        assert self.replayed.keys() >= after.environments.keys(), "no event for a new environment"

    def _replay(self, id_: SafeText, event: Event, listed_as: dict[str, str | None]) -> None:
        """Apply an event to the replayed values; a change of presence also brings the row's connection."""
        if event.kind is Kind.APPEARED:
            assert id_ not in self.replayed or self.replayed[id_]["presence"] == "gone", "appeared, and was there"
            assert (event.before, event.after) == (None, listed_as["presence"])
            self.replayed[id_] = listed_as
        elif event.kind not in (Kind.FLAPPING, Kind.STEADY, Kind.CHANGED):
            values = self.replayed[id_]
            field = _FIELDS.get(event.kind, "presence")
            assert event.before == values[field], "an event began with what was not so"
            if field == "presence":
                values["connection"] = listed_as["connection"]
            values[field] = event.after


class MonitoredMachine(FleetMachine):
    """The same platform with a monitor that also takes failures and sleeps; `_take` in a subclass has the listings."""

    def __init__(self) -> None:
        super().__init__()
        self._monitor = Monitor.create({NO_PROFILE: Limits()}, policies=soon())
        self._kept: frozenset[SafeText] = frozenset()
        """Rows with an open loss before the monitor's newest step, which the reducer keeps too."""

    @property
    def monitor(self) -> Monitor:
        return self._monitor

    @monitor.setter
    def monitor(self, monitor: Monitor) -> None:
        self._kept = self._monitor.incidents.lost_of(NO_PROFILE)
        self._monitor = monitor

    @abstractmethod
    def _poll(self, outcome: Outcome) -> None:
        """Give the monitor an outcome, and check the result."""

    def after(self, profile_state: ProfileState, outcome: Outcome) -> tuple[ProfileState, tuple[Event, ...]]:
        if profile_state is self.profile_state and not isinstance(outcome, Listed):
            self._poll(outcome)
        return profile_state.apply(outcome, self._kept)


def _newest(rows: list[Environment]) -> dict[SafeText, Environment]:
    """Return each id's row with the newest heartbeat."""
    by_beat = sorted(rows, key=lambda row: -1.0 if row.last_heartbeat_at is None else row.last_heartbeat_at)
    return {row.id: row for row in by_beat}
