"""The facts of a report on a profile, not worded yet: what Markdown and JSON tell.

Instants are ms of the server's clock. `values` is a fact in JSON, and `rank` its order: the most urgent first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.alerts.losses import LOSSES
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import counted_from, silenced_time
from envwatch.fleet.events import Event, Kind, flatten
from envwatch.fleet.presence import UNTIMED, Presence
from envwatch.fleet.watched_time import UptimeState
from envwatch.history.hours import Availability
from envwatch.history.rewound import rewound
from envwatch.model import limits
from envwatch.model.environment import UNRESTRICTED, mode_of
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import SafeText, clean
from envwatch.model.times import MS, span
from envwatch.model.versions import is_behind
from envwatch.views.events.cloud_events import word_of
from envwatch.views.output.formats import iso
from envwatch.views.report.outages import losses_together, lost_at, row_pasts
from envwatch.views.report.period import gaps_in
from envwatch.views.state_style import clock_warning
from envwatch.views.table.block import Aside, build_block

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from envwatch.alerts.silences import Silenced
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.fleet.watched_time import Interval
    from envwatch.model.acks import Ack
    from envwatch.model.clock import ServerMs
    from envwatch.views.report.outages import Downtime, RowPast
    from envwatch.views.report.period import Gap, Recorded

Rank: TypeAlias = "tuple[float, ...]"

_SECOND: Final = timedelta(seconds=1)
NOT_PAGING: Final = "not paging"
STANDINGS: Final = ("", "acknowledged", "silenced", NOT_PAGING, "for over a day")
"""Why a machine that is down is less urgent; the first is no reason."""
CHANGES: Final = (
    Kind.MODE,
    Kind.PAGES,
    Kind.DOES_NOT_PAGE,
    Kind.VERSION,
    Kind.APPEARED,
    Kind.GONE,
    Kind.RENAMED,
)


class Row(NamedTuple):
    """A machine under its newest name."""

    id: SafeText
    name: SafeText


@dataclass(frozen=True)
class Period:
    """A recorded period with what the facts need of each row."""

    recorded: Recorded

    @cached_property
    def rows(self) -> Mapping[SafeText, TrackedEnvironment]:
        """The rows at the end of the period, by id."""
        return self.recorded.last.profile_state.environments

    @cached_property
    def pasts(self) -> Mapping[SafeText, RowPast]:
        """The past of each row by id."""
        return row_pasts(self.recorded)

    @cached_property
    def gaps(self) -> Sequence[Gap]:
        """The times without sight or in doubt."""
        return gaps_in(self.recorded)

    @cached_property
    def together(self) -> Sequence[tuple[list[Event], list[Event]]]:
        """Losses and groups of each incident of several rows."""
        return losses_together(self.recorded.events)

    def row(self, id_: SafeText) -> Row:
        """Return the row with an id."""
        return Row(id_, self.recorded.names.get(id_, id_))

    def pages(self, id_: SafeText) -> bool:
        """Whether a loss of the row pages."""
        decision = self.recorded.last.alerts.decisions.get(id_)
        return decision is None or decision.counts

    def silenced(self, tracked: TrackedEnvironment, off_at: float | None = None) -> Silenced | None:
        """Return the silence of a row at a loss, by default at the last."""
        last = self.recorded.last
        return silenced_time(
            tracked, last.profile_state, last.alerts.once, last.alerts.recurring, last.now.wall, off_at
        )


class Watch(NamedTuple):
    """How much of the period was watched."""

    length: timedelta
    watched: timedelta
    is_whole: bool
    query: SafeText
    """The filter of the report."""
    clock: SafeText | None
    """A warning about this machine's clock."""

    @property
    def share(self) -> float:
        """The watched share, from 0 to 1."""
        return min(self.watched / self.length, 1.0) if self.length else 0.0

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        return {
            "watched_s": self.watched / _SECOND,
            "period_s": self.length / _SECOND,
            "share": self.share,
            "clock": self.clock,
        }


