"""The queues of hooks: order, turns, retries, bounds, what is reported, and how it ends. No time passes here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from support.messages import message
from support.receiver import Answer, receiver

from envwatch.hooks.delivery import DeliveryError
from envwatch.hooks.runner import HookReport, Runner, Waits
from envwatch.hooks.webhook import Webhook
from envwatch.model import limits
from envwatch.model.text import SafeText, clean
from envwatch.sources.letta.network_settings import checked_hook_url

if TYPE_CHECKING:
    from envwatch.hooks.message import Message

DOWN = DeliveryError("no answer", is_temporary=True)
WRONG = DeliveryError("no such team")


@dataclass
class Scripted:
    """A delivery that fails as scripted, then takes everything."""

    failures: list[Exception] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    may_send: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    took: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether a message was ever taken."""
    running: int = 0

    async def send(self, message: Message) -> SafeText:
        self.running += 1
        self.began.set()
        try:
            await self.may_send.wait()
            if self.failures:
                raise self.failures.pop(0)
            self.sent.append(message.summary)
            self.took.set()
            return clean("")
        finally:
            self.running -= 1


def scripted(*failures: Exception, may_send: bool = True) -> Scripted:
    one = Scripted(list(failures))
    if may_send:
        one.may_send.set()
    return one


@dataclass
class Time:
    """A clock that moves only when something waits."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def waits(self) -> Waits:
        return Waits(monotonic=lambda: self.now, sleep=self.sleep, random=lambda: 1.0)


async def run(delivery: Scripted, *summaries: str) -> tuple[list[HookReport], Time]:
    """Send messages with one hook."""
    reports: list[HookReport] = []
    time = Time()
    async with Runner({clean("h"): delivery}, reports.append, time.waits) as runner:
        for summary in summaries:
            runner.put(clean("h"), message(summary))
        await runner.all_done()
    return reports, time


def news(reports: list[HookReport]) -> list[str]:
    return [report.text for report in reports if report.is_news]


async def test_messages_of_a_hook_keep_their_order() -> None:
    one = scripted(DOWN, DOWN)
    reports, _ = await run(one, "a", "b", "c")
    assert one.sent == ["a", "b", "c"]
    assert [report.text for report in reports if not report.is_failure and not report.is_news] == [
        f"hook h: sent: {name}" for name in "abc"
    ]


async def test_waits_double_up_to_a_minute() -> None:
    one = scripted(*[DOWN] * 9)
    _, time = await run(one, "a")
    assert time.slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_wait_that_is_asked_for_is_kept() -> None:
    asks = DeliveryError("busy", is_temporary=True, wait=timedelta(seconds=300))
    _, time = await run(scripted(asks), "a")
    assert time.slept == [300]


@pytest.mark.parametrize(("seconds", "sent"), [(600.0, ["a", "b"]), (601.0, ["b"])])
async def test_a_message_is_given_up_after_half_an_hour(seconds: float, sent: list[str]) -> None:
    asks = DeliveryError("busy", is_temporary=True, wait=timedelta(seconds=seconds))
    one = scripted(asks, asks, asks)
    reports, _ = await run(one, "a", "b")
    assert one.sent == sent
    assert any("given up: a" in report.text for report in reports) == ("a" not in sent)


async def test_what_cannot_succeed_is_not_tried_again() -> None:
    one = scripted(WRONG)
    reports, time = await run(one, "a", "b")
    assert (one.sent, time.slept) == (["b"], [])
    assert reports[0].text == "hook h: no such team: given up: a"


async def test_failures_are_shown_once_for_each_streak_and_all_of_them_are_logged() -> None:
    reports, _ = await run(scripted(DOWN, DOWN, WRONG), "a", "b")
    assert news(reports) == ["hook h: no answer: next try in 1 s: a", "hook h: works again, after 3 failures"]
    assert sum(report.is_failure for report in reports) == 3


async def test_a_receiver_that_asks_for_no_wait_is_not_asked_without_a_pause() -> None:
    busy = DeliveryError("busy", is_temporary=True, wait=timedelta())
    _, time = await run(scripted(busy, busy, busy), "a")
    assert time.slept == [1, 2, 4]


async def test_a_bug_in_delivering_stops_nothing() -> None:
    one = scripted(ZeroDivisionError("oops"))
    reports, _ = await run(one, "a", "b")
    assert one.sent == ["b"]
    assert news(reports)[0] == "hook h: a bug: ZeroDivisionError('oops'): given up: a"


async def test_a_full_queue_drops_the_newest_and_says_how_many() -> None:
    one = scripted(may_send=False)
    reports: list[HookReport] = []
    async with Runner({clean("h"): one}, reports.append, Time().waits) as runner:
        runner.put(clean("h"), message("first"))
        await one.began.wait()
        for number in range(limits.HOOK_QUEUE + 2):
            runner.put(clean("h"), message(f"m{number}"))
        one.may_send.set()
        await runner.all_done()
    assert one.sent == ["first", *(f"m{number}" for number in range(limits.HOOK_QUEUE))]
    assert news(reports) == [
        "hook h: dropped, as 100 messages wait: m100",
        "hook h: works again, after 0 failures, 2 messages dropped",
    ]


async def test_a_hook_whose_receiver_is_down_holds_up_no_other() -> None:
    down, fine = scripted(*[DOWN] * 1_000), scripted()
    resting = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        resting.set()
        await asyncio.Event().wait()

    hooks = {clean("down"): down, clean("fine"): fine}
    async with Runner(hooks, lambda _: None, Waits(sleep=sleep), farewell=timedelta()) as runner:
        runner.put(clean("down"), message("a"))
        await resting.wait()
        runner.put(clean("fine"), message("b"))
        await fine.took.wait()
    assert (down.sent, fine.sent) == ([], ["b"])


async def test_only_one_runs_at_a_time() -> None:
    running, most = 0, 0

    class Counting:
        async def send(self, _: Message) -> SafeText:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return clean("")

    hooks = {clean(name): Counting() for name in "abc"}
    async with Runner(hooks, lambda _: None) as runner:
        for name in hooks:
            for _ in range(3):
                runner.put(name, message())
        await runner.all_done()
    assert most == 1


async def test_the_end_gives_what_waits_its_time_and_says_what_was_not_sent() -> None:
    reports: list[HookReport] = []
    hangs = scripted(may_send=False)
    async with Runner({clean("h"): hangs}, reports.append, farewell=timedelta(seconds=0.1)) as runner:
        runner.put(clean("h"), message("a"))
        runner.put(clean("h"), message("b"))
    assert hangs.running == 0
    assert news(reports) == ["hook h: 2 messages not sent, as envwatch ends"]


async def test_a_service_that_refuses_stalls_is_busy_and_fails_gets_its_message_in_the_end() -> None:
    answers = [Answer(429, headers=("Retry-After: 7",)), Answer(500), Answer(stalls=True), Answer(breaks=True)]
    time, reports = Time(), list[HookReport]()
    async with receiver(*answers) as service:
        webhook = Webhook(checked_hook_url(service.url), {}, time_limit=timedelta(seconds=2))
        async with Runner({clean("h"): webhook}, reports.append, time.waits) as runner:
            runner.put(clean("h"), message())
            await runner.all_done()
    assert [posted.body for posted in service.posted] == [message().cloud_event] * 5
    assert time.slept == [7, 2, 4, 8]
    assert len(news(reports)) == 2
