"""A night of 30 minutes on call: 200 machines, a script of events, the truth, and the rules of every screen.

The truth knows only the rows of the API and three documented rules: a row is gone after two complete listings, data
older than 60 s is blind, and a heartbeat older than 120 s is lost.

`Oracle` judges the text of a screen by the truth: the block never scrolls away, the newest loss is named everywhere, an
environment is in one place, a fresh loss is marked, and the counts add up to all rows.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support.builders import NOW, environment

from envwatch.model.outcome import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from envwatch.model.environment import Environment

END_S: Final = 1_800
"""A silence of 30 minutes from the start ends with the night."""
FRESH_S: Final = 900
BACK_S: Final = 60
_BLIND_S: Final = 60
_HEARTBEAT_LOST_S: Final = 120
_BEAT_AGE_S: Final = 10
_DOWN: Final[dict[str, Any]] = {"connectionId": None, "lastHeartbeat": None, "podId": None}

POD: Final = "p-7"
EDGES: Final = tuple(f"edge-{number}" for number in range(1, 13))

OLD: Final = tuple(f"old-{number}" for number in range(1, 13))
SANDBOXES: Final = ("sandbox-1", "sandbox-2")
RENAMED, NEW_NAME = "ana-mac", "ana-mini"

BEFORE: Final = {"nas-1": 1_200, "nas-2": 1_200, "plotter": 2_400}
"""Machines lost before the first listing, and the seconds since each loss."""

_ALONE: Final = ("lone-1", "lone-2", "lone-3", "blip", "dark", "drop", "slow")
_USUAL: Final = tuple(f"web-{number}" for number in range(1, 164))

INCIDENTS: Final = (EDGES, ("nas-1", "nas-2"), ("plotter",), *((name,) for name in _ALONE))
"""Machines lost together or alone: the possible lines of the block."""


@dataclass
class Machine:
    name: str
    row: dict[str, Any] = field(default_factory=dict)
    """Fields that differ from the default row."""
    lost_s: float | None = None
    beat_s: float | None = None
    """The last heartbeat of a connected machine; None while heartbeats continue."""
    is_listed: bool = True
    lacking: int = 0
    is_down: bool = False
    changed_s: float | None = None


class Incident(NamedTuple):
    names: tuple[str, ...]
    """All members, including machines that are back."""
    off: tuple[str, ...]
    """Members that are down and not silenced."""
    is_acked: bool
    lost_s: float
    """When a listing first showed the newest loss."""


@dataclass
class OnCall:
    """The present truth, and the content of the last believed listing."""

    now: float = 0.0
    seen_s: float | None = None
    failure: Cause | None = None
    acked: set[str] = field(default_factory=set)
    silenced: set[str] = field(default_factory=set)
    is_renamed: bool = False
    machines: dict[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own: dict[str, dict[str, Any]] = {name: {"podId": POD} for name in EDGES}
        own |= {name: {"deviceId": f"sandbox-of-{name}"} for name in SANDBOXES}
        own[RENAMED] = {"deviceId": "mac-of-ana", "listenerInstanceId": f"server-{'a' * 16}"}
        for number, name in enumerate((*_USUAL, *EDGES, *_ALONE, *BEFORE, *OLD, *SANDBOXES, RENAMED)):
            self._add(name, **({"podId": f"p-{number % 5}"} | own.get(name, {})))
        ages = BEFORE | dict.fromkeys(OLD, 90 * 3_600) | dict.fromkeys(SANDBOXES, 600)
        for name, age_s in ages.items():
            self.machines[name].lost_s = -age_s

    def _add(self, name: str, **row: Any) -> None:
        self.machines[name] = Machine(name, {"connectionName": name, **row})

    def lose(self, *names: str) -> None:
        for name in names:
            self.machines[name].lost_s = self.now - 1

    def restore(self, *names: str) -> None:
        for name in names:
            self.machines[name].lost_s = None
            self.machines[name].row |= {"connectionId": f"again-{name}", "connectedAt": NOW + self.now * 1000}

    def freeze(self, name: str) -> None:
        """Stop a machine's heartbeats; the connection stays open."""
        self.machines[name].beat_s = self.now - _BEAT_AGE_S

    def drop(self, name: str) -> None:
        self.machines[name].is_listed = False

    def rename(self) -> None:
        self.lose(RENAMED)
        own = {"listenerInstanceId": f"server-{'b' * 16}", "firstSeenAt": NOW + self.now * 1000}
        self._add(NEW_NAME, **(self.machines[RENAMED].row | own | {"connectionName": NEW_NAME}))
        self.is_renamed = True

    def fail(self, cause: Cause | None) -> None:
        self.failure = cause

    def rows(self) -> list[Environment]:
        return [self._row(machine) for machine in self.machines.values() if machine.is_listed]

    def _row(self, machine: Machine) -> Environment:
        beat_s = self.now - _BEAT_AGE_S if machine.beat_s is None else machine.beat_s
        seen_s = beat_s if machine.lost_s is None else machine.lost_s
        times = {"lastHeartbeat": NOW + beat_s * 1000, "lastSeenAt": NOW + seen_s * 1000}
        return environment(machine.name, **(times | machine.row | ({} if machine.lost_s is None else _DOWN)))

    def believe(self) -> None:
        """Take a listing's content; a return ends an acknowledgement."""
        is_first, self.seen_s = self.seen_s is None, self.now
        for machine in self.machines.values():
            machine.lacking = 0 if machine.is_listed else machine.lacking + 1
            is_lost = machine.beat_s is not None and self.now - machine.beat_s >= _HEARTBEAT_LOST_S
            is_down = machine.lost_s is not None or machine.lacking >= 2 or is_lost
            if is_down != machine.is_down:
                machine.is_down = is_down
                machine.changed_s = machine.lost_s if is_first else self.now
            if not is_down:
                self.acked.discard(machine.name)

    @property
    def is_blind(self) -> bool:
        return self.seen_s is None or self.now - self.seen_s > _BLIND_S

    def incidents(self) -> list[Incident]:
        """Return incidents with a member that is down and not silenced, newest loss first."""
        found = []
        for names in INCIDENTS:
            off = tuple(name for name in names if self.machines[name].is_down and name not in self.silenced)
            if off:
                lost_s = max(self.machines[name].changed_s or 0.0 for name in off)
                found.append(Incident(names, off, self.acked.issuperset(off), lost_s))
        return sorted(found, key=lambda incident: -incident.lost_s)

    @property
    def newest(self) -> Incident | None:
        return next((incident for incident in self.incidents() if not incident.is_acked), None)

    def resolved(self) -> list[tuple[str, ...]]:
        """Return the machines of resolved incidents whose last member came back up to a minute ago."""
        active = {incident.names for incident in self.incidents()}
        return [names for names in INCIDENTS if names not in active and any(map(self._is_just_back, names))]

    def _is_just_back(self, name: str) -> bool:
        machine = self.machines[name]
        return not machine.is_down and machine.changed_s is not None and self.now - machine.changed_s <= BACK_S

    def counts(self) -> Mapping[str, int]:
        """Return the number of rows by the words of the status line and the rule line; late rows are counted as on."""
        if self.is_blind:
            return {"unknown": len(self.machines)}
        in_block = {name for incident in self.incidents() for name in incident.off}
        counts = Counter(self._word(machine, in_block) for machine in self.machines.values())
        counts["paging"] = len(in_block - self.acked)
        return counts

    def _word(self, machine: Machine, in_block: set[str]) -> str:
        if not machine.is_down:
            return "online"
        if machine.name in in_block:
            return "gone in block" if machine.lacking else "off"
        if machine.name == RENAMED:
            return "replaced"
        return "old" if machine.name in OLD else "silenced" if machine.name in self.silenced else "not paging"


