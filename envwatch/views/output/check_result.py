"""The result of `check`, and the plugin's output.

The true count lies between `count` and `count + unknown`.

Source: Monitoring Plugins Development Guidelines, "Plugin Output", "Plugin Return Codes", "Performance data" and
"Threshold and Ranges". A range is `[@]start:end`, both ends included. `start:` defaults to 0, `~` is negative infinity,
a missing end is infinity. A value outside alerts; with `@`, a value inside.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from math import inf
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from envwatch.alerts.incidents import stall_texts
from envwatch.alerts.losses import key_of
from envwatch.fleet.plausibility import latest_possible
from envwatch.fleet.presence import HEARTBEAT_LOST, Presence
from envwatch.fleet.problems import has_been_silent, is_problem, is_undated
from envwatch.model import limits
from envwatch.model.clock import ServerMs
from envwatch.model.environment import UNRESTRICTED, mode_of
from envwatch.model.text import EMPTY, SafeText, clean, composed, counted, enumerated, named_ids, shortened
from envwatch.model.times import MS, long_age, span
from envwatch.model.versions import is_behind
from envwatch.query.state_looks import PRESENCE_STYLES
from envwatch.views.state_style import clock_warning, not_back_text
from envwatch.views.table.block import Aside, Block, build_block

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import EnvironmentKey, Matcher, TrackedEnvironment
    from envwatch.model.clock import Clocks


_NUMBER: Final = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_RANGE: Final = re.compile(rf"(?P<inside>@?)(?:(?P<start>~|{_NUMBER})?(?P<colon>:))?(?P<end>{_NUMBER})?", re.ASCII)
_LONGEST: Final = 64
_NAMED: Final = 16


@dataclass(frozen=True, slots=True)
class NagiosRange:
    """A threshold range."""

    text: str
    start: float
    end: float
    alerts_inside: bool = False

    def alerts(self, value: float) -> bool:
        """Whether a value raises an alert."""
        return (self.start <= value <= self.end) is self.alerts_inside


def parse_nagios_range(text: str) -> NagiosRange:
    """Parse a range.

    Raises:
        ValueError: if the text is no range; the message has examples.
    """
    match = _RANGE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not (match["colon"] or match["end"]):
        raise ValueError(f"{_named(text)} is no range; write 10, 10:, ~:10, 10:20 or @10:20")
    start = -inf if match["start"] == "~" else float(match["start"] or 0)
    end = inf if match["end"] is None else float(match["end"])
    if start > end:
        what = f"its start, {match['start'] or '0'}, is greater than its end, {match['end']}"
        raise ValueError(f"{_named(text)} is no range: {what}")
    return NagiosRange(text, start, end, alerts_inside=bool(match["inside"]))


def _named(text: str) -> SafeText:
    """Hide a long text, which may be a key in the wrong place."""
    return clean((text if len(text) <= _NAMED else "…") or "an empty text")


_SERVICE: Final = "ENVWATCH"
_LONGEST_TEXT: Final = 400
"""The limit in cells: callers send the first line as a short message."""
_LONGEST_DETAIL: Final = 200
_MOST_BYTES: Final = 4096
"""The oldest callers read no further bytes."""
_ROOM_FOR_REST: Final = 32


class PluginStatus(IntEnum):
    """A plugin's verdict; the value is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceDatum:
    """An item of performance data."""

    label: str
    """The label in ASCII letters, which need no quotes."""
    value: float
    unit: Literal["", "s"] = ""
    warning: NagiosRange | None = None
    critical: NagiosRange | None = None
    greatest: float


def plugin_status(values: Iterable[int], warning: NagiosRange | None, critical: NagiosRange | None) -> PluginStatus:
    """Return the certain status, given one or more possible values.

    The status is UNKNOWN if only some values are OK. If no value is OK, the lesser alert is certain.
    """
    possible = {_status(value, warning, critical) for value in values}
    return PluginStatus.UNKNOWN if PluginStatus.OK in possible and len(possible) > 1 else min(possible)


def _status(value: int, warning: NagiosRange | None, critical: NagiosRange | None) -> PluginStatus:
    if critical is not None and critical.alerts(value):
        return PluginStatus.CRITICAL
    return PluginStatus.WARNING if warning is not None and warning.alerts(value) else PluginStatus.OK


