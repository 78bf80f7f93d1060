"""The sections of a report on a profile."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Final

from envwatch.alerts.losses import LOSSES
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import counted_from, silenced_time
from envwatch.fleet.events import NOT_RUNNING, Event, Kind, flatten
from envwatch.fleet.presence import UNTIMED, Presence
from envwatch.fleet.watched_time import UptimeState
from envwatch.history.hours import Availability, percent_text
from envwatch.history.rewound import rewound
from envwatch.model import limits
from envwatch.model.environment import UNRESTRICTED, mode_of
from envwatch.model.shared_marks import shared_ack_of
from envwatch.model.text import SafeText, clean, counted, sliced
from envwatch.model.times import MS, NOTHING, long_age, span
from envwatch.model.versions import is_behind
from envwatch.wording.events.cloud_events import word_of
from envwatch.wording.events.event_text import VERBS
from envwatch.wording.output.formats import iso
from envwatch.wording.report.document import (
    NAMES,
    Line,
    ProfileReport,
    ReportClock,
    Section,
    acknowledged_by,
    code,
    code_text,
    listed,
    minutes_between,
    reason_text,
)
from envwatch.wording.report.outages import losses_together, lost_at, row_pasts
from envwatch.wording.report.period import gaps_in
from envwatch.wording.state_style import clock_warning
from envwatch.wording.table.block import Aside, Block, block_of
from envwatch.wording.table.table_view import ambiguous_names, id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from envwatch.alerts.silences import Silenced
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.fleet.watched_time import Interval
    from envwatch.model.clock import Clocks, ServerMs
    from envwatch.wording.report.outages import Downtime, RowPast
    from envwatch.wording.report.period import Gap, Recorded

_MINUTE: Final = timedelta(minutes=1)
_SECOND: Final = timedelta(seconds=1)
_NEEDLESS: Final = "not paging"
_MARKS: Final = ("", "acknowledged", "silenced", _NEEDLESS, "for over a day")


def report_of(recorded: Recorded, zone: tzinfo | None = None) -> ProfileReport:
    """Return the report on a profile; a `zone` of None is the configured zone."""
    facts = _Facts(recorded, zone)
    head = {"watch": _watch(facts), "fleet": _fleet(facts)}
    sections = [
        Section(name, title, sorted(lines_of(facts), key=lambda line: line.rank)) for name, title, lines_of in _SECTIONS
    ]
    return ProfileReport(recorded.profile, recorded.host, head, sections)


class _Facts:
    def __init__(self, recorded: Recorded, zone: tzinfo | None) -> None:
        self.recorded, self.state = recorded, recorded.last.profile_state
        self.rows: Mapping[SafeText, TrackedEnvironment] = self.state.environments
        self.clock = ReportClock(*recorded.span, zone)
        self.pasts, self.gaps = row_pasts(recorded), gaps_in(recorded)
        self._ambiguous = ambiguous_names(Counter(recorded.names.values()))

    def line(self, id_: SafeText, predicate: str = "", *rank: float, **values: object) -> Line:
        name = self.recorded.names.get(id_, id_)
        tail = id_tail(name, id_, self._ambiguous)
        subject = code(name) + (f" {code(sliced(tail, 1))}" if tail else "")
        return Line(subject, predicate, {"id": id_, "name": name, **values}, rank)

    def silenced(self, tracked: TrackedEnvironment, off_at: float | None = None) -> Silenced | None:
        alerts, now = self.recorded.last.alerts, self.recorded.last.now.wall
        return silenced_time(tracked, self.state, alerts.once, alerts.recurring, now, off_at)

    def counts(self, id_: SafeText) -> bool:
        decision = self.recorded.last.alerts.decisions.get(id_)
        return decision is None or decision.counts

    def block_at(self, now: Clocks) -> Block:
        """Return the block with the counts that the dashboard showed."""
        monitor = Monitor.create({self.state.profile: self.state.limits})
        return block_of(rewound(monitor, {self.state.profile: self.recorded.last}), now)

    def is_judged(self, tracked: TrackedEnvironment) -> bool:
        return not self.state.is_unproven(tracked) and tracked.verdict != UNTIMED


def _age(age: timedelta) -> SafeText:
    return long_age(age if age < _MINUTE else age // _MINUTE * _MINUTE)


def _watch(facts: _Facts) -> Line:
    length = span(facts.clock.until - facts.clock.since)
    watched = sum((span(until - since) for since, until in facts.recorded.watched.spans), timedelta())
    share, warning = min(watched / length, 1.0) if length else 0.0, clock_warning(facts.state)
    is_whole = all(gap.kind != "gap" for gap in facts.gaps)
    seen = "All of it was watched" if is_whole else f"Watched {percent_text(share)}; {_age(length - watched)} not seen"
    query = facts.recorded.query
    sentences = [
        f"{seen}.",
        *([f"Only machines that match {code(query, 80)}."] if query else []),
        *([f"Careful: {warning}."] if warning else []),
    ]
    values = {"watched_s": watched / _SECOND, "period_s": length / _SECOND, "share": share, "clock": warning}
    return Line(f"{facts.clock.headline}.", " ".join(sentences), values)


def _fleet(facts: _Facts) -> Line:
    warnings = "".join(
        f" Careful, this may be out of date: {_cause_text(gap)}, since {facts.clock.text(gap.since)}."
        for gap in facts.gaps
        if gap.is_open and gap.cause != NOT_RUNNING
    )
    if (listed := facts.state.listed) is None:
        return Line("No answer came:", f"what is up is not known.{warnings}", None)
    block = facts.block_at(listed)
    known = {tracked.key for tracked in facts.state.known(listed)}
    unknown = [facts.line(id_) for id_, tracked in facts.rows.items() if tracked.key not in known]
    counts = {
        "paging": block.paging,
        "other_off": block.off_besides,
        "late": block.presences.get(Presence.LATE, 0),
        "online": block.presences.get(Presence.ONLINE, 0),
        **{aside.value: block.asides.get(aside, 0) for aside in (Aside.OLD, Aside.REPLACED, Aside.GONE)},
    }
    words = {"paging": "{:,} page", "other_off": "+{:,} off", "online": "{:,} on"}
    parts = [
        words.get(name, f"{{:,}} {name}").format(count) for name, count in counts.items() if count or name == "online"
    ]
    parts += [f"{count:,} {subject}" for count, subject in block.other_problems]
    if unknown:
        parts.append(f"{len(unknown):,} unknown ({_names_text(unknown)})")
    at, age = facts.state.clock.server_time(listed.wall), span(facts.recorded.until - listed.wall)
    when = f"as of {facts.clock.text(at)} ({_age(age)} old)"
    values = {
        "listed_at": iso(at),
        "age_s": age / _SECOND,
        "total": len(facts.rows),
        **counts,
        "unknown": [line.values for line in unknown],
        "newest_version": facts.state.newest,
    }
    return Line(f"{counted(len(facts.rows), 'machine')}:", f"{', '.join(parts)}, {when}.{warnings}", values)


def _down(facts: _Facts) -> Iterator[Line]:
    now = facts.state.clock.server_time(facts.recorded.last.now.wall)
    groups = [event for event in facts.recorded.events if event.kind is Kind.WHILE_BLIND]
    late = {(loss.id, loss.at) for loss in flatten(groups)}
    for id_, tracked in facts.rows.items():
        if tracked.verdict.is_up or not facts.is_judged(tracked) or tracked.replaced_by is not None:
            continue
        loss, silenced = facts.pasts[id_].loss, facts.silenced(tracked)
        ack = facts.recorded.last.acks.get(id_) or shared_ack_of(tracked.environment)
        since = lost_at(tracked) if loss is None or tracked.since_at is not None else loss.at
        reason = clean(tracked.verdict.reason) if loss is None or loss.reason is None else loss.reason
        pod = tracked.pod_id or (None if loss is None or loss.then is None else loss.then.environment.pod_id)
        quiet_until = silenced.until if silenced is not None and silenced.until > now else None
        counts_from, is_found_late = counted_from(silenced, tracked), loss is not None and (id_, loss.at) in late
        before = " or before" if is_found_late else ""
        when = f" since {facts.clock.text(since)}{before} ({minutes_between(since, now)})" if since is not None else ""
        text = f"{tracked.presence}{when}: {reason_text(reason)}" + (f", pod {code(pod)}" if pod else "")
        mark = ""
        if since is not None and now - max(since, counts_from or since) >= limits.OLD_AFTER / MS:
            mark, text = "for over a day", "down for over a day"
        elif not facts.counts(id_):
            mark, text = _NEEDLESS, f"{text}, {_NEEDLESS}"
        elif quiet_until is not None:
            mark, text = "silenced", f"{text}, silenced until {facts.clock.text(quiet_until)}"
        elif ack is not None:
            mark, text = "acknowledged", f"{text}, acknowledged{acknowledged_by(ack)}"
        line = facts.line(
            id_,
            text,
            *(_MARKS.index(mark), -(since or -inf)),
            state=tracked.presence,
            since=iso(since),
            lasted_s=None if since is None else span(now - since) / _SECOND,
            found_after_gap=is_found_late,
            pages=facts.counts(id_),
            reason=reason,
            pod=pod,
            acknowledged=None if ack is None else ack.text,
            silenced_until=iso(quiet_until),
        )
        yield line._replace(mark=mark)


def _unrestricted(facts: _Facts) -> Iterator[Line]:
    """Yield unrestricted rows. Offline rows count, because the mode comes back with them."""
    for id_, tracked in facts.rows.items():
        if _is_unrestricted(tracked):
            change = _latest_mode(facts.pasts[id_])
            since, is_up = None if change is None else change.at, tracked.verdict.is_up
            when = f"before {facts.clock.text(facts.clock.since)}" if since is None else facts.clock.text(since)
            text = f"since {when}{'' if is_up else ', offline'}"
            yield facts.line(id_, text, not is_up, -(since or -inf), since=iso(since), up=is_up)


def _is_unrestricted(tracked: TrackedEnvironment | None) -> bool:
    if tracked is None or tracked.verdict.is_absent:
        return False
    return mode_of(tracked.environment.mode) == UNRESTRICTED


def _latest_mode(past: RowPast) -> Event | None:
    change = next((event for event in reversed(past.events) if event.kind is Kind.MODE), None)
    return change if change is not None and change.after == UNRESTRICTED else None


def _incidents(facts: _Facts) -> Iterator[Line]:
    downtimes = [downtime for past in facts.pasts.values() for downtime in past.downtimes]
    by_loss = {(loss.id, loss.at): downtime for downtime in downtimes for loss in downtime.losses}
    for losses, groups in losses_together(facts.recorded.events):
        began_at = min(loss.at for loss in losses)
        (kind, _), *_ = Counter(loss.kind for loss in losses).most_common(1)
        own = [by_loss[loss.id, loss.at] for loss in losses if (loss.id, loss.at) in by_loss]
        rows = {loss.id: facts.line(loss.id) for loss in losses if loss.id is not None}
        still = {downtime.id: rows[downtime.id].values for downtime in own if downtime.ended_at is None}
        back_at = max((downtime.ended_at for downtime in own if downtime.ended_at is not None), default=None)
        needless = len({loss.id for loss in losses if loss.incident is None})
        needless = needless if needless < len(rows) else 0
        reasons = {group.reason for group in groups if group.kind is Kind.TOGETHER and group.of in LOSSES}
        shared = reasons.pop() if len(reasons) == 1 else None
        pods = Counter({loss.id: loss.then.environment.pod_id for loss in losses if loss.then is not None}.values())
        spared = _pods_up_at(max(loss.at for loss in losses), facts, rows)
        is_found_late = any(group.kind is Kind.WHILE_BLIND for group in groups)
        how = f"were found {kind} after a gap" if is_found_late else f"{VERBS[kind]} together"
        what = "not back after a silence" if kind is Kind.NOT_BACK else how
        more = f" (+{needless:,} {_NEEDLESS})" if needless else ""
        where = f", all {code(shared)}" if shared else _pods_text(pods, spared)
        within = "" if back_at is None else f" within {_age(span(back_at - began_at))}"
        back = f"{len(rows) - len(still):,} back{within}, {len(still):,} still down" if still else f"all back{within}"
        text = f"{len(rows) - needless:,} {what}{more}{where}: {_names_text(rows.values())}"
        yield Line(
            f"{facts.clock.text(began_at)}:",
            f"{text}; {'none is back' if len(still) == len(rows) else back}",
            {
                "began_at": iso(began_at),
                "kind": kind,
                "environments": [line.values for line in rows.values()],
                "shared": shared,
                "pods": {pod: count for pod, count in pods.most_common() if pod is not None},
                "found_after_gap": is_found_late,
                "still_down": [*still.values()],
                "back_at": iso(back_at),
                "needless": needless,
            },
            (not still, -len(rows)),
        )


def _names_text(lines: Iterable[Line]) -> str:
    return listed([line.subject for line in lines], NAMES)


def _pods_up_at(at: ServerMs, facts: _Facts, lost: Collection[SafeText]) -> set[SafeText | None]:
    """Return the pods of the other rows that were up at a moment."""
    return {
        row.pod_id
        for id_, row in facts.rows.items()
        if id_ not in lost
        and any(each.state.is_up and each.since <= at <= each.until for each in facts.pasts[id_].intervals)
    }


def _pods_text(pods: Counter[SafeText | None], spared: Collection[SafeText | None]) -> str:
    """Return the number of pods, or the only pod, unless rows in `spared` pods show that the pod is no cause."""
    (pod, _), *others = pods.most_common() or [(None, 0)]
    if others:
        return f", on {len(pods)} pods"
    return "" if pod is None or pod in spared else f", on pod {code(pod)}"


def _outages(facts: _Facts) -> Iterator[Line]:
    """Yield outages, as a sentence only for each row's longest outage that no other section tells."""
    together = {(loss.id, loss.at) for losses, _ in losses_together(facts.recorded.events) for loss in losses}
    for id_, past in facts.pasts.items():
        downtimes, counts = sorted(past.downtimes, key=lambda downtime: -downtime.lasted), facts.counts(id_)
        over = [downtime for downtime in downtimes if downtime.ended_at is not None]
        told = [each for each in over if together.isdisjoint((loss.id, loss.at) for loss in each.losses)]
        for downtime in downtimes:
            text = _outage_text(downtime, len(told) - 1, facts.clock) if downtime in told[:1] else ""
            values = {**downtime.values, "seen_s": downtime.seen / _SECOND, "pages": counts}
            text = f"{text}, {_NEEDLESS}" if text and not counts else text
            line = facts.line(id_, text, not counts, -downtime.lasted / MS, **values)
            yield line._replace(mark="" if counts else _NEEDLESS)


