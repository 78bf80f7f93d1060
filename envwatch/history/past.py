"""Values and protocol of recorded time: recordings, polls with events, and moments."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, timezone
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from envwatch.alerts.acknowledgements import NO_OWN_ACKS
from envwatch.alerts.losses import key_of
from envwatch.fleet.uptime import rounded
from envwatch.model.text import EMPTY, SafeText, clean, composed, counted
from envwatch.model.times import DAY_MS, date_text, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envwatch.alerts.acknowledgements import OwnAcks
    from envwatch.alerts.alert_policy import Decision
    from envwatch.alerts.incidents import Incident
    from envwatch.alerts.losses import Loss
    from envwatch.alerts.monitor import Monitor
    from envwatch.alerts.silences import Silence, Silences
    from envwatch.fleet.events import Event
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import Matcher, TrackedEnvironment
    from envwatch.fleet.uptime import Uptime
    from envwatch.model.clock import Clocks, ServerMs, WallMs
    from envwatch.model.outcome import RecordedPoll


class HistoryError(Exception):
    """Base of the errors of recorded time. The message is a line for people, without a path."""


class DamagedError(HistoryError):
    """The file is no history, or has impossible content."""


class NewerError(HistoryError):
    """A newer envwatch wrote the file in an unknown format."""


class GoneError(HistoryError):
    """The file does not exist, or is empty so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The origin of a recording."""

    profile: SafeText
    base_url: SafeText
    version: SafeText
    """Of the envwatch that recorded."""
    is_redacted: bool = False

    @classmethod
    def from_rows(cls, rows: Mapping[str, object]) -> About:
        """Return the origin; a copied day file has `host` and `envwatch` for base URL and version."""
        texts = {name: clean(str(value)) for name, value in rows.items()}
        base_url = texts.get("base_url") or composed(f"https://{texts.get('host', '')}")
        return cls(
            profile=texts.get("profile", EMPTY),
            base_url=base_url,
            version=texts.get("version", texts.get("envwatch", EMPTY)),
            is_redacted=texts.get("is_redacted") == str(True),
        )

    def rows(self) -> dict[str, str]:
        """Return the fields as texts."""
        return {name: str(value) for name, value in asdict(self).items()}

    @property
    def host(self) -> SafeText:
        """The server's host, with a port."""
        return composed(self.base_url.partition("://")[2].partition("/")[0])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Records of a time that cannot be read."""

    what: Literal["history", "poll", "event"]
    """`history` stands for all polls and events of the time."""
    since: float
    """In ms since the epoch, like `until`; by the clock of the machine that recorded."""
    until: float
    reason: SafeText
    count: int | None = None
    """The number of polls or events; None for `history`."""

    def text(self) -> str:
        """Return the records in words, without the reason: `2 polls from 02:13 to 02:14 are left out`."""
        since, until = date_text(self.since, None), date_text(self.until, None)
        when = f"at {since}" if since == until else f"from {since} to {until}"
        if self.count is not None:
            return f"{counted(self.count, self.what)} {when} {'is' if self.count == 1 else 'are'} left out"
        day = moment(self.since, UTC)
        if day is not None and not self.since % DAY_MS and self.until - self.since == DAY_MS:
            when = f"of {day:%Y-%m-%d}"
        return f"the history {when} is left out"


NO_EVENTS: Final[Mapping[Event, Event]] = MappingProxyType({})


class RecordedStep(NamedTuple):
    """A poll with events, events without a poll, or records that cannot be read."""

    at: WallMs
    poll: RecordedPoll | None
    events: Sequence[Event]
    left_out: LeftOut | None = None

    def without_poll(self, reason: SafeText) -> RecordedStep:
        """Return the step with the poll as an unreadable poll; the events stay."""
        return self._replace(poll=None, left_out=LeftOut("poll", self.at, self.at, reason, 1))


class Past(Protocol):
    """Reads a profile's records from a disk, in any thread. Methods raise `HistoryError`."""

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        """Return the polls of a period, both ends included, in recording order."""

    def moment(self, poll: RecordedPoll) -> Moment:
        """Return the moment right after a poll, equal to the recorded moment.

        The moment after the previous call's moment is much cheaper than others.
        """

    def steps(self, since: WallMs, until: WallMs, known: Mapping[Event, Event] = NO_EVENTS) -> Iterator[RecordedStep]:
        """Yield the polls of a period with events, both ends included, in recording order.

        Events without a poll are a separate step. A group has its members. Records that cannot be read are steps with
        `left_out`. A poll whose moment alone cannot be read is among the polls.

        An event that equals a key of `known` is the key's value, because a second object takes 1 KiB.
        """

    def forget(self) -> None:
        """Free the memory that makes the next moment cheap."""


def events_of(steps: Iterable[RecordedStep]) -> list[Event]:
    """Return the events in recording order."""
    return [event for step in steps for event in step.events]