SCRIPT: Final[Mapping[int, Callable[[OnCall], None]]] = {
    60: lambda night: night.lose("lone-1"),
    240: lambda night: night.lose(*EDGES),
    400: lambda night: night.restore("lone-1"),
    520: lambda night: night.rename(),
    640: lambda night: night.restore(*EDGES[:6]),
    760: lambda night: night.fail(Cause.TIMEOUT),
    800: lambda night: night.lose("dark"),
    885: lambda night: night.fail(None),
    1_000: lambda night: night.lose("lone-2"),
    1_080: lambda night: night.lose("blip"),
    1_100: lambda night: night.restore("blip"),
    1_160: lambda night: night.fail(Cause.UNAUTHORIZED),
    1_250: lambda night: night.fail(None),
    1_320: lambda night: night.drop("drop"),
    1_380: lambda night: night.freeze("slow"),
    1_440: lambda night: night.restore(*EDGES[6:]),
    1_600: lambda night: night.lose("lone-3"),
}
"""Events by seconds since the first listing."""


def polls() -> Iterable[int]:
    """Return the seconds of the polls: every 5 s around an event, otherwise every 30 s."""
    around = {second + after for second in (0, 1_490, *SCRIPT) for after in (-5, 0, 5, 60, 65)}
    return sorted(second for second in around | {*range(0, END_S, 30)} if 0 <= second < END_S)