def watch_in(period: Period) -> Watch:
    """Return how much of the period was watched."""
    recorded = period.recorded
    return Watch(
        length=span(recorded.span.until - recorded.span.since),
        watched=sum((span(until - since) for since, until in recorded.watched.spans), timedelta()),
        is_whole=all(gap.kind != "gap" for gap in period.gaps),
        query=recorded.query,
        clock=clock_warning(recorded.last.profile_state),
    )


class Fleet(NamedTuple):
    """The machines by the last listing of the period."""

    listed_at: ServerMs
    age: timedelta
    total: int
    counts: Mapping[str, int]
    """The counts that the dashboard showed."""
    other_problems: Sequence[tuple[int, str]]
    unknown: Sequence[Row]
    newest_version: SafeText | None

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        return {
            "listed_at": iso(self.listed_at),
            "age_s": self.age / _SECOND,
            "total": self.total,
            **self.counts,
            "unknown": [row._asdict() for row in self.unknown],
            "newest_version": self.newest_version,
        }


def fleet_in(period: Period) -> Fleet | None:
    """Return the machines; None if no listing came."""
    last = period.recorded.last
    state = last.profile_state
    if state.listed is None:
        return None
    monitor = Monitor.create({state.profile: state.limits})
    block = build_block(rewound(monitor, {state.profile: last}), state.listed)
    counts = {
        "paging": block.paging,
        "other_off": block.off_besides,
        "late": block.presences.get(Presence.LATE, 0),
        "online": block.presences.get(Presence.ONLINE, 0),
    }
    for aside in (Aside.OLD, Aside.REPLACED, Aside.GONE):
        counts[aside.value] = block.asides.get(aside, 0)
    known = {tracked.key for tracked in state.known(state.listed)}
    return Fleet(
        listed_at=state.clock.server_time(state.listed.wall),
        age=span(period.recorded.until - state.listed.wall),
        total=len(period.rows),
        counts=counts,
        other_problems=block.other_problems,
        unknown=[period.row(id_) for id_, tracked in period.rows.items() if tracked.key not in known],
        newest_version=state.newest,
    )


class Down(NamedTuple):
    """A machine that is down at the end of the period."""

    row: Row
    presence: Presence
    since: ServerMs | None
    judged_at: ServerMs
    is_long: bool
    """Whether the machine is down for over a day, without silenced time."""
    is_found_late: bool
    """Whether the loss was found after a gap, and may be older."""
    pages: bool
    reason: SafeText | None
    pod: SafeText | None
    ack: Ack | None
    silenced_until: ServerMs | None

    @property
    def standing(self) -> str:
        """The reason of `STANDINGS`."""
        if self.is_long:
            return "for over a day"
        if not self.pages:
            return NOT_PAGING
        if self.silenced_until is not None:
            return "silenced"
        return "" if self.ack is None else "acknowledged"

    @property
    def rank(self) -> Rank:
        """The urgent first, then the newest."""
        return STANDINGS.index(self.standing), -(self.since or -inf)

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        return {
            **self.row._asdict(),
            "state": self.presence,
            "since": iso(self.since),
            "lasted_s": None if self.since is None else span(self.judged_at - self.since) / _SECOND,
            "found_after_gap": self.is_found_late,
            "pages": self.pages,
            "reason": self.reason,
            "pod": self.pod,
            "acknowledged": None if self.ack is None else self.ack.text,
            "silenced_until": iso(self.silenced_until),
        }


def down_in(period: Period) -> Iterator[Down]:
    """Yield the machines that are down, without the replaced and those that nobody can judge."""
    state, now = period.recorded.last.profile_state, period.recorded.last.now
    at = state.clock.server_time(now.wall)
    groups = [event for event in period.recorded.events if event.kind is Kind.WHILE_BLIND]
    found_late = {(loss.id, loss.at) for loss in flatten(groups)}
    for id_, tracked in period.rows.items():
        is_judged = not state.is_unproven(tracked) and tracked.verdict != UNTIMED
        if tracked.verdict.is_up or not is_judged or tracked.replaced_by is not None:
            continue
        loss, silenced = period.pasts[id_].loss, period.silenced(tracked)
        since = lost_at(tracked) if loss is None or tracked.since_at is not None else loss.at
        counts_from = counted_from(silenced, tracked) or since
        yield Down(
            row=period.row(id_),
            presence=tracked.presence,
            since=since,
            judged_at=at,
            is_long=since is not None and at - max(since, counts_from or since) >= limits.OLD_AFTER / MS,
            is_found_late=loss is not None and (id_, loss.at) in found_late,
            pages=period.pages(id_),
            reason=clean(tracked.verdict.reason) if loss is None or loss.reason is None else loss.reason,
            pod=tracked.pod_id or _pod_at(loss),
            ack=period.recorded.last.acks.get(id_) or shared_ack_of(tracked.environment),
            silenced_until=silenced.until if silenced is not None and silenced.until > at else None,
        )


