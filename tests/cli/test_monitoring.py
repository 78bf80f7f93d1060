"""A key that stays refused, and a run that a signal ends."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from support.builders import beating, reading
from support.fake_clock import Answer, Script, World, error, taken, targets_of, until

from envwatch.cli.arguments import StopError
from envwatch.cli.monitoring import refusal_check, run_until_signalled
from envwatch.model.outcome import Cause, ListedPage, Snapshot

LISTING = Snapshot.of_pages(pages=(ListedPage(beating(3), reading().wall),), requests=1)
REFUSED = error(Cause.UNAUTHORIZED)


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
