"""Incidents: lasting losses; each incident has a stable id, opens once and resolves once.

Losses possible at one moment form a chain, which opens as one incident. Source: the alert policy in docs/on-call.md. An
acknowledgement or a silence prevents the opening. An open incident stays open until the rows are back: each channel
with the opening must get the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from envwatch.alerts.alert_policy import BY_RECORD, decision_text
from envwatch.alerts.incident import Blindness, Incident, ids_of_losses
from envwatch.alerts.losses import (
    ACK_ENDED,
    LOSSES,
    RETURNS,
    Key,
    Loss,
    LossStatus,
    are_linked,
    chains,
    hashed_id,
    is_loss,
    key_of,
    lost_again,
    lost_now,
    order,
)
from envwatch.alerts.waiting import still_waiting
from envwatch.fleet.anomalies import blast_radius_text
from envwatch.fleet.events import Event, Kind, leaves
from envwatch.fleet.presence import DISCONNECTED, HEARTBEAT_LOST, Reason
from envwatch.model import limits
from envwatch.model.clock import MonotonicS
from envwatch.model.text import EMPTY, SafeText, clean, composed

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping, Sequence
    from datetime import tzinfo

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.losses import Poll
    from envwatch.fleet.profile_state import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import ServerMs


@dataclass(frozen=True, slots=True)
class Incidents:
    """Waiting losses and open incidents."""

    waiting: tuple[Loss, ...] = ()
    open: tuple[Incident, ...] = ()
    """Open incidents, oldest first."""
    openings: Mapping[SafeText, tuple[MonotonicS, ...]] = field(default_factory=dict)
    """Times of the newest openings by profile, for the storm rule."""
    blindnesses: Mapping[SafeText, Blindness] = field(default_factory=dict)
    alerting: frozenset[Key] = frozenset()
    """Environments of open incidents that need a person now: not acknowledged, silenced or unseen."""

    def with_events(
        self, events: Iterable[Event], poll: Poll, judge: Judge, used: Container[SafeText]
    ) -> tuple[Incidents, tuple[Event, ...]]:
        """Return the incidents after a poll's events, and the events with incident ids.

        `judge` knows the fleet after the poll. `used` are the ids of former incidents: a row that came and went without
        a sign of life needs a new id.
        """
        events, fleet = tuple(events), judge.fleet
        known = set(map(fleet.identity, self.ids))
        waiting, fresh = list(self.waiting), list[Loss]()
        for event, group in leaves(events):
            if not is_loss(event) and event.kind is not Kind.FLAPPING:
                continue
            who = fleet.identity(key_of(event))
            if who not in known:
                known.add(who)
                fresh.append(poll.loss_of(event, group, fleet.tracked(key_of(event))))
            elif event.kind is Kind.FLAPPING:
                for losses in (waiting, fresh):
                    losses[:] = [
                        loss._replace(event=event) if key_of(loss.event) == key_of(event) else loss for loss in losses
                    ]
        following = replace(self, waiting=(*waiting, *_with_ids(self, waiting, fresh, fleet, used)))
        heard = (loss for loss in following.waiting if not loss.is_silenced and judge.may_page(key_of(loss.event)))
        ids = replace(following, waiting=tuple(heard)).ids
        return following, tuple(_marked(event, ids) for event in events)

    def without_acked(self, acked: Container[Key]) -> Incidents:
        """Return the incidents without acknowledged waiting losses: a later loss joins no acknowledged chain."""
        waiting = tuple(loss for loss in self.waiting if key_of(loss.event) not in acked)
        return self if len(waiting) == len(self.waiting) else replace(self, waiting=waiting)

    def with_lost_now(
        self, environments: Iterable[TrackedEnvironment], judge: Judge, used: Container[SafeText]
    ) -> Incidents:
        """Return the incidents with environments lost at this moment."""
        opened = {key for incident in self.open for key in incident.remaining}
        lost = [tracked for tracked in environments if tracked.key not in opened]
        if not lost:
            return self
        keys = {tracked.key for tracked in lost}
        fresh = [lost_now(tracked, judge.moments[tracked.profile], judge.now) for tracked in lost]
        rest = replace(self, waiting=tuple(loss for loss in self.waiting if key_of(loss.event) not in keys))
        return replace(rest, waiting=(*rest.waiting, *_with_ids(rest, rest.waiting, fresh, judge.fleet, used)))

    def with_ended_acks(
        self, ended: Mapping[Key, tuple[Event, float]], judge: Judge, used: Container[SafeText]
    ) -> Incidents:
        """Return the incidents after acknowledgements ended: the rows are lost again, or envwatch is blind again, now.

        A pager cannot take an acknowledgement back, so a new incident follows. `ended` has the losses, and the times of
        the acknowledgements, equal in all processes.
        """
        fresh, blindnesses = list[Loss](), dict(self.blindnesses)
        taken = {incident.id for incident in self.open}
        for loss, acked_at in ended.values():
            if loss.id is None:
                if (blindness := blindnesses.get(loss.profile)) is not None:
                    blindnesses[loss.profile] = blindness._replace(acked_at=acked_at)
                continue
            id_ = _id_after_ack(loss.profile, acked_at)
            if id_ in used or id_ in taken:  # another row of the acknowledgement ended before
                id_ = hashed_id(id_, loss.id or EMPTY)
            fresh.append(lost_again(loss, judge.moments[loss.profile], judge.now, id_))
        return replace(
            self,
            waiting=(*(loss for loss in self.waiting if key_of(loss.event) not in ended), *fresh),
            open=tuple(_without(incident, ended) for incident in self.open),
            blindnesses=blindnesses,
        )

    def with_proof(self, fleet: Fleet) -> Incidents:
        """Return the incidents without doubt about losses that a listing confirms.

        A doubtful loss of a heartbeat stays doubtful.
        """
        waiting = tuple(
            loss._replace(is_doubtful=False)
            if loss.is_doubtful
            and not (loss.event.reason or EMPTY).startswith(Reason.HEARTBEAT_LOST)
            and (tracked := fleet.tracked(key_of(loss.event))) is not None
            and tracked.verdict in (DISCONNECTED, HEARTBEAT_LOST)
            else loss
            for loss in self.waiting
        )
        return self if waiting == self.waiting else replace(self, waiting=waiting)

    def with_earlier_run(
        self,
        profile: SafeText,
        waiting: Iterable[Loss],
        incidents: Iterable[Incident],
        blindness: Blindness | None = None,
        used: Collection[SafeText] = (),
    ) -> Incidents:
        """Return the incidents with a profile's state from an earlier run or another process.

        A restored loss takes precedence over this run's loss of the same row.
        """
        restored, waiting = tuple(incidents), tuple(waiting)
        keys = frozenset().union(*(incident.remaining for incident in restored)) | {
            key_of(each.event) for each in waiting
        }
        blindnesses = {name: each for name, each in self.blindnesses.items() if name != profile}
        ids = {incident.id for incident in restored}
        own = (each._replace(remaining=each.remaining - keys) for each in self.open)
        still_open = [*(each for each in own if each.remaining and each.id not in ids), *restored]
        own_losses = (loss for loss in self.waiting if key_of(loss.event) not in keys)
        return replace(
            self,
            waiting=tuple(_with_unused_ids([*own_losses, *waiting], {*ids, *used})),
            open=tuple(sorted(still_open, key=attrgetter("noticed_at"))),
            blindnesses=blindnesses if blindness is None else {**blindnesses, profile: blindness},
        )

    def after_sleep(self, profile: SafeText) -> Incidents:
        """Return the incidents after a sleep, which is no blindness."""
        blindnesses = {name: blindness for name, blindness in self.blindnesses.items() if name != profile}
        return replace(self, blindnesses=blindnesses)

    def tick(
        self, judge: Judge, used: Container[SafeText]
    ) -> tuple[Incidents, tuple[Incident, ...], tuple[Incident, ...], tuple[Event, ...]]:
        """Return the incidents at a moment, the opened and the resolved incidents, and the events of ended silences."""
        profiles = judge.fleet.by_profile.items()
        blind = {name: cause for name, state in profiles if (cause := state.blindness(judge.now)) is not None}
        if not self.waiting and not self.open and not self.blindnesses and not blind:
            return self, (), (), ()
        remaining_open, resolved, alerting = _after_returns(self.open, judge)
        blindnesses, opened = _blindnesses(self, blind, judge)
        waiting, statuses, events = still_waiting(self.waiting, judge, used)
        openings = dict(self.openings)
        for profile in dict.fromkeys(loss.event.profile for loss in waiting):
            found, openings[profile] = _opened(profile, waiting, statuses, self.openings.get(profile, ()), judge)
            opened += found
        ready = {key for incident in opened for key in incident.keys}
        rest = [loss for loss in waiting if key_of(loss.event) not in ready]
        waiting = _with_unused_ids(rest, {incident.id for incident in opened})
        remaining_open += opened
        resolved += _beyond_the_limit(remaining_open)
        over = {incident.id for incident in resolved}
        following = Incidents(
            tuple(waiting),
            tuple(incident for incident in remaining_open if incident.id not in over),
            {profile: times for profile, times in openings.items() if times},
            blindnesses,
            alerting.union(*(incident.keys for incident in opened)),
        )
        return self if following == self else following, tuple(opened), tuple(resolved), events

    @property
    def ids(self) -> Mapping[Key, SafeText]:
        """Incident ids by lost environment."""
        return ids_of_losses(self.waiting, self.open)

    @property
    def lost(self) -> frozenset[Key]:
        """Environments with a waiting loss or an open incident."""
        return frozenset(self.ids)

    def lost_of(self, profile: SafeText) -> frozenset[SafeText]:
        """Return the ids of a profile's environments in `lost`."""
        return frozenset(id_ for each, id_ in self.lost if each == profile)

    def lost_in(self, incident: SafeText) -> frozenset[Key]:
        """Return an incident's environments that are not back."""
        return frozenset(key for key, id_ in self.ids.items() if id_ == incident)


