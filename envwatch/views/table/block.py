"""The block: a line per incident until the loss is over, newest first.

Rules: "What pages" in docs/states.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.alerts.losses import key_of
from envwatch.alerts.silences import counted_from
from envwatch.fleet.anomalies import blast_radius_text
from envwatch.fleet.events import Kind
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_old, is_problem
from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
from envwatch.model import limits
from envwatch.model.clock import Clocks, ServerMs, WallMs
from envwatch.model.text import SafeText, natural_key
from envwatch.model.times import MS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from envwatch.alerts.incident import Incident
    from envwatch.alerts.judge import Judge
    from envwatch.alerts.monitor import Monitor
    from envwatch.alerts.silences import Silenced
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.acks import Ack

LineKey: TypeAlias = tuple[str, ...]
"""Two parts for an environment, three for an incident or a header, four for an incident's acknowledged members."""

_BACK_AFTER_MS: Final = limits.BACK_AFTER / MS
_DEATH_WITHIN_MS: Final = limits.DEATH_WITHIN / MS
_MARK_DURATION_MS: Final = limits.MARK_DURATION / MS
_SAME_MS: Final = 1_000.0
_INCIDENT_PARTS: Final = 3
_ONLINE, _LATE, _GONE = Presence.ONLINE, Presence.LATE, Presence.GONE
_UP: Final = frozenset({_ONLINE, _LATE})


class Aside(StrEnum):
    """Reasons of down rows outside the block."""

    OLD = "old"
    SILENCED = "silenced"
    NOT_PAGING = "not paging"
    REPLACED = "replaced"
    GONE = "gone"


