"""The monitor at a recorded moment, and the timeline of polls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from heapq import merge
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.alerts.acknowledgements import ServerKey, with_server
from envwatch.alerts.alert_policy import DEFAULT_POLICY, Word
from envwatch.alerts.incident import Incident
from envwatch.alerts.incidents import Incidents
from envwatch.alerts.ledger import Ledger
from envwatch.alerts.losses import Loss
from envwatch.alerts.silences import Silence
from envwatch.alerts.uptime_record import with_uptimes
from envwatch.fleet.profile_state import Fleet, ProfileState
from envwatch.model import limits
from envwatch.model.acks import Ack
from envwatch.model.clock import ServerMs, WallMs
from envwatch.model.text import SafeText, composed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.events import EventLog
    from envwatch.history.past import Moment
    from envwatch.model.outcome import RecordedPoll


_BEGIN: Final = WallMs(0)


class PollRef(NamedTuple):
    """A poll of a profile."""

    profile: SafeText
    poll: RecordedPoll


@dataclass(frozen=True, slots=True)
class Timeline:
    """All profiles' polls of a period, merged by time.

    A profile's polls keep their order, even if a clock was set back.
    """

    poll_refs: Sequence[PollRef] = ()
    since: WallMs = _BEGIN
    """Start of the time with complete polls."""

    @classmethod
    def from_polls(cls, polls: Mapping[SafeText, Sequence[RecordedPoll]], since: WallMs) -> Timeline:
        """Return the merged polls."""
        lines = [[PollRef(profile, poll) for poll in each] for profile, each in polls.items()]
        return cls(list(merge(*lines, key=lambda poll_ref: poll_ref.poll.at)), since)

    @property
    def until(self) -> WallMs:
        """The time of the newest poll; `since` without polls."""
        return max((poll_ref.poll.at for poll_ref in self.poll_refs), default=self.since)

    def place_at(self, wall: WallMs) -> int:
        """Return the newest poll's index at or before a moment, or -1."""
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
    """The event log's length after each poll, because events may be logged late."""

    def __init__(self) -> None:
        self._ends: deque[tuple[WallMs, int]] = deque(maxlen=limits.EVENTS_KEPT)

    def note(self, wall: WallMs, log: EventLog) -> None:
        """Note the log after a poll."""
        if not self._ends or self._ends[-1][1] != log.added:
            self._ends.append((wall, log.added))

    def log_at(self, wall: WallMs, log: EventLog) -> EventLog:
        """Return the log after the last poll up to a moment."""
        return log.when_added(next((added for at, added in reversed(self._ends) if at <= wall), 0))


def rewound(monitor: Monitor, moments: Mapping[SafeText, Moment]) -> Monitor:
    """Return the monitor as recorded at a moment, without alerts.

    `monitor` has the settings, the events up to the moment, and at least that watched time. A profile without a moment
    appears as before its first poll.
    """
    fleet, policies = dict[SafeText, ProfileState](), dict(monitor.policies)
    acks, words, silences = dict[ServerKey, Ack](), dict[ServerKey, Word](), dict[SafeText, Silence]()
    ends, waiting, opened = dict[SafeText, ServerMs](), list[Loss](), list[Incident]()
    for profile, now in monitor.fleet.by_profile.items():
        if (moment := moments.get(profile)) is None:
            fleet[profile] = _before_first_poll(now)
            continue
        then, alerts = moment.profile_state, moment.alerts
        fleet[profile] = with_uptimes(replace(then, server=now.server), alerts.uptimes)
        ends[profile] = then.clock.server_time(moment.now.wall)
        acks |= with_server(moment.acks, now.server)
        words |= {(now.server, id_): each.word for id_, each in alerts.decisions.items() if each.word is not None}
        silences |= {composed(f"{profile} {id_}"): _of_server(each, now.server) for id_, each in alerts.once.items()}
        recurring = tuple(_of_server(silence, now.server) for silence in alerts.recurring)
        policies[profile] = replace(
            monitor.policies.get(profile, DEFAULT_POLICY), recurring=recurring, recorded=alerts.decisions
        )
        waiting += alerts.waiting
        opened += alerts.open
    return replace(
        monitor,
        fleet=Fleet(MappingProxyType(fleet)),
        acks=acks,
        watched={
            profile: watched.between(ServerMs(-inf), ends.get(profile, ServerMs(-inf)))
            for profile, watched in monitor.watched.items()
        },
        ledger=Ledger(),
        policies=policies,
        silences=silences,
        incidents=Incidents(waiting=tuple(waiting), open=tuple(opened)),
        words=words,
    )


def _of_server(silence: Silence, server: SafeText) -> Silence:
    return silence._replace(environments=frozenset((server, id_) for _, id_ in silence.environments))


def _before_first_poll(profile_state: ProfileState) -> ProfileState:
    return ProfileState(
        limits=profile_state.limits,
        profile=profile_state.profile,
        profile_name=profile_state.profile_name,
        server=profile_state.server,
        expect=profile_state.expect,
    )