def _outage_text(downtime: Downtime, others: int, clock: ReportClock) -> str:
    until = clock.until if downtime.ended_at is None else downtime.ended_at
    when = f"down {_age(downtime.lasted)}, {clock.span(downtime.began_at or until, until)}"
    if downtime.began_at is None:
        when = f"down at least {_age(downtime.seen)}, until {clock.text(until)}"
    return f"{when}: {reason_text(downtime.reason)}" + (f"; {counted(others, 'shorter one')}" if others else "")


def _flapping(facts: _Facts) -> Iterator[Line]:
    for id_, past in facts.pasts.items():
        still = id_ in facts.rows and facts.rows[id_].is_flapping
        if times := _flapping_times(past.intervals):
            since, until = times[-1]
            when = f"since {facts.clock.text(since)}, still" if still else facts.clock.span(since, until)
            count, down = len(past.downtimes), sum((each.seen for each in past.downtimes), timedelta())
            earlier = f", and {counted(len(times) - 1, 'time')} before" if len(times) > 1 else ""
            text = f"{when}{earlier}; {counted(count, 'outage')}, {_age(down)} down in all"
            spans = [{"began_at": iso(begin), "ended_at": iso(end)} for begin, end in times]
            values = {"times": spans, "still": still, "outages": count, "down_s": down / _SECOND}
            yield facts.line(id_, text, -count, -down / MS, **values)


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


