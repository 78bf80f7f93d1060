"""Protocol and values of recorded time."""

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
    from envwatch.alerts.incident import Incident
    from envwatch.alerts.judge import Judge
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
    """Base of history errors; the message is a line for people, without a path."""


class DamagedError(HistoryError):
    """The file is no history, or has impossible content."""


class OtherVersionError(DamagedError):
    """Another version of envwatch wrote the file."""


class EmptyError(DamagedError):
    """The file has no bytes for any record."""


class GoneError(HistoryError):
    """The file is missing, or just begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The origin of a recording."""

    profile: SafeText
    base_url: SafeText
    version: SafeText
    is_redacted: bool = False

    @classmethod
    def from_rows(cls, rows: Mapping[str, object]) -> About:
        """Return the origin; day files have `host` and `envwatch` for base URL and version."""
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
        """The server's host, with any port."""
        return composed(self.base_url.partition("://")[2].partition("/")[0])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Unreadable records of a period."""

    what: Literal["history", "poll", "event"]
    """`history` means all polls and events."""
    since: float
    """Ms since the epoch, like `until`, by the recorder's clock."""
    until: float
    reason: SafeText
    count: int | None = None
    """None for `history`."""

    def text(self) -> str:
        """Return a sentence without the reason."""
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
    """A poll with events, events without a poll, or unreadable records."""

    at: WallMs
    poll: RecordedPoll | None
    events: Sequence[Event]
    left_out: LeftOut | None = None

    def without_poll(self, reason: SafeText) -> RecordedStep:
        """Return the step with an unreadable poll; the events stay."""
        return self._replace(poll=None, left_out=LeftOut("poll", self.at, self.at, reason, 1))


class Past(Protocol):
    """Reads a profile's records from a disk, in any thread. Methods raise `HistoryError`."""

    def polls(self, since: WallMs, until: WallMs) -> Sequence[RecordedPoll]:
        """Return the polls of a period, both ends included, in recording order."""

    def moment(self, poll: RecordedPoll) -> Moment:
        """Return the moment right after a poll; calls in recording order are much cheaper."""

    def event_times(self, since: WallMs, until: WallMs) -> Sequence[WallMs]:
        """Return the recording times of a period's events and groups, both ends included, without reading them."""

    def steps(self, since: WallMs, until: WallMs, known: Mapping[Event, Event] = NO_EVENTS) -> Iterator[RecordedStep]:
        """Yield the polls of a period with events, in recording order.

        Events without a poll, and unreadable records (`left_out`), are separate steps. Groups have all members. A poll
        stays even if its moment is unreadable. An event that equals a key of `known` becomes the key's value, which
        saves 1 KiB.
        """

    def forget(self) -> None:
        """Free the memory for cheap consecutive moments."""


def events_of(steps: Iterable[RecordedStep]) -> list[Event]:
    """Return the events in recording order."""
    return [event for step in steps for event in step.events]


def left_out_of(steps: Iterable[RecordedStep]) -> list[LeftOut]:
    """Return the unreadable records, oldest first; consecutive unreadable polls are one entry."""
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
    """A profile's alerts at a recorded moment."""

    decisions: Mapping[SafeText, Decision]
    uptimes: Mapping[SafeText, Uptime]
    """Known uptimes, `rounded`."""
    silences: tuple[Silence, ...]
    """Silences of the profile's rows, with the covered ids in `environments`, under no server.

    A matcher keeps only its query; a recurring silence's zone is the offset from UTC."""
    waiting: tuple[Loss, ...]
    """Losses without `Event.then`, as in `open`."""
    open: tuple[Incident, ...]

    @property
    def once(self) -> Silences:
        """The silences without recurrence, by id."""
        return {silence.id: silence for silence in self.silences if silence.hours is None}

    @property
    def recurring(self) -> tuple[Silence, ...]:
        """The recurring silences."""
        return tuple(silence for silence in self.silences if silence.hours is not None)


NO_ALERTS: Final = RecordedAlerts({}, {}, (), (), ())


@dataclass(frozen=True, slots=True)
class Moment:
    """A profile's state right after a poll."""

    now: Clocks
    profile_state: ProfileState
    acks: OwnAcks = field(default_factory=lambda: NO_OWN_ACKS)
    alerts: RecordedAlerts = NO_ALERTS

    @classmethod
    def of(cls, monitor: Monitor, profile: SafeText, now: Clocks) -> Moment:
        """Return a profile's moment; visits every row."""
        profile_state = monitor.fleet.by_profile[profile]
        judge, rows = monitor.judge(now), profile_state.environments
        uptimes = {id_: rounded(row.uptime) for id_, row in rows.items() if row.uptime is not None}
        alerts = RecordedAlerts(
            decisions={id_: judge.decision_of(row) for id_, row in rows.items()},
            uptimes=uptimes,
            silences=_recorded_silences(judge, profile_state),
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


def _recorded_silences(judge: Judge, profile_state: ProfileState) -> tuple[Silence, ...]:
    rows, at = profile_state.environments.values(), judge.moments[profile_state.profile]
    recurring = judge.policy_of(profile_state.profile).recurring
    found = [
        _recorded_silence(silence, covered, at)
        for silence in (*judge.marks.silences.values(), *recurring)
        if (covered := [row for row in rows if silence.covers(row, profile_state.server, at)])
    ]
    keys = {silence.recurrence for silence in found if silence.hours is not None}
    return (*found, *(silence for silence in judge.marks.silences.values() if silence.ends and silence.ends in keys))


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
    """Return a matcher with a query, matching nothing."""
    from envwatch.fleet.tracking import Matcher  # noqa: PLC0415 - only with a recorded silence

    return Matcher(query, lambda _tracked, _now: False)