def _id_after_ack(profile: SafeText, acked_at: float) -> SafeText:
    return hashed_id(profile, f"{ACK_ENDED}\0{acked_at:.0f}")


def _without(incident: Incident, ended: Container[Key]) -> Incident:
    remaining = frozenset(key for key in incident.remaining if key not in ended)
    if remaining == incident.remaining:
        return incident
    return incident._replace(remaining=remaining, ended_by=None if remaining else clean(ACK_ENDED))


def _with_unused_ids(losses: Sequence[Loss], used: Collection[SafeText]) -> list[Loss]:
    """Return the losses with new ids for `used` ids: a hook sends one opening for each id."""
    parts: dict[SafeText, list[Loss]] = {}
    for loss in losses:
        if loss.incident in used:
            parts.setdefault(loss.incident, []).append(loss)
    renamed = {id_: _new_id(part) for id_, part in parts.items()}
    return [loss._replace(incident=renamed.get(loss.incident, loss.incident)) for loss in losses]


def _new_id(losses: Iterable[Loss]) -> SafeText:
    first = min(losses, key=order)
    return hashed_id(first.incident, "rest", first.event.id or EMPTY)


def _with_ids(
    incidents: Incidents, waiting: Sequence[Loss], fresh: Sequence[Loss], fleet: Fleet, used: Container[SafeText]
) -> list[Loss]:
    found: list[Loss] = []
    for profile, is_doubtful in dict.fromkeys((loss.event.profile, loss.is_doubtful) for loss in fresh):
        same = (loss for loss in waiting if loss.event.profile == profile and loss.is_doubtful is is_doubtful)
        old = [loss for loss in same if not loss.is_silenced and not loss.is_not_back]
        new = [loss for loss in fresh if loss.event.profile == profile and loss.is_doubtful is is_doubtful]
        taken = {loss.incident for loss in waiting} | {incident.id for incident in incidents.open}
        for chain in chains([*old, *new]):
            first = min(chain, key=order)
            id_ = first.incident
            if not id_:
                tracked = fleet.tracked(key_of(first.event))
                last_sign = 0.0 if tracked is None else max(tracked.environment.last_seen_alive_at, 0.0)
                id_ = hashed_id(profile, f"{first.event.id}\0{last_sign:.0f}")
                if id_ in used or id_ in taken:
                    id_ = hashed_id(id_, f"{first.event.at:.0f}")
            found += (loss._replace(incident=id_) for loss in chain if not loss.incident)
    return sorted(found, key=order)