def output_of(
    status: PluginStatus, text: SafeText, metrics: Sequence[PerformanceDatum] = (), details: Sequence[SafeText] = ()
) -> str:
    """Return the plugin's output, with as many details as fit."""
    first = f"{_SERVICE} {status.name} - {_plain(text, _LONGEST_TEXT)}"
    if metrics:
        first += f" | {' '.join(map(_performance, metrics))}"
    lines = [first]
    room = _MOST_BYTES - _ROOM_FOR_REST - len(first.encode())
    for index, detail in enumerate(details):
        line = _plain(detail, _LONGEST_DETAIL)
        room -= len(line.encode()) + 1
        if room < 0:
            lines.append(f"and {len(details) - index:,} more")
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def content_of(
    status: PluginStatus, text: SafeText, metrics: Sequence[PerformanceDatum] = (), details: Sequence[SafeText] = ()
) -> dict[str, object]:
    """Return the output as JSON with stable names."""
    return {
        "status": status.name,
        "text": text,
        "metrics": {metric.label: metric.value for metric in metrics},
        "details": [*details],
    }


def _plain(text: SafeText, width: int) -> SafeText:
    """Replace `|`, which begins performance data on every line."""
    return shortened(composed(text.replace("|", "/")), width)


def _performance(metric: PerformanceDatum) -> str:
    warning, critical = (each.text if each else "" for each in (metric.warning, metric.critical))
    return f"{metric.label}={_number(metric.value)}{metric.unit};{warning};{critical};0;{_number(metric.greatest)}"


def _number(value: float) -> str:
    """Return a number to a thousandth, because an exponent is not allowed."""
    return str(value) if isinstance(value, int) else f"{value:.3f}".rstrip("0").rstrip(".")


_NAMES: Final = 3
_NAME_CELLS: Final = 40


class Metric(StrEnum):
    """The countable kinds of environments."""

    PAGING = "paging"
    """Machines that page, after a silence of `alert_after`, and incidents about the platform or envwatch."""
    OFF = "off"
    """Machines in the block that are off."""
    LATE = "late"
    ON = "on"
    UNRESTRICTED = "unrestricted"
    BEHIND = "behind"


_SHOWN: Final = frozenset({Metric.OFF, Metric.LATE, Metric.ON})
"""Metrics in which rows unknown in the status line count as unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The counts of the matching environments."""

    of: Metric
    count: int
    named: Sequence[tuple[SafeText, SafeText]]
    """Name and state of each counted environment, but for `Metric.ON` of each environment that is not on."""
    block: Block
    counted_states: Mapping[Presence, int]
    acked: int
    waiting: int
    """Problems within a silence of `alert_after`, which do not count yet."""
    unknown: int
    """Environments that cannot be judged and might count."""
    unreadable: int
    doubts: Sequence[SafeText]
    total: int
    old: timedelta | None
    """The oldest listing's age unless recent: the serving host may be cut off from the platform."""
    is_listing_empty: bool

    def status_and_text(
        self, warning: NagiosRange | None, critical: NagiosRange | None
    ) -> tuple[PluginStatus, SafeText]:
        """Return the status and a sentence.

        An empty listing proves nothing: the key may be another organization's, or the platform may have lost the list.
        Without a match, an alert stands (`1:` asks for at least one), but OK becomes UNKNOWN.
        """
        if self.is_listing_empty:
            return PluginStatus.UNKNOWN, clean("the server lists no machine, and none is expected")
        status = plugin_status(range(self.count, self.count + self.unknown + 1), warning, critical)
        if status is PluginStatus.OK and not self.total:
            return PluginStatus.UNKNOWN, clean("no machine matches the filter")
        return status, self.text

    def metrics(self, warning: NagiosRange | None, critical: NagiosRange | None) -> list[PerformanceDatum]:
        """Return the performance data: the metric, then the dashboard's counts."""
        presences, asides = self.block.presences, self.block.asides
        values = {str(PRESENCE_STYLES[state].word): presences.get(state, 0) for state in Presence}
        values["unknown"] = self.block.unknown + self.unreadable
        for aside in Aside:
            label = aside.value.replace(" ", "")
            values[label] = values.get(label, 0) + asides.get(aside, 0)
        first = PerformanceDatum(
            label=self.of.value, value=self.count, warning=warning, critical=critical, greatest=self.total
        )
        rest = (PerformanceDatum(label=name, value=value, greatest=self.total) for name, value in values.items())
        return [first, *(metric for metric in rest if metric.label != first.label)]

    @property
    def text(self) -> SafeText:
        """The result in a sentence without semicolons, which Nagios replaces."""
        remarks = []
        if self.of is Metric.PAGING:
            paging = sum(self.counted_states.values())
            found = f"{f'{paging:,}' if paging else 'none'} of {counted(self.total, 'machine')} paging"
            remarks = [f"{count:,} {PRESENCE_STYLES[state].word}" for state, count in self.counted_states.items()]
            remarks += [f"{count:,} {what}" for count, what in self.block.other_problems]
        else:
            found = f"{self.count:,} of {self.total:,} {self.of}"
        counts = [(self.unknown, "unknown"), (self.acked, "acked"), (self.waiting, "waiting")]
        if self.of is Metric.PAGING:
            counts += self.block.aside_counts
        remarks += [f"{count:,} {what}" for count, what in counts if count]
        if _NO_RECORD in self.doubts:
            remarks.append("no uptime record")
        if self.old is not None:
            remarks.append(f"data {long_age(self.old)} old")
        if remarks:
            found += f" ({', '.join(remarks)})"
        if self.named:
            names = enumerated([name for name, _ in self.named[:_NAMES]], len(self.named))
            found += f"{', others' if self.of is Metric.ON else ''}: {names}"
        return composed(found)

    @property
    def details(self) -> Sequence[SafeText]:
        """The doubts, then the state of each named environment."""
        return [*self.doubts, *(composed(f"{name}: {why}") for name, why in self.named)]