def left_out_of(steps: Iterable[RecordedStep]) -> list[LeftOut]:
    """Return the unreadable records, oldest first. Polls without a readable poll in between are one entry."""
    decisive = [step for step in steps if step.poll is not None or step.left_out is not None]
    found: list[LeftOut] = []
    for is_poll, run in groupby(decisive, lambda step: step.left_out is not None and step.left_out.what == "poll"):
        its = [step.left_out for step in run if step.left_out is not None]
        found += [_united(its)] if is_poll else its
    return sorted(found, key=lambda each: each.since)


def _united(polls: Sequence[LeftOut]) -> LeftOut:
    since, until = min(poll.since for poll in polls), max(poll.until for poll in polls)
    return replace(polls[0], since=since, until=until, count=len(polls))


class RecordedAlerts(NamedTuple):
    """Whose losses need a person, and the losses, as the monitor knew them."""

    decisions: Mapping[SafeText, Decision]
    """By row id, of every row."""
    uptimes: Mapping[SafeText, Uptime]
    """By row id, `rounded`; without rows whose uptime is unknown."""
    silences: tuple[Silence, ...]
    """The silences of the profile's rows, with the ids of these rows in `environments`, under no server.

    A matcher keeps only the query. The zone of a recurring silence is the offset from UTC at the moment.
    """
    waiting: tuple[Loss, ...]
    """Losses without `Event.then`, like the losses of `open`."""
    open: tuple[Incident, ...]

    @property
    def once(self) -> Silences:
        """The silences that do not recur, by id."""
        return {silence.id: silence for silence in self.silences if silence.hours is None}

    @property
    def recurring(self) -> tuple[Silence, ...]:
        """The silences that recur."""
        return tuple(silence for silence in self.silences if silence.hours is not None)


NO_ALERTS: Final = RecordedAlerts({}, {}, (), (), ())


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of a profile right after a poll."""

    now: Clocks
    profile_state: ProfileState
    acks: OwnAcks = field(default_factory=lambda: NO_OWN_ACKS)
    alerts: RecordedAlerts | None = None
    """None in a moment that an envwatch before 2.0 recorded."""

    @classmethod
    def of(cls, monitor: Monitor, profile: SafeText, now: Clocks) -> Moment:
        """Return a profile's moment; visits every row."""
        profile_state = monitor.fleet.by_profile[profile]
        at, rows = profile_state.clock.server_time(now.wall), profile_state.environments
        uptimes = {id_: rounded(row.uptime) for id_, row in rows.items() if row.uptime is not None}
        alerts = RecordedAlerts(
            decisions={id_: monitor.decision_of(row, at) for id_, row in rows.items()},
            uptimes=uptimes,
            silences=_recorded_silences(monitor, profile_state, at),
            waiting=tuple(
                loss._replace(event=replace(loss.event, then=None))
                for loss in monitor.incidents.waiting
                if loss.event.profile == profile
            ),
            open=tuple(_recorded(each) for each in monitor.incidents.open if each.profile == profile),
        )
        return cls(now, profile_state, monitor.own_acks(profile), alerts)


def _recorded(incident: Incident) -> Incident:
    losses = tuple(replace(loss, then=None) for loss in incident.losses)
    return incident._replace(losses=losses, remaining=incident.remaining.intersection(map(key_of, losses)))


def _recorded_silences(monitor: Monitor, profile_state: ProfileState, at: ServerMs) -> tuple[Silence, ...]:
    rows = profile_state.environments.values()
    recurring = monitor.policy_of(profile_state.profile).silences
    found = [
        _recorded_silence(silence, covered, at)
        for silence in (*monitor.silences.values(), *recurring)
        if (covered := [row for row in rows if silence.covers(row, profile_state.server, at)])
    ]
    keys = {silence.recurrence for silence in found if silence.hours is not None}
    return (*found, *(silence for silence in monitor.silences.values() if silence.ends and silence.ends in keys))


def _recorded_silence(silence: Silence, covered: Iterable[TrackedEnvironment], at: ServerMs) -> Silence:
    recorded = silence._replace(environments=frozenset((EMPTY, row.environment.id) for row in covered))
    if silence.matcher is not None:
        recorded = recorded._replace(matcher=query_only(silence.matcher.query))
    if silence.hours is None:
        return recorded
    from envwatch.alerts.recurring_hours import clock_time  # noqa: PLC0415 - only with a recorded silence

    offset = clock_time(at, silence.zone) - clock_time(at, UTC)
    return recorded._replace(hours=replace(silence.hours, filter=""), zone=timezone(offset))


def query_only(query: SafeText) -> Matcher:
    """Return a matcher that keeps a query and matches nothing."""
    from envwatch.fleet.tracking import Matcher  # noqa: PLC0415 - only with a recorded silence

    return Matcher(query, lambda _tracked, _now: False)
