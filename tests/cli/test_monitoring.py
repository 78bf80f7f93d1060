"""The loop of `watch` and `wait` on fast clocks: steps, end, and a key that stays refused."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from support.builders import NOW, beating, reading
from support.fake_clock import Answer, Script, World, error, poller_of

from envwatch.cli.arguments import StopError
from envwatch.cli.monitoring import refusal_check, run_until_signalled
from envwatch.fleet.events import NO_PROFILE, Kind
from envwatch.fleet.monitor import Monitor
from envwatch.model.limits import Limits
from envwatch.model.outcome import Cause, ListedPage, Snapshot
from envwatch.model.text import SafeText, clean
from envwatch.sources.poller import Session, Target
from envwatch.watch.loop import Deadline, MonitorUpdate, Watch, deadline_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LISTING = Snapshot.of_pages(pages=(ListedPage(beating(3), reading().wall),), requests=1)
REFUSED = error(Cause.UNAUTHORIZED)


def targets_of(world: World, *scripts: Script) -> Mapping[SafeText, Target]:
    names = [NO_PROFILE] if len(scripts) == 1 else [clean(f"p{number}") for number in range(len(scripts))]
    return {
        name: Target(profile=name, host="host", key_origin="", poller=poller_of(world, script), limits=Limits())
        for name, script in zip(names, scripts, strict=True)
    }


async def taken(
    world: World, *scripts: Script, deadline: Deadline, check: Callable[[MonitorUpdate], None] = lambda _: None
) -> list[MonitorUpdate]:
    found: list[MonitorUpdate] = []
    targets = targets_of(world, *scripts)
    monitor = Monitor.create({name: target.limits for name, target in targets.items()})
    async with (
        Session(targets) as session,
        aclosing(Watch(monitor, session, deadline=deadline, runtime=world.runtime())) as watch,
    ):
        async for update in watch:
            found.append(update)
            check(update)
    return found


def until(world: World, seconds: float) -> Deadline:
    return deadline_after(world.clocks(), timedelta(seconds=seconds))


async def test_each_outcome_and_each_second_between_is_an_update() -> None:
    world = World()
    found = await taken(world, Script(world, LISTING), deadline=until(world, 13.5))
    polls = [update for update in found if update.changes.outcome is not None]
    assert len(polls) == 3
    assert [update.has_new_listing for update in polls] == [True, True, True]
    ticks = [update for update in found if update.changes.outcome is None]
    assert 9 <= len(ticks) <= 13
    assert not any(update.has_new_listing for update in ticks)
    for earlier, later in pairwise(found):
        assert later.before.fleet.by_profile[NO_PROFILE].listed == earlier.monitor.fleet.by_profile[NO_PROFILE].listed


async def test_time_alone_makes_it_blind_and_the_monitor_keeps_no_events() -> None:
    world = World()
    hangs = Script(world, LISTING, error(), takes=0.0)
    found = await taken(world, hangs, deadline=until(world, 90))
    kinds = [event.kind for update in found for event in update.changes.events]
    assert kinds == [Kind.FAILING, Kind.BLIND]
    assert not any(update.monitor.event_log for update in found if update.changes.outcome is not None)


@pytest.mark.parametrize(
    "deadline",
    [
        deadline_after(reading(), timedelta(seconds=20), datetime.fromtimestamp(NOW / 1000 + 7, UTC)),
        deadline_after(reading(), timedelta(seconds=7), datetime.fromtimestamp(NOW / 1000 + 20, UTC)),
    ],
)
async def test_it_ends_at_the_earlier_of_a_time_and_a_moment(deadline: Deadline) -> None:
    world = World()
    found = await taken(world, Script(world, LISTING), deadline=deadline)
    assert 6 <= world.now <= 8
    assert found[-1].changes.now.monotonic <= 7


async def test_a_moment_counts_time_that_the_machine_slept() -> None:
    world = World()
    deadline = deadline_after(reading(), until=datetime.fromtimestamp(NOW / 1000 + 3_600, UTC))
    world.schedule(5, lambda: world.suspend(7_200))
    await taken(world, Script(world, LISTING), deadline=deadline)
    assert world.now < 10


async def refused(world: World, *scripts: Script, seconds: float = 400) -> tuple[float, str] | None:
    """Return time and reason of the end by a refused key, or None."""
    check = refusal_check(targets_of(world, *scripts))
    try:
        await taken(world, *scripts, deadline=until(world, seconds), check=check)
    except StopError as stop:
        return world.now, f"{stop.code.name}: {stop}"
    return None


@pytest.mark.parametrize(
    ("answers", "ends_at"),
    [
        ((REFUSED,), 30),
        ((LISTING, REFUSED), 35),
        ((REFUSED, LISTING, REFUSED, LISTING), None),
        ((REFUSED, LISTING), None),
        ((error(Cause.SERVER),), None),
    ],
)
async def test_it_ends_when_a_refused_key_is_refused_again(answers: tuple[Answer, ...], ends_at: float | None) -> None:
    world = World()
    found = await refused(world, Script(world, *answers))
    if ends_at is None:
        assert found is None
    else:
        assert found is not None
        at, line = found
        assert ends_at - 2 <= at <= ends_at + 2
        assert line.startswith("AUTHENTICATION: refused again: ")


async def test_it_goes_on_while_another_profile_has_a_key_that_works() -> None:
    world = World()
    assert await refused(world, Script(world, REFUSED), Script(world, LISTING)) is None
    world = World()
    assert await refused(world, Script(world, REFUSED), Script(world, REFUSED)) is not None


def test_an_interrupted_run_cleans_up_and_has_the_code_of_the_signal() -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        cleaned: list[int] = []

        async def main(number: int = number, cleaned: list[int] = cleaned) -> int:
            os.kill(os.getpid(), number)
            try:
                await asyncio.sleep(60)
            finally:
                cleaned.append(number)
            return 0

        assert run_until_signalled(main) == code
        assert cleaned == [number]