def _opened(
    profile: SafeText,
    waiting: Iterable[Loss],
    statuses: Mapping[Key, LossStatus],
    openings: Sequence[MonotonicS],
    judge: Judge,
) -> tuple[list[Incident], tuple[MonotonicS, ...]]:
    policy, interval = judge.policy_of(profile), judge.fleet.by_profile[profile].interval
    recent = [at for at in openings if judge.now.monotonic - at < limits.STORM_WINDOW.total_seconds()]
    losses = [
        loss
        for loss in waiting
        if loss.event.profile == profile
        and not loss.is_silenced
        and statuses[key_of(loss.event)] is not LossStatus.OUTSIDE
    ]
    alerting = {key: loss for loss in losses if statuses[key := key_of(loss.event)] is LossStatus.ALERTING}
    due: list[list[Loss]] = []
    for is_doubtful, is_not_back in dict.fromkeys((loss.is_doubtful, loss.is_not_back) for loss in losses):
        same = (loss for loss in losses if (loss.is_doubtful, loss.is_not_back) == (is_doubtful, is_not_back))
        for chain in chains(same):
            lost = [loss for loss in chain if key_of(loss.event) in alerting]
            if any(loss.counts_at(policy, interval) <= judge.now.monotonic for loss in lost):
                due.append(lost)
    opened: list[Incident] = []
    for lost in sorted(due, key=lambda losses: min(map(order, losses))):
        if len(recent) < limits.STORM_FROM:
            silent = (loss for loss in waiting if statuses[key_of(loss.event)] is LossStatus.SILENCED)
            # A chain splits if a part is no longer doubtful.
            part = _with_unused_ids(lost, {incident.id for incident in opened})
            incident = incident_of(profile, part, judge.fleet)
            opened.append(incident._replace(silenced=_silenced_beside(lost, silent)))
            recent.append(judge.now.monotonic)
            continue
        if judge.now.monotonic - recent[-1] >= limits.STORM_EVERY.total_seconds():
            waits = {key_of(loss.event) for chain in due for loss in chain}
            rest = [loss for key, loss in alerting.items() if key in waits or not loss.is_doubtful]
            opened.append(incident_of(profile, rest, judge.fleet, is_storm=True))
            recent.append(judge.now.monotonic)
        break
    return opened, tuple(recent[-limits.STORM_FROM :])


