"""A report as Markdown for a chat: short lines, bounded lists, no tables, names in code spans.

The text is readable without rendering, and ASCII except for names.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch.fleet.events import Kind
from envwatch.history.hours import percent_text
from envwatch.model.environment import UNRESTRICTED
from envwatch.model.text import EMPTY, SafeText, counted, sliced
from envwatch.model.times import DAY_MS, long_age, moment, offset_text, span
from envwatch.model.versions import is_behind
from envwatch.views.events.event_text import VERBS
from envwatch.views.report import values
from envwatch.views.report.chat import code, code_note, code_text, listed, reason_text
from envwatch.views.table.table_view import id_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime, tzinfo


class ReportClock(NamedTuple):
    """Writes the times of a period; all times are ms of the server's clock."""

    since: float
    until: float
    zone: tzinfo | None = None

    def text(self, at: float) -> str:
        """Return a time: `02:13`, or `Tue 24 Nov 02:13` if over a day before the end or in a longer period."""
        if (when := moment(at, self.zone)) is None:
            return "a time outside the calendar"
        is_short = self.until - DAY_MS < at <= self.until <= self.since + DAY_MS
        return self._time(when) if is_short else f"{self._date(when)} {self._time(when)}"

    def span(self, since: float, until: float, *, is_open: bool = False) -> str:
        """Return a time span, a single time if within a minute, or `since …` if open."""
        begin, end = self.text(since), self.text(until)
        if is_open:
            return f"since {begin}"
        return begin if begin == end else f"{begin} to {end}"

    @property
    def headline(self) -> str:
        """The period with dates and zone."""
        begin, end = moment(self.since, self.zone), moment(self.until, self.zone)
        if begin is None or end is None:
            return "a time outside the calendar"
        last = self._time(end) if begin.date() == end.date() else f"{self._date(end)} {self._time(end)}"
        zone = "" if self._is_shifted else f", times in {_zone_text(end)}"
        return f"{self._date(begin)} {self._time(begin)} to {last} ({long_age(span(self.until - self.since))}){zone}"

    def _date(self, when: datetime) -> str:
        end = moment(self.until, self.zone)
        return f"{when:%a %d %b}" if end is not None and when.year == end.year else f"{when:%a %d %b %Y}"

    def _time(self, when: datetime) -> str:
        return f"{when:%H:%M} {_zone_name(when)}" if self._is_shifted else f"{when:%H:%M}"

    @property
    def _is_shifted(self) -> bool:
        begin, end = moment(self.since, self.zone), moment(self.until, self.zone)
        return begin is not None and end is not None and begin.utcoffset() != end.utcoffset()


def _zone_text(when: datetime) -> str:
    name, offset = _zone_name(when), _offset(when)
    return offset if name in {"UTC", "GMT", offset} else f"{name} ({offset})"


def _zone_name(when: datetime) -> str:
    name = when.tzname() or ""
    return name if name.isascii() and name.isalpha() else _offset(when)


def _offset(when: datetime) -> str:
    offset = offset_text(when)
    return "UTC" if offset == "Z" else f"UTC{offset[0]}{offset[1:].removeprefix('0')}"


_LINES: Final = 12
_INCIDENTS: Final = 8
_OUTAGES: Final = 5
_NAMES: Final = 4


def markdown_of(report: values.Report, zone: tzinfo | None = None) -> str:
    """Return a report as Markdown."""
    return "\n\n".join(_profile_text(report, each, zone) for each in report.profiles) + "\n"


def _profile_text(report: values.Report, profile: values.ProfileReport, zone: tzinfo | None) -> str:
    clock = ReportClock(*profile.period, zone)
    blocks = ["\n".join(_head(report, profile, clock))]
    fine: list[str] = []
    for section in _SECTIONS:
        title, lines, sentence = section(profile, clock)
        if lines:
            blocks.append("\n".join([f"## {title}", *(f"- {line}" for line in lines)]))
        elif sentence:
            fine.append(sentence)
    if fine and profile.fleet is not None:
        blocks.append(" ".join(fine))
    return "\n\n".join(blocks)


def _head(report: values.Report, profile: values.ProfileReport, clock: ReportClock) -> Iterator[str]:
    watch = profile.watch
    yield f"# envwatch: {code(profile.profile)} on {code(profile.host)}"
    yield ""
    yield f"{clock.headline}."
    if report.filter:
        yield f"Only environments that match {code(report.filter, 80)}."
    yield _watched_text(watch)
    yield ""
    if profile.fleet is None:
        yield "No listing came: what is up is not known."
    else:
        yield _summary_text(profile.fleet, clock)
    for gap in (*watch.gaps, *watch.doubts):
        if gap.is_open and gap.cause != values.NOT_RUNNING:
            yield f"Careful, this may be out of date: {_cause_text(gap)}, since {clock.text(gap.began_at)}."