_PREDICATES: Final[Mapping[Kind, Callable[[Event], str]]] = {
    Kind.MODE: lambda event: f"to mode {code(event.after or NOTHING)}",
    Kind.PAGES: lambda event: f"pages from now on: {reason_text(event.reason)}",
    Kind.DOES_NOT_PAGE: lambda event: f"no longer pages: {reason_text(event.reason)}",
    Kind.VERSION: lambda event: (
        f"{'back ' if is_behind(event.after, event.before) else ''}to version {code(event.after or NOTHING)}"
    ),
    Kind.APPEARED: lambda _: "new",
    Kind.GONE: lambda _: "left the list",
    Kind.RENAMED: lambda event: f"renamed to {code(event.after or NOTHING)}",
}


def _changes(facts: _Facts) -> Iterator[Line]:
    kinds = [*_PREDICATES]
    for event in flatten(facts.recorded.events):
        if event.id is None or event.kind not in kinds:
            continue
        # `Unrestricted` tells an unrestricted row's latest change, and `Still down` a gone row.
        is_told = _is_unrestricted(facts.rows.get(event.id)) and event is _latest_mode(facts.pasts[event.id])
        is_told = is_told or (event.kind is Kind.GONE and event.id in facts.rows)
        values = {"kind": word_of(event), "at": iso(event.at), "before": event.before, "after": event.after}
        text = "" if is_told else _PREDICATES[event.kind](event)
        line = facts.line(event.id, text, kinds.index(event.kind), **values, reason=event.reason)
        name = code(event.before or NOTHING) if event.kind is Kind.RENAMED else line.subject
        yield line._replace(subject=f"{name} ({facts.clock.text(event.at)})")