class BlockLine(NamedTuple):
    """An incident, or losses found together."""

    key: LineKey
    profile: SafeText
    total: int
    began_at: WallMs
    """When the first loss was listed."""
    noticed_at: WallMs
    """When the newest loss was listed; the last return if all members are back."""
    losses_at: tuple[WallMs, ...] = ()
    """Listing times of the unacknowledged losses, newest first."""
    off: tuple[TrackedEnvironment, ...] = ()
    """By newest loss, then by name, all acknowledged or none; empty if all members are back."""
    returned: tuple[TrackedEnvironment, ...] = ()
    member_keys: frozenset[EnvironmentKey] = frozenset()
    """All members, including back or silenced rows of the table."""
    acked: int = 0
    shared: SafeText | None = None
    not_back: SafeText | None = None
    """`not back by 10:00` if the losses count from a silence's end."""
    blindness: Incident | None = None
    """An incident about the platform or envwatch, without members."""
    blindness_ack: Ack | None = None

    @property
    def members(self) -> tuple[TrackedEnvironment, ...]:
        """`off`, or `returned` if `off` is empty."""
        return self.off or self.returned

    @property
    def single(self) -> TrackedEnvironment | None:
        """The environment of a single-member line."""
        return self.members[0] if self.total == 1 else None

    @property
    def is_acked(self) -> bool:
        """Whether members are off and all are acknowledged."""
        return self.blindness_ack is not None or (bool(self.off) and self.acked == len(self.off))

    @property
    def is_open(self) -> bool:
        """Whether a member is off and unacknowledged, or the blindness."""
        if self.blindness is not None:
            return self.blindness_ack is None
        return self.acked < len(self.off)

    @property
    def subject(self) -> SafeText | None:
        """`platform` or `envwatch` for an incident about it."""
        return None if self.blindness is None else self.blindness.subject

    @property
    def machines(self) -> int:
        """The number of machines, at least one: the platform's or envwatch's line is a single problem."""
        return max(len(self.members), 1)

    def fresh_losses(self, wall: float) -> int:
        """Return the number of losses recent enough for a mark (this machine's clock, ms)."""
        return sum(wall - at < _MARK_DURATION_MS for at in self.losses_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The block's lines, and the counts of all rows."""

    lines: tuple[BlockLine, ...] = ()
    """Open lines, blindness first, then newest loss; lines with all members back; acknowledged lines."""
    presences: Mapping[Presence, int] = field(default_factory=dict)
    """Counts of online and late rows, and of the block's down rows."""
    unknown: int = 0
    """Count of unknown rows, which no other count includes."""
    asides: Mapping[Aside, int] = field(default_factory=dict)
    paging: int = 0
    """Count of the down rows of the block that nobody acknowledged."""
    stalls: int = 0
    """Count of profiles whose heartbeats all stand still in a single listing, which opens no incident."""
    never: int = 0
    """Count of `Aside.NOT_PAGING` rows set to never by a person."""
    silenced_up: int = 0
    keys: frozenset[EnvironmentKey] = frozenset()
    homes: Mapping[EnvironmentKey, LineKey] = field(default_factory=dict)
    open_since: Mapping[EnvironmentKey, ServerMs] = field(default_factory=dict)
    silenced: frozenset[EnvironmentKey] = frozenset()
    """Silenced down rows, which do not become old."""
    changes_at: float = inf
    """The next change by time alone (this machine's clock, ms)."""

    @property
    def aside_counts(self) -> list[tuple[int, str]]:
        """The counts of `asides` with words: `(7, "not paging (2 never)")`."""
        never = f" ({self.never:,} never)" if self.never else ""
        return [
            (count, aside.value + (never if aside is Aside.NOT_PAGING else ""))
            for aside in Aside
            if (count := self.asides.get(aside, 0))
        ]

    @property
    def off_besides(self) -> int:
        """Down rows that page nobody now: acknowledged, silenced, or without alerts; not the old ones."""
        down = sum(count for presence, count in self.presences.items() if presence not in _UP)
        aside = self.asides.get(Aside.SILENCED, 0) + self.asides.get(Aside.NOT_PAGING, 0)
        return down - self.paging + aside

    @property
    def other_problems(self) -> list[tuple[int, str]]:
        """Open incidents about no machine: `(1, "platform")`."""
        subjects = Counter[str](line.subject for line in self.lines if line.is_open and line.subject is not None)
        subjects["platform"] += self.stalls
        return [(count, subject) for subject, count in subjects.items() if count]

    @property
    def newest(self) -> BlockLine | None:
        """The newest open line."""
        return self.lines[0] if self.lines and self.lines[0].is_open else None


NO_BLOCK: Final = Block()


_Lost: TypeAlias = "dict[LineKey, list[tuple[TrackedEnvironment, float]]]"
"""Rows and loss times (server's clock, ms) by line."""


def build_block(
    monitor: Monitor, now: Clocks, before: Block = NO_BLOCK, *, counted: Container[EnvironmentKey] | None = None
) -> Block:
    """Return the block at a moment, the source of all fleet counts shown to people.

    A line keeps the key and members of `before` while a member is down. `counted` limits only the counts.
    """
    known, judge = _known_losses(monitor), monitor.judge(now)
    homes = {key: line.key for line in before.lines for key in line.member_keys} | dict(before.homes)
    lost: _Lost = {}
    outside: list[tuple[TrackedEnvironment, Aside]] = []
    silence_ends: list[float] = []
    for profile_state in monitor.fleet:
        rest: list[TrackedEnvironment] = []
        at = profile_state.clock.server_time(now.wall)
        for tracked in _down(profile_state):
            loss = known.get(tracked.key)
            is_of_this_run = loss is not None and loss[1] >= (profile_state.began_at or -inf)
            silenced = judge.silenced_time(tracked)
            counts_from = counted_from(silenced, tracked)
            if counts_from is not None and counts_from > at:
                silence_ends.append(counts_from - profile_state.clock.offset)
            aside = _aside(tracked, judge, silenced, is_of_this_run=is_of_this_run)
            if aside is not None:
                outside.append((tracked, aside))
            elif not is_problem(tracked, at, counts_from) and loss is None:
                continue
            elif loss is not None:
                line, lost_at = loss
                lost.setdefault(line, []).append((tracked, lost_at))
            elif (home := homes.get(tracked.key)) is not None:
                lost.setdefault(home, []).append((tracked, tracked.lost_at))
            else:
                rest.append(tracked)
        lost |= _found_together(rest)
    lost = _acked_apart(lost, judge, homes)
    earlier = {line.key: line for line in before.lines}
    incidents = {_key(incident.profile, incident.id): incident for incident in monitor.incidents.open}
    places = {tracked.key: key for key, members in lost.items() for tracked, _ in members}
    lines = [
        _line(key, members, judge, incidents.get(key), earlier.get(key), places=places) for key, members in lost.items()
    ]
    lines += _returned(before, lost, monitor, now)
    lines += [_blind_line(incident, judge) for incident in monitor.incidents.open if incident.is_blindness]
    in_block = [tracked for tracked, _ in chain.from_iterable(lost.values())]
    return _counted(_block(lines, monitor, now, silence_ends), in_block, outside, judge, counted)


def _counted(
    block: Block,
    in_block: Iterable[TrackedEnvironment],
    outside: Sequence[tuple[TrackedEnvironment, Aside]],
    judge: Judge,
    counted: Container[EnvironmentKey] | None,
) -> Block:
    presences: Counter[Presence] = Counter()
    known: dict[SafeText, ProfileState] = {}
    unknown = silenced_up = 0
    for profile, profile_state in judge.fleet.by_profile.items():
        rows: Iterable[TrackedEnvironment] = profile_state.environments.values()
        total = len(profile_state.environments) if counted is None else sum(row.key in counted for row in rows)
        proven = profile_state.known(judge.now)
        if proven:
            known[profile] = profile_state
        if counted is not None:
            proven = [row for row in proven if row.key in counted]
        unknown += total - len(proven)
        up = [row for row in proven if row.verdict.presence in _UP]
        presences.update([row.verdict.presence for row in up])
        if judge.marks.silences:
            silenced_up += sum(judge.silenced(row) is not None for row in up)

    def counts(tracked: TrackedEnvironment) -> bool:
        profile_state = known.get(tracked.profile)
        if profile_state is None or tracked.clock_suspect or profile_state.is_unproven(tracked):
            return False
        return tracked.presence not in _UP and (counted is None or tracked.key in counted)

    down = [tracked for tracked in in_block if counts(tracked)]
    presences.update([tracked.presence for tracked in down])
    asides = Counter(aside for tracked, aside in outside if counts(tracked))
    silenced = frozenset([tracked.key for tracked, aside in outside if aside is Aside.SILENCED])
    never = sum(
        judge.decision_of(tracked).is_never
        for tracked, aside in outside
        if aside is Aside.NOT_PAGING and judge.marks.words and counts(tracked)
    )
    return replace(
        block,
        presences=presences,
        paging=sum(not judge.is_acked(tracked) for tracked in down),
        unknown=unknown,
        asides=asides,
        never=never,
        silenced_up=silenced_up,
        silenced=silenced,
    )


def _block(lines: list[BlockLine], monitor: Monitor, now: Clocks, silence_ends: Iterable[float]) -> Block:
    lines.sort(key=_place)
    singles = (line.returned[0].key for line in lines if line.returned and line.total == 1)
    off = {tracked.key: line.key for line in lines for tracked in line.off}
    ends = [*silence_ends]
    ends += [silence.until for silence in monitor.silences.values() if silence.until > now.wall]
    ends += (line.noticed_at + _BACK_AFTER_MS for line in lines if line.returned)
    return Block(
        lines=tuple(lines),
        keys=frozenset(off).union(singles),
        homes=off,
        open_since={tracked.key: tracked.lost_at for line in lines if line.is_open for tracked in line.off},
        changes_at=min(ends, default=inf),
    )


def _place(line: BlockLine) -> tuple[object, ...]:
    is_environments = line.blindness is None
    return (line.is_acked, is_environments, not line.is_open, -line.noticed_at, *_first_name(line), line.key)


def _blind_line(incident: Incident, judge: Judge) -> BlockLine:
    at = WallMs(incident.began_at - judge.fleet.by_profile[incident.profile].clock.offset)
    return BlockLine(
        key=_key(incident.profile, incident.id),
        profile=incident.profile,
        total=0,
        began_at=at,
        noticed_at=at,
        blindness=incident,
        blindness_ack=judge.blindness_ack_of(incident),
    )


def _down(profile_state: ProfileState) -> Iterable[TrackedEnvironment]:
    return [
        tracked
        for tracked in profile_state.environments.values()
        if tracked.is_flapping
        or ((presence := tracked.verdict.presence) is not _ONLINE and presence is not _LATE)  # late rows recover soon
    ]


def _known_losses(monitor: Monitor) -> Mapping[EnvironmentKey, tuple[LineKey, float]]:
    known = {
        key_of(event): (_key(incident.profile, incident.id), event.at)
        for incident in monitor.incidents.open
        for event in incident.losses
        if key_of(event) in incident.remaining
    }
    for loss in monitor.incidents.waiting:
        known[key_of(loss.event)] = (_key(loss.event.profile, loss.incident), loss.event.at)
    return known


def _key(profile: SafeText, id_: SafeText) -> LineKey:
    return ("incident", profile, id_)


def _aside(
    tracked: TrackedEnvironment,
    judge: Judge,
    silenced: Silenced | None,
    *,
    is_of_this_run: bool,
) -> Aside | None:
    """Return why a row stands outside the block.

    An unacknowledged loss of this run is never old. A silenced loss ages from the end of the silence.
    """
    at, counts_from = judge.moments[tracked.profile], counted_from(silenced, tracked)
    is_open = is_of_this_run and not judge.is_acked(tracked)
    presence = tracked.verdict.presence
    if is_old(tracked, at, counts_from) and not is_open:
        return Aside.OLD
    if tracked.replaced_by is not None:
        return Aside.REPLACED
    if presence is _GONE and not is_problem(tracked, at, counts_from) and not is_open:
        return Aside.GONE
    if not judge.decision_of(tracked).counts:
        return Aside.NOT_PAGING
    return Aside.SILENCED if judge.is_in_force(silenced, tracked) else None


def _acked_apart(lost: _Lost, judge: Judge, homes: Mapping[EnvironmentKey, LineKey]) -> _Lost:
    """Move acknowledged rows out of lines with an open loss, into lines of their own.

    The open losses keep the line, so that the cursor and an incident's key stay with the news. Once apart, acknowledged
    rows stay apart, with their note.
    """
    found: _Lost = {}
    for key, members in _with_those_apart(lost).items():
        apart: LineKey = (*key, "acked")
        acked = {tracked.key for tracked, _ in members if judge.is_acked(tracked)}
        is_mixed = 0 < len(acked) < len(members)
        for tracked, at in members:
            leaves = tracked.key in acked and (is_mixed or homes.get(tracked.key) == apart)
            found.setdefault(apart if leaves else key, []).append((tracked, at))
    return found


def _with_those_apart(lost: _Lost) -> _Lost:
    whole: _Lost = {}
    for key, members in lost.items():
        whole.setdefault(key[:_INCIDENT_PARTS], []).extend(members)
    return whole


def _found_together(rows: Iterable[TrackedEnvironment]) -> _Lost:
    """Group rows into lines by last signs of life at most `limits.DEATH_WITHIN` apart."""
    found: _Lost = {}
    latest, members = -inf, list[tuple[TrackedEnvironment, float]]()
    for tracked in sorted(rows, key=lambda row: (row.lost_at, row.environment.id)):
        if tracked.lost_at > latest:
            members = found.setdefault(_key(tracked.profile, tracked.environment.id), [])
        members.append((tracked, tracked.lost_at))
        latest = tracked.lost_at + _DEATH_WITHIN_MS
    return found


def _line(  # noqa: PLR0913  the parts of a line
    key: LineKey,
    lost: Sequence[tuple[TrackedEnvironment, float]],
    judge: Judge,
    incident: Incident | None,
    before: BlockLine | None,
    *,
    places: Mapping[EnvironmentKey, LineKey],
) -> BlockLine:
    first = lost[0][0]
    offset = judge.fleet.for_environment(first).clock.offset
    losses = [(WallMs(at - offset), tracked) for tracked, at in lost]
    losses.sort(key=lambda loss: (-loss[0], _name_key(loss[1])))
    times = [at for at, _ in losses]
    off = tuple(tracked for _, tracked in losses)
    is_acked = judge.is_acked(first)
    keys = {tracked.key for tracked in off}
    members = frozenset(keys)
    if before is not None:
        members |= before.member_keys
    elif incident is not None:
        members |= incident.keys
    members = frozenset(each for each in members if places.get(each, key) == key)
    line = BlockLine(
        key=key,
        profile=first.profile,
        off=off,
        member_keys=members,
        total=len(members),
        began_at=_steady(min(times), None if before is None else before.began_at),
        noticed_at=_steady(times[0], None if before is None else before.noticed_at),
        losses_at=() if is_acked else tuple(times),
        acked=len(off) if is_acked else 0,
        not_back=_not_back(off, judge),
    )
    if line.not_back is not None:
        return line  # common values are no cause
    if before is not None and keys <= before.member_keys:
        return line._replace(shared=before.shared)  # a member that is back may have the value too
    if incident is not None:
        return line._replace(shared=incident.shared)
    return line._replace(shared=_shared(off, judge)) if len(off) > 1 else line


def _steady(at: float, before: WallMs | None) -> WallMs:
    """Return `before` unless the times differ by over a second: the clock's estimate changes."""
    return WallMs(at) if before is None or abs(at - before) > _SAME_MS else before


def _not_back(off: Iterable[TrackedEnvironment], judge: Judge) -> SafeText | None:
    events = [loss for incident in judge.open for loss in incident.losses]
    events += [loss.event for loss in judge.waiting]
    reasons = {key_of(event): event.reason for event in events if event.kind is Kind.NOT_BACK}
    found = {reasons.get(tracked.key) for tracked in off} if reasons else set()
    return found.pop() if len(found) == 1 else None


def _shared(off: Sequence[TrackedEnvironment], judge: Judge) -> SafeText | None:
    lost = [replace(tracked.environment, pod_id=tracked.pod_id) for tracked in off]
    rows = judge.fleet.for_environment(off[0]).environments.values()
    survivors = (row.environment for row in rows if row.verdict.is_up)
    return blast_radius_text(lost, survivors)


def _returned(before: Block, lost: _Lost, monitor: Monitor, now: Clocks) -> Iterable[BlockLine]:
    for line in before.lines:
        if line.key in lost:
            continue
        found = (monitor.fleet.tracked(key) for key in line.member_keys)
        back = [row for row in found if row is not None and row.verdict.is_up and not row.is_flapping]
        if any(row.key == member.key for row in back for member in line.members):
            since = WallMs(max(_since(row, monitor) for row in back))
            if now.wall - since < _BACK_AFTER_MS:
                returned = tuple(sorted(back, key=_name_key))
                yield line._replace(off=(), acked=0, noticed_at=since, losses_at=(), returned=returned)


def _since(tracked: TrackedEnvironment, monitor: Monitor) -> float:
    return (tracked.since_at or -inf) - monitor.fleet.for_environment(tracked).clock.offset


def _first_name(line: BlockLine) -> tuple[str, str]:
    """Return the sort key of equally old lines, independent of incident ids."""
    return min(map(_name_key, line.members), default=("", ""))


def _name_key(tracked: TrackedEnvironment) -> tuple[str, str]:
    return natural_key(tracked.environment.label), tracked.environment.id