def _watched_text(watch: values.Watch) -> str:
    if not watch.gaps:
        return "All of it was watched."
    unseen = watch.period - watch.watched
    return f"Watched {percent_text(watch.share)} of it; {long_age(unseen)} not seen."


def _summary_text(summary: values.FleetSummary, clock: ReportClock) -> str:
    counts = (
        (summary.offline, "offline"),
        (summary.gone, "gone"),
        (summary.missing, "missing"),
    )
    late = f" ({summary.late:,} late)" if summary.late else ""
    parts = [f"{summary.up:,} of {summary.total:,} up{late}"]
    parts += [f"{count:,} {what}" for count, what in counts if count]
    if summary.unknown:
        parts.append(f"{len(summary.unknown):,} not known ({_names(summary.unknown)})")
    return f"{', '.join(parts)}, by the listing of {clock.text(summary.listed_at)} ({long_age(summary.age)} old)."


# Each section returns a title, lines, and a sentence for a section without lines.

_Section = tuple[str, list[str], str]


def _name(subject: values.Subject) -> str:
    tail = id_tail(subject.name, subject.id, frozenset({subject.name}) if subject.is_ambiguous else frozenset())
    return code(subject.name) + (f" {code(sliced(tail, 1))}" if tail else "")


def _names(subjects: Iterable[values.Subject], most: int = _NAMES) -> str:
    return listed([_name(subject) for subject in subjects], most)


def _bounded(lines: Sequence[str], most: int = _LINES) -> list[str]:
    return [*lines] if len(lines) <= most + 1 else [*lines[:most], f"and {len(lines) - most:,} more"]


def _down_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:
    fresh = [down for down in profile.down if not down.is_old and down.silenced is None]
    silenced = [down.subject for down in profile.down if not down.is_old and down.silenced is not None]
    old = [down.subject for down in profile.down if down.is_old]
    open_ones = sum(down.acknowledged is None for down in fresh)
    lines = _bounded([_down_text(down, clock) for down in fresh])
    title = f"{len(fresh):,}"
    if open_ones != len(fresh):
        title += f" ({open_ones:,} not acknowledged)" if open_ones else " (all acknowledged)"
    counts = [title] if fresh else []
    for subjects, what in ((silenced, "silenced"), (old, "for over a day")):
        if subjects:
            lines.append(f"{what}: {_names(subjects, 8)}")
            counts.append(f"{len(subjects):,} {what}")
    if counts:
        title = ", and ".join(filter(None, (", ".join(counts[:-1]), counts[-1])))
    return f"Still down: {title}", lines, "Nothing is down."


def _down_text(down: values.Down, clock: ReportClock) -> str:
    parts = [f"{_name(down.subject)} {down.state}"]
    if down.since is not None:
        before, found = (" or before", ", found after a gap") if down.found_after_gap else ("", "")
        parts[0] += f" since {clock.text(down.since)}{before} ({long_age(down.lasted)}{found})"
    parts[0] += f": {reason_text(down.reason)}"
    if down.pod is not None:
        parts.append(f"pod {code(down.pod)}")
    if down.acknowledged is not None:
        parts.append(f"acknowledged: {code_note(down.acknowledged)}" if down.acknowledged else "acknowledged")
    return ", ".join(parts)


def _incident_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:
    found = profile.incidents
    # Incidents with environments still down come first, then the largest.
    chosen = sorted(found, key=lambda each: (not each.still_down, -len(each.environments)))[:_INCIDENTS]
    lines = [_incident_text(each, clock) for each in sorted(chosen, key=lambda each: each.began_at)]
    if len(found) > len(chosen):
        lines.append(f"and {counted(len(found) - len(chosen), 'smaller one')}")
    return f"Lost together: {len(found):,}", lines, "No environments were lost together."


def _incident_text(incident: values.ReportedIncident, clock: ReportClock) -> str:
    count, still = len(incident.environments) - incident.needless, incident.still_down
    needless = f" (+{incident.needless:,} need nobody)" if incident.needless else ""
    where = f", all {code(incident.shared)}" if incident.shared else _pods_text(incident)
    if incident.kind is Kind.NOT_BACK:
        what = f"{count:,} not back by {clock.text(incident.began_at)}: {_names(incident.environments)}"
    else:
        how = (
            f"were found {incident.kind} after a gap"
            if incident.found_after_gap
            else f"{VERBS[incident.kind]} together"
        )
        what = f"{clock.text(incident.began_at)} {count:,} {how}{needless}{where}: {_names(incident.environments)}"
    back = len(incident.environments) - len(still)
    until = ""
    if incident.back_at is not None:
        lasted = span(incident.back_at - incident.began_at)
        until = f" within {long_age(lasted)}"
    if not still:
        return f"{what}. All back{until}."
    if not back:
        return f"{what}. None is back."
    return f"{what}. {back:,} back{until}, {len(still):,} still down: {_names(still)}."