def _behind(facts: _Facts) -> Iterator[Line]:
    versions = {id_: row.environment.version for id_, row in facts.rows.items() if row.verdict.is_up}
    behind = {id_: version for id_, version in versions.items() if version and is_behind(version, facts.state.newest)}
    counts = Counter(behind.values())
    for id_, version in behind.items():
        text = f"on {code(version)} instead of {code(facts.state.newest or NOTHING)}"
        yield facts.line(id_, text, -counts[version], version=version)


def _unseen(facts: _Facts) -> Iterator[Line]:
    for gap in facts.gaps:
        when = f"since {facts.clock.text(gap.since)}" if gap.is_open else facts.clock.span(gap.since, gap.until)
        lasted = span(gap.until - gap.since)
        ended_at = None if gap.is_open else iso(gap.until)
        times = {"began_at": iso(gap.since), "ended_at": ended_at, "lasted_s": lasted / _SECOND}
        values = {"kind": gap.kind, **times, "cause": gap.cause, "reason": gap.reason}
        text = f"in doubt: {_cause_text(gap)}" if gap.kind == "doubt" else _cause_text(gap)
        is_told = any(
            each.kind == "gap" != gap.kind and each.cause == gap.cause and each.touches(gap) for each in facts.gaps
        )
        yield Line(f"{when} ({_age(lasted)})", "" if is_told else text, values)