def _pod_at(loss: Event | None) -> SafeText | None:
    return None if loss is None or loss.then is None else loss.then.environment.pod_id


class Unrestricted(NamedTuple):
    """A machine whose agents may run all tools. Offline machines count, because the mode comes back with them."""

    row: Row
    since: ServerMs | None
    """None for a time before the period."""
    is_up: bool

    @property
    def rank(self) -> Rank:
        """Machines that are up first, then the newest."""
        return not self.is_up, -(self.since or -inf)

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        return {**self.row._asdict(), "since": iso(self.since), "up": self.is_up}


def unrestricted_in(period: Period) -> Iterator[Unrestricted]:
    """Yield the unrestricted machines."""
    for id_, tracked in period.rows.items():
        if _is_unrestricted(tracked):
            change = _latest_mode(period.pasts[id_])
            yield Unrestricted(period.row(id_), None if change is None else change.at, tracked.verdict.is_up)


def _is_unrestricted(tracked: TrackedEnvironment | None) -> bool:
    if tracked is None or tracked.verdict.is_absent:
        return False
    return mode_of(tracked.environment.mode) == UNRESTRICTED


def _latest_mode(past: RowPast) -> Event | None:
    """Return the change to the unrestricted mode, if it is the latest change of the mode."""
    change = next((event for event in reversed(past.events) if event.kind is Kind.MODE), None)
    return change if change is not None and change.after == UNRESTRICTED else None


class LostTogether(NamedTuple):
    """Machines that were lost in one incident."""

    began_at: ServerMs
    kind: Kind
    """The most frequent kind of loss."""
    rows: Sequence[Row]
    shared: SafeText | None
    """What the machines have in common."""
    pods: Counter[SafeText | None]
    """The pods at the loss; None for a machine without a pod."""
    spared_pods: Collection[SafeText | None]
    """The pods of other machines that were up at the loss."""
    is_found_late: bool
    still_down: Sequence[Row]
    back_at: ServerMs | None
    """The last return."""
    not_paging: int
    """How many of the machines do not page, unless none pages."""

    @property
    def rank(self) -> Rank:
        """Incidents with machines that are still down first, then the largest."""
        return not self.still_down, -len(self.rows)

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        return {
            "began_at": iso(self.began_at),
            "kind": self.kind,
            "environments": [row._asdict() for row in self.rows],
            "shared": self.shared,
            "pods": {pod: count for pod, count in self.pods.most_common() if pod is not None},
            "found_after_gap": self.is_found_late,
            "still_down": [row._asdict() for row in self.still_down],
            "back_at": iso(self.back_at),
            "needless": self.not_paging,
        }


