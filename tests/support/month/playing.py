"""Plays a script before watchers, and compares the watchers' messages with the needs of the script.

The watchers are envwatch without settings, off at night and with settings, and two naive watchers.

A watcher looks right before and after each visible change, every 10 or 20 s while a message may come, every minute
during a fault, and otherwise every 10 minutes. Rows that are off most of the time are not looked at between.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from functools import cache
from itertools import islice, pairwise, takewhile
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from support.month.script import (
    BEGIN,
    BRIEF,
    DAY,
    EXPIRY,
    HOUR,
    MINUTE,
    NEEDED_AFTER,
    SECOND,
    WATCHED_HOURS,
    Cause,
    Change,
    Fault,
    Row,
    Script,
    Trouble,
    covered,
)

from envwatch.alerts import uptime_record
from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.alert_state import alert_state, alert_state_content
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.uptime_record import UptimeRecord, parse_record
from envwatch.config.settings import read_settings
from envwatch.fleet.events import NO_PROFILE, EventLog, Kind
from envwatch.model.clock import Clocks, MonotonicS, OffsetBounds, ServerMs, WallMs
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause as PollCause
from envwatch.model.outcome import Failed, Listed, ListedPage, Slept, Snapshot
from envwatch.model.text import clean
from envwatch.watch.profiles import policy_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from support.month.script import Need

    from envwatch.alerts.monitor import MonitorChanges
    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Outcome


STEP: Final = 5 * SECOND
CALM_STEPS: Final = 120
_LATEST: Final = 800
"""Largest delay of a poll, ms; delays keep polls out of step with pings."""
_LATENCY: Final = 80
_BOOTED_S: Final = 1_000.0

_BACK_AFTER: Final = 80 * SECOND
"""A row that is up for this time is back, for every watcher."""
_UP_FOR: Final = 36 * HOUR
_MOSTLY_UP: Final = 0.75
"""A row that was up for a shorter time, or a smaller share of a week, is off most of the time."""

_FAILURES: Final = (
    (PollCause.SERVER, "500 Internal Server Error"),
    (PollCause.UNREACHABLE, "connection refused"),
    (PollCause.TIMEOUT, "no answer within 10 s"),
    (PollCause.UNAVAILABLE, "cloud_api_shutting_down"),
    (PollCause.GARBLED, "HTML, not JSON"),
    (PollCause.UNAUTHORIZED, "Unauthorized"),
    (PollCause.RATE_LIMITED, "Rate limit exceeded"),
)


class Step(NamedTuple):
    at: int
    """Milliseconds since the script began."""
    now: Clocks
    outcome: Outcome | None
    """None at a restart of the monitor."""


def steps(script: Script, polls: Sequence[int] | None = None) -> Iterator[Step]:
    """Yield a monitor's whole input in order of time; `polls` replaces `dense_polls`."""
    return _Player(script).steps(dense_polls(script) if polls is None else polls)


class Platform:
    """The platform's rows at a moment of a script. Time only moves forward."""

    def __init__(self, script: Script) -> None:
        self._actions = script.actions
        self._rows = script.rows()
        self._listed: dict[int, Row] = {}
        self._next_action = 0

    def environments(self, at: int, faults: Mapping[Fault, Trouble], *, is_odd: bool) -> list[Environment]:
        """Return a listing under faults; of two replicas, the odd one rounds heartbeats."""
        self._act(at)
        for row in self._listed.values():
            if row.beats_at <= at:
                row.beat(at)
        if not faults:
            return [row.environment for row in self._listed.values()]
        if Fault.ROUNDED in faults and not is_odd:
            faults = {fault: trouble for fault, trouble in faults.items() if fault is not Fault.ROUNDED}
        return [env for row in self._listed.values() if (env := _shown(row, faults)) is not None]

    def _act(self, at: int) -> None:
        while self._next_action < len(self._actions) and self._actions[self._next_action].at <= at:
            action = self._actions[self._next_action]
            self._next_action += 1
            row = self._rows[action.row]
            if action.what is Change.REMOVED:
                self._listed.pop(action.row, None)
            else:
                self._listed[action.row] = row
            row.change(action.what, action.at)