def _cause_text(gap: Gap) -> str:
    return gap.cause + (f": {code_text(gap.reason)}" if gap.reason else "")


def _availability(facts: _Facts) -> Iterator[Line]:
    """Yield each row's share up. Silenced time down counts neither as up nor as down."""
    for id_, tracked in facts.rows.items():
        past = facts.pasts[id_]
        up, _ = Availability.from_intervals(past.intervals)
        loud = [time for downtime in past.downtimes if (time := _loud_time(downtime, tracked, facts))]
        if known := up + (down := sum(loud, timedelta())):
            text = f"up {percent_text(up / known)}"
            text += f", down {_age(down)} in {counted(len(loud), 'outage')}" if loud else ""
            values = {"share": up / known, "down_s": down / _SECOND, "outages": len(loud)}
            yield facts.line(id_, text if up else "never up", not up, up / known, -down / MS, **values)


def _loud_time(downtime: Downtime, tracked: TrackedEnvironment, facts: _Facts) -> timedelta:
    """Return the time of an outage without the silence at the loss."""
    first, *_ = downtime.intervals
    silenced = facts.silenced(tracked, first.since if downtime.began_at is None else downtime.began_at)
    begin = -inf if silenced is None else silenced.until
    return sum((span(each.until - max(each.since, begin)) for each in downtime.intervals), timedelta())


_SECTIONS: Final[Sequence[tuple[str, str, Callable[[_Facts], Iterator[Line]]]]] = (
    ("down", "Still down", _down),
    ("unrestricted", "Unrestricted", _unrestricted),
    ("incidents", "Lost together", _incidents),
    ("outages", "Other outages", _outages),
    ("flapping", "Flapping", _flapping),
    ("changes", "Changed", _changes),
    ("behind", "Old versions", _behind),
    ("unseen", "Not seen or in doubt", _unseen),
    ("availability", "Availability", _availability),
)
"""Name in JSON, title and lines; the most urgent first."""
