"""Each recorded moment of any life is rebuilt exactly, from any frames."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from support.budget import examples
from support.builders import key_of
from support.fleet_state_machine import NUMBERS, SEEDS, SOME, MonitoredMachine
from support.values import exact

from envwatch.alerts.alert_policy import AlertPolicy, Word
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.recurring_hours import RecurringHours
from envwatch.alerts.silences import recurring_silences, silence_of_environments, silence_of_query
from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.tracking import Matcher
from envwatch.history.encoding.events import EventDecoder, EventEncoder
from envwatch.history.encoding.frames import Frame, FrameEncoder, FrameKind, MomentBuilder
from envwatch.history.past import Moment
from envwatch.model.acks import Ack
from envwatch.model.clock import OffsetBounds, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed, Outcome

_NAMES = st.sampled_from([clean("a"), clean("ключ"), clean(""), clean("x" * 40)])
_ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _NAMES
_MEMBERS = st.dictionaries(_NAMES, _ATOMS | st.lists(_ATOMS, max_size=2) | st.dictionaries(_NAMES, _ATOMS, max_size=2))


_ODD: Final = Matcher(clean("name:*1"), lambda tracked, _: tracked.environment.id.endswith("1"))


class RecordedMachine(MonitoredMachine):
    def __init__(self) -> None:
        super().__init__()
        self.odd: dict[SafeText, dict[str, Any]] = {}
        """Fields of rows that no usual platform sends, by id."""
        self.date_error = 0.0
        self.rejected: frozenset[SafeText] = frozenset()
        self.encoder = FrameEncoder(key_every=11, bridge_every=4)
        self.decoder = MomentBuilder(NO_PROFILE)
        self.event_bytes: list[bytes] = []
        self.event_encoder = EventEncoder()
        self.event_decoder = EventDecoder(NO_PROFILE, self.event_bytes.__getitem__)
        self.recorded: list[tuple[Frame, Any]] = []
        self.last: tuple[Moment, Moment] | None = None
        """The last moment, original and rebuilt; None if the next frame has no reference."""
        self.watch()

    def watch(self) -> None:
        nights = recurring_silences([(_ODD, RecurringHours(filter="name:*1", begin=8 * 60, end=10 * 60))], UTC)
        policy = AlertPolicy(expect=(clean("box 0"), clean("absent box"), clean("box 2")), recurring=nights)
        monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy})
        self.monitor = monitor.with_uptime_record(NO_PROFILE, UptimeRecord())
        self.profile_state = self.monitor.fleet.by_profile[NO_PROFILE]

    @rule()
    def envwatch_is_started_again(self) -> None:
        self.watch()
        self.encoder.restart()
        self.last = None

    @rule()
    def a_poll_is_not_recorded(self) -> None:
        self.encoder.restart()
        self.last = None

    @rule(error=st.sampled_from([0.0, 40_000.5, -3_600_000.0, 86_400_000.0]))
    def the_date_is_wrong(self, error: float) -> None:
        self.date_error = error

    @rule(number=NUMBERS, note=st.sampled_from(["", "known", "bekannt ✓"]))
    def a_problem_is_acknowledged(self, number: int, note: str) -> None:
        self.monitor = self.monitor.with_acks({key_of(f"env-{number}"): Ack(self.now, clean(note), sign_at=None)})

    @rule(numbers=SOME, minutes=st.sampled_from([1, 90]), is_query=st.booleans())
    def rows_are_silenced(self, numbers: set[int], minutes: int, *, is_query: bool) -> None:
        at, lasts = WallMs(self.now), timedelta(minutes=minutes)
        keys = [key_of(f"env-{number}") for number in numbers]
        texts = clean("disks"), clean("ann")
        of_rows = silence_of_environments(keys, at, lasts, *texts)
        silence = silence_of_query(_ODD, at, lasts, *texts) if is_query else of_rows
        self.monitor = self.monitor.with_silences({silence.id: silence})

    @rule(number=NUMBERS, is_always=st.booleans())
    def a_person_decides(self, number: int, *, is_always: bool) -> None:
        words = {**self.monitor.words, key_of(f"env-{number}"): Word(is_always, WallMs(self.now), clean("ann"))}
        self.monitor, _ = self.monitor.with_words(words, self._clocks(0))

    @rule(number=NUMBERS, unknown=_MEMBERS, metadata=st.none() | _MEMBERS)
    def a_row_has_odd_members(self, number: int, unknown: dict[str, Any], metadata: Any) -> None:
        self.odd[clean(f"env-{number}")] = {"unknown": unknown, "metadata": metadata}

    @rule(number=NUMBERS, unit=st.sampled_from([int, float, lambda at: at + 0.3, lambda at: at / 1000]))
    def a_row_has_odd_instants(self, number: int, unit: Any) -> None:
        self.odd[clean(f"env-{number}")] = {"last_seen_at": unit(self.now), "connected_at": unit(self.now - 99)}

    @rule(seed=SEEDS)
    def two_polls_bring_the_same(self, seed: int) -> None:
        rows = self._rows(set(), set(), set(), seed)
        self._take(rows, seed)
        self._take(rows, seed)

    @rule(numbers=SOME)
    def rows_cannot_be_read(self, numbers: set[int]) -> None:
        self.rejected = frozenset(clean(f"env-{number}") for number in numbers)

    def _rows(self, lacking: set[int], doubled: set[int], withheld: set[int], seed: int) -> list[Environment]:
        rows = super()._rows(lacking, doubled, withheld, seed)
        if seed % 2:
            rows.sort(key=lambda row: row.id)
        if seed % 3 == 0:
            rows = [_in_whole_ms(row) for row in rows]
        return [replace(row, **self.odd.get(row.id, {})) for row in rows if row.id not in self.rejected]

    def _take(self, rows: list[Environment], seed: int) -> None:
        del seed
        self._poll(self._listed(rows, 0))

    def _listed(self, rows: list[Environment], skew: float, page_size: int = 5) -> Listed:
        outcome = super()._listed(rows, skew, page_size)
        bounds = tuple(
            [OffsetBounds(each.low + self.date_error, each.high + self.date_error) for each in outcome.snapshot.clock]
        )
        known = outcome.snapshot._replace(clock=bounds, rejected=len(self.rejected), rejected_ids=self.rejected)
        return outcome._replace(snapshot=known)

    def _poll(self, outcome: Outcome) -> None:
        now = self._clocks(0)
        self.monitor, changes = self.monitor.apply(NO_PROFILE, outcome, now)
        self.profile_state = self.monitor.fleet.by_profile[NO_PROFILE]
        moment = Moment.of(self.monitor, NO_PROFILE, now)
        frame = self.encoder.encode(moment)
        self.recorded.append((frame, exact(moment)))
        self.decoder.apply(frame)
        rebuilt = self.decoder.moment()
        assert rebuilt == moment
        assert exact(rebuilt) == exact(moment)
        if self.last is not None:
            _check_what_is_the_same(*self.last, moment, rebuilt)
        self.last = (moment, rebuilt)
        for event in changes.events:
            number = len(self.event_bytes)
            self.event_bytes.append(self.event_encoder.encode(event, number))
            for decoder in (self.event_decoder, EventDecoder(NO_PROFILE, self.event_bytes.__getitem__)):
                assert exact(decoder.decode(self.event_bytes[number])) == exact(event)

    def teardown(self) -> None:
        """Rebuild each moment from the KEY on, with and without the BRIDGE in between."""
        key = bridge = 0
        for place, (frame, recorded) in enumerate(self.recorded):
            if frame.kind is FrameKind.KEY:
                key = bridge = place
            elif frame.kind is FrameKind.BRIDGE:
                bridge = place
            for places in ([key, *range(bridge, place + 1)], range(key, place + 1)):
                decoder = MomentBuilder(NO_PROFILE)
                for other in dict.fromkeys(places):
                    decoder.apply(self.recorded[other][0])
                assert exact(decoder.moment()) == recorded


def _check_what_is_the_same(before: Moment, rebuilt_before: Moment, after: Moment, rebuilt: Moment) -> None:
    for id_, tracked in after.profile_state.environments.items():
        if before.profile_state.environments.get(id_) is tracked:
            assert rebuilt.profile_state.environments[id_] is rebuilt_before.profile_state.environments[id_]


def _in_whole_ms(row: Environment) -> Environment:
    beat_at = row.last_heartbeat_at
    return replace(row, last_heartbeat_at=None if beat_at is None else ServerMs(int(beat_at)))


TestRandomLives = RecordedMachine.TestCase
TestRandomLives.settings = settings(
    max_examples=examples(100), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
