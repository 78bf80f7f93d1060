"""Rows keep their places while keys arrange the table; no key removes the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.app_harness import staged
from support.builders import environment

if TYPE_CHECKING:
    from support.app_harness import Stage

    from envwatch.model.environment import Environment


def in_pods(stage: Stage) -> list[Environment]:
    """Return 80 environments in eight pods of ten."""
    return [
        environment(f"env-{n:02}", connectionName=f"host-{n:02}", podId=f"p-{n // 10}", lastHeartbeat=stage.at - 5_000)
        for n in range(80)
    ]


def line_of(stage: Stage, text: str) -> int:
    return next(y for y, line in enumerate(stage.lines) if text in line)


async def test_a_group_that_is_folded_keeps_its_header_in_place_and_gives_it_the_cursor() -> None:
    async with staged(size=(80, 24)) as stage:
        await stage.show(in_pods(stage))
        await stage.press("b", "p", "enter", "g", *["j"] * 24)
        assert stage.cursor == "host-21"
        y = line_of(stage, "▾ pod p-2")
        await stage.press("x")
        assert (line_of(stage, "▸ pod p-2"), stage.cursor) == (y, "pod p-2")


async def test_grouping_shows_the_header_of_the_cursors_group() -> None:
    async with staged(size=(80, 24)) as stage:
        await stage.show(in_pods(stage))
        await stage.press("j", "k", "b", "p", "enter")
        assert stage.cursor == "host-00"
        assert stage.body[0].startswith("▾ pod p-0")


async def test_problems_first_is_never_inverted() -> None:
    async with staged(size=(80, 24)) as stage:
        late = environment("env-z", connectionName="zoe", lastHeartbeat=stage.at - 60_000)
        await stage.show([late, *in_pods(stage)])
        for keys in (("o", "o"), ("I",)):
            await stage.press(*keys)
            assert stage.news == "sorted problems first: this order cannot be inverted"
            assert stage.names[:2] == ["zoe", "host-00"]


async def test_a_row_that_is_lost_takes_the_cursor_along_into_the_block_and_no_rule_counts_the_row_as_up() -> None:
    async with staged(size=(80, 24)) as stage:
        late = environment("env-a", connectionName="al", lastHeartbeat=stage.at - 60_000)
        await stage.show([late, environment("env-b", connectionName="bo", lastHeartbeat=stage.at - 5_000)])
        assert stage.rule.startswith("── 2 online ───")
        await stage.press("j")
        await stage.show([late, environment("env-b", connectionName="bo", connectionId=None, lastHeartbeat=None)])
        assert stage.rule.startswith("── 1 online ───")
        assert stage.cursor == "bo"
        assert [line[:2] for line in stage.block] == ["▌►"]
        assert stage.names == ["al"]