def _silenced_beside(lost: Sequence[Loss], silenced: Iterable[Loss]) -> int:
    if lost[0].is_not_back:
        return 0
    by_span = {loss.died: loss for loss in lost}.values()
    return sum(
        loss.event.profile == lost[0].event.profile
        and loss.is_doubtful is lost[0].is_doubtful
        and any(are_linked(loss, other) for other in by_span)
        for loss in silenced
    )


def incident_of(profile: SafeText, losses: Sequence[Loss], fleet: Fleet, *, is_storm: bool = False) -> Incident:
    """Return an incident of `losses`."""
    in_order = sorted(losses, key=order)
    events = tuple(replace(loss.event, incident=in_order[0].incident) for loss in in_order)
    return Incident(
        id=in_order[0].incident,
        profile=profile,
        began_at=min(event.at for event in events),
        losses=events,
        is_storm=is_storm,
        shared=_shared(events, fleet) if len(events) > 1 and not losses[0].is_not_back else None,
        noticed_at=in_order[0].noticed_at,
        remaining=frozenset(map(key_of, events)),
    )


def _shared(losses: Sequence[Event], fleet: Fleet) -> SafeText | None:
    lost = [loss.then.environment for loss in losses if loss.then is not None]
    if len(lost) < len(losses):
        return None
    ids = {loss.id for loss in losses}
    environments = fleet.by_profile[losses[0].profile].environments
    survivors = (each.environment for id_, each in environments.items() if each.verdict.is_up and id_ not in ids)
    return blast_radius_text(lost, survivors)


def _after_returns(
    incidents: Iterable[Incident], judge: Judge
) -> tuple[list[Incident], list[Incident], frozenset[Key]]:
    still_open: list[Incident] = []
    resolved: list[Incident] = []
    alerting = set[Key]()
    for incident in incidents:
        statuses = {key: judge.status_of(key) for key in incident.remaining}
        alerting |= {key for key, status in statuses.items() if status is LossStatus.ALERTING}
        remaining = frozenset(key for key, status in statuses.items() if status is not LossStatus.OVER)
        if remaining:
            still_open.append(incident if remaining == incident.remaining else incident._replace(remaining=remaining))
            continue
        resolved.append(
            incident._replace(remaining=remaining, ended_by=incident.ended_by or _end_text(incident, judge))
        )
    return still_open, resolved, frozenset(alerting)