def lost_together_in(period: Period) -> Iterator[LostTogether]:
    """Yield the incidents with several machines."""
    downtimes = [downtime for past in period.pasts.values() for downtime in past.downtimes]
    by_loss = {(loss.id, loss.at): downtime for downtime in downtimes for loss in downtime.losses}
    for losses, groups in period.together:
        (kind, _), *_ = Counter(loss.kind for loss in losses).most_common(1)
        own = [by_loss[loss.id, loss.at] for loss in losses if (loss.id, loss.at) in by_loss]
        ids = dict.fromkeys(loss.id for loss in losses if loss.id is not None)
        still_down = dict.fromkeys(downtime.id for downtime in own if downtime.ended_at is None)
        not_paging = len({loss.id for loss in losses if loss.incident is None})
        reasons = {group.reason for group in groups if group.kind is Kind.TOGETHER and group.of in LOSSES}
        pods = {loss.id: loss.then.environment.pod_id for loss in losses if loss.then is not None}
        yield LostTogether(
            began_at=min(loss.at for loss in losses),
            kind=kind,
            rows=[period.row(id_) for id_ in ids],
            shared=reasons.pop() if len(reasons) == 1 else None,
            pods=Counter(pods.values()),
            spared_pods=_pods_up_at(max(loss.at for loss in losses), period, ids),
            is_found_late=any(group.kind is Kind.WHILE_BLIND for group in groups),
            still_down=[period.row(id_) for id_ in still_down],
            back_at=max((downtime.ended_at for downtime in own if downtime.ended_at is not None), default=None),
            not_paging=not_paging if not_paging < len(ids) else 0,
        )


def _pods_up_at(at: ServerMs, period: Period, lost: Collection[SafeText]) -> set[SafeText | None]:
    """Return the pods of the other rows that were up at a moment."""
    return {
        row.pod_id
        for id_, row in period.rows.items()
        if id_ not in lost
        and any(each.state.is_up and each.since <= at <= each.until for each in period.pasts[id_].intervals)
    }


class Outage(NamedTuple):
    """An outage of a machine."""

    row: Row
    downtime: Downtime
    pages: bool
    shorter: int | None
    """How many shorter outages of the machine are over; None if another fact tells the outage."""

    @property
    def rank(self) -> Rank:
        """Machines that page first, then the longest."""
        return not self.pages, -self.downtime.lasted / MS

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        seen_s = self.downtime.seen / _SECOND
        return {**self.row._asdict(), **self.downtime.values, "seen_s": seen_s, "pages": self.pages}


def outages_in(period: Period) -> Iterator[Outage]:
    """Yield all outages. Told is only each machine's longest that is over and that no incident tells."""
    together = {(loss.id, loss.at) for losses, _ in period.together for loss in losses}
    for id_, past in period.pasts.items():
        downtimes = sorted(past.downtimes, key=lambda downtime: -downtime.lasted)
        told = [
            each
            for each in downtimes
            if each.ended_at is not None and together.isdisjoint((loss.id, loss.at) for loss in each.losses)
        ]
        for downtime in downtimes:
            shorter = len(told) - 1 if downtime in told[:1] else None
            yield Outage(period.row(id_), downtime, period.pages(id_), shorter)


class Flapping(NamedTuple):
    """A machine that went off and came back again and again."""

    row: Row
    times: Sequence[tuple[float, float]]
    """Begin and end of each time."""
    is_still: bool
    outages: int
    down: timedelta

    @property
    def rank(self) -> Rank:
        """The most outages first, then the longest."""
        return -self.outages, -self.down / MS

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        return {
            **self.row._asdict(),
            "times": [{"began_at": iso(begin), "ended_at": iso(end)} for begin, end in self.times],
            "still": self.is_still,
            "outages": self.outages,
            "down_s": self.down / _SECOND,
        }


def flapping_in(period: Period) -> Iterator[Flapping]:
    """Yield the machines that flapped."""
    for id_, past in period.pasts.items():
        if times := _flapping_times(past.intervals):
            yield Flapping(
                row=period.row(id_),
                times=times,
                is_still=id_ in period.rows and period.rows[id_].is_flapping,
                outages=len(past.downtimes),
                down=sum((each.seen for each in past.downtimes), timedelta()),
            )


def _flapping_times(intervals: Iterable[Interval]) -> list[tuple[float, float]]:
    times: list[tuple[float, float]] = []
    goes_on = False
    for each in intervals:
        if each.state is UptimeState.FLAPPING:
            since = times.pop()[0] if goes_on else each.since
            times.append((since, each.until))
            goes_on = True
        elif each.state in {UptimeState.UP, UptimeState.ABSENT}:
            goes_on = False
    return times