def check_listing(  # noqa: C901  one pass over all rows
    monitor: Monitor, of: Metric, matcher: Matcher, now: Clocks
) -> CheckResult:
    """Count the matching environments, after a listing of every profile."""
    named: list[tuple[TrackedEnvironment, SafeText]] = []
    counted_states: Counter[Presence] = Counter()
    acked = waiting = total = unknown = 0
    stall_names: list[tuple[SafeText, SafeText]] = []
    doubts: list[SafeText] = []
    matching = {profile_state.profile: _matching(profile_state, matcher, now) for profile_state in monitor.fleet}
    block = build_block_of_listings(monitor, now, counted={row.key for rows in matching.values() for row in rows})
    opened, judge = {line.profile for line in block.lines if line.blindness is not None}, monitor.judge(now)
    for profile_state in monitor.fleet:
        at, found = profile_state.clock.server_time(now.wall), matching[profile_state.profile]
        stall = _stall_in(profile_state, judge) if of in (Metric.PAGING, *_SHOWN) else _NO_STALL
        silent = [row for row in found if row.key in stall.rows]
        unknown += len(silent)
        if silent and of is Metric.PAGING and stall.texts is not None:
            acked += stall.is_acked
            stall_names += [] if stall.is_acked or profile_state.profile in opened else [stall.texts]
        proven = [
            row
            for row in found
            if not (row.key in stall.rows or profile_state.is_unproven(row) or (row.clock_suspect and of in _SHOWN))
        ]
        test, undated = _test_of(of, judge, profile_state, block.keys), 0
        for tracked in proven:
            is_counted = test(tracked)
            if is_counted is None:
                undated += 1
                continue
            if is_counted:
                counted_states[tracked.presence] += 1
            elif of is Metric.PAGING and is_problem(tracked, at, judge.counted_from(tracked)):
                is_acked = judge.is_acked(tracked)
                is_in_block = tracked.key in block.keys  # a silenced one is not, and is counted as silenced
                acked += is_in_block and is_acked
                waiting += is_in_block and not is_acked
            if is_counted is not (of is Metric.ON):
                late = not_back_text(tracked, judge)
                named.append((tracked, _why(profile_state, tracked, of, at, late)))
        unreadable, unlisted = _unreadable(profile_state), _unlisted(profile_state)
        total += len(found) + unreadable
        unknown += unreadable + undated + len(found) - len(silent) - len(proven)
        if of in (Metric.PAGING, Metric.OFF):
            unknown += unlisted
        if of is Metric.PAGING and judge.is_judged_by_system(profile_state.profile):
            doubts.append(_NO_RECORD)
        if (warning := clock_warning(profile_state)) is not None:
            doubts.append(warning)
        doubts += _doubts(profile_state, unreadable, len(found) - len(silent) - len(proven), undated, unlisted)
        if silent and not (of is Metric.PAGING and stall.texts is not None and not stall.is_acked):
            doubts.append(clean(f"unknown: {counted(len(silent), 'machine')} without a heartbeat, as all others"))
    others = sum(count for count, _ in block.other_problems) if of is Metric.PAGING else 0
    if of is Metric.PAGING:
        stall_names += _incident_texts(block)
    return CheckResult(
        of=of,
        count=counted_states.total() + others,
        named=stall_names
        + [(_name(tracked), why) for tracked, why in sorted(named, key=lambda each: _urgency(each[0]))],
        block=block,
        counted_states={state: counted_states[state] for state in _URGENCY if counted_states[state]},
        acked=acked,
        waiting=waiting,
        unknown=unknown,
        unreadable=sum(map(_unreadable, monitor.fleet)),
        doubts=doubts,
        total=total,
        old=monitor.fleet.old_listing_age(now),
        is_listing_empty=not any(
            profile_state.environments or _unreadable(profile_state) for profile_state in monitor.fleet
        ),
    )