_INCIDENT: Final = re.compile(
    r".[ ►+◆](?P<glyph>\S) (?:(?P<off>\d+) (?:of (?P<total>\d+) )?)?(?P<word>off|lost|miss|gone|back|on) +"
    r"(?P<lasted>\d+[smhd](?: \d+[smhd])?) +(?:(?P<tag>NEW|BACK) +)?(?P<rest>.*)"
)
_MEMBER: Final = re.compile(r".[ ►+◆] {3}\S (?P<word>off|miss|gone|on|late) +\S+ +(?:\d+[mh] +)?(?P<name>\S+)")
_MORE_MEMBERS: Final = re.compile(r" +(\d+) more: enter shows them all *")
_MORE: Final = re.compile(r" \+(?P<lines>\d+) more(?:, (?P<fresh>\d+) new)? · n *")
_RULE: Final = re.compile(r"── (?P<counts>[\d,]+ (?:on|unknown|old|silenced|not paging|replaced|gone)\b.*?) ─*")
_ROW: Final = re.compile(r"[ ▌][ ►+◆][●◐○·!?] ")
_HEADER: Final = re.compile(r"[ ▌][ ►+◆][▾▸] ")
_OVERLAY: Final = re.compile("┌─|^▔▔")
"""The upper edge of a menu, a prompt or the palette."""
_PAST: Final = re.compile(r" (?:REWOUND|REPLAY|PAUSED \d)")
_ASIDES: Final = ("old", "silenced", "not paging", "replaced")
_NOW: Final = " now "
_STEADY_S: Final = 5
"""Seconds after a cursor move in which lines may keep places."""
_COUNTED: Final = {"page": "paging", "unknown": "unknown"}
"""Words of the status line, each with the key in `OnCall.counts`."""
_GLYPHS: Final = {"●": "on", "◐": "late", "○": "page", "?": "unknown"}


class _Line(NamedTuple):
    incident: Incident | None
    """None if all members are back."""
    names: tuple[str, ...]
    """All members."""
    tag: str
    has_cursor: bool
    is_acked: bool


