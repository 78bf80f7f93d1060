"""Compares a watcher's messages with the needs of a script, by the definition in the documentation of alerts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from support.month.script import BRIEF, DAY, HOUR, MINUTE, SECOND, Cause, covered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from support.month.script import Need, Script

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