def build_block_of_listings(monitor: Monitor, now: Clocks, *, counted: Collection[EnvironmentKey] | None) -> Block:
    """Return the block after one listing of each profile, in which rows silent with all others are unknown."""
    block = build_block(monitor, now, counted=counted)
    opened = {incident.profile for incident in monitor.incidents.open if incident.is_blindness}
    unknown = paging = stalls = 0
    judge = monitor.judge(now)
    for profile_state in monitor.fleet:
        stall = _stall_in(profile_state, judge)
        rows = [profile_state.environments[id_] for _, id_ in stall.rows & block.homes.keys()]
        silent = [row for row in rows if counted is None or row.key in counted]
        is_open = stall.texts is not None and not stall.is_acked and profile_state.profile not in opened
        stalls += is_open and any(counted is None or key in counted for key in stall.rows)
        unknown += len(silent)
        paging += sum(not judge.is_acked(row) for row in silent)
    if not (unknown or stalls):
        return block
    presences = Counter(block.presences) - Counter({Presence.OFFLINE: unknown})
    return replace(
        block, presences=presences, paging=block.paging - paging, unknown=block.unknown + unknown, stalls=stalls
    )


def _incident_texts(block: Block) -> list[tuple[SafeText, SafeText]]:
    """Return subject and reason of each open incident about the platform or envwatch."""
    open_lines = [line for line in block.lines if line.is_open and line.blindness is not None]
    return [
        (line.subject, line.blindness.losses[0].reason or EMPTY)
        for line in open_lines
        if line.subject is not None and line.blindness is not None
    ]


class _Stall(NamedTuple):
    """Rows that fell silent together, while no row of the profile beats."""

    rows: frozenset[EnvironmentKey] = frozenset()
    texts: tuple[SafeText, SafeText] | None = None
    """None before the stall is an incident."""
    is_acked: bool = False


_NO_STALL: Final = _Stall()


def _stall_in(profile_state: ProfileState, judge: Judge) -> _Stall:
    """Return the stall that a single listing shows: a later loss of a machine cannot be told from the platform's."""
    rows = profile_state.environments.values()
    if any(row.verdict.is_up for row in rows):
        return _NO_STALL
    beats = {
        row.key: beat
        for row in rows
        if row.environment.connection_id
        and row.verdict == HEARTBEAT_LOST
        and row.replaced_by is None
        and (beat := row.environment.last_heartbeat_at) is not None
    }
    since = ServerMs(max(beats.values(), default=0.0))
    together = frozenset(key for key, beat in beats.items() if since - beat <= limits.DEATH_WITHIN / MS)
    if len(together) < limits.STALL_ROWS:
        return _NO_STALL
    policy, at = judge.policy_of(profile_state.profile), judge.moments[profile_state.profile]
    lasts = None if policy.blind_after is None else min(policy.blind_after, limits.STALL_ALERT_AFTER)
    if lasts is None or span(at - since) < lasts:
        return _Stall(together)
    ack = judge.marks.acks.get((profile_state.server, EMPTY))
    texts = stall_texts(len(together), since, at, policy.zone)
    return _Stall(together, texts, is_acked=ack is not None and ack.at >= since)


_NO_RECORD: Final = clean(
    "no uptime record on this machine: every machine pages except sandboxes, macOS and Windows;"
    " `envwatch watch` keeps a record"
)


