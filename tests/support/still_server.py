"""A demo server whose listing keeps the first rows, so that a slow test can count the rows."""

from __future__ import annotations

from typing import Any

import pytest

from envwatch.demo.fleet import DemoFleet
from envwatch.demo.server import Server


class _StillFleet(DemoFleet):
    """A fleet whose rows never change; only the heartbeats' ages grow."""

    def page(self, now: int, **wanted: Any) -> tuple[list[bytes], bool]:
        del now
        return super().page(self.started_at, **wanted)

    def row(self, device_id: str, now: int) -> bytes | None:
        del now
        return super().row(device_id, self.started_at)


def still_server(size: int, key: str) -> Server:
    """Start a server on such a fleet with the machine's clock, so that no clock appears to stand still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("envwatch.demo.server.DemoFleet", _StillFleet)
        return Server(size, key=key)
