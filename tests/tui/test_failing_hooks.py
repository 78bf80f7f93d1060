"""Hooks of another process that fail, on the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.app_harness import staged
from support.builders import NOW, beating, environment

from envwatch.model.clock import WallMs
from envwatch.model.text import SafeText, clean
from envwatch.watch.loop import News

if TYPE_CHECKING:
    from envwatch.model.clock import Clocks


async def test_a_failing_hook_stays_on_the_screen_until_it_works_and_a_fresh_loss_comes_first() -> None:
    failing: dict[SafeText, WallMs] = {}

    def read(_now: Clocks) -> News:
        return News(failing_hooks=dict(failing))

    down = environment(beating(1)[0].id, connectionId=None, lastHeartbeat=None)
    async with staged(news=read) as stage:
        await stage.show(beating(3))
        assert "hook" not in stage.text
        failing[clean("page")] = WallMs(NOW)
        await stage.show(beating(3))
        assert stage.news.startswith("hook page has failed since 08:53:20"), stage.news
        assert "no incident message arrives" in stage.text
        stage.now += 5
        await stage.show([down, *beating(3)[1:]])
        assert "went offline" in stage.news, stage.news
        for _ in range(13):
            stage.now += 5
            await stage.show([down, *beating(3, stage.at)[1:]])
        assert stage.news.startswith("hook page has failed since"), stage.news
        failing.clear()
        await stage.show([down, *beating(3, stage.at)[1:]])
        assert "hook" not in stage.text
