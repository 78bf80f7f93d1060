"""A replaced row on the screen: tag, place, explanation and count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.app_harness import staged
from support.builders import NOW, environment

if TYPE_CHECKING:
    from envwatch.model.environment import Environment

LOST: dict[str, Any] = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": NOW - 10_000}


def row(name: str, digit: str, **changes: Any) -> Environment:
    instance = f"server-{digit * 16}"
    return environment(
        f"env-{name}", **({"connectionName": name, "deviceId": "machine", "listenerInstanceId": instance} | changes)
    )


async def test_a_replaced_row_is_marked_counted_apart_and_explained() -> None:
    async with staged((140, 40)) as stage:
        await stage.show([row("nas", "a", **LOST), row("nas-2", "b", firstSeenAt=NOW - 5_000)])
        (line,) = [line for line in stage.text.splitlines() if "MOVED" in line]
        assert "○ off" in line
        assert "nas" in line
        assert "off" not in stage.lines[0]
        assert stage.rule.startswith("── 1 online · 1 replaced ──")
        await stage.press("down", "E")
        assert "replacement → replaced by nas-2: no loss" in stage.text
