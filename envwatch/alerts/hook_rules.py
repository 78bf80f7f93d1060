"""Rules of hooks: filter, `after`, `cooldown`, an opening per incident, acknowledgement and reminders.

Due messages wait while a profile is blind, quarantined or asleep.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.alerts.incident import Incident
from envwatch.alerts.ledger import Progress
from envwatch.alerts.losses import LOSSES, RETURNS, LossStatus, key_of
from envwatch.fleet.events import ENDS, Event, Kind, leaves
from envwatch.model.text import EMPTY, SafeText
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor, MonitorChanges
    from envwatch.model.clock import Clocks, MonotonicS

_PAIRS: Final[Mapping[Kind, Kind]] = {**ENDS, Kind.FLAPPING: Kind.STEADY}
_PRESENCE: Final = LOSSES | RETURNS

_Topic: TypeAlias = tuple[SafeText, SafeText, str]
"""Profile, environment id (empty for the fleet) and aspect; the newest event counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRule:
    """When a hook fires."""

    kinds: frozenset[Kind] = frozenset()
    """Members of a group count separately."""
    has_incidents: bool = True
    matches: Callable[[Event], bool] = field(default=lambda _event: True, compare=False, repr=False)
    """Whether the filter matches at the event; not called for fleet events."""
    after: timedelta = timedelta()
    """Least time since an incident's first noticed loss, or since an event's discovery."""
    cooldown: timedelta = timedelta()
    """Least time between messages about a topic and kind."""
    has_acks: bool = False
    remind: timedelta | None = None
    """Time between messages about an open, unacknowledged incident; None for no reminder."""


class _Waiting(NamedTuple):
    event: Event
    group: Event | None
    since: MonotonicS


@dataclass(frozen=True, slots=True, kw_only=True)
class HookState:
    """A hook's state."""

    hook: SafeText
    """The hook's name, and the channel in the ledger."""
    rule: HookRule
    waiting: Mapping[_Topic, _Waiting] = field(default_factory=dict)
    sent: Mapping[tuple[_Topic, str], MonotonicS] = field(default_factory=dict)
    """Times of the newest messages by topic and kind, kept during the cooldown."""

    def apply(
        self, changes: MonitorChanges, monitor: Monitor, held: Container[SafeText]
    ) -> tuple[HookState, tuple[Event | Incident, ...]]:
        """Return the next state, and the events and opened incidents to send.

        Groups have only the members that fire. Incidents that the ledger knows are left out. Another process runs the
        hooks of profiles outside `held`.
        """
        now, state, incidents = changes.now, self, list[Incident]()
        if self.rule.has_incidents:
            state, incidents = _with_incidents(self, now.monotonic, monitor, held)
        state, events = _due(_with_events(state, changes.events, now.monotonic), monitor.judge(now), held)
        cooling = {what: at for what, at in state.sent.items() if state.is_cooling(what, now.monotonic)}
        return replace(state, sent=cooling), (*incidents, *events)

    def is_cooling(self, what: tuple[_Topic, str], at: MonotonicS) -> bool:
        """Whether a topic and kind must wait."""
        return what in self.sent and at - self.sent[what] < self.rule.cooldown.total_seconds()


def following(
    state: HookState, monitor: Monitor, now: Clocks, held: Container[SafeText]
) -> Iterator[tuple[Incident, Progress]]:
    """Yield the open incidents with a further message for a hook, and the message.

    `Progress.TOLD` drops an unsent reminder, because no row needs a person.
    """
    rule, alerting, judge = state.rule, monitor.incidents.alerting, monitor.judge(now)
    for incident in monitor.incidents.open:
        known = monitor.ledger.of(incident.id, state.hook)
        if known is None or incident.profile not in held:
            continue
        is_told, is_reminded = known.progress is Progress.TOLD, known.progress is Progress.REMINDER_DUE
        if (is_told or is_reminded) and rule.has_acks and judge.is_incident_acked(incident):
            yield incident, Progress.ACK_DUE
        elif is_reminded and not incident.remaining & alerting:
            yield incident, Progress.TOLD
        elif (
            is_told
            and rule.remind is not None
            and now.monotonic - known.at >= rule.remind.total_seconds()
            and incident.remaining & alerting
        ):
            yield incident, Progress.REMINDER_DUE