class Oracle:
    def __init__(self, night: OnCall) -> None:
        self._night = night
        self._left_s: dict[str, float] = {}
        """When the cursor was last seen on an incident's line, by the incident's first member."""

    def check(self, screen: Sequence[str]) -> None:
        night = self._night
        try:
            self._check(screen)
        except AssertionError as error:
            text = "\n".join(line.rstrip() for line in screen)
            error.add_note(f"at {night.now:.0f} s, acknowledged {night.acked}, silenced {night.silenced}\n{text}")
            raise

    def _check(self, screen: Sequence[str]) -> None:
        night = self._night
        assert screen[0].startswith(" default"), "no status line"
        rule = next((place for place, line in enumerate(screen) if _RULE.fullmatch(line)), None)
        titles = next((place for place, line in enumerate(screen) if re.match(r"  STATE.* NAME", line)), None)
        end = rule if rule is not None else titles
        if _PAST.search(screen[0]):
            assert night.newest is None or screen[1].startswith(_NOW), "the newest loss is not marked as the present"
            _names_newest([screen[1].removeprefix(_NOW)], night)
        elif end is None or any(_OVERLAY.search(line) for line in screen):
            _names_newest(screen[1 : 3 if len(screen) < 10 else 2], night)  # a low screen has no rule above the pane
            _check_counts(screen[0], None, night)
        else:
            _names_newest(screen[1:end], night)
            _check_counts(screen[0], None if rule is None else screen[rule], night)
            lines = _check_block(screen[1:end], night, self._may_be_back())
            self._left_s |= {line.names[0]: night.now for line in lines if line.has_cursor}
            left = {line.names for line in lines if line.incident is None} - self._may_be_back()
            assert not left, f"up for over a minute: {left}"
            if titles is not None:
                _check_table(screen[titles:], lines, night)

    def _may_be_back(self) -> set[tuple[str, ...]]:
        """Return the machines of lines that may say `back`: for a minute, or until the cursor has left the line."""
        held = {name for name, left_s in self._left_s.items() if self._night.now - left_s <= _STEADY_S}
        active = {incident.names for incident in self._night.incidents()}
        return {*self._night.resolved(), *(names for names in INCIDENTS if names[0] in held)} - active


def _names_newest(lines: Sequence[str], night: OnCall) -> None:
    if (newest := night.newest) is None:
        return
    found = [line for line in lines if (match := _INCIDENT.fullmatch(line)) and _is_about(match["rest"], newest.off)]
    assert found, f"the newest loss is not named: {newest.off[0]}"


def _is_about(text: str, names: Sequence[str]) -> bool:
    return any(re.search(rf"(?<![\w-]){name}(?![\w-])", text) for name in names)


def _check_block(lines: Sequence[str], night: OnCall, back: Collection[tuple[str, ...]]) -> list[_Line]:
    """Return the incidents' lines. `back` has the machines of lines that may say `back`."""
    shown, hidden, fresh_hidden = list[_Line](), 0, 0
    for line in lines:
        if match := _MORE.fullmatch(line):
            hidden, fresh_hidden = int(match["lines"]), int(match["fresh"] or 0)
        elif match := _INCIDENT.fullmatch(line):
            shown.append(_incident(line, match, night))
        elif match := _MEMBER.match(line):
            _check_member(match["name"], match["word"], shown[-1] if len(lines) > 3 else None, night)
        else:
            assert _MORE_MEMBERS.fullmatch(line), f"a line that says nothing: {line!r}"
        for name in (RENAMED, NEW_NAME):
            assert not (night.is_renamed and _is_about(line, [name])), f"a renamed machine in the block: {line}"
    keys = [line.names for line in shown]
    assert len(set(keys)) == len(keys), "an incident has two lines"
    incidents = night.incidents()
    named = sum(line.incident is not None for line in shown)
    may_be_back = len([names for names in back if names not in keys])
    if hidden or len(incidents) == named:
        assert len(incidents) <= named + hidden <= len(incidents) + may_be_back, f"{named} + {hidden} incidents"
    else:
        assert named <= 3, f"{named} of {len(incidents)} incidents, and no number of the others"
        assert sum(line.has_cursor or line.incident is night.newest for line in shown) >= named - 1
    fresh_named = sum(line.tag == "NEW" for line in shown)
    assert not hidden or fresh_named + fresh_hidden == _fresh(night), "the number of new lines is wrong"
    order = [line.incident for line in shown if line.incident is not None]
    assert order == sorted(order, key=lambda each: (each.is_acked, -each.lost_s)), "not the newest first"
    return shown


