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
    Rule,
    Words,
    decision_text,
    word_for,
)
from envwatch.alerts.incidents import Incident, Incidents
from envwatch.alerts.ledger import Ledger
from envwatch.alerts.losses import Key, Loss, LossClassifier, LossStatus, Surroundings, key_of
from envwatch.alerts.silences import NO_SILENCES, Silenced, Silences, counted_from, silenced_time
from envwatch.alerts.uptime_record import UptimeRecord, with_uptimes
from envwatch.fleet.anomalies import is_beating
from envwatch.fleet.events import NO_PROFILE, Event, EventLog, Kind, leaves
from envwatch.fleet.last_run import NO_RUN
from envwatch.fleet.presence import HEARTBEAT_LOST, NEVER_BEAT, Presence
from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import Fleet, Freshness, ProfileState
from envwatch.fleet.replacement import is_replacement
from envwatch.fleet.tracking import TrackedEnvironment
from envwatch.fleet.watched_time import NOT_WATCHED, Interval, WatchedTime, states
from envwatch.model import limits
from envwatch.model.clock import Clocks, MonotonicS, ServerMs, WallMs
from envwatch.model.outcome import Listed, Outcome, RecordedPoll, Slept
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import EMPTY, SafeText

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from envwatch.alerts.alert_state import AlertState
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
            found = (*found, *self._turned(before, after, uptimes))
        continued = acknowledgements.continued_acks(self.acks, before, after)
        acks = {**self.acks, **continued} if continued else self.acks
        ended = acknowledgements.ended_acks({**self.ended_acks, **acks}, fleet)
        incidents, beating = self.incidents, self._beating_after(before, after)
        # The platform may have stalled before this run.
        beats_prove = profile in beating or len(after.environments) < limits.STALL_ROWS
        if isinstance(outcome, Slept):
            incidents = incidents.after_sleep(profile)

        def loss_of(event: Event, group: Event | None) -> Loss:
            tracked = fleet.tracked(key_of(event))
            if event.id in last_run.rows:
                event = losses.loss_between_runs(event, tracked, last_run, after)
            last_sign = losses.last_sign_of_life(event, tracked, before, after)
            silent_ms = after.clock.server_time(now.wall) - last_sign
            verdict = None if tracked is None else tracked.verdict
            return Loss(
                event=event,
                died=losses.death_interval(event, group, tracked, last_sign),
                silent_since=MonotonicS(now.monotonic - silent_ms / 1000),
                noticed_at=now.monotonic,
                is_doubtful=(before.quarantine is not None and (event.kind is Kind.GONE or verdict == NEVER_BEAT))
                or (verdict == HEARTBEAT_LOST and not beats_prove),
            )

        used = self.ledger.announcements
        inherited = self._inherited_words(found, after)
        words = {**self.words, **inherited} if inherited else self.words
        following = replace(self, fleet=fleet, words=words)

        def is_loud(key: Key) -> bool:
            tracked = fleet.tracked(key)
            return tracked is None or following.is_loud(tracked, now)

        incidents, events = (
            incidents.with_proof(fleet)
            .without_acked(following.acked_losses())
            .with_events(found, loss_of, fleet, is_loud, used)
        )
        lost: list[Event] = []
        ended_acks = self.ended_acks
        if ended:
            # A profile's first listing is a silent baseline.
            compared = (row for each in fleet if each.listings > 1 for row in each.environments.values())
            lost += acknowledgements.losses_of(ended & acks.keys(), compared, fleet.servers)
            acks, ended_acks = (
                {key: ack for key, ack in each.items() if key not in ended} for each in (acks, ended_acks)
            )
        lost += losses.missing_losses(before, after)
        if self.silences or self.policy_of(profile).recurring:
            lost += losses.silenced_losses(after, following.loss_classifier(now), incidents.lost_of(profile), now)
        incidents, _ = incidents.with_events(lost, loss_of, fleet, is_loud, used)
        event_log = self.event_log.with_events(events) if events else self.event_log
        own = self.watched.get(profile, NOT_WATCHED)
        watched = own.apply(before, after)
        monitor = replace(
            following,
            acks=acks,
            ended_acks=ended_acks,
            uptime_records=uptime_records,
            event_log=event_log,
            watched=self.watched if watched is own else {**self.watched, profile: watched},
            incidents=following.with_words_between_runs(incidents, before, after, now),
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

    def with_words_between_runs(
        self, incidents: Incidents, before: ProfileState, after: ProfileState, now: Clocks
    ) -> Incidents:
        """Return the incidents with rows that a person set to *always* between two runs, while they were off."""
        begun = [row for row in self._counting_since(before, after) if row.key not in incidents.lost]
        used = self.ledger.announcements
        return incidents.with_lost_now(begun, self.fleet.moments(now.wall), self.fleet, now, used)

    def _counting_since(self, before: ProfileState, after: ProfileState) -> Iterator[TrackedEnvironment]:
        """Yield rows off in their first listing, for which a person said *always* after the last run's last look.

        A running envwatch takes such a row as lost at the moment of the word.
        """
        if before.last_run is NO_RUN or after.listings == before.listings:
            return
        for id_, tracked in after.environments.items():
            if not tracked.verdict.is_listed_off or tracked.replaced_by is not None or id_ in before.environments:
                continue
            word = word_for(self.words, after.server, id_)
            if word is not None and word.is_always and word.at > before.last_run.looked_at:
                yield tracked

    def _turned(self, before: ProfileState, after: ProfileState, changed: Iterable[SafeText]) -> Iterator[Event]:
        if (at := after.listed_at) is None:
            return
        for id_ in changed:
            was, tracked = before.environments.get(id_), after.environments[id_]
            if was is None or was.uptime is None or tracked.uptime is None:
                continue
            if was.uptime.is_permanent is not tracked.uptime.is_permanent:
                decision = self.decision_of(tracked, at)
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
        around = Surroundings(
            now=now,
            fleet=monitor.fleet,
            classify_loss=monitor.loss_classifier(now),
            policy=monitor.policy_of,
            decision=monitor.decision_of,
            silenced_time=monitor.silenced_time,
            used=monitor.ledger.announcements,
        )
        incidents, opened, resolved, ends = monitor.incidents.tick(around)
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
        if self.sees(profile, now):
            watched = watched.seen_until(self.fleet.by_profile[profile].clock.server_time(now.wall))
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
        changed = {key for key in words.keys() | self.words.keys() if words.get(key) != self.words.get(key)}
        servers, moments = self.fleet.servers, self.fleet.moments(now.wall)
        events, lost = list[Event](), list[TrackedEnvironment]()
        for tracked in self.fleet.environments:
            if (servers[tracked.profile], tracked.environment.id) not in changed:
                continue
            at = moments[tracked.profile]
            decision = monitor.decision_of(tracked, at)
            if decision.counts is not self.decision_of(tracked, at).counts:
                events.append(_turn(tracked, decision, at))
                if decision.counts and tracked.verdict.is_listed_off and tracked.replaced_by is None:
                    lost.append(tracked)
        incidents = monitor.incidents.with_lost_now(lost, moments, self.fleet, now, self.ledger.announcements)
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
        moments = self.fleet.moments(now.wall)
        events, ended = list[Event](), dict[Key, tuple[Event, float]]()
        for incident in self.incidents.open:
            loss, name, at = incident.losses[0], incident.subject, moments[incident.profile]
            if (ack := self._blindness_ack_in(begun, incident)) is not None:
                events.append(blindness_ack_event(Kind.ACKNOWLEDGED, loss, name, ack, at))
            if (ack := self._blindness_ack_in(over, incident)) is not None:
                events.append(blindness_ack_event(Kind.ACK_ENDED, loss, name, ack, at))
                ended[key_of(loss)] = loss, ack.at
        monitor = self._with_ended_acks(ended, now)
        return replace(monitor, event_log=monitor.event_log.with_events(events)), tuple(events)

    def _with_ended_acks(self, ended: Mapping[Key, tuple[Event, float]], now: Clocks) -> Monitor:
        if not ended:
            return self
        moments, used = self.fleet.moments(now.wall), self.ledger.announcements
        return replace(self, incidents=self.incidents.with_ended_acks(ended, moments, now, used))

    def ack_of(self, tracked: TrackedEnvironment) -> Ack | None:
        """Return the acknowledgement in force, this machine's or the serving host's.

        A row that came back a moment ago shows none, although the acknowledgement outlasts a brief return.
        """
        if tracked.is_well:
            return None
        own = self.acks.get((self.fleet.server_of(tracked.profile), tracked.environment.id))
        return shared_ack_of(tracked.environment) if own is None else own

    def is_acked(self, tracked: TrackedEnvironment) -> bool:
        """Whether an environment is acknowledged."""
        return self.ack_of(tracked) is not None

    def acked_losses(self) -> frozenset[Key]:
        """Return the keys of the waiting losses whose rows are acknowledged."""
        keys = map(key_of, (loss.event for loss in self.incidents.waiting))
        rows = filter(None, map(self.fleet.tracked, keys))
        return frozenset(row.key for row in rows if self.is_acked(row))

    def is_incident_acked(self, incident: Incident, now: Clocks) -> bool:
        """Whether all lost rows of an incident are acknowledged; False while the rows are unseen."""
        if incident.is_blindness:
            return self.blindness_ack_of(incident) is not None
        rows = [self.fleet.tracked(key) for key in incident.remaining]
        return self.sees(incident.profile, now) and all(row is not None and self.is_acked(row) for row in rows)

    def blindness_ack_of(self, incident: Incident) -> Ack | None:
        """Return the acknowledgement of a blindness, whose id of a row is empty.

        Processes notice a blindness at different times, so the acknowledgement covers each that began before.
        """
        return self._blindness_ack_in(self.acks, incident)

    def _blindness_ack_in(self, acks: Acks, incident: Incident) -> Ack | None:
        ack = acks.get((self.fleet.server_of(incident.profile), EMPTY))
        return ack if incident.is_blindness and ack is not None and ack.at >= incident.began_at else None

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

    @property
    def has_silences(self) -> bool:
        """Whether any silence is known."""
        return bool(self.silences) or any(policy.recurring for policy in self.policies.values())

    def with_intervals(self, intervals: Mapping[SafeText, timedelta]) -> Monitor:
        """Return the monitor with a person's poll intervals; see `ProfileState.with_interval`."""
        states = {each.profile: each.with_interval(intervals.get(each.profile, each.interval)) for each in self.fleet}
        return replace(self, fleet=Fleet(MappingProxyType(states)))

    def is_alerting(self, tracked: TrackedEnvironment, now: Clocks) -> bool:
        """Whether an unacknowledged, unsilenced problem needs a person."""
        at, silenced = self.fleet.moments(now.wall)[tracked.profile], self.silenced_time(tracked, now)
        return (
            is_problem(tracked, at, counted_from(silenced, tracked))
            and not self.is_acked(tracked)
            and self.decision_of(tracked, at).counts
            and not self.is_in_force(silenced, tracked, at)
        )

    def silenced_time(self, tracked: TrackedEnvironment, now: Clocks, off_at: float | None = None) -> Silenced | None:
        """See `silences.silenced_time`."""
        recurring = self.policy_of(tracked.profile).recurring
        if not self.silences and not recurring:
            return None
        profile_state = self.fleet.for_environment(tracked)
        return silenced_time(tracked, profile_state, self.silences, recurring, now.wall, off_at)

    def silenced(self, tracked: TrackedEnvironment, now: Clocks) -> Silenced | None:
        """Return an environment's silenced time in force."""
        found = self.silenced_time(tracked, now)
        at = self.fleet.for_environment(tracked).clock.server_time(now.wall)
        return found if self.is_in_force(found, tracked, at) else None

    def is_in_force(self, silenced: Silenced | None, tracked: TrackedEnvironment, at: float) -> bool:
        """Whether a silenced time lasts at `at` (server's clock, ms).

        A recurring silence covers no row of an open incident.
        """
        if silenced is None or silenced.until <= at:
            return False
        return silenced.silence.hours is None or not any(tracked.key in each.remaining for each in self.incidents.open)

    def counted_from(self, tracked: TrackedEnvironment, now: Clocks) -> float | None:
        """See `silences.counted_from`."""
        return counted_from(self.silenced_time(tracked, now), tracked)

    def due_alerts(self, now: Clocks) -> tuple[Monitor, tuple[Incident, ...]]:
        """Return the monitor after a bell, and the bell's incidents."""
        ledger, incidents = self.ledger.ringing(self.incidents.open, now.monotonic)
        return (self if ledger is self.ledger else replace(self, ledger=ledger)), incidents

    def policy_of(self, profile: SafeText) -> AlertPolicy:
        """Return a profile's alert policy."""
        return self.policies.get(profile, DEFAULT_POLICY)

    def sees(self, profile: SafeText, now: Clocks) -> bool:
        """Whether a profile's newest listing counts: not while blind, quarantined or asleep."""
        profile_state = self.fleet.by_profile[profile]
        return (
            profile_state.quarantine is None
            and profile_state.unseen_since is None
            and profile_state.freshness(now) is not Freshness.BLIND
        )

    def decision_of(self, tracked: TrackedEnvironment, at: float) -> Decision:
        """Return whether losses need a person at a moment (server's clock, ms), and why.

        Every channel asks this function.
        """
        word = word_for(self.words, self.fleet.server_of(tracked.profile), tracked.environment.id)
        return self.policy_of(tracked.profile).decision(tracked, word, at)

    def is_judged_by_system(self, profile: SafeText) -> bool:
        """Whether `Rule.SYSTEM` decides about rows of a profile."""
        if self.policy_of(profile).alert is not None or profile in self.uptime_records:
            return False
        rows = self.fleet.by_profile[profile].environments.values()
        return any(self.decision_by_rule(row, 0).rule is Rule.SYSTEM for row in rows)

    def decision_by_rule(self, tracked: TrackedEnvironment, at: float) -> Decision:
        """Return the decision without a person's word."""
        return self.policy_of(tracked.profile).decision(tracked, None, at)

    def is_loud(self, tracked: TrackedEnvironment, now: Clocks) -> bool:
        """Whether losses need a person and are not silenced."""
        at = self.fleet.for_environment(tracked).clock.server_time(now.wall)
        return self.decision_of(tracked, at).counts and self.silenced(tracked, now) is None

    def loss_classifier(self, now: Clocks) -> LossClassifier:
        """Return the classifier of losses at a moment."""
        fleet, moments = self.fleet.by_profile, self.fleet.moments(now.wall)
        seen = {profile for profile in fleet if self.sees(profile, now)}
        lost = self.incidents.lost
        blind = (incident for incident in self.incidents.open if incident.is_blindness)
        acked_blind = {incident.profile for incident in blind if self.is_incident_acked(incident, now)}

        def classify_loss(key: Key) -> LossStatus:  # noqa: PLR0911  one return for each status
            profile, id_ = key
            if not id_:
                status = losses.status_of_blindness(fleet[profile], now)
                return LossStatus.SETTLED if status is LossStatus.ALERTING and profile in acked_blind else status
            if profile not in seen:
                return LossStatus.UNSEEN
            profile_state = fleet[profile]
            tracked = profile_state.environments.get(id_)
            if tracked is None:
                # Either the run before knew the row, or the inventory no longer expects the row.
                is_unproven = id_ in profile_state.last_run.rows
                is_first = profile_state.listings < limits.LISTINGS_TO_GONE
                return LossStatus.UNSEEN if is_unproven or is_first else LossStatus.OVER
            at = moments[profile]
            decision = self.decision_of(tracked, at)
            if decision.is_never:
                return LossStatus.OVER
            if profile_state.is_unproven(tracked):
                return LossStatus.UNSEEN
            is_acked = self.is_acked(tracked)
            silenced, is_news = self.silenced_time(tracked, now), key in lost
            end = counted_from(silenced, tracked)
            status = losses.loss_status(tracked, at, is_acked=is_acked, is_news=is_news, counts_from=end)
            if status is not LossStatus.ALERTING:
                return status
            if not decision.counts:
                return LossStatus.OUTSIDE
            return LossStatus.SILENCED if self.is_in_force(silenced, tracked, at) else status

        return classify_loss


def _turn(tracked: TrackedEnvironment, decision: Decision, at: ServerMs) -> Event:
    kind = Kind.PAGES if decision.counts else Kind.DOES_NOT_PAGE
    return tracked.event(kind, at, reason=decision_text(decision, tracked))