def _with_incidents(
    state: HookState, at: MonotonicS, monitor: Monitor, held: Container[SafeText]
) -> tuple[HookState, list[Incident]]:
    rule, sent, fired = state.rule, dict(state.sent), list[Incident]()
    for incident in monitor.incidents.open:
        has_held = at - incident.noticed_at >= rule.after.total_seconds()
        if not has_held or incident.profile not in held or monitor.ledger.of(incident.id, state.hook) is not None:
            continue
        topics = {(*key_of(loss), "incident"): loss for loss in incident.losses if key_of(loss) in incident.remaining}
        ready = (loss for topic, loss in topics.items() if not state.is_cooling((topic, ""), at))
        if any(
            key_of(loss) in monitor.incidents.alerting
            and (incident.is_blindness or rule.matches(_with_row(loss, monitor)))
            for loss in ready
        ):
            fired.append(incident)
            sent |= dict.fromkeys(((topic, "") for topic in topics), at)
    return replace(state, sent=sent), fired


def _with_row(loss: Event, monitor: Monitor) -> Event:
    """Return a loss for the filter; a loss of an earlier run gets the current row."""
    if loss.then is not None or (tracked := monitor.fleet.tracked(key_of(loss))) is None:
        return loss
    return replace(loss, then=tracked.present_state)


def _with_events(state: HookState, events: Iterable[Event], at: MonotonicS) -> HookState:
    if not state.rule.kinds:
        return state
    waiting = dict(state.waiting)
    for event, group in leaves(events):
        topic = _topic_of(event)
        before = waiting.get(topic)
        # An environment that is lost and then gone counts from the first event.
        is_longer = before is not None and event.kind in LOSSES and before.event.kind in LOSSES
        if before is not None and _undoes(event, before.event):
            del waiting[topic]  # neither state lasted, so neither event is sent
        elif event.kind in state.rule.kinds and (event.id is None or state.rule.matches(event)):
            waiting[topic] = _Waiting(event, group, before.since if before and is_longer else at)
        elif not is_longer:
            waiting.pop(topic, None)
    return replace(state, waiting=waiting)


def _due(state: HookState, judge: Judge, held: Container[SafeText]) -> tuple[HookState, list[Event]]:
    waiting, sent = dict(state.waiting), dict(state.sent)
    now, identity = judge.now, judge.fleet.identity
    losses = {identity(key_of(loss.event)): loss for loss in judge.waiting}
    groups: dict[int, tuple[Event | None, list[Event]]] = {}
    for topic, (event, group, since) in state.waiting.items():
        due_at = since + state.rule.after.total_seconds()
        if event.kind in LOSSES and (loss := losses.get(identity(key_of(event)))) is not None:
            interval = judge.fleet.by_profile[event.profile].interval
            due_at = max(due_at, loss.counts_at(judge.policy_of(event.profile), interval))
        has_held = due_at <= now.monotonic
        # Events of a whole profile, such as blindness, are sent even while blind.
        is_seen = event.id is None or judge.sees(event.profile)
        if has_held and is_seen and not state.is_cooling((topic, event.kind), now.monotonic):
            del waiting[topic]
            if event.profile in held and _is_worth_sending(event, judge):
                sent[topic, event.kind] = now.monotonic
                groups.setdefault(id(event if group is None else group), (group, []))[1].append(event)
    fired = [
        members[0] if group is None or len(members) == 1 else replace(group, members=tuple(members))
        for group, members in groups.values()
    ]
    return replace(state, waiting=waiting, sent=sent), fired


def _topic_of(event: Event) -> _Topic:
    what = "presence" if event.kind in _PRESENCE else f"{event.kind} {event.field or ''}"
    what = next((begin for begin, end in _PAIRS.items() if event.kind in (begin, end)), what)
    return (event.profile, event.id or EMPTY, what)


def _undoes(event: Event, before: Event) -> bool:
    if event.kind in _PRESENCE:
        return (event.kind in LOSSES) is not (before.kind in LOSSES)
    if event.kind in _PAIRS or event.kind in _PAIRS.values():
        return event.kind is not before.kind
    return event.before is not None and event.after == before.before


def _is_worth_sending(event: Event, judge: Judge) -> bool:
    """Whether to send an event; a silenced row's return stays unsent, like the loss."""
    if event.id is None:
        return True
    if event.kind in LOSSES:
        return judge.status_of(key_of(event)) is LossStatus.ALERTING
    tracked = judge.fleet.tracked(key_of(event))
    if tracked is None or not judge.is_loud(tracked):
        return False
    if event.kind not in RETURNS or event.lasted is None:
        return True
    silenced = judge.silenced_time(tracked, event.at - event.lasted / MS)
    return silenced is None or silenced.until < event.at
