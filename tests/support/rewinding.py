"""A dashboard with a past, and the keys for the past."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.app_harness import staged
from support.builders import NOW, environment, listed
from support.memory_history import MemoryHistory

from envwatch.fleet.events import NO_PROFILE
from envwatch.model.clock import OffsetBounds, WallMs
from envwatch.screen.widgets.status_bar import DayBar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from support.app_harness import Stage

    from envwatch.model.environment import Environment
    from envwatch.model.outcome import Listed

DOWN: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None}
EVER = (WallMs(float("-inf")), WallMs(float("inf")))
BACK, FORWARD = "left_square_bracket", "right_square_bracket"
EVENT_BACK, EVENT_FORWARD = "left_curly_bracket", "right_curly_bracket"
Life = tuple[tuple[float, tuple[int, ...]], ...]

LIFE: Life = ((0, ()), (5, (1,)), (10, (1,)), (15, (1, 2)), (20, (2,)))
"""Seconds after `NOW`, with the environments down then: 1 is lost and comes back, 2 is lost."""


ESTIMATED_ANEW: tuple[tuple[float, tuple[int, ...], tuple[float, float]], ...] = (
    (0, (), (-500, 2_500)),
    (5, (1,), (-500, 2_500)),
    (8, (1,), (-500, 2_500)),
    (9, (), (-500, -300)),
    (14, (), (-500, -300)),
)
"""Seconds after `NOW`, the rows down, and the bounds of the server's clock.

The event of the poll at 9 seconds is dated before the answer to the previous poll, by the previous poll's estimate."""


def rows(at: float, *down: int, count: int = 4) -> list[Environment]:
    """Return rows that beat just before a moment (ms), some down."""
    return [
        environment(f"env-{n}", **(DOWN | {"lastSeenAt": NOW + 1_000} if n in down else {"lastHeartbeat": at - 1_000}))
        for n in range(count)
    ]


def estimated_anew(at: float, down_then: Sequence[int], offsets: tuple[float, float]) -> Listed:
    came = listed(rows(NOW + at * 1000, *down_then), NOW + at * 1000)
    return came._replace(snapshot=came.snapshot._replace(clock=(OffsetBounds(*offsets),)))


async def until(stage: Stage, condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await stage.pilot.pause()


def is_travelling(stage: Stage) -> bool:
    return any(worker.group == "travels" for worker in stage.app.workers)


async def settle(stage: Stage) -> None:
    await until(stage, lambda: not is_travelling(stage))
    await stage.turns()


async def press(stage: Stage, *keys: str) -> None:
    await stage.press(*keys)
    await settle(stage)


async def go_to(stage: Stage, text: str) -> None:
    await stage.press("T")
    await stage.type(text)
    await press(stage, "enter")


@asynccontextmanager
async def lived(
    life: Life = LIFE, size: tuple[int, int] = (80, 24), history: MemoryHistory | None = None, **options: Any
) -> AsyncIterator[Stage]:
    """Run a dashboard that has recorded a life; enter at the last listing."""
    history = history or MemoryHistory()
    async with staged(size, **({"record": history.record, "pasts": {NO_PROFILE: history}} | options)) as stage:
        for at, down in life:
            await show(stage, at, *down)
        yield stage


async def show(stage: Stage, at: float, *down: int, count: int = 4) -> None:
    await stage.tick(at - stage.now)
    await stage.show(rows(stage.at, *down, count=count))


def down_keys(stage: Stage) -> set[tuple[str, str]]:
    """Return the rows shown as down in block and table, by profile and id."""
    return {*stage.table.state.block.homes, *(each.key for each in stage.table.rows if not each.verdict.is_up)}


def down(stage: Stage) -> set[str]:
    return {id_ for _, id_ in down_keys(stage)}


def seconds(stage: Stage) -> float:
    return (stage.app.state.now.wall - NOW) / 1000


def day_line(stage: Stage) -> str:
    return stage.lines_of(stage.app.dashboard.query_one(DayBar))[0]


def now_line(stage: Stage) -> str:
    """Return the line of the present's newest loss; empty without a loss."""
    return next((line for line in stage.lines if line.startswith(" now ")), "")


def is_rewound(stage: Stage) -> bool:
    return " REWOUND " in stage.lines[0]