def _matching(profile_state: ProfileState, matcher: Matcher, now: Clocks) -> list[TrackedEnvironment]:
    at = profile_state.clock.server_time(now.wall)
    return [tracked for tracked in profile_state.environments.values() if matcher.matches(tracked, at)]


def _test_of(
    of: Metric, judge: Judge, profile_state: ProfileState, in_block: Container[EnvironmentKey]
) -> Callable[[TrackedEnvironment], bool | None]:
    match of:
        case Metric.PAGING:
            at, policy = judge.moments[profile_state.profile], judge.policy_of(profile_state.profile)
            latest_loss = latest_possible(profile_state.clock, at)
            needed = policy.silence_needed(profile_state.interval)
            waiting = {key_of(loss.event): loss for loss in judge.waiting}
            opened = {key for incident in judge.open for key in incident.remaining}

            def is_lasting_problem(tracked: TrackedEnvironment) -> bool | None:
                if not judge.is_alerting(tracked):
                    return False
                if (loss := waiting.get(tracked.key)) is not None:
                    return loss.counts_at(policy, profile_state.interval) <= judge.now.monotonic
                if tracked.key in opened:
                    return True
                if is_undated(tracked, latest_loss):
                    return None
                return has_been_silent(tracked, at, needed, judge.counted_from(tracked))

            return is_lasting_problem
        case Metric.OFF:
            return lambda tracked: tracked.presence is Presence.OFFLINE and tracked.key in in_block
        case Metric.UNRESTRICTED:
            return lambda tracked: tracked.verdict.is_up and mode_of(tracked.environment.mode) == UNRESTRICTED
        case Metric.BEHIND:
            return lambda tracked: (
                tracked.verdict.is_up and is_behind(tracked.environment.version, profile_state.newest)
            )
        case _:
            return lambda tracked: PRESENCE_STYLES[tracked.presence].word == of.value


def _unreadable(profile_state: ProfileState) -> int:
    return 0 if profile_state.snapshot is None else profile_state.snapshot.rejected


def _unlisted(profile_state: ProfileState) -> int:
    if not _unreadable(profile_state):
        return 0
    known = {
        name
        for each in profile_state.environments.values()
        for name in (each.environment.name, each.environment.device_id)
    }
    return len(set(profile_state.expect) - known)


def _doubts(
    profile_state: ProfileState, unreadable: int, untimed: int, undated: int, unlisted: int
) -> Iterator[SafeText]:
    if unreadable and profile_state.snapshot is not None:
        ids = named_ids(profile_state.snapshot.rejected_ids, unreadable)
        yield clean(f"unknown: {counted(unreadable, 'machine')} could not be read{ids}")
    if untimed:
        yield clean(f"unknown: {counted(untimed, 'machine')} whose heartbeat's time cannot be true")
    if undated:
        yield clean(f"unknown: {counted(undated, 'machine')} offline since a time that cannot be true")
    if unlisted:
        yield clean(f"unknown: {counted(unlisted, 'expected name')} may be among the machines that could not be read")


def _why(
    profile_state: ProfileState, tracked: TrackedEnvironment, of: Metric, at: float, late: SafeText | None
) -> SafeText:
    environment, word = tracked.environment, PRESENCE_STYLES[tracked.presence].word
    if of is Metric.UNRESTRICTED:
        return composed(f"{word}, mode {environment.mode}")
    if of is Metric.BEHIND:
        return composed(f"{word}, version {environment.version}, newest {profile_state.newest}")
    why = f"{word} ({tracked.reason}{f', {late}' if late else ''})"
    if tracked.verdict.is_absent:
        return clean(why)
    sign = "last seen" if environment.last_heartbeat_at is None else "last heartbeat"
    return clean(f"{why}, {sign} {long_age(span(at - tracked.environment.last_seen_alive_at))} ago")


_URGENCY: Final = (Presence.OFFLINE, Presence.LATE, Presence.GONE, Presence.ONLINE)


def _urgency(tracked: TrackedEnvironment) -> tuple[int, float]:
    return _URGENCY.index(tracked.presence), -tracked.environment.last_seen_alive_at


def _name(tracked: TrackedEnvironment) -> SafeText:
    profile = f"{tracked.profile}: " if tracked.profile else ""
    return composed(profile + shortened(tracked.environment.label, _NAME_CELLS, keep="ends"))
