"""The monitor at a recorded moment, and the polls for going back and forward."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from heapq import merge
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.fleet.alerting.acknowledgements import with_server
from envwatch.fleet.alerting.incidents import Incident, Incidents, incident_of
from envwatch.fleet.alerting.ledger import Ledger
from envwatch.fleet.alerting.losses import (
    LOSSES,
    RETURNS,
    Key,
    Loss,
    death_interval,
    key_of,
)
from envwatch.fleet.events import Kind, leaves
from envwatch.fleet.fleet import Fleet
from envwatch.fleet.presence import HEARTBEAT_LOST
from envwatch.fleet.problems import went_off_at
from envwatch.fleet.profile_state import ProfileState
from envwatch.fleet.uptime_record import with_uptimes
from envwatch.model import limits
from envwatch.model.clock import MonotonicS, ServerMs, WallMs
from envwatch.model.text import EMPTY, SafeText
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envwatch.fleet.events import Event, EventLog
    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.uptime_record import UptimeRecord
    from envwatch.history.past import Moment
    from envwatch.model.clock import Clocks
    from envwatch.model.outcome import RecordedPoll


_Place: TypeAlias = "tuple[SafeText, Key]"
"""An incident, and an environment of the incident."""

_BEGIN: Final = WallMs(0)
_LISTING_INTERVALS: Final = 1.5
"""Two listings follow each other if their distance is at most this many poll intervals."""


class PollRef(NamedTuple):
    """A poll of a profile."""

    profile: SafeText
    poll: RecordedPoll


@dataclass(frozen=True, slots=True)
class Timeline:
    """The polls of all profiles in a period.

    A profile's polls stand in recording order, even if a clock was set back. Profiles are merged by the polls' times.
    """

    poll_refs: Sequence[PollRef] = ()
    since: WallMs = _BEGIN
    """From this time on, the polls are complete."""

    @classmethod
    def from_polls(cls, polls: Mapping[SafeText, Sequence[RecordedPoll]], since: WallMs) -> Timeline:
        """Merge the polls of profiles."""
        lines = [[PollRef(profile, poll) for poll in each] for profile, each in polls.items()]
        return cls(list(merge(*lines, key=lambda poll_ref: poll_ref.poll.at)), since)

    @property
    def until(self) -> WallMs:
        """The time of the newest poll; `since` without polls."""
        return max((poll_ref.poll.at for poll_ref in self.poll_refs), default=self.since)

    def place_at(self, wall: WallMs) -> int:
        """Return the index of the newest poll at or before a moment, or -1."""
        return next(
            (place for place in reversed(range(len(self.poll_refs))) if self.poll_refs[place].poll.at <= wall), -1
        )

    def place_of(self, poll_ref: PollRef) -> int:
        """Return the index of a poll, or -1."""
        key = (poll_ref.profile, poll_ref.poll.number)
        return next((place for place, each in enumerate(self.poll_refs) if (each.profile, each.poll.number) == key), -1)

    def known_at(self, place: int) -> Mapping[SafeText, RecordedPoll]:
        """Return each profile's newest poll up to a place."""
        found: dict[SafeText, RecordedPoll] = {}
        for profile, poll in reversed(self.poll_refs[: place + 1]):
            found.setdefault(profile, poll)
        return found


class LogEnds:
    """The event log's length after each poll, because events are known later than they happen."""

    def __init__(self) -> None:
        self._ends: deque[tuple[WallMs, int]] = deque(maxlen=limits.EVENTS_KEPT)
        """The times of polls that changed the log, with the number of events added by then."""

    def note(self, wall: WallMs, log: EventLog) -> None:
        """Note the log after a poll."""
        if not self._ends or self._ends[-1][1] != log.added:
            self._ends.append((wall, log.added))

    def log_at(self, wall: WallMs, log: EventLog) -> EventLog:
        """Return the log after the last poll up to a moment."""
        return log.when_added(next((added for at, added in reversed(self._ends) if at <= wall), 0))


def rewound(monitor: Monitor, moments: Mapping[SafeText, Moment], now: Clocks) -> Monitor:
    """Return the monitor at a moment: fleet, acknowledgements, events, watched time and incidents; nothing rings.

    The rows have their present uptimes, which no history has.

    `monitor` has policies, silences, the events up to the moment, and at least the watched time up to the moment. A
    profile without a moment is shown as before the first poll.
    """
    fleet = {
        profile: _then(moments[profile], profile_state, monitor.uptime_records.get(profile))
        if profile in moments
        else _before_first_poll(profile_state)
        for profile, profile_state in monitor.fleet.by_profile.items()
    }
    servers = monitor.fleet.servers
    acks = {
        key: ack
        for profile, moment in moments.items()
        for key, ack in with_server(moment.acks, servers.get(profile, EMPTY)).items()
    }
    ends = {profile: moment.profile_state.clock.server_time(moment.now.wall) for profile, moment in moments.items()}
    past = replace(
        monitor,
        fleet=Fleet(MappingProxyType(fleet)),
        acks=acks,
        watched={
            profile: watched.between(ServerMs(-inf), ends.get(profile, ServerMs(-inf)))
            for profile, watched in monitor.watched.items()
        },
        ledger=Ledger(),
        incidents=Incidents(),
    )
    return replace(past, incidents=_incidents(past, now))


