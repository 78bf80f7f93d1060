"""The sections of a report on a profile: a template for each kind of fact."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from envwatch.fleet.events import NOT_RUNNING, Event, Kind
from envwatch.history.hours import percent_text
from envwatch.model.text import SafeText, counted, sliced
from envwatch.model.times import NOTHING, long_age, span
from envwatch.model.versions import is_behind
from envwatch.views.events.event_text import VERBS
from envwatch.views.report import facts
from envwatch.views.report.document import (
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
from envwatch.views.report.facts import NOT_PAGING, Period
from envwatch.views.table.table_view import ambiguous_names, id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import tzinfo

    from envwatch.views.report.outages import Downtime
    from envwatch.views.report.period import Gap, Recorded

_MINUTE: Final = timedelta(minutes=1)


class _Fact(Protocol):
    @property
    def rank(self) -> facts.Rank: ...
    @property
    def values(self) -> Mapping[str, object]: ...


_F = TypeVar("_F", bound=_Fact)


def build_report(recorded: Recorded, zone: tzinfo | None = None) -> ProfileReport:
    """Return the report on a profile; a `zone` of None is the configured zone."""
    period = Period(recorded)
    words = _Words(recorded, zone)
    watch, fleet = facts.watch_in(period), facts.fleet_in(period)
    return ProfileReport(
        profile=recorded.profile,
        host=recorded.host,
        head=(words.watch(watch), words.fleet(fleet, period.gaps)),
        values={"watch": watch.values, "fleet": None if fleet is None else fleet.values},
        sections=(
            _section("down", "Still down", facts.down_in(period), words.down),
            _section("unrestricted", "Unrestricted", facts.unrestricted_in(period), words.unrestricted),
            _section("incidents", "Lost together", facts.lost_together_in(period), words.lost_together),
            _section("outages", "Other outages", facts.outages_in(period), words.outage),
            _section("flapping", "Flapping", facts.flapping_in(period), words.flapping),
            _section("changes", "Changed", facts.changes_in(period), words.change),
            _section("behind", "Old versions", facts.old_versions_in(period), words.old_version),
            _section("unseen", "Not seen or in doubt", facts.unseen_in(period), words.unseen),
            _section("availability", "Availability", facts.uptimes_in(period), words.uptime),
        ),
    )


def _section(name: str, title: str, found: Iterable[_F], line_of: Callable[[_F], Line]) -> Section:
    ranked: list[_F] = sorted(found, key=attrgetter("rank"))
    return Section(name, title, [line_of(fact) for fact in ranked], [fact.values for fact in ranked])


class _Words:
    """Writes the facts of a period as lines of Markdown."""

    def __init__(self, recorded: Recorded, zone: tzinfo | None) -> None:
        self._clock = ReportClock(*recorded.span, zone)
        self._ambiguous = ambiguous_names(Counter(recorded.names.values()))

    def _subject(self, row: facts.Row) -> str:
        tail = id_tail(row.name, row.id, self._ambiguous)
        return f"{code(row.name)} {code(sliced(tail, 1))}" if tail else code(row.name)

    def _names(self, rows: Iterable[facts.Row]) -> str:
        return listed([self._subject(row) for row in rows], NAMES)

    def watch(self, watch: facts.Watch) -> Line:
        """Return the period, and how much of it was watched."""
        seen = f"Watched {percent_text(watch.share)}; {_age(watch.length - watch.watched)} not seen"
        sentences = ["All of it was watched." if watch.is_whole else f"{seen}."]
        if watch.query:
            sentences.append(f"Only machines that match {code(watch.query, 80)}.")
        if watch.clock:
            sentences.append(f"Careful: {watch.clock}.")
        return Line(f"{self._clock.headline}.", " ".join(sentences))

    def fleet(self, fleet: facts.Fleet | None, gaps: Iterable[Gap]) -> Line:
        """Return the numbers of machines, with a warning if what is known may be out of date."""
        warnings = "".join(
            f" Careful, this may be out of date: {_cause_text(gap)}, since {self._clock.text(gap.since)}."
            for gap in gaps
            if gap.is_open and gap.cause != NOT_RUNNING
        )
        if fleet is None:
            return Line("No answer came:", f"what is up is not known.{warnings}")
        parts = [*_count_texts(fleet.counts)]
        parts += [f"{count:,} {subject}" for count, subject in fleet.other_problems]
        if fleet.unknown:
            parts.append(f"{len(fleet.unknown):,} unknown ({self._names(fleet.unknown)})")
        when = f"as of {self._clock.text(fleet.listed_at)} ({_age(fleet.age)} old)"
        return Line(f"{counted(fleet.total, 'machine')}:", f"{', '.join(parts)}, {when}.{warnings}")

    def down(self, down: facts.Down) -> Line:
        """Return a machine that is down."""
        if down.is_long:
            return Line(self._subject(down.row), "down for over a day", down.standing)
        text = str(down.presence)
        if down.since is not None:
            before = " or before" if down.is_found_late else ""
            lasted = minutes_between(down.since, down.judged_at)
            text += f" since {self._clock.text(down.since)}{before} ({lasted})"
        text += f": {reason_text(down.reason)}"
        if down.pod:
            text += f", pod {code(down.pod)}"
        if not down.pages:
            text += f", {NOT_PAGING}"
        elif down.silenced_until is not None:
            text += f", silenced until {self._clock.text(down.silenced_until)}"
        elif down.ack is not None:
            text += f", acknowledged{acknowledged_by(down.ack)}"
        return Line(self._subject(down.row), text, down.standing)

    def unrestricted(self, fact: facts.Unrestricted) -> Line:
        """Return an unrestricted machine."""
        before = "before " if fact.since is None else ""
        when = self._clock.text(self._clock.since if fact.since is None else fact.since)
        return Line(self._subject(fact.row), f"since {before}{when}{'' if fact.is_up else ', offline'}")

    def lost_together(self, lost: facts.LostTogether) -> Line:
        """Return an incident of several machines."""
        if lost.kind is Kind.NOT_BACK:
            what = "not back after a silence"
        elif lost.is_found_late:
            what = f"were found {lost.kind} after a gap"
        else:
            what = f"{VERBS[lost.kind]} together"
        more = f" (+{lost.not_paging:,} {NOT_PAGING})" if lost.not_paging else ""
        where = f", all {code(lost.shared)}" if lost.shared else _pods_text(lost)
        text = f"{len(lost.rows) - lost.not_paging:,} {what}{more}{where}: {self._names(lost.rows)}"
        return Line(f"{self._clock.text(lost.began_at)}:", f"{text}; {_back_text(lost)}")

    def outage(self, outage: facts.Outage) -> Line:
        """Return an outage, without a sentence if another line tells it."""
        text = "" if outage.shorter is None else self._outage_text(outage.downtime, outage.shorter)
        if outage.pages:
            return Line(self._subject(outage.row), text)
        return Line(self._subject(outage.row), f"{text}, {NOT_PAGING}" if text else "", NOT_PAGING)

    def _outage_text(self, downtime: Downtime, shorter: int) -> str:
        until = self._clock.until if downtime.ended_at is None else downtime.ended_at
        if downtime.began_at is None:
            when = f"down at least {_age(downtime.seen)}, until {self._clock.text(until)}"
        else:
            when = f"down {_age(downtime.lasted)}, {self._clock.span(downtime.began_at, until)}"
        text = f"{when}: {reason_text(downtime.reason)}"
        return f"{text}; {counted(shorter, 'shorter one')}" if shorter else text

    def flapping(self, flapping: facts.Flapping) -> Line:
        """Return a machine that flapped."""
        *earlier, (since, until) = flapping.times
        when = f"since {self._clock.text(since)}, still" if flapping.is_still else self._clock.span(since, until)
        before = f", and {counted(len(earlier), 'time')} before" if earlier else ""
        text = f"{when}{before}; {counted(flapping.outages, 'outage')}, {_age(flapping.down)} down in all"
        return Line(self._subject(flapping.row), text)

    def change(self, change: facts.Change) -> Line:
        """Return a change, without a sentence if another line tells it."""
        event = change.event
        name = code(event.before or NOTHING) if event.kind is Kind.RENAMED else self._subject(change.row)
        return Line(f"{name} ({self._clock.text(event.at)})", _change_text(event) if change.is_told else "")

    def old_version(self, old: facts.OldVersion) -> Line:
        """Return a machine with an old version."""
        return Line(self._subject(old.row), f"on {code(old.version)} instead of {code(old.newest or NOTHING)}")

    def unseen(self, unseen: facts.Unseen) -> Line:
        """Return a time without sight, without a sentence if another line tells the cause."""
        gap = unseen.gap
        when = f"since {self._clock.text(gap.since)}" if gap.is_open else self._clock.span(gap.since, gap.until)
        text = f"in doubt: {_cause_text(gap)}" if gap.kind == "doubt" else _cause_text(gap)
        return Line(f"{when} ({_age(span(gap.until - gap.since))})", text if unseen.is_told else "")

    def uptime(self, uptime: facts.Uptime) -> Line:
        """Return a machine's uptime."""
        if not uptime.up:
            return Line(self._subject(uptime.row), "never up")
        text = f"up {percent_text(uptime.share)}"
        if uptime.outages:
            text += f", down {_age(uptime.down)} in {counted(uptime.outages, 'outage')}"
        return Line(self._subject(uptime.row), text)


