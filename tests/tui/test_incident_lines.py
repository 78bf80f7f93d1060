"""Keys on a line of the block that is an incident of several environments, and keys that do nothing."""

from __future__ import annotations

from typing import Any

import pytest
from support.app_harness import staged
from support.builders import NOW, environment


def lost(name: str, ago: float) -> Any:
    return environment(f"env-{name}", connectionName=name, connectionId=None, lastHeartbeat=None, lastSeenAt=NOW - ago)


ROWS = [lost("web-1", 5_000), lost("web-2", 9_000), lost("bob", 600_000), environment("env-dan", connectionName="dan")]


async def test_explain_on_an_incident_unfolds_it_and_explains_its_first_member() -> None:
    async with staged() as stage:
        await stage.show(ROWS)
        await stage.press("E")
        assert stage.cursor == "web-1"
        assert "It is offline: disconnected" in stage.text
        await stage.press("E")
        assert "It is offline" not in stage.text


async def test_enter_on_an_incident_shows_each_member_and_what_helps() -> None:
    async with staged() as stage:
        await stage.show(ROWS)
        await stage.press("enter")
        assert stage.block[0].startswith("▌►○ 2 off   9s NEW  web-1, web-2")
        below = stage.text.split("──", 2)[2]
        assert "letta server --computer-name=web-1" in below
        assert "web-2 · disconnected" in below
        assert "bob · disconnected" not in below


@pytest.mark.parametrize(("key", "name"), [("Z", "Z"), ("h", "h"), ("right", "right"), ("tab", "tab"), ("@", "@")])
async def test_a_key_without_an_effect_says_so_on_the_dashboard_and_over_it(key: str, name: str) -> None:
    async with staged() as stage:
        await stage.show(ROWS)
        await stage.press(key)
        assert stage.news == f"{name} does nothing here: ? shows the keys"
        await stage.press("question_mark", key)
        assert f"{name} does nothing here" in stage.lines[-1] or key in {"tab", "right"}


@pytest.mark.parametrize("columns", [40, 60, 80, 140])
async def test_help_and_quit_stay_in_the_footer_at_any_width(columns: int) -> None:
    async with staged((columns, 24)) as stage:
        await stage.show(ROWS)
        assert stage.lines[-1].rstrip().endswith("? Help  q Quit")