def _incidents(monitor: Monitor, now: Clocks) -> Incidents:
    """Return the incidents of the rows that are down, by the event log, apart from storms.

    A recorded loss names the first incident of the loss. A silenced loss may have joined another incident later.
    """
    lost: dict[_Place, Loss] = {}
    returned: dict[_Place, ServerMs] = {}
    newest: dict[Key, SafeText] = {}
    for event, group in leaves(monitor.event_log):
        key = key_of(event)
        if event.incident is None or monitor.fleet.tracked(key) is None:
            continue
        if event.kind in RETURNS:
            returned[event.incident, key] = event.at
        elif event.kind in LOSSES:
            returned.pop((event.incident, key), None)
            newest[key] = event.incident
            lost.setdefault((event.incident, key), _loss(event, event.incident, group, monitor, now))

    def is_down(place: _Place) -> bool:
        tracked = monitor.fleet.tracked(place[1])
        return newest[place[1]] == place[0] and tracked is not None and not tracked.verdict.is_up

    silent, loud = dict[_Place, Loss](), defaultdict[SafeText, dict[_Place, Loss]](dict)
    for place, loss in lost.items():
        (silent if _was_silenced(loss, monitor, now) else loud[loss.incident])[place] = loss
    opened, waiting = list[Incident](), list[Loss]()
    for losses in loud.values():
        opens_at = min(_openings(losses, returned, monitor, now), default=-inf)
        members = _lost_at(opens_at, losses, returned)
        waiting += (loss for place, loss in losses.items() if place not in members and is_down(place))
        if not members:
            continue
        lost_then = [*members.values()]
        if remaining := frozenset(key for _, key in filter(is_down, members)):
            incident = incident_of(lost_then[0].event.profile, lost_then, monitor.fleet)
            opened.append(incident._replace(remaining=remaining))
    waiting += (loss for place, loss in silent.items() if is_down(place))
    return Incidents(waiting=tuple(waiting), open=tuple(opened))


def _lost_at(at: float, losses: Mapping[_Place, Loss], returned: Mapping[_Place, ServerMs]) -> dict[_Place, Loss]:
    return {place: loss for place, loss in losses.items() if loss.event.at <= at < returned.get(place, inf)}


def _loss(event: Event, incident: SafeText, group: Event | None, monitor: Monitor, now: Clocks) -> Loss:
    profile_state, tracked = monitor.fleet.by_profile[event.profile], monitor.fleet.tracked(key_of(event))
    earliest, silent_since = (event.at - each * (profile_state.interval / MS) for each in (_LISTING_INTERVALS, 1))
    if event.kind is Kind.NOT_BACK:
        earliest = silent_since = event.at
    elif tracked is not None and tracked.verdict == HEARTBEAT_LOST:
        earliest = silent_since = min(earliest, tracked.environment.last_seen_alive_at)
    at = profile_state.clock.server_time(now.wall)
    return Loss(
        event=event,
        died=death_interval(event, group, tracked, ServerMs(earliest)),
        silent_since=MonotonicS(now.monotonic - (at - silent_since) / 1000),
        noticed_at=MonotonicS(now.monotonic - (at - event.at) / 1000),
        incident=incident,
    )


def _was_silenced(loss: Loss, monitor: Monitor, now: Clocks) -> bool:
    """Whether a row was silenced at the loss, and the loss does not count from the end of a silence."""
    tracked = monitor.fleet.tracked(key_of(loss.event))
    if tracked is None or loss.is_not_back:
        return False
    off_at: float = loss.event.at
    if tracked.since_at == off_at:
        off_at = went_off_at(tracked, monitor.fleet.for_environment(tracked).limits)
    return monitor.silenced_time(tracked, now, off_at) is not None


def _openings(
    losses: Mapping[_Place, Loss], returned: Mapping[_Place, ServerMs], monitor: Monitor, now: Clocks
) -> Iterator[float]:
    """Yield when each loss began to count, if the row was still down."""
    moments = monitor.fleet.moments(now.wall)
    for place, loss in losses.items():
        tracked = monitor.fleet.tracked(place[1])
        if tracked is None or monitor.silenced(tracked, now) is not None:
            continue
        at, policy = moments[tracked.profile], monitor.policy_of(tracked.profile)
        interval = monitor.fleet.by_profile[tracked.profile].interval
        opens_at = at + (loss.counts_at(policy, interval) - now.monotonic) * 1000
        if monitor.decision_of(tracked, at).counts and opens_at <= at and opens_at < returned.get(place, inf):
            yield opens_at


def _then(moment: Moment, now: ProfileState, record: UptimeRecord | None) -> ProfileState:
    then = moment.profile_state
    then = then if then.server == now.server else replace(then, server=now.server)
    return then if record is None else with_uptimes(then, record.rows)


def _before_first_poll(profile_state: ProfileState) -> ProfileState:
    return ProfileState(
        limits=profile_state.limits,
        profile=profile_state.profile,
        profile_name=profile_state.profile_name,
        server=profile_state.server,
        expect=profile_state.expect,
    )