def _age(age: timedelta) -> SafeText:
    return long_age(age if age < _MINUTE else age // _MINUTE * _MINUTE)


def _count_texts(counts: Mapping[str, int]) -> Iterator[str]:
    words = {"paging": "{:,} page", "other_off": "+{:,} off", "online": "{:,} on"}
    for name, count in counts.items():
        if count or name == "online":
            yield words.get(name, f"{{:,}} {name}").format(count)


def _pods_text(lost: facts.LostTogether) -> str:
    """Return the number of pods, or the only pod, unless spared machines show that the pod is no cause."""
    if len(lost.pods) > 1:
        return f", on {len(lost.pods)} pods"
    pod = next(iter(lost.pods), None)
    return "" if pod is None or pod in lost.spared_pods else f", on pod {code(pod)}"


def _back_text(lost: facts.LostTogether) -> str:
    still_down = len(lost.still_down)
    if still_down == len(lost.rows):
        return "none is back"
    within = "" if lost.back_at is None else f" within {_age(span(lost.back_at - lost.began_at))}"
    if still_down:
        return f"{len(lost.rows) - still_down:,} back{within}, {still_down:,} still down"
    return f"all back{within}"


def _change_text(event: Event) -> str:
    after = code(event.after or NOTHING)
    match event.kind:
        case Kind.MODE:
            return f"to mode {after}"
        case Kind.PAGES:
            return f"pages from now on: {reason_text(event.reason)}"
        case Kind.DOES_NOT_PAGE:
            return f"no longer pages: {reason_text(event.reason)}"
        case Kind.VERSION:
            return f"{'back ' if is_behind(event.after, event.before) else ''}to version {after}"
        case Kind.RENAMED:
            return f"renamed to {after}"
        case _:
            return "new" if event.kind is Kind.APPEARED else "left the list"


def _cause_text(gap: Gap) -> str:
    return gap.cause + (f": {code_text(gap.reason)}" if gap.reason else "")
