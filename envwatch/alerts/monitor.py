"""The state machine of all commands: fleet, acknowledgements, incidents and event log."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from envwatch.alerts import acknowledgements, losses
from envwatch.alerts.acknowledgements import (
    NO_ACKS,
    NO_SERVERS,
    Acks,
    OwnAcks,
    ServerKey,
    blindness_ack_event,
    with_changes,
)
from envwatch.alerts.alert_policy import (
    BY_RECORD,
    DEFAULT_POLICY,
    NO_WORDS,
    AlertPolicy,
    Decision,
    Words,
    decision_text,
    word_for,
)
from envwatch.alerts.incidents import Incidents
from envwatch.alerts.judge import Judge, Marks
from envwatch.alerts.ledger import Ledger
from envwatch.alerts.losses import Key, Poll, key_of
from envwatch.alerts.silences import NO_SILENCES, Silences
from envwatch.alerts.uptime_record import UptimeRecord, with_uptimes
from envwatch.alerts.waiting import silenced_losses
from envwatch.fleet.anomalies import is_beating
from envwatch.fleet.events import NO_PROFILE, Event, EventLog, Kind, leaves
from envwatch.fleet.last_run import NO_RUN
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.fleet.replacement import is_replacement
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.fleet.watched_time import NOT_WATCHED, Interval, WatchedTime, states
from envwatch.model import limits
from envwatch.model.clock import Clocks, ServerMs, WallMs
from envwatch.model.outcome import Listed, Outcome, RecordedPoll, Slept
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import EMPTY, SafeText

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from envwatch.alerts.alert_state import AlertState
    from envwatch.alerts.incident import Incident
    from envwatch.alerts.silences import Silence
    from envwatch.model.acks import Ack
    from envwatch.model.limits import Limits


class MonitorChanges(NamedTuple):
    """Effects of a poll's outcome, or of time alone."""

    now: Clocks
    profile: SafeText | None = None
    outcome: Outcome | None = None
    events: tuple[Event, ...] = ()
    """Oldest first; a mass change is a single event."""
    ended_acks: frozenset[ServerKey] = frozenset()
    continued_acks: Acks = NO_ACKS
    """Acknowledgements that outlast a return of under `limits.BACK_AFTER`."""
    inherited_words: Words = NO_WORDS
    """Words passed on to replacing rows."""
    opened: tuple[Incident, ...] = ()
    resolved: tuple[Incident, ...] = ()


