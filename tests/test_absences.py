"""Rows that a listing lacks: the server is asked for them before their absence is believed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from builders import NOW, wire_row, wire_rows
from faulty import DEVICE_ROUTE, KEY, Faulty, Reply, faulty_server, says, serving
from pydantic import SecretStr
from shifting import PERIOD_MS, Shifting

from envwatch import rules
from envwatch.api.client import Client, Query
from envwatch.clock import Reading
from envwatch.events import Kind, leaves
from envwatch.fleet import Fleet
from envwatch.outcome import Listed, Snapshot
from envwatch.rules import Rules

if TYPE_CHECKING:
    from envwatch.events import Event


def client_of(server: Faulty, limits: Rules | None = None, **changes: Any) -> Client:
    settings: dict[str, Any] = {"base_url": server.url, "key": SecretStr(KEY), "rules": limits or Rules(), "environ": {}}
    return Client(**settings | changes)


async def gone_in(server: Shifting, walks: int) -> list[Event]:
    """What is gone after so many walks, one every 30 s from start to start, and one 15 s before them."""
    fleet, told = Fleet(), []
    async with client_of(server, wall=lambda: server.now) as client:
        for number in range(walks):
            server.now = NOW + PERIOD_MS * (number + 0.5 if number else 0)
            started = Reading(server.now, server.now / 1000)
            snapshot = await client.snapshot()
            ended = Reading(server.now, server.now / 1000)
            fleet, events = fleet.after(Listed(snapshot, started, ended, timedelta(seconds=30)))
            told += [event for event in leaves(events) if event.kind is Kind.GONE]
    return told


async def test_no_row_is_falsely_gone_where_the_order_shifts_in_step_with_the_polls() -> None:
    """3,000 rows at the default page size, 50 walks: each takes 0.54 s, in which 54 rows beat and jump ahead."""
    server = Shifting(3_000, page_ms=18.0)
    async with serving(server):
        gone = await gone_in(server, walks=50)

    assert [event.id for event in gone] == []
