"""The hooks' queues: order, retries, bounds, reports, end, and invariants under random failures. Time is virtual."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import examples
from support.builders import NOW
from support.fake_clock import VirtualTime
from support.incidents import Book, message, runner_of
from support.receiver import Answer, receiver

from envwatch.deliver.message import DeliveryError
from envwatch.deliver.runner import HookReport, Runner
from envwatch.deliver.web_service import WebService
from envwatch.letta.network_settings import checked_hook_url
from envwatch.letta.poller import Runtime
from envwatch.model import limits
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from envwatch.deliver.message import Message


H = clean("h")


class PostedEvents:
    def __init__(self, url: str) -> None:
        self.service = WebService(checked_hook_url(url), {}, time_limit=timedelta(seconds=0.3))

    async def send(self, message: Message) -> SafeText:
        await self.service.post({}, message.cloud_event)
        return clean("")


DOWN = DeliveryError("no answer")
WRONG = DeliveryError("no such team", is_final=True)


@dataclass
class Receiver:
    time: VirtualTime
    failures: list[Exception] = field(default_factory=list)
    is_up: bool = True
    rejects: str = ""
    """Summary of a message that is never accepted."""
    takes_s: float = 0.0
    tried_at: list[float] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    running: int = 0

    async def send(self, message: Message) -> SafeText:
        self.tried_at.append(self.time.now)
        self.running += 1
        assert self.running == 1, "two messages at once"
        try:
            if self.takes_s:
                await self.time.sleep(self.takes_s)
            if self.failures:
                raise self.failures.pop(0)
            if not self.is_up or message.summary == self.rejects:
                raise DOWN
            self.sent.append(message.summary)
            return clean("")
        finally:
            self.running -= 1

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.tried_at, self.tried_at[1:], strict=False)]


@dataclass
class Scene:
    time: VirtualTime
    receiver: Receiver
    runner: Runner
    reports: list[HookReport]
    book: Book

    def put(self, *summaries: str) -> None:
        """Put messages: `a` is an event; `open 1` and `end 1` are about the incident 1."""
        for summary in summaries:
            self.book.take(message_named(summary))

    async def until_done(self) -> None:
        for _ in range(1_000):
            await self.time.settle()
            if not self.runner.unsent(H):
                return
            await self.time.pass_by(20)
        raise AssertionError("never done")

    @property
    def news(self) -> list[str]:
        return [report.text for report in self.reports if report.is_news]

    @property
    def texts(self) -> list[str]:
        return [report.text for report in self.reports]

    @property
    def unsent(self) -> list[str]:
        return [str(message.summary) for message in self.runner.unsent(H)]


def message_named(summary: str) -> Message:
    kind, _, incident = summary.partition(" ")
    if not incident:
        return message(summary)
    return message(summary, incident=clean(incident), is_resolved=kind == "end")


@asynccontextmanager
async def scene(*failures: Exception, is_up: bool = True, takes_s: float = 0.0) -> AsyncIterator[Scene]:
    time, reports = VirtualTime(), list[HookReport]()
    one = Receiver(time, list(failures), is_up=is_up, takes_s=takes_s)
    runner, books = runner_of({H: one}, time, reports.append)
    async with runner:
        yield Scene(time, one, runner, reports, books[H])


async def test_messages_of_a_hook_keep_their_order() -> None:
    async with scene() as one:
        one.put("a", "b", "c")
        await one.until_done()
        assert one.receiver.sent == ["a", "b", "c"]
        assert one.texts == [f"hook h: sent: {name}" for name in "abc"]


async def test_rests_double_up_to_five_minutes_and_a_success_ends_them() -> None:
    async with scene(*[DOWN] * 11) as one:
        one.put("open 1")
        await one.until_done()
        assert one.receiver.gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
        one.receiver.failures.append(DOWN)
        one.put("open 2")
        await one.until_done()
        assert one.receiver.gaps[-1] == 1


async def test_a_rest_is_any_time_below_its_bound() -> None:
    async with scene(*[DOWN] * 3) as one:
        one.time.random = 0.25
        one.put("open 1")
        await one.until_done()
        assert one.receiver.tried_at == [0, 0.25, 0.75, 1.75]


@pytest.mark.parametrize(("asked", "rests"), [(0, 1), (17, 17), (300, 300), (301, 300)])
async def test_a_requested_rest_is_kept_up_to_five_minutes(asked: int, rests: int) -> None:
    async with scene(DeliveryError("busy", wait=timedelta(seconds=asked))) as one:
        one.put("a")
        await one.until_done()
        assert one.receiver.gaps == [rests]


async def test_an_opening_is_tried_as_long_as_its_incident_is_open() -> None:
    async with scene(is_up=False) as one:
        one.put("open 1")
        await one.time.pass_by(86_400)
        assert one.unsent == ["open 1"]
        assert one.receiver.gaps[-1] == 300
        one.receiver.is_up = True
        await one.time.pass_by(300)
        assert (one.receiver.sent, one.unsent) == (["open 1"], [])


@pytest.mark.parametrize(("failures", "sent"), [(6, True), (7, False)])
@pytest.mark.parametrize("summary", ["a", "end 1"])
async def test_any_other_message_is_given_up_after_half_an_hour(summary: str, failures: int, *, sent: bool) -> None:
    asks = DeliveryError("busy", wait=timedelta(minutes=5))
    async with scene(*[asks] * failures) as one:
        await one.time.pass_by(900)
        one.put(summary)
        await one.until_done()
        assert one.receiver.tried_at[-1] == 900 + 1_800
        assert one.receiver.sent == [summary] * sent
        assert any(f"given up: {summary}" in text for text in one.texts) is not sent


async def test_the_failure_of_one_message_gives_up_too_old_messages() -> None:
    async with scene(is_up=False) as one:
        one.put("a", "b", "open 1")
        await one.time.pass_by(2_400)
        assert one.unsent == ["open 1"]
        assert sum("given up: " in text for text in one.texts) == 2


async def test_all_is_done_when_the_newest_message_is_delivered() -> None:
    async with scene(takes_s=10) as one:
        one.put("a")
        await one.until_done()
        one.put("b")
        async with asyncio.TaskGroup() as tasks:
            done = tasks.create_task(one.runner.all_done())
            await one.time.pass_by(9)
            assert not done.done()
            await one.time.pass_by(1)
        assert one.receiver.sent == ["a", "b"]


async def test_a_final_failure_is_not_tried_again() -> None:
    async with scene(WRONG) as one:
        one.put("a")
        await one.time.settle()
        assert (one.unsent, one.texts) == ([], ["hook h: no such team: given up: a"])


async def test_failures_are_shown_once_for_each_streak_and_all_of_them_are_logged() -> None:
    async with scene(DOWN, DOWN, WRONG) as one:
        one.put("a", "b")
        await one.until_done()
        assert one.news == ["hook h: no answer: next try in 1 s: a", "hook h: works again, after 3 failures"]
        assert sum(report.is_failure for report in one.reports) == 3


async def test_a_bug_in_delivering_is_a_failure_like_others() -> None:
    async with scene(ZeroDivisionError("oops")) as one:
        one.put("open 1", "b")
        await one.until_done()
        assert one.receiver.sent == ["b", "open 1"]
        assert one.news[0] == "hook h: a bug: ZeroDivisionError('oops'): next try in 1 s: open 1"


async def test_a_full_queue_drops_the_newest_event_and_no_incident() -> None:
    async with scene(is_up=False) as one:
        one.put("first")
        await one.time.settle()
        one.put(*(f"m{number}" for number in range(1, limits.HOOK_QUEUE + 2)), "open 1", "end 2")
        assert len(one.unsent) == limits.HOOK_QUEUE + 2
        one.receiver.is_up = True
        await one.until_done()
        assert set(one.receiver.sent) == {"first", *(f"m{n}" for n in range(1, limits.HOOK_QUEUE)), "open 1", "end 2"}
        assert one.news[1:] == [
            "hook h: dropped, as 100 messages wait: m100",
            "hook h: works again, after 1 failure, 2 messages dropped",
        ]


async def test_a_hanging_or_failing_hook_delays_no_other() -> None:
    time = VirtualTime()
    slow, down, fine = Receiver(time, takes_s=28), Receiver(time, is_up=False), Receiver(time)
    hooks = {clean("slow"): slow, clean("down"): down, clean("fine"): fine}
    runner, _ = runner_of(hooks, time)
    async with runner:
        for second in range(5):
            for name in hooks:
                runner.put(name, message(f"a{second}"))
            await time.pass_by(1)
        assert fine.tried_at == [0, 1, 2, 3, 4]
        assert slow.tried_at == [0]
        await time.pass_by(140)
        assert slow.tried_at == [0, 28, 56, 84, 112]


@pytest.mark.parametrize(
    ("takes_s", "failures", "sent", "text"),
    [
        (0, [DOWN], [], "nothing sent, as it is due no more: open 1"),
        (10, [DOWN], [], "no answer: the incident is over: open 1"),
        (10, [], ["open 1", "end 1"], "sent: end 1"),
    ],
    ids=["after a failure", "during a failing delivery", "during the delivery"],
)
async def test_an_end_is_sent_only_after_its_opening(
    takes_s: float, failures: list[DeliveryError], sent: list[str], text: str
) -> None:
    async with scene(*failures, takes_s=takes_s) as one:
        one.put("open 1")
        await one.time.pass_by(takes_s / 2)
        one.put("end 1")
        assert one.unsent == (["open 1"] if takes_s else [])
        await one.until_done()
        await one.time.pass_by(3_600)
        assert (one.receiver.tried_at, one.receiver.sent) == ([0, 10] if sent else [0], sent)
        assert one.texts[-1] == f"hook h: {text}"


async def test_a_new_opening_does_not_wait_for_the_rest_and_does_not_make_the_rest_longer() -> None:
    async with scene(*[DOWN] * 6) as one:
        one.put("open 1")
        await one.time.pass_to(8)
        assert one.receiver.tried_at == [0, 1, 3, 7]
        one.put("b", "open 2")
        await one.time.pass_to(9)
        assert one.receiver.tried_at[4:] == [8], "the event waits, the opening does not"
        await one.time.pass_to(14.9)
        assert one.receiver.tried_at[5:] == []
        await one.time.pass_to(15)
        assert one.receiver.tried_at[5:] == [15]
        one.put("open 3")
        await one.time.settle()
        assert one.receiver.sent == ["open 3", "b", "open 2", "open 1"], "the first success ends the rest for all"


async def test_an_always_failing_message_holds_up_no_other() -> None:
    async with scene() as one:
        one.receiver.rejects = "open 1"
        one.put("open 1", "b", "open 2", "end 3")
        await one.time.pass_to(1)
        assert one.receiver.sent == ["open 2", "b", "end 3"]
        one.put("open 4")
        await one.time.pass_to(86_400)
        assert one.receiver.sent[3:] == ["open 4"]
        assert one.unsent == ["open 1"]


async def test_a_hook_is_failing_from_ten_minutes_until_a_delivery() -> None:
    async with scene(is_up=False) as one:
        await one.time.pass_to(50)
        one.put("open 1", "open 2")
        await one.time.pass_to(649)
        assert one.runner.failing() == {}
        await one.time.pass_to(650)
        assert one.runner.failing() == {H: NOW + 50_000}
        one.put("end 1", "end 2")
        await one.time.pass_to(86_400)
        assert one.runner.failing() == {H: NOW + 50_000}, "nobody knows that it works"
        one.receiver.is_up = True
        one.put("open 3")
        await one.time.settle()
        assert one.runner.failing() == {}
        assert one.news[1] == "hook h: has failed for 10m, 2 messages not sent"
        assert one.news[2].startswith("hook h: works again, after ")
        assert len(one.news) == 3


@pytest.mark.parametrize(("second", "is_failing"), [(599, False), (600, True)])
async def test_a_hook_without_waiting_messages_is_failing_by_the_next_failure(
    second: float, *, is_failing: bool
) -> None:
    async with scene(WRONG, WRONG) as one:
        one.put("a")
        await one.time.pass_to(second)
        one.put("b")
        await one.time.settle()
        assert (H in one.runner.failing()) is is_failing


async def test_a_hook_with_nothing_to_send_is_not_failing_within_ten_minutes() -> None:
    async with scene(is_up=False) as one:
        one.put("open 1")
        await one.time.pass_to(590)
        one.put("end 1")
        await one.time.pass_to(3_600)
        assert one.runner.failing() == {}


async def test_the_end_gives_waiting_messages_time_and_counts_unsent_messages() -> None:
    time, reports = VirtualTime(), list[HookReport]()
    hangs = Receiver(time, takes_s=1_000)
    runner, _ = runner_of({H: hangs}, time, reports.append, Runtime(), timedelta(seconds=0.1))
    async with runner:
        runner.put(H, message("a"))
        runner.put(H, message("b"))
    assert hangs.running == 0
    assert [str(each.summary) for each in runner.unsent(H)] == ["a", "b"]
    assert [report.text for report in reports] == ["hook h: 2 messages not sent, as envwatch ends"]


async def test_the_end_waits_for_the_messages_of_a_moment_ago() -> None:
    time, reports = VirtualTime(), list[HookReport]()
    fine = Receiver(time)
    runner, _ = runner_of({H: fine}, time, reports.append, farewell=limits.HOOK_FAREWELL)
    async with runner:
        runner.put(H, message("a"))
    assert fine.sent == ["a"]
    assert [report.text for report in reports] == ["hook h: sent: a"]


async def test_a_refusing_stalling_busy_and_failing_service_gets_its_message_in_the_end() -> None:
    answers = [Answer(429, headers=("Retry-After: 7",)), Answer(500), Answer(404), Answer(302), Answer(breaks=True)]
    time, reports, rests = VirtualTime(), list[HookReport](), list[float]()

    async def wait(_event: asyncio.Event, seconds: float) -> None:
        rests.append(seconds)
        time.now += seconds

    runtime = Runtime(time.clocks, wait, lambda: 1.0)
    async with receiver(*answers, Answer(stalls=True)) as service:
        runner, _ = runner_of({H: PostedEvents(service.url)}, time, reports.append, runtime)
        async with runner:
            runner.put(H, message(incident=clean("1")))
            await runner.all_done()
    assert [posted.body for posted in service.posted] == [message(incident=clean("1")).cloud_event] * 7
    assert rests == [7, 2, 4, 8, 16, 32]
    assert sum(report.is_news for report in reports) == 2


HOOKS = tuple(clean(name) for name in ("one", "two"))
HOW = ("takes", "refuses", "hangs", "hangs and takes")


class Sent(NamedTuple):
    at: float
    incident: SafeText | None
    is_end: bool
    summary: str


@dataclass
class Faulty:
    time: VirtualTime
    how: str = "takes"
    sent: list[Sent] = field(default_factory=list)

    async def send(self, message: Message) -> SafeText:
        how = self.how
        if how.startswith("hangs"):
            await self.time.sleep(limits.HOOK_TIME.total_seconds())
        if how in ("refuses", "hangs"):
            raise DeliveryError("no")
        self.sent.append(Sent(self.time.now, message.incident, message.is_resolved, str(message.summary)))
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
    receiver: Faulty
    book: Book
    open: set[SafeText] = field(default_factory=set)
    ended_at: dict[SafeText, float] = field(default_factory=dict)
    healed_at: float = 0.0

    def take(self, step: Step, number: int) -> None:
        # A resolved incident does not open again.
        id_ = clean(f"{step.incident}-{sum(each.startswith(f'{step.incident}-') for each in self.ended_at)}")
        if step.what in HOW:
            self.receiver.how = step.what
        elif step.what == "event":
            self.book.take(message(str(number)))
        elif step.what == "open" and id_ not in self.open:
            self.book.take(message(str(number), incident=id_))
            self.open.add(id_)
        elif step.what == "end" and id_ in self.open:
            self.book.take(message(str(number), incident=id_, is_resolved=True))
            self.open.remove(id_)
            self.ended_at[id_] = self.receiver.time.now

    def check_openings(self, unsent: Collection[Message]) -> None:
        known = {each.incident for each in unsent} | {sent.incident for sent in self.receiver.sent}
        assert self.open <= known, "an open incident is lost"

    def check_order(self) -> None:
        for id_ in self.open | self.ended_at.keys():
            got = [sent.is_end for sent in self.receiver.sent if sent.incident == id_]
            assert got in ([], [False], [False, True]), "twice, or an end of something that never began"
            if id_ in self.open:
                assert got == [False]
            elif got == [False]:
                failed_for = self.healed_at + limits.HOOK_TIME.total_seconds() - self.ended_at[id_]
                assert failed_for >= limits.HOOK_TRIED_FOR.total_seconds()


async def played(steps: Sequence[Step], hooks: Sequence[SafeText], random: float) -> dict[SafeText, Hook]:
    time = VirtualTime(random=random)
    receivers = {name: Faulty(time) for name in hooks}
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
                hook.check_openings(runner.unsent(name))
        for hook in found.values():
            hook.receiver.how, hook.healed_at = "takes", time.now
        await time.pass_by(limits.HOOK_BACKOFF_CAP.total_seconds() + limits.HOOK_TIME.total_seconds())
        assert not any(runner.unsent(name) for name in found)
    return found


@settings(max_examples=examples(1_000))
@given(STEPS, st.sampled_from([0.1, 0.5, 1.0]))
def test_each_hook_gets_every_open_incident_in_order_as_without_other_hooks(steps: list[Step], random: float) -> None:
    together = asyncio.run(played(steps, HOOKS, random))
    for name, hook in together.items():
        hook.check_order()
        alone = asyncio.run(played(steps, [name], random))[name]
        assert hook.receiver.sent == alone.receiver.sent