@dataclass(frozen=True, slots=True)
class Monitor:
    """State of all profiles."""

    fleet: Fleet = field(default_factory=Fleet)
    acks: Acks = field(default_factory=lambda: NO_ACKS)
    ended_acks: Acks = field(default_factory=lambda: NO_ACKS)
    """Ended acknowledgements, until the rows are back."""
    event_log: EventLog = field(default_factory=EventLog)
    watched: Mapping[SafeText, WatchedTime] = field(default_factory=dict)
    policies: Mapping[SafeText, AlertPolicy] = field(default_factory=dict)
    silences: Silences = field(default_factory=lambda: NO_SILENCES)
    incidents: Incidents = field(default_factory=Incidents)
    ledger: Ledger = field(default_factory=Ledger)
    beating: frozenset[SafeText] = frozenset()
    """Profiles with a fresh or advancing heartbeat in this run."""
    words: Words = field(default_factory=lambda: NO_WORDS)
    uptime_records: Mapping[SafeText, UptimeRecord] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        limits: Mapping[SafeText, Limits],
        policies: Mapping[SafeText, AlertPolicy] = MappingProxyType({}),
        *,
        profile_name: SafeText = NO_PROFILE,
        servers: Mapping[SafeText, SafeText] = NO_SERVERS,
    ) -> Monitor:
        """Return a monitor before the first outcome."""
        fleet = {
            profile: ProfileState(
                limits=each,
                profile=profile,
                profile_name=profile or profile_name,
                interval=each.interval,
                server=servers.get(profile, EMPTY),
                expect=policies.get(profile, DEFAULT_POLICY).expect,
            )
            for profile, each in limits.items()
        }
        return cls(Fleet(MappingProxyType(fleet)), policies=policies)

    def apply(self, profile: SafeText, outcome: Outcome, now: Clocks) -> tuple[Monitor, MonitorChanges]:
        """Return the monitor after a profile's poll, and the changes."""
        last_run = self.fleet.by_profile[profile].last_run
        fleet, found = self.fleet.apply(profile, outcome, self.incidents.lost_of(profile) | last_run.ids_up)
        before, after = self.fleet.by_profile[profile], fleet.by_profile[profile]
        uptime_records = self.uptime_records
        if (record := uptime_records.get(profile)) is not None:
            record, uptimes = record.apply(before, after)
            uptime_records = {**uptime_records, profile: record}
            after = with_uptimes(after, uptimes)
            fleet = fleet.with_profile_state(profile, after)
            found = (*found, *self._turned(before, after, uptimes, now))
        beating = self._beating_after(before, after)
        # The platform may have stalled before this run.
        do_beats_prove = profile in beating or len(after.environments) < limits.STALL_ROWS
        poll = Poll(before, after, now, do_beats_prove)
        continued = acknowledgements.continued_acks(self.acks, before, after)
        acks = {**self.acks, **continued} if continued else self.acks
        ended = acknowledgements.ended_acks({**self.ended_acks, **acks}, fleet)
        inherited = self._inherited_words(found, after)
        words = {**self.words, **inherited} if inherited else self.words
        incidents = self.incidents.after_sleep(profile) if isinstance(outcome, Slept) else self.incidents
        following = replace(self, fleet=fleet, words=words, uptime_records=uptime_records, incidents=incidents)
        incidents, events = _incidents_after(following, poll, found, ended)
        event_log = self.event_log.with_events(events) if events else self.event_log
        own = self.watched.get(profile, NOT_WATCHED)
        watched = own.apply(before, after)
        monitor = replace(
            following,
            acks={key: ack for key, ack in acks.items() if key not in ended} if ended else acks,
            ended_acks={key: ack for key, ack in self.ended_acks.items() if key not in ended},
            event_log=event_log,
            watched=self.watched if watched is own else {**self.watched, profile: watched},
            incidents=incidents,
            beating=beating,
        )
        shared_events: tuple[Event, ...] = ()
        if isinstance(outcome, Listed) and outcome.snapshot.served is not None and before.listings:
            monitor, shared_events = monitor.with_shared_acks(before, after, now)
        monitor, changes = monitor.tick(now)
        return monitor, changes._replace(
            profile=profile,
            outcome=outcome,
            events=(*events, *shared_events, *changes.events),
            ended_acks=ended | changes.ended_acks,
            continued_acks=continued,
            inherited_words=inherited,
        )

    def _beating_after(self, before: ProfileState, after: ProfileState) -> frozenset[SafeText]:
        if after.profile in self.beating:
            return self.beating
        if after.has_fresh_heartbeat or is_beating(before.environments, after.environments):
            return self.beating | {after.profile}
        return self.beating

    def _turned(
        self, before: ProfileState, after: ProfileState, changed: Iterable[SafeText], now: Clocks
    ) -> Iterator[Event]:
        if (at := after.listed_at) is None:
            return
        judge = replace(self, fleet=self.fleet.with_profile_state(after.profile, after)).judge(now)
        for id_ in changed:
            was, tracked = before.environments.get(id_), after.environments[id_]
            if was is None or was.uptime is None or tracked.uptime is None:
                continue
            if was.uptime.is_permanent is not tracked.uptime.is_permanent:
                decision = judge.decision_of(tracked)
                if decision.rule in BY_RECORD:
                    yield _turn(tracked, decision, at)

    def _inherited_words(self, events: Iterable[Event], after: ProfileState) -> Words:
        if not self.words:
            return NO_WORDS
        found = {}
        for event, _ in leaves(events):
            if is_replacement(event) and event.id is not None:
                new = after.environments[event.id].replaced_by
                word = word_for(self.words, after.server, event.id)
                if word is not None and new is not None and (after.server, new) not in self.words:
                    found[after.server, new] = word
        return found

    def tick(self, now: Clocks) -> tuple[Monitor, MonitorChanges]:
        """Return the monitor at a later moment, and the changes."""
        monitor, (fleet, events) = self, self.fleet.tick(now)
        if events:
            monitor = replace(self, fleet=fleet, event_log=self.event_log.with_events(events))
        if any(ack.until is not None for ack in monitor.acks.values()):
            monitor, ended = monitor.with_decided_acks({}, now)
            events = (*events, *ended)
        incidents, opened, resolved, ends = monitor.incidents.tick(monitor.judge(now), monitor.ledger.announcements)
        if incidents is monitor.incidents:
            return monitor, MonitorChanges(now, events=events)
        ledger = monitor.ledger.after(opened, resolved, now.monotonic)
        event_log = monitor.event_log.with_events(ends) if ends else monitor.event_log
        servers = {monitor.fleet.server_of(incident.profile) for incident in resolved if incident.is_blindness}
        over = monitor.acks.keys() & {(server, EMPTY) for server in servers}
        acks = {key: ack for key, ack in monitor.acks.items() if key not in over} if over else monitor.acks
        monitor = replace(monitor, acks=acks, incidents=incidents, ledger=ledger, event_log=event_log)
        return monitor, MonitorChanges(
            now, events=(*events, *ends), ended_acks=frozenset(over), opened=opened, resolved=resolved
        )

    def with_past(self, profile: SafeText, events: Sequence[Event], polls: Sequence[RecordedPoll]) -> Monitor:
        """Return the monitor with a profile's recorded past, in recorded order.

        Call once per profile, after the first listing, whose clock places the polls. Events of this run are ignored.
        """
        past = WatchedTime.recorded(polls, events, self.fleet.by_profile[profile].clock)
        watched = {**self.watched, profile: past.united(self.watched.get(profile, NOT_WATCHED))}
        return replace(self, event_log=self.event_log.with_past(events), watched=watched)

    def watched_at(self, profile: SafeText, now: Clocks) -> WatchedTime:
        """Return a profile's watched time within the complete event log, until now if the newest listing counts."""
        watched, cut_at = self.watched.get(profile, NOT_WATCHED), self.event_log.cut_at
        judge = self.judge(now)
        if judge.sees(profile):
            watched = watched.seen_until(judge.moments[profile])
        return watched if cut_at is None else watched.between(cut_at, ServerMs(inf))

    def states_of(self, tracked: TrackedEnvironment, since: ServerMs, now: Clocks) -> tuple[Interval, ...]:
        """Return an environment's states since a moment."""
        watched = self.watched_at(tracked.profile, now)
        until = self.fleet.for_environment(tracked).clock.server_time(now.wall)
        return states(tracked, self.event_log.for_environment(tracked.key), watched, since, until)

    def with_notice(self, text: SafeText, now: Clocks) -> Monitor:
        """Return the monitor with a logged message."""
        first = next(iter(self.fleet))
        notice = Event(kind=Kind.NOTICE, at=first.clock.server_time(now.wall), reason=text)
        return replace(self, event_log=self.event_log.with_events([notice]))

    def with_words(self, words: Words, now: Clocks) -> tuple[Monitor, tuple[Event, ...]]:
        """Return the monitor with new words, and an event for each decision that turns.

        An environment that is off and counts from now on is lost at this moment.
        """
        if words == self.words:
            return self, ()
        monitor = replace(self, words=words)
        before, after = self.judge(now), monitor.judge(now)
        changed = {key for key in words.keys() | self.words.keys() if words.get(key) != self.words.get(key)}
        servers, events, lost = self.fleet.servers, list[Event](), list[TrackedEnvironment]()
        for tracked in self.fleet.environments:
            if (servers[tracked.profile], tracked.environment.id) not in changed:
                continue
            decision = after.decision_of(tracked)
            if decision.counts is before.decision_of(tracked).counts:
                continue
            events.append(_turn(tracked, decision, after.moments[tracked.profile]))
            if decision.counts and tracked.verdict.is_listed_off and tracked.replaced_by is None:
                lost.append(tracked)
        incidents = monitor.incidents.with_lost_now(lost, after, self.ledger.announcements)
        return replace(monitor, incidents=incidents, event_log=self.event_log.with_events(events)), tuple(events)

    def with_uptime_record(self, profile: SafeText, record: UptimeRecord) -> Monitor:
        """Return the monitor with a profile's uptime record."""
        profile_state = with_uptimes(self.fleet.by_profile[profile], record.rows)
        fleet = self.fleet.with_profile_state(profile, profile_state)
        return replace(self, fleet=fleet, uptime_records={**self.uptime_records, profile: record})

    def with_acks(self, changes: Mapping[ServerKey, Ack | None]) -> Monitor:
        """Return the monitor with changed acknowledgements, without events and losses."""
        return replace(self, acks=with_changes(self.acks, changes))

    def with_decided_acks(
        self, changes: Mapping[ServerKey, Ack | None], now: Clocks
    ) -> tuple[Monitor, tuple[Event, ...]]:
        """Return the monitor after people's changes of acknowledgements, and the events.

        A row that is off when the acknowledgement ends is lost at this moment.
        """
        return self.with_stored_acks(with_changes({**self.ended_acks, **self.acks}, changes), now)

    def with_stored_acks(self, acks: Acks, now: Clocks) -> tuple[Monitor, tuple[Event, ...]]:
        """Return the monitor with this machine's acknowledgements, see `with_decided_acks`."""
        in_force, ended = acknowledgements.split_acks(acks, self.ended_acks, self.fleet, now.wall)
        begun = {key: ack for key, ack in in_force.items() if self.acks.get(key) != ack}
        over = {key: ack for key, ack in ended.items() if key in self.acks}
        self = replace(self, acks=in_force, ended_acks=ended)  # noqa: PLW0642  private methods follow
        if not begun and not over:
            return self, ()
        self, blind_events = self._after_blindness_acks(begun, over, now)  # noqa: PLW0642  private methods follow
        monitor, events = self._after_acks([*self._rows_of(begun)], [*self._rows_of(over)], now)
        return monitor, (*blind_events, *events)

    def with_missed_ends(self, now: Clocks) -> Monitor:
        """Return the monitor after acknowledgements of open incidents ended while unwatched."""
        found: dict[Key, tuple[Event, float]] = {}
        for incident in self.incidents.open:
            server = self.fleet.server_of(incident.profile)
            for loss in incident.losses:
                ack = self.ended_acks.get((server, loss.id or EMPTY))
                # Both times are the platform's, so a wrong local clock repeats and misses nothing.
                is_before = ack is not None and incident.began_at < (ack.until or inf)
                if ack is not None and is_before and key_of(loss) in incident.remaining:
                    found[key_of(loss)] = loss, ack.at
        return self._with_ended_acks(found, now)

    def _rows_of(self, acks: Acks) -> Iterator[tuple[TrackedEnvironment, Ack]]:
        for (server, id_), ack in acks.items():
            for profile_state in self.fleet:
                row = profile_state.environments.get(id_)
                if row is not None and profile_state.server == server:
                    yield row, ack

    def with_shared_acks(
        self, before: ProfileState, after: ProfileState, now: Clocks
    ) -> tuple[Monitor, tuple[Event, ...]]:
        """Return the monitor after a serving host's acknowledgements changed, and the events."""
        begun, ended = [], []
        for id_, tracked in after.environments.items():
            was = before.environments.get(id_)
            if was is None or was.environment is tracked.environment:
                continue
            old, new = shared_ack_of(was.environment), shared_ack_of(tracked.environment)
            if new is not None and new != old:
                begun.append((tracked, new))
            elif old is not None and new is None and not tracked.verdict.is_up:
                ended.append((tracked, old))
        return self._after_acks(begun, ended, now) if begun or ended else (self, ())

    def _after_acks(
        self,
        begun: Sequence[tuple[TrackedEnvironment, Ack]],
        ended: Sequence[tuple[TrackedEnvironment, Ack]],
        now: Clocks,
    ) -> tuple[Monitor, tuple[Event, ...]]:
        """Rows that were no problem when acknowledged, such as rows off for over a day, are not lost anew."""
        moments = self.fleet.moments(now.wall)
        events = [
            *acknowledgements.ack_events(Kind.ACKNOWLEDGED, begun, moments),
            *acknowledgements.ack_events(Kind.ACK_ENDED, ended, moments),
        ]
        off = {
            row.key: (losses.loss_of_row(row), ack.at)
            for row, ack in ended
            if row.presence is Presence.OFFLINE
            and row.replaced_by is None
            and (row.key in self.incidents.lost or is_problem(row, ack.at))
        }
        monitor = self._with_ended_acks(off, now)
        return replace(monitor, event_log=monitor.event_log.with_events(events)), tuple(events)

    def _after_blindness_acks(self, begun: Acks, over: Acks, now: Clocks) -> tuple[Monitor, tuple[Event, ...]]:
        """Return the monitor after changed acknowledgements of the platform or envwatch, and the events."""
        judge, events, ended = self.judge(now), list[Event](), dict[Key, tuple[Event, float]]()
        begin, end = (replace(judge, marks=judge.marks._replace(acks=acks)) for acks in (begun, over))
        for incident in self.incidents.open:
            loss, name, at = incident.losses[0], incident.subject, judge.moments[incident.profile]
            if (ack := begin.blindness_ack_of(incident)) is not None:
                events.append(blindness_ack_event(Kind.ACKNOWLEDGED, loss, name, ack, at))
            if (ack := end.blindness_ack_of(incident)) is not None:
                events.append(blindness_ack_event(Kind.ACK_ENDED, loss, name, ack, at))
                ended[key_of(loss)] = loss, ack.at
        monitor = self._with_ended_acks(ended, now)
        return replace(monitor, event_log=monitor.event_log.with_events(events)), tuple(events)

    def _with_ended_acks(self, ended: Mapping[Key, tuple[Event, float]], now: Clocks) -> Monitor:
        if not ended:
            return self
        incidents = self.incidents.with_ended_acks(ended, self.judge(now), self.ledger.announcements)
        return replace(self, incidents=incidents)

    def judge(self, now: Clocks) -> Judge:
        """Return the judge of a moment, who answers all questions about losses, alerts and silences."""
        return Judge(
            fleet=self.fleet,
            policies=self.policies,
            marks=Marks(self.acks, self.silences, self.words),
            waiting=self.incidents.waiting,
            open=self.incidents.open,
            recorded=self.uptime_records.keys(),
            now=now,
        )

    def own_acks(self, profile: SafeText) -> OwnAcks:
        """Return a profile's acknowledgements by id."""
        profile_state = self.fleet.by_profile[profile]
        return acknowledgements.own_acks(self.acks, profile_state.server, profile_state.environments)

    def with_alert_state(self, profile: SafeText, state: AlertState) -> Monitor:
        """Return the monitor with an earlier run's losses, incidents and rows."""
        monitor = self.with_earlier_incidents(profile, state)
        profile_state = self.fleet.by_profile[profile].resuming(state.known_run)
        return replace(monitor, fleet=self.fleet.with_profile_state(profile, profile_state))

    def with_earlier_incidents(self, profile: SafeText, state: AlertState) -> Monitor:
        """Return the monitor with an earlier run's losses and incidents."""
        used = state.ledger.announcements.keys()
        incidents = self.incidents.with_earlier_run(profile, state.waiting, state.open, state.blindness, used)
        return replace(self, incidents=incidents, ledger=self.ledger.with_earlier(state.ledger, state.open))

    def alert_state(
        self, profile: SafeText, now: Clocks, failing: Mapping[SafeText, WallMs] = MappingProxyType({})
    ) -> AlertState:
        """Return the alert state for the next run."""
        from envwatch.alerts.alert_state import AlertState  # noqa: PLC0415 - only with hooks

        last_run = self.fleet.by_profile[profile].as_last_run
        state = AlertState(
            profile=profile,
            last_run=last_run._replace(looked_at=now.wall) if last_run is NO_RUN else last_run,
            waiting=tuple(loss for loss in self.incidents.waiting if loss.event.profile == profile),
            open=tuple(each for each in self.incidents.open if each.profile == profile),
            ledger=self.ledger,
            blindness=self.incidents.blindnesses.get(profile),
            failing=failing,
        )
        return state.with_rows_of_alerts()

    def with_silences(self, changes: Mapping[SafeText, Silence | None]) -> Monitor:
        """Return the monitor with changed silences."""
        return replace(self, silences=with_changes(self.silences, changes))

    def with_intervals(self, intervals: Mapping[SafeText, timedelta]) -> Monitor:
        """Return the monitor with a person's poll intervals; see `ProfileState.with_interval`."""
        states = {each.profile: each.with_interval(intervals.get(each.profile, each.interval)) for each in self.fleet}
        return replace(self, fleet=Fleet(MappingProxyType(states)))

    def due_alerts(self, now: Clocks) -> tuple[Monitor, tuple[Incident, ...]]:
        """Return the monitor after a bell, and the bell's incidents."""
        ledger, incidents = self.ledger.ringing(self.incidents.open, now.monotonic)
        return (self if ledger is self.ledger else replace(self, ledger=ledger)), incidents


