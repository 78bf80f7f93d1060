"""The explanation of a verdict in the detail pane."""

from __future__ import annotations

from support.app_harness import staged
from support.builders import environment


async def test_the_explanation_is_whole_although_the_pane_was_scrolled() -> None:
    async with staged((120, 16)) as stage:
        await stage.show([environment("up", lastHeartbeat=stage.at)])
        await stage.press("enter", "pagedown", "escape", "E")
        assert "why · E goes back" in stage.text
        assert "Letta's client" in stage.text
