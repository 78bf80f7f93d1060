"""What hooks of `watch` send in one run and the next, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from support.builders import NOW, listed, reading
from support.hooked import row

from envwatch.cli.hook_dispatch import HookDispatch, Prepared
from envwatch.cli.monitoring import MonitorUpdate
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.kept_incidents import KeptIncident, content_of, kept_incidents
from envwatch.fleet.monitor import Monitor
from envwatch.hooks.delivery import DeliveryError
from envwatch.hooks.hook import Hook
from envwatch.hooks.message import Context
from envwatch.hooks.runner import Runner
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean
from envwatch.sources.poller import Runtime

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from envwatch.hooks.message import Message

CONTEXT = Context(source="https://letta.example/v1/environments", host="letta.example", profile="")
HOOKS = (Hook(name=clean("soon")), Hook(name=clean("late"), filter="name:web", after=timedelta(minutes=30)))


async def for_ever(event: asyncio.Event, _seconds: float) -> None:
    await event.wait()


@dataclass
class Inbox:
    """A delivery that takes everything, unless it is down."""

    name: str
    sent: list[str]
    is_down: bool

    async def send(self, message: Message) -> SafeText:
        if self.is_down:
            raise DeliveryError("no answer")
        self.sent.append(f"{self.name} {message.variables['ENVWATCH_EVENT']}")
        return clean("")


@dataclass
class Run:
    """One run of `watch --hooks` over an environment."""

    file: dict[str, Any]
    """What is kept from run to run, as JSON."""
    began_at: float
    is_down: bool = False
    """Whether what takes messages is down."""
    sent: list[str] = field(default_factory=list)

    async def watch(self, *is_up: bool) -> Run:
        """Poll every minute."""
        kept = kept_incidents(self.file, {f"{CONTEXT.source}#": NO_PROFILE}, reading(self.began_at).monotonic)
        prepared = Prepared(HOOKS, {}, {NO_PROFILE: CONTEXT}, kept)
        monitor = Monitor.create({NO_PROFILE: Limits()}).with_open_incidents(prepared.open_incidents)
        inboxes = {hook.name: Inbox(hook.name, self.sent, self.is_down) for hook in HOOKS}
        runner = Runner(inboxes, lambda _: None, Runtime(wait=for_ever), farewell=timedelta())
        dispatch = HookDispatch(prepared, runner, self.keep)
        async with runner:
            for minute, up in enumerate(is_up):
                at = self.began_at + minute * 60_000
                rows = [row("web", at, is_up=up), row("other", at)]
                before = monitor
                monitor, changes = monitor.apply(NO_PROFILE, listed(rows, at), reading(at))
                dispatch.take(MonitorUpdate(before, monitor, changes, reading(at)))
                if not self.is_down:
                    await runner.all_done()
        dispatch.store()
        return self

    def keep(self, changes: Mapping[SafeText, KeptIncident | None]) -> None:
        for id_, kept in changes.items():
            self.file.pop(id_, None)
            if kept is not None:
                self.file[id_] = content_of(kept)


async def test_each_hook_sends_an_incident_once_over_three_runs() -> None:
    first = await Run({}, NOW).watch(True, True, False, False, False)
    assert first.sent == ["soon incident opened"]
    second = await Run(first.file, NOW + 600_000).watch(*[False] * 35)
    assert second.sent == ["late incident opened"], "what was not sent yet is not lost with a restart"
    third = await Run(second.file, NOW + 6_000_000).watch(False, True, True)
    assert third.sent == ["soon incident resolved", "late incident resolved"]
    assert third.file == {}
    assert (await Run(third.file, NOW + 9_000_000).watch(True, True)).sent == []


async def test_an_incident_that_is_over_when_the_next_run_begins_is_resolved_by_it() -> None:
    first = await Run({}, NOW).watch(True, True, False, False, False)
    second = await Run(first.file, NOW + 600_000).watch(True, True)
    assert second.sent == ["soon incident resolved"], "the other hook has not sent its opening"


async def test_what_was_not_delivered_when_a_run_ends_is_sent_by_the_next_one() -> None:
    first = await Run({}, NOW, is_down=True).watch(True, True, False, False, False)
    second = await Run(first.file, NOW + 600_000).watch(False, False)
    assert (first.sent, second.sent) == ([], ["soon incident opened"])
    third = await Run(second.file, NOW + 1_200_000, is_down=True).watch(False, True, True)
    fourth = await Run(third.file, NOW + 1_800_000).watch(True, True)
    assert (third.sent, fourth.sent, fourth.file) == ([], ["soon incident resolved"], {})