class _Player:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._platform = Platform(script)
        self._slept = 0
        """Total sleep of the monitor's machine, ms."""

    def steps(self, dense: Sequence[int]) -> Iterator[Step]:
        script = self._script
        troubles, first = script.troubles, 0
        away: Trouble | None = None  # the newest stop or sleep of the monitor
        before: Clocks | None = None
        skews, skew = iter([*script.skews[1:], (script.length * 2, 0)]), script.skews[0][1]
        next_skew = next(skews)
        numbers = [number for number, is_dense in enumerate(dense) if is_dense or number % CALM_STEPS == 0]
        for number, following in pairwise([*numbers, len(dense)]):
            at = number * STEP + number * 7_919 % _LATEST
            while first < len(troubles) and troubles[first].until <= at:
                first += 1
            present = [each for each in takewhile(_begun_by(at), islice(troubles, first, None)) if at < each.until]
            if (absence := next((each for each in present if each.fault in _AWAY), None)) is not None:
                away = absence
                continue
            while next_skew[0] <= at:
                skew, next_skew = next_skew[1], next(skews)
            if away is not None and away.fault is Fault.ASLEEP:
                self._slept += away.until - away.since
            now = self._clocks(at - _LATENCY, skew)
            if away is not None and away.fault is Fault.STOPPED:
                yield Step(at, now, None)
            elif before is not None and now.slept_since(before):
                yield Step(at, now, Slept(before, now))
            away = None
            started, before = self._clocks(at - _LATENCY // 2, skew), self._clocks(at + _LATENCY // 2, skew)
            yield Step(at, before, self._outcome(at, started, before, _interval(following - number), present))

    def _clocks(self, at: int, skew: int) -> Clocks:
        return Clocks(WallMs(float(BEGIN + at + skew)), MonotonicS(_BOOTED_S + (at - self._slept) / 1000))

    def _outcome(
        self, at: int, started: Clocks, ended: Clocks, interval: timedelta, present: Sequence[Trouble]
    ) -> Outcome:
        faults = {each.fault: each for each in present}
        if (failing := faults.get(Fault.FAILING)) is not None:
            cause, message = _FAILURES[failing.since % len(_FAILURES)]
            return Failed(cause=cause, message=clean(message), started=started, ended=ended, interval=interval)
        environments = self._platform.environments(at, faults, is_odd=bool(started.wall // STEP % 2))
        error = faults[Fault.WRONG_DATE].error if Fault.WRONG_DATE in faults else 0
        date = (BEGIN + at + error) // 1000 * 1000
        bounds = OffsetBounds.of_answer(date, started.wall, ended.wall)
        page = ListedPage(environments, started.wall)
        return Listed(Snapshot.of_pages(pages=(page,), clock=(bounds,), requests=1), started, ended, interval)


@cache
def _interval(steps: int) -> timedelta:
    """Return the declared interval of a poll: the next poll comes before the profile is blind, after three."""
    return timedelta(milliseconds=max(STEP, STEP * steps // 3 + SECOND))


_AWAY: Final = frozenset({Fault.STOPPED, Fault.ASLEEP})


def _begun_by(at: int) -> Callable[[Trouble], bool]:
    return lambda trouble: trouble.since <= at


def _shown(row: Row, faults: Mapping[Fault, Trouble]) -> Environment | None:
    """Return a row as listed under faults; None if the row is not listed."""
    if Fault.EMPTY in faults or any(fault in faults and _is_hit(row, faults[fault]) for fault in _HIDING):
        return None
    beat_at: float | None = row.environment.last_heartbeat_at
    if beat_at is None:
        return row.environment
    if (stalled := faults.get(Fault.STALLED)) is not None and beat_at > BEGIN + stalled.since:
        beat_at = float(BEGIN + row.last_beat(max(stalled.since, row.began_at)))
    if Fault.ROUNDED in faults:
        beat_at += 0.5
    if (wrong := faults.get(Fault.WRONG_TIMES)) is not None and _is_hit(row, wrong):
        beat_at /= 1_000
    if (lost := faults.get(Fault.BEATS_LOST)) is not None and _is_hit(row, lost):
        beat_at = None
    if beat_at == row.environment.last_heartbeat_at:
        return row.environment
    return replace(row.environment, last_heartbeat_at=None if beat_at is None else ServerMs(beat_at))


_HIDING: Final = (Fault.VANISHED, Fault.SHIFTED)


def _is_hit(row: Row, trouble: Trouble) -> bool:
    return (row.salt ^ trouble.since * 2_654_435_761) % 1_000 < trouble.share * 1_000


class _Looks:
    """The polls of a watcher, by number."""

    def __init__(self, length: int) -> None:
        self.polls = bytearray(length // STEP)

    def add(self, since: int, until: int, every: int = STEP) -> None:
        """Look from the last poll before a moment to the first poll after another."""
        first, last, step = max((since - _LATEST) // STEP, 0), min(until // STEP + 2, len(self.polls)), every // STEP
        if first < last:
            self.polls[first:last:step] = b"\1" * len(range(first, last, step))


def dense_polls(script: Script) -> bytearray:
    looks = _Looks(script.length)
    looks.add(0, 2 * MINUTE)
    for at in range(WATCHED_HOURS[0], script.length, DAY):
        looks.add(at, at + NEEDED_AFTER + MINUTE, 20 * SECOND)
    _look_at_rows(script, looks)
    _look_at_troubles(script, looks)
    return looks.polls


def _look_at_rows(script: Script, looks: _Looks) -> None:
    rows, weeks = script.rows(), [_Week() for _ in script.first]
    for action in script.actions:
        row, week, at = rows[action.row], weeks[action.row], action.at
        is_up = action.what in (Change.UP, Change.AWAKE)
        may_matter = action.is_notable or week.may_count(at)
        week.change(at, is_up=is_up)
        if is_up:
            row.began_at = at
        if not may_matter or action.what is Change.REMOVED:
            continue
        looks.add(at, at)
        if is_up:
            looks.add(at, at + _BACK_AFTER, 20 * SECOND if action.is_notable else _BACK_AFTER)
            continue
        if action.what is Change.SILENT:
            seen_at = row.last_beat(at) + EXPIRY
            looks.add(seen_at, seen_at)
        if action.is_notable:
            looks.add(at, at + NEEDED_AFTER - 100 * SECOND, 20 * SECOND)
            looks.add(at + NEEDED_AFTER - 100 * SECOND, at + NEEDED_AFTER + 10 * SECOND, 10 * SECOND)
        else:
            looks.add(at, at + NEEDED_AFTER + MINUTE, 30 * SECOND)
    for each in script.episodes:
        if each.cause is Cause.FLAPPING:
            looks.add(each.since, each.until + 12 * MINUTE, 30 * SECOND)


class _Week:
    """The times of a row, to know whether the row was up most of the week."""

    def __init__(self) -> None:
        self._ups: list[tuple[int, int]] = []
        self._up_since: int | None = None
        self._first_at: int | None = None

    def change(self, at: int, *, is_up: bool) -> None:
        if self._first_at is None:
            self._first_at = at
        if is_up and self._up_since is None:
            self._up_since = at
        elif not is_up and self._up_since is not None:
            if at > 0:
                self._ups.append((self._up_since, at))
            else:
                self._first_at = 0
            self._up_since = None

    def may_count(self, at: int) -> bool:
        """Whether the row was up for `_UP_FOR`, and most of the last week."""
        if self._first_at is None:
            return False
        ups = [*self._ups, (self._up_since, at)] if self._up_since is not None else self._ups
        begin = max(self._first_at, at - 7 * DAY)
        up = covered(ups, begin, at)
        return up >= _UP_FOR and up >= _MOSTLY_UP * (at - begin)


def _look_at_troubles(script: Script, looks: _Looks) -> None:
    for since, until, fault, _, _ in script.troubles:
        looks.add(since, since + STEP)
        looks.add(until, until + STEP)
        if until - since < 10 * SECOND:
            continue
        if fault not in _AWAY:
            looks.add(since, min(since + 3 * MINUTE, until), 10 * SECOND)
            looks.add(since, until, MINUTE)
        looks.add(until, until + 2 * MINUTE, 10 * SECOND)
        looks.add(until, until + NEEDED_AFTER + MINUTE, 20 * SECOND)
    for at, _ in script.skews[1:]:
        looks.add(at, at + MINUTE)
        looks.add(at, at + NEEDED_AFTER, 20 * SECOND)


class Watcher(Protocol):
    messages: list[Message]

    def take(self, step: Step) -> None:
        """Look at the world once."""

    def script(self, script: Script) -> Script:
        """Return the script with the times in which this watcher does not look."""
        return script


class Naive(Watcher):
    """The official rule by this machine's clock: a message for each row that is not online for `polls` consecutive
    polls.
    """

    def __init__(self, polls: int) -> None:
        self._polls = polls
        self._armed: set[str] = set()
        self._missing: dict[str, int] = {}
        self.messages: list[Message] = []

    def take(self, step: Step) -> None:
        outcome = step.outcome
        if outcome is None:
            self._armed, self._missing = set(), {}
        if not isinstance(outcome, Listed):
            return
        oldest = outcome.started.wall - EXPIRY
        online = {
            env.id
            for env in outcome.snapshot.pages[0].environments
            if env.connection_id and env.last_heartbeat_at is not None and env.last_heartbeat_at > oldest
        }
        lost = self._armed - online
        if lost or self._missing:
            self._missing = {id_: self._missing.get(id_, 0) + 1 for id_ in lost}
        told = {id_ for id_, count in self._missing.items() if count >= self._polls}
        self.messages += [Message(step.at, frozenset({id_})) for id_ in sorted(told)]
        self._armed = (self._armed | online) - told
        for id_ in told:
            del self._missing[id_]


def restarted(monitor: Monitor, now: Clocks) -> Monitor:
    """Return the monitor after a restart, with the alert state and the uptime record as files keep them."""
    content = json.loads(json.dumps(alert_state_content(monitor.alert_state(NO_PROFILE, now), now)))
    following = new_monitor(monitor.policies[NO_PROFILE])
    state = alert_state(content, NO_PROFILE, now)
    following = following if state is None else following.with_alert_state(NO_PROFILE, state)
    if not (record := monitor.uptime_records[NO_PROFILE]).has_begun:
        return following
    kept = parse_record(json.loads(json.dumps(uptime_record.uptime_content(record))))
    return following if kept is None else following.with_uptime_record(NO_PROFILE, kept)


def new_monitor(policy: AlertPolicy) -> Monitor:
    """Return a monitor that records the uptime of all rows."""
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: policy})
    return monitor.with_uptime_record(NO_PROFILE, UptimeRecord())


class Envwatch(Watcher):
    def __init__(self, policy: AlertPolicy) -> None:
        self.messages: list[Message] = []
        self.monitor = new_monitor(policy)

    def take(self, step: Step) -> None:
        if step.outcome is None:
            self.monitor = restarted(self.monitor, step.now)
            return
        self.monitor, changes = self.monitor.apply(NO_PROFILE, step.outcome, step.now)
        if changes.opened:
            self._note(step.at, changes)
        if len(self.monitor.event_log) > _EVENTS_KEPT:
            self.monitor = replace(self.monitor, event_log=EventLog(), watched={})

    def _note(self, at: int, changes: MonitorChanges) -> None:
        for incident in changes.opened:
            ids = frozenset(str(loss.id) for loss in incident.losses if loss.id)
            # A message about envwatch names no row.
            if ids or incident.losses[0].kind is Kind.STALLED:
                self.messages.append(Message(at, ids))


_EVENTS_KEPT: Final = 200


class EnvwatchAtDay(Envwatch):
    """A monitor that is off at night."""

    def __init__(self, policy: AlertPolicy) -> None:
        super().__init__(policy)
        self._was_off = False

    def take(self, step: Step) -> None:
        begin, end = WATCHED_HOURS
        is_off = not begin <= step.at % DAY < end
        if not is_off:
            if self._was_off:
                super().take(Step(step.at, step.now, None))
            super().take(step)
        self._was_off = is_off

    def script(self, script: Script) -> Script:
        begin, end = WATCHED_HOURS
        nights = [(0, begin), *((at + end, at + DAY + begin) for at in range(0, script.length, DAY))]
        return script.with_troubles(Trouble(since, until, Fault.STOPPED) for since, until in nights)


def policy_with_settings(servers: Iterable[str]) -> AlertPolicy:
    """Return the alert policy of `SETTINGS`; `servers` are device ids."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.toml")
        path.with_name("inventory").write_text("\n".join(servers))
        path.write_text(SETTINGS)
        (settings,) = read_settings({"config": str(path)}, {})
        return policy_for(settings)


SETTINGS: Final = """\
timezone = "UTC"
expect_file = "inventory"
alert = "!os:darwin,win32 !name:laptop-*,ci-*,vm-*"

[[silences]]
filter = "name:desk-*"
hours = "19:30-07:30"
"""
"""The inventory has the device ids of all servers."""


def watchers(servers: Iterable[str]) -> Mapping[str, Watcher]:
    """Return the watchers by name, the most important one first; `servers` are device ids."""
    return {
        DEFAULT: Envwatch(AlertPolicy()),
        "envwatch, off at night": EnvwatchAtDay(AlertPolicy()),
        "envwatch, with settings": Envwatch(policy_with_settings(servers)),
        "naive, each poll": Naive(1),
        "naive, twice in a row": Naive(2),
    }


DEFAULT: Final = "envwatch, default without settings"


def watched(script: Script, by: Iterable[Watcher], polls: Sequence[int] | None = None) -> None:
    by = tuple(by)
    for step in steps(script, polls):
        for watcher in by:
            watcher.take(step)


SLACK: Final = 10 * SECOND
"""Time from the end of a need to the poll that shows the end."""
_NAMES: Final = 5


class Message(NamedTuple):
    at: int
    """Milliseconds since the script began."""
    ids: frozenset[str]
    """No id in a message about the heartbeats of all rows."""


@dataclass
class Score:
    messages: int = 0
    true: int = 0
    brief: int = 0
    """Messages about a machine that recovered within 5 minutes: false by the definition, too."""
    vm_ends: int = 0
    """Messages about VMs that ended after days, and no other row."""
    stalls: int = 0
    """Messages about the heartbeats of all rows."""
    needs: int = 0
    """The needs of rows that are not new."""
    missed: int = 0
    new_needs: int = 0
    new_missed: int = 0
    delays: list[int] = field(default_factory=list)
    """Milliseconds from each met need to the message, without blind time."""
    faults: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    """Number of faults by cause."""

    def add(self, other: Score) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def judged(self) -> int:
        """The messages except ends of VMs and stalls."""
        return self.messages - self.vm_ends - self.stalls

    @property
    def wrong(self) -> int:
        return self.judged - self.true - self.brief

    def line(self, watcher: str) -> str:
        middle, longest = (median(self.delays), max(self.delays)) if self.delays else (0, 0)
        return (
            f"| {watcher} | {self.messages:,} | {self.true:,} | {self.brief:,} | {self.wrong:,} "
            f"| {self.vm_ends:,} | {self.stalls:,} | {self._share(self.true)} | {self._share(self.wrong)} "
            f"| {self.needs:,} | {self.missed:,} | {self.new_needs:,} | {self.new_missed:,} "
            f"| {middle / SECOND:.0f} | {longest / SECOND:.0f} |"
        )

    def _share(self, count: int) -> str:
        return f"{count / self.judged:.1%}" if self.judged else "–"

    @property
    def unreached(self) -> list[str]:
        """The goals that envwatch without settings does not reach."""
        goals = {
            "a need is missed": self.missed > 0,
            "more than 5 % of the messages are wrong": self.wrong > 0.05 * self.judged,
            "less than 80 % of the messages are true": self.true < 0.8 * self.judged,
        }
        return [text for text, is_unreached in goals.items() if is_unreached]


HEAD: Final = (
    "| watcher | messages | true | brief | wrong | VM ends | stalls | share true | share wrong | needs | missed "
    "| new rows' needs | missed | median delay, s | longest delay, s |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def score(script: Script, messages: Sequence[Message], *, prefix: str = "") -> Score:
    """Return the score of messages, oldest first; `prefix` begins each line about a fault."""
    needs, blind = script.needs(), script.blind()
    found = Score(messages=len(messages))
    for message in messages:
        if not message.ids:
            found.stalls += 1
        elif any(need.id in message.ids and need.since <= message.at <= need.until + SLACK for need in needs):
            found.true += 1
        else:
            kind = _false(script, message)
            found.brief += BRIEF in kind
            found.vm_ends += set(script.row_causes(message.ids, message.at)) == {Cause.VM_END}
            found.kinds[kind] += 1
            found.faults.append(f"{prefix}{moment(message.at)} {kind}: {_names(script, message.ids)}")
    naming: dict[str, list[int]] = {}
    for message in messages:
        for id_ in message.ids:
            naming.setdefault(id_, []).append(message.at)
    for need in filter(lambda need: need.is_visible, needs):
        found.needs += not need.is_new
        found.new_needs += need.is_new
        told_at = next((at for at in naming.get(need.id, ()) if need.since <= at <= need.until + SLACK), None)
        if told_at is not None and told_at <= need.deadline:
            found.delays.append(told_at - need.since - covered(blind, need.since, told_at))
        else:
            found.missed += not need.is_new
            found.new_missed += need.is_new
            kind = _missed(script, need, told_at)
            found.kinds[kind] += 1
            found.faults.append(f"{prefix}{moment(need.since)} {kind}: {_times(need, told_at)}")
    return found


def moment(at: int) -> str:
    return f"day {at // DAY} {at // HOUR % 24:02}:{at // MINUTE % 60:02}:{at // SECOND % 60:02}"


def _missed(script: Script, need: Need, told_at: int | None) -> str:
    around = {each.fault for each in script.troubles if each.since <= need.deadline and need.since <= each.until}
    told = "never told" if told_at is None else "told late"
    return f"missed{' of a new row' * need.is_new} ({told}): {', '.join([need.cause, *sorted(around)])}"


def _times(need: Need, told_at: int | None) -> str:
    told = "" if told_at is None else f", told after {(told_at - need.since) // SECOND} s"
    due = (need.deadline - need.since) // SECOND
    return f"{need.name} for {(need.until - need.since) // SECOND} s, due after {due} s{told}"


def _false(script: Script, message: Message) -> str:
    causes = dict.fromkeys(sorted(script.causes(message.ids, message.at)))
    return f"false: {', '.join(causes) or 'no cause known'}"


def _names(script: Script, ids: Iterable[str]) -> str:
    wanted = set(ids)
    names = [str(env.name) for env in script.first if env.id in wanted]
    more = f" and {len(names) - _NAMES} others" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