def _incidents_after(
    monitor: Monitor, poll: Poll, found: Iterable[Event], ended_acks: Collection[ServerKey]
) -> tuple[Incidents, tuple[Event, ...]]:
    """Return the incidents after a poll's events and ended acknowledgements, and the events with incident ids."""
    before, after, used = poll.before, poll.after, monitor.ledger.announcements
    judge = monitor.judge(poll.now)
    incidents, events = (
        monitor.incidents.with_proof(monitor.fleet)
        .without_acked(judge.acked_losses())
        .with_events(found, poll, judge, used)
    )
    lost: list[Event] = []
    if ended_acks:
        # A profile's first listing is a silent baseline.
        compared = (row for each in monitor.fleet if each.listings > 1 for row in each.environments.values())
        lost += acknowledgements.losses_of(ended_acks & monitor.acks.keys(), compared, monitor.fleet.servers)
    lost += losses.missing_losses(before, after)
    if monitor.silences or judge.policy_of(after.profile).recurring:
        lost += silenced_losses(after, incidents.lost_of(after.profile), judge)
    incidents, _ = incidents.with_events(lost, poll, judge, used)
    if before.last_run is not NO_RUN:
        lost_keys = incidents.lost
        begun = [row for row in _counting_since(monitor.words, before, after) if row.key not in lost_keys]
        incidents = incidents.with_lost_now(begun, judge, used)
    return incidents, events


def _counting_since(words: Words, before: ProfileState, after: ProfileState) -> Iterator[TrackedEnvironment]:
    """Yield rows off in their first listing, for which a person said *always* after the last run's last look.

    A running envwatch takes such a row as lost at the moment of the word.
    """
    if after.listings == before.listings:
        return
    for id_, tracked in after.environments.items():
        if not tracked.verdict.is_listed_off or tracked.replaced_by is not None or id_ in before.environments:
            continue
        word = word_for(words, after.server, id_)
        if word is not None and word.is_always and word.at > before.last_run.looked_at:
            yield tracked


def _turn(tracked: TrackedEnvironment, decision: Decision, at: ServerMs) -> Event:
    kind = Kind.PAGES if decision.counts else Kind.DOES_NOT_PAGE
    return tracked.event(kind, at, reason=decision_text(decision, tracked))