def _pods_text(incident: values.ReportedIncident) -> str:
    (pod, count), *others = incident.pods.items() or [(EMPTY, 0)]
    if count * 2 <= len(incident.environments):
        return f", on {len(others) + 1} pods" if others else ""
    return f", {'all' if count == len(incident.environments) else f'{count:,} of them'} on pod {code(pod)}"


def _outage_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:
    of_each: dict[values.Subject, list[values.Downtime]] = {}
    for outage in profile.outages:
        if outage.ended_at is not None and outage.incident is None:
            of_each.setdefault(outage.subject, []).append(outage)
    lines = [_outage_text(longest, len(others), clock) for longest, *others in [*of_each.values()][:_OUTAGES]]
    title = f"Longest outages that ended: {len(lines)}"
    if len(of_each) > len(lines):
        title += f" of {sum(map(len, of_each.values())):,} in {len(of_each):,} environments"
    return title, lines, "No other outage came and went."


def _outage_text(outage: values.Downtime, others: int, clock: ReportClock) -> str:
    ended_at = clock.until if outage.ended_at is None else outage.ended_at
    if outage.began_at is None:
        when = f"for at least {long_age(outage.seen)}, until {clock.text(ended_at)}"
    else:
        when = f"for {long_age(outage.lasted)}, {clock.span(outage.began_at, ended_at)}"
    more = f"; {counted(others, 'shorter one')}" if others else ""
    return f"{_name(outage.subject)} {when}: {reason_text(outage.reason)}{more}"


def _flapper_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:
    lines = _bounded([_flapper_text(flapper, clock) for flapper in profile.flapping])
    return f"Flapping: {len(profile.flapping):,}", lines, "None flapped."


def _flapper_text(flapper: values.Flapper, clock: ReportClock) -> str:
    since, until = flapper.times[-1]
    when = f"since {clock.text(since)}, still" if flapper.is_flapping else clock.span(since, until)
    before = len(flapper.times) - 1
    earlier = f" and {before} times before" if before > 1 else " and once before" if before else ""
    down = f"; {counted(flapper.outages, 'outage')}, {long_age(flapper.down)} down in all" if flapper.outages else ""
    return f"{_name(flapper.subject)} {when}{earlier}{down}"


def _mode_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:
    lines = _bounded([_unrestricted_text(each, clock) for each in profile.unrestricted])
    if before := _unrestricted_before(profile, clock):
        lines.append(f"for a time, and not any more ({len(before):,}): {listed(before, _NAMES)}")
    others = [each for each in profile.mode_changes if UNRESTRICTED not in (each.before, each.after)]
    if others:
        subjects = len({each.subject.id for each in others})
        lines.append(f"{counted(len(others), 'other change')} of mode in {counted(subjects, 'environment')}")
    count = len(profile.unrestricted)
    title = f"Unrestricted: {count:,}" if count else "Modes: none is unrestricted"
    return title, lines, "No mode changed, and none is unrestricted."


def _unrestricted_text(each: values.Unrestricted, clock: ReportClock) -> str:
    when = f"before {clock.text(clock.since)}" if each.since is None else clock.text(each.since)
    return f"{_name(each.subject)} since {when}{'' if each.is_up else ', offline'}"


def _unrestricted_before(profile: values.ProfileReport, clock: ReportClock) -> list[str]:
    now = {each.subject.id for each in profile.unrestricted}
    begins: dict[SafeText, values.ReportedChange] = {}
    spells: dict[SafeText, str] = {}
    for change in profile.mode_changes:
        id_ = change.subject.id
        if change.after == UNRESTRICTED:
            begins[id_] = change
        elif change.before == UNRESTRICTED and id_ not in now:
            begin = begins.pop(id_, None)
            when = "until" if begin is None else f"{clock.text(begin.at)} to"
            spells.pop(id_, None)
            spells[id_] = f"{_name(change.subject)} {when} {clock.text(change.at)}"
    return [*reversed(spells.values())]


