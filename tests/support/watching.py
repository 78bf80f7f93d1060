"""A watch on fast clocks, with scripted answers of the platform."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

from support.fake_clock import Script, World, poller_of

from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.monitor import Monitor
from envwatch.model.text import SafeText, clean
from envwatch.sources.poller import Session, Target
from envwatch.watch.loop import Deadline, MonitorUpdate, Watch, deadline_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def targets_of(world: World, *scripts: Script) -> Mapping[SafeText, Target]:
    names = [NO_PROFILE] if len(scripts) == 1 else [clean(f"p{number}") for number in range(len(scripts))]
    return {
        name: Target(profile=name, host="host", key_origin="", poller=poller_of(world, script))
        for name, script in zip(names, scripts, strict=True)
    }


async def taken(
    world: World, *scripts: Script, deadline: Deadline, check: Callable[[MonitorUpdate], None] = lambda _: None
) -> list[MonitorUpdate]:
    found: list[MonitorUpdate] = []
    targets = targets_of(world, *scripts)
    monitor = Monitor.create({name: target.poller.limits for name, target in targets.items()})
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