class Change(NamedTuple):
    """A change of a machine."""

    row: Row
    event: Event
    is_told: bool
    """Whether no other fact tells the change."""

    @property
    def rank(self) -> Rank:
        """The order of `CHANGES`."""
        return (CHANGES.index(self.event.kind),)

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        event = self.event
        change = {"kind": word_of(event), "at": iso(event.at), "before": event.before, "after": event.after}
        return {**self.row._asdict(), **change, "reason": event.reason}


def changes_in(period: Period) -> Iterator[Change]:
    """Yield the changes of the kinds `CHANGES`."""
    for event in flatten(period.recorded.events):
        if event.id is None or event.kind not in CHANGES:
            continue
        is_unrestricted = _is_unrestricted(period.rows.get(event.id)) and event is _latest_mode(period.pasts[event.id])
        is_down = event.kind is Kind.GONE and event.id in period.rows
        yield Change(period.row(event.id), event, is_told=not (is_unrestricted or is_down))


class OldVersion(NamedTuple):
    """A machine that is up with a version behind the newest."""

    row: Row
    version: SafeText
    newest: SafeText | None
    machines: int
    """How many machines have the version."""

    @property
    def rank(self) -> Rank:
        """The most frequent version first."""
        return (-self.machines,)

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        return {**self.row._asdict(), "version": self.version}


def old_versions_in(period: Period) -> Iterator[OldVersion]:
    """Yield the machines with an old version."""
    newest = period.recorded.last.profile_state.newest
    versions = {id_: row.environment.version for id_, row in period.rows.items() if row.verdict.is_up}
    behind = {id_: version for id_, version in versions.items() if version and is_behind(version, newest)}
    counts = Counter(behind.values())
    for id_, version in behind.items():
        yield OldVersion(period.row(id_), version, newest, counts[version])


class Unseen(NamedTuple):
    """A time without sight, or in doubt."""

    gap: Gap
    is_told: bool
    """Whether no gap with the same cause tells the time."""

    @property
    def rank(self) -> Rank:
        """The given order."""
        return ()

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        gap = self.gap
        return {
            "kind": gap.kind,
            "began_at": iso(gap.since),
            "ended_at": None if gap.is_open else iso(gap.until),
            "lasted_s": span(gap.until - gap.since) / _SECOND,
            "cause": gap.cause,
            "reason": gap.reason,
        }


def unseen_in(period: Period) -> Iterator[Unseen]:
    """Yield the times without sight or in doubt."""
    gaps = [gap for gap in period.gaps if gap.kind == "gap"]
    for gap in period.gaps:
        is_told = gap.kind == "gap" or not any(each.cause == gap.cause and each.touches(gap) for each in gaps)
        yield Unseen(gap, is_told)


class Uptime(NamedTuple):
    """A machine's time up and down. Silenced time down counts neither as up nor as down."""

    row: Row
    up: timedelta
    down: timedelta
    outages: int

    @property
    def share(self) -> float:
        """The share up, from 0 to 1."""
        return self.up / (self.up + self.down)

    @property
    def rank(self) -> Rank:
        """Machines with the smallest share first, those that were never up last."""
        return not self.up, self.share, -self.down / MS

    @property
    def values(self) -> Mapping[str, object]:
        """The fact in JSON."""
        down_s = self.down / _SECOND
        return {**self.row._asdict(), "share": self.share, "down_s": down_s, "outages": self.outages}


def uptimes_in(period: Period) -> Iterator[Uptime]:
    """Yield the uptime of each machine that was seen up or down."""
    for id_, tracked in period.rows.items():
        past = period.pasts[id_]
        up, _ = Availability.from_intervals(past.intervals)
        loud = [time for downtime in past.downtimes if (time := _loud_time(downtime, tracked, period))]
        down = sum(loud, timedelta())
        if up + down:
            yield Uptime(period.row(id_), up, down, len(loud))


def _loud_time(downtime: Downtime, tracked: TrackedEnvironment, period: Period) -> timedelta:
    """Return the time of an outage without the silence at the loss."""
    first, *_ = downtime.intervals
    silenced = period.silenced(tracked, first.since if downtime.began_at is None else downtime.began_at)
    begin = -inf if silenced is None else silenced.until
    return sum((span(each.until - max(each.since, begin)) for each in downtime.intervals), timedelta())
