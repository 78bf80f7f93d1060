"""The hooks' queues under random puts, failures and hangs: each incident's order and newest state, no loss."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.incidents import Book, message, runner_of
from support.virtual_time import VirtualTime

from envwatch.hooks.message import DeliveryError
from envwatch.model import limits
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from envwatch.hooks.message import Message

HOOKS = tuple(clean(name) for name in ("one", "two"))
HOW = ("takes", "refuses", "hangs", "hangs and takes")
OPEN, END = "open", "end"


class Sent(NamedTuple):
    at: float
    incident: SafeText | None
    is_end: bool
    state: int


@dataclass
class Receiver:
    time: VirtualTime
    how: str = "takes"
    sent: list[Sent] = field(default_factory=list)

    async def send(self, message: Message) -> SafeText:
        how = self.how
        if how.startswith("hangs"):
            await self.time.sleep(limits.HOOK_TIME.total_seconds())
        if how in ("refuses", "hangs"):
            raise DeliveryError("no")
        self.sent.append(Sent(self.time.now, message.incident, message.is_resolved, int(message.summary)))
        return clean("")


class Step(NamedTuple):
    what: str
    hook: SafeText
    incident: int
    seconds: float


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["open", "open", "open", "end", "end", "event", "pass", "pass", *HOW]),
        st.sampled_from(HOOKS),
        st.integers(1, 2),
        st.sampled_from([0.5, 3, 29, 31, 200, 2_000]),
    ),
    min_size=10,
    max_size=40,
)


@dataclass
class Hook:
    receiver: Receiver
    book: Book
    incidents: dict[SafeText, str] = field(default_factory=dict)
    newest: dict[SafeText, int] = field(default_factory=dict)
    ended_at: dict[SafeText, float] = field(default_factory=dict)
    generations: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """A resolved incident does not open again."""
    healed_at: float = 0.0

    def take(self, step: Step, number: int) -> None:
        id_ = clean(f"{step.incident}-{self.generations[step.incident]}")
        if step.what in HOW:
            self.receiver.how = step.what
        elif step.what == "event":
            self.book.take(message(str(number)))
        elif step.what == "open":
            if id_ in self.incidents:
                return
            self.book.take(message(str(number), incident=id_))
            self.incidents[id_], self.newest[id_] = OPEN, number
        elif id_ in self.incidents:
            self.generations[step.incident] += 1
            self.ended_at[id_] = self.receiver.time.now
            self.book.take(message(str(number), incident=id_, is_resolved=True))
            self.incidents[id_] = END


async def played(steps: Sequence[Step], hooks: Sequence[SafeText], random: float) -> dict[SafeText, Hook]:
    time = VirtualTime(random=random)
    receivers = {name: Receiver(time) for name in hooks}
    runner, books = runner_of(receivers, time)
    found = {name: Hook(receivers[name], books[name]) for name in hooks}
    async with runner:
        for number, step in enumerate(steps):
            if step.what == "pass":
                await time.pass_by(step.seconds)
            elif step.hook in found:
                found[step.hook].take(step, number)
                await time.settle()
            for name, hook in found.items():
                check_nothing_open_is_lost(hook, runner.unsent(name))
        for hook in found.values():
            hook.receiver.how, hook.healed_at = "takes", time.now
        await time.pass_by(limits.HOOK_BACKOFF_CAP.total_seconds() + limits.HOOK_TIME.total_seconds())
        assert not any(runner.unsent(name) for name in found)
    return found


def check_nothing_open_is_lost(hook: Hook, unsent: Collection[Message]) -> None:
    waiting = {(each.incident, int(each.summary)) for each in unsent}
    got = {(sent.incident, sent.state) for sent in hook.receiver.sent}
    for id_, state in hook.incidents.items():
        if state is OPEN:
            assert (id_, hook.newest[id_]) in waiting | got


def check(hook: Hook) -> None:
    for id_, state in hook.incidents.items():
        got = [sent for sent in hook.receiver.sent if sent.incident == id_]
        assert all(earlier.state < later.state for earlier, later in pairwise(got)), "an old state, or one twice"
        assert not any(sent.is_end for sent in got[:-1]), "something after the end"
        openings = [sent for sent in got if not sent.is_end]
        if state is OPEN:
            assert openings[-1].state == hook.newest[id_]
        elif state is END:
            is_told = bool(got) and got[-1].is_end
            assert not is_told or openings, "an end of something that never began"
            if openings and not is_told:
                failed_for = hook.healed_at + limits.HOOK_TIME.total_seconds() - hook.ended_at[id_]
                assert failed_for >= limits.HOOK_TRIED_FOR.total_seconds()


@settings(max_examples=examples(1_000))
@given(STEPS, st.sampled_from([0.1, 0.5, 1.0]))
def test_each_hook_gets_every_open_incident_in_order_as_if_it_were_alone(steps: list[Step], random: float) -> None:
    together = asyncio.run(played(steps, HOOKS, random))
    for name, hook in together.items():
        check(hook)
        alone = asyncio.run(played(steps, [name], random))[name]
        assert hook.receiver.sent == alone.receiver.sent