def _end_text(incident: Incident, judge: Judge) -> SafeText | None:
    rows = [judge.fleet.tracked(key) for key in sorted(incident.keys)]
    names = [None if tracked is None else tracked.replaced_by_name for tracked in rows]
    if names[0] is not None and None not in names:
        return composed(f"replaced by {names[0]}")
    known = [(row, judge.decision_of(row)) for row in rows if row is not None]
    if known and all(decision.is_never for _, decision in known):
        word = known[0][1].word
        return composed(f"set to never by {word.by}" if word is not None and word.by else "set to never")
    turned = [(row, decision) for row, decision in known if decision.rule in BY_RECORD and not decision.counts]
    if not turned:
        return None
    row, decision = turned[0]
    who = "no longer pages" if len(known) == 1 else f"{row.environment.label} no longer pages"
    if len(turned) > 1:
        who = f"{len(turned):,} of these no longer page"
    return composed(f"{who}: {decision_text(decision, row)}; `A` changes that")


def _blindnesses(
    incidents: Incidents, blind: Mapping[SafeText, tuple[ServerMs, SafeText]], judge: Judge
) -> tuple[Mapping[SafeText, Blindness], list[Incident]]:
    found = {
        profile: blindness
        for profile, blindness in incidents.blindnesses.items()
        if judge.status_of((profile, EMPTY)) is not LossStatus.OVER
    }
    for profile, (since, _) in blind.items():
        if profile not in found:
            detector = judge.fleet.by_profile[profile].stall_detector
            silent_s = detector.silent_s if detector.is_stalled else 0.0
            found[profile] = Blindness(MonotonicS(judge.now.monotonic - silent_s), since)
    open_for = {incident.profile for incident in incidents.open if incident.is_blindness and incident.remaining}
    opened = []
    for profile, (_, reason) in blind.items():
        event = _blindness_event(profile, found[profile], reason, judge)
        if profile not in open_for and event is not None:
            id_, noticed_at = event.incident or EMPTY, found[profile].noticed_at
            opened.append(Incident(id_, profile, event.at, (event,), noticed_at, frozenset({key_of(event)})))
    return found, opened


def _blindness_event(profile: SafeText, blindness: Blindness, reason: SafeText, judge: Judge) -> Event | None:
    policy, profile_state = judge.policy_of(profile), judge.fleet.by_profile[profile]
    kind, lasts = Kind.BLIND, policy.blind_after
    if lasts is not None and profile_state.stall_detector.is_stalled:
        kind, lasts = Kind.STALLED, min(lasts, limits.STALL_ALERT_AFTER)
        count = sum(tracked.verdict.is_up for tracked in profile_state.environments.values())
        at = profile_state.clock.server_time(judge.now.wall)
        reason = composed(": ".join(stall_texts(count, blindness.since, at, policy.zone)))
    if lasts is None or judge.now.monotonic - blindness.noticed_at < lasts.total_seconds():
        return None
    at, id_ = blindness.since, hashed_id(profile, f"blind\0{blindness.since:.0f}")
    if blindness.acked_at is not None:
        at, id_ = profile_state.clock.server_time(judge.now.wall), _id_after_ack(profile, blindness.acked_at)
        reason = composed(f"{reason}, {ACK_ENDED}")
    return Event(kind=kind, at=at, since=blindness.since, profile=profile, reason=reason, incident=id_)


def stall_texts(count: int, since: ServerMs, at: ServerMs, zone: tzinfo | None) -> tuple[SafeText, SafeText]:
    """Return what is seen of a stall, and what it may mean."""
    from envwatch.alerts.recurring_hours import near_time_text  # noqa: PLC0415 - only in a stall

    silence = composed(f"no heartbeat from any of {count:,} machines since {near_time_text(since, at, zone)}")
    return silence, clean("the platform stands still, or all of them are down")


def _beyond_the_limit(incidents: Sequence[Incident]) -> list[Incident]:
    by_profile: dict[SafeText, list[Incident]] = {}
    for incident in incidents:
        by_profile.setdefault(incident.profile, []).append(incident)
    too_many = f"envwatch follows {limits.MOST_INCIDENTS_OPEN:,} incidents at most"
    return [
        incident._replace(ended_by=clean(too_many))
        for same in by_profile.values()
        for incident in same[: -limits.MOST_INCIDENTS_OPEN]
    ]


def _marked(event: Event, ids: Mapping[Key, SafeText]) -> Event:
    if event.members:
        members = tuple(_marked(member, ids) for member in event.members)
        found = {member.incident for member in members if member.incident is not None}
        return replace(event, members=members, incident=found.pop() if len(found) == 1 else None)
    return replace(event, incident=ids.get(key_of(event))) if event.kind in LOSSES | RETURNS else event