def _incident(line: str, match: re.Match[str], night: OnCall) -> _Line:
    """Return the incident of a line in the block, and check the line's words."""
    has_cursor, tag, rest = line[1] in "►◆", match["tag"] or "", match["rest"]
    found = [each for each in night.incidents() if _is_about(rest, each.names)]
    if not found:
        assert match["word"] in {"back", "on"}, f"nothing of this is lost: {line}"
        assert tag != "NEW", f"nothing of this is lost: {line}"
        (names,) = (names for names in INCIDENTS if _is_about(rest, names))
        return _Line(None, names, tag, has_cursor, is_acked=False)
    (incident,) = found
    assert match["word"] not in {"back", "on"}, f"this is still lost: {line}"
    off, total = int(match["off"] or 1), int(match["total"] or match["off"] or 1)
    assert off == len(incident.off), f"{len(incident.off)} are off: {line}"
    if not night.silenced.intersection(incident.names):
        assert total == len(incident.names), f"{len(incident.names)} were lost: {line}"
    is_acked = match["glyph"] == "✓"
    assert is_acked == incident.is_acked, f"acknowledged or not: {line}"
    assert (tag == "NEW") == _is_fresh(incident, night), f"new or not: {line}"
    assert night.is_blind == (match["glyph"] == "?") or is_acked, f"unknown or not: {line}"
    return _Line(incident, incident.names, tag, has_cursor, is_acked)


def _check_member(name: str, word: str, head: _Line | None, night: OnCall) -> None:
    """Check a member of an unfolded incident. `head` is None if the incident's line may lack room."""
    if word in {"on", "late"}:
        assert head is None or head.incident is None, f"up, and a member of what is lost: {name}"
        assert not night.machines[name].is_down, f"down: {name}"
    else:
        off = [name for incident in night.incidents() for name in incident.off]
        assert name in (off if head is None or head.incident is None else head.incident.off), f"no member: {name}"


def _is_fresh(incident: Incident, night: OnCall) -> bool:
    return not incident.is_acked and night.now - incident.lost_s < FRESH_S


def _fresh(night: OnCall) -> int:
    return sum(_is_fresh(incident, night) for incident in night.incidents())


def _check_table(lines: Sequence[str], block: Sequence[_Line], night: OnCall) -> None:
    column = lines[0].index(" NAME") + 1
    lost = {name for incident in night.incidents() for name in incident.off}
    back = {line.names[0] for line in block if line.incident is None and len(line.names) == 1}
    for name in _names_of(lines[1:], column):
        assert name not in lost, f"in the block and in the table: {name}"
        assert name not in back, f"back in the block, and in the table: {name}"


def _names_of(lines: Sequence[str], column: int) -> Iterator[str]:
    for line in lines:
        if _ROW.match(line):
            yield line[column:].split()[0]
        elif not _HEADER.match(line):
            return


def _check_counts(status: str, rule: str | None, night: OnCall) -> None:
    """Check each visible number, and that all numbers that fit are visible."""
    counts = night.counts()
    shown = {_GLYPHS[glyph]: _number(count) for glyph, count in re.findall(r" ([●◐○?]) ([\d,]+)(?= )", status)}
    up, true = counts.get("online", 0), {word: counts.get(key, 0) for word, key in _COUNTED.items()}
    wrong = {word for word, count in shown.items() if word in true and count != true[word]}
    if re.search(r" ● [\d,]+ on ", status):  # words are dropped before counts
        wrong |= {word for word, count in true.items() if count and word not in shown}
        assert shown["on"] + shown.get("late", 0) == up, f"{up} rows are on or late"
    assert shown.get("on", 0) + shown.get("late", 0) <= up, f"{up} rows are on or late"
    assert not wrong, f"wrong numbers in the status line: {sorted(wrong)} of {true}"
    if rule is None or "…" in rule:
        return
    silenced_up = re.search(r" \(([\d,]+) silenced\)", rule)
    true_up = 0 if night.is_blind else sum(not night.machines[name].is_down for name in night.silenced)
    assert (_number(silenced_up[1]) if silenced_up else 0) == true_up, f"{true_up} silenced rows are up"
    rule = re.sub(r" \([\d,]+ silenced\)", "", rule)
    asides = {word: _number(count) for count, word in re.findall(r"([\d,]+) (not paging|[a-z]+)", rule)}
    on = asides.pop("on", 0)
    assert on == shown.get("on", on) <= up, "the rule line has another number of rows that are on"
    for word in ("unknown", *_ASIDES):
        assert asides.get(word, 0) == counts.get(word, 0), f"the number of {word} rows is wrong"
    assert not asides.keys() - {"unknown", *_ASIDES}, "the rule line counts what is not there"


def _number(text: str) -> int:
    return int(text.replace(",", ""))