def _version_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:  # noqa: ARG001  as the others
    behind = sum(len(each.environments) for each in profile.behind)
    lines = _bounded(
        [f"{code(each.version)} ({len(each.environments):,}): {_names(each.environments)}" for each in profile.behind],
        6,
    )
    lines += _version_changes(profile)
    if profile.newest_version is None:
        return "Versions", lines, ""
    newest = code(profile.newest_version)
    if not behind:
        return f"Versions: none is behind {newest}", lines, f"None is behind {newest}."
    return f"Versions: {behind:,} of {profile.up:,} are behind {newest}", lines, ""


def _version_changes(profile: values.ProfileReport) -> list[str]:
    found = [change for change in profile.version_changes if change.after is not None]
    if not found:
        return []
    subjects = list(dict.fromkeys(change.subject for change in found))
    who = _names(subjects) if len(subjects) <= _NAMES else counted(len(subjects), "environment")
    counts = Counter(change.after for change in found).most_common()
    versions = listed([f"{code(version)} ({count:,})" for version, count in counts if version is not None], _NAMES)
    lines = [f"{counted(len(found), 'change')} of version in {who}: to {versions}"]
    back = dict.fromkeys(change.subject for change in found if is_behind(change.after, change.before))
    return [*lines, f"went back to an older version ({len(back):,}): {_names(back)}"] if back else lines


def _member_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:
    lines = []
    for title, arrivals in (("new", profile.appeared), ("left the list", profile.gone)):
        if arrivals:
            named = [f"{_name(each.subject)} {clock.text(each.at)}" for each in arrivals]
            lines.append(f"{title} ({len(named):,}): {listed(named, _NAMES)}")
    renamed = [f"{code(each.before or EMPTY)} to {code(each.after or EMPTY)}" for each in profile.renamed]
    if renamed:
        lines.append(f"renamed ({len(renamed):,}): {listed(renamed, _NAMES)}")
    return "New, gone, renamed", lines, "None is new, gone or renamed."


def _alert_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:
    lines = _bounded([_turned_text(each, clock) for each in profile.alerting])
    return f"Began or stopped to alert: {len(profile.alerting):,}", lines, ""


def _turned_text(turned: values.Turned, clock: ReportClock) -> str:
    what = "counts" if turned.counts else "counts no more"
    return f"{_name(turned.subject)} {what} since {clock.text(turned.at)}: {reason_text(turned.reason)}"


def _watch_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:
    watch = profile.watch
    lines = _bounded([_gap_text(gap, clock) for gap in watch.gaps])
    lines += _bounded([f"in doubt: {_gap_text(doubt, clock)}" for doubt in watch.doubts])
    if watch.clock is not None:
        lines.append(watch.clock)
    title = "Seen with doubts" if lines else "Left out"
    lines += _bounded([f"{each.text(clock.text)}: {code_text(each.reason)}" for each in profile.left_out])
    if watch.gaps:
        title = f"Not seen: {long_age(watch.period - watch.watched)}"
    return title, lines, "Nothing went unseen."


def _gap_text(gap: values.Gap, clock: ReportClock) -> str:
    lasted = long_age(span(gap.ended_at - gap.began_at))
    return f"{clock.span(gap.began_at, gap.ended_at, is_open=gap.is_open)} ({lasted}): {_cause_text(gap)}"


def _cause_text(gap: values.Gap) -> str:
    return f"{gap.cause}" + (f": {code_text(gap.reason)}" if gap.reason else "")


def _available_section(profile: values.ProfileReport, clock: ReportClock) -> _Section:  # noqa: ARG001  as the others
    below = [each for each in profile.availability if 0 < each.share < 1]
    never = [each.subject for each in profile.availability if not each.share]
    always = len(profile.availability) - len(below) - len(never)
    lines = _bounded([_available_text(each) for each in below])
    if len(lines) < len(below):
        lines[-1] += f", each {percent_text(below[len(lines) - 1].share)} or better"
    if never:
        lines.append(f"never up ({len(never):,}): {_names(never, 8)}")
    if not lines:
        return "", [], "All were up all of the time watched." if always else ""
    if always:
        lines.append(f"{counted(always, 'other')}: up 100 % of the time watched")
    return "Availability", lines, ""


def _available_text(each: values.Available) -> str:
    down = f"down {long_age(each.down)} in {counted(each.outages, 'outage')}"
    return f"{percent_text(each.share)} {_name(each.subject)}: {down}"


_SECTIONS: Final[Sequence[Callable[[values.ProfileReport, ReportClock], _Section]]] = (
    _down_section,
    _incident_section,
    _outage_section,
    _flapper_section,
    _mode_section,
    _version_section,
    _member_section,
    _alert_section,
    _watch_section,
    _available_section,
)
