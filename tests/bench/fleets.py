"""Fleets to measure on: API pages as bytes, and rows for the reference."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from support.builders import NOW, wire_rows
from support.demo_client import Client

from envwatch.demo.fleet import DemoFleet
from envwatch.model.listing_api import listing_body
from envwatch.model.page import parse_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from envwatch.demo.child import ChildServer
    from envwatch.model.environment import Environment
    from envwatch.model.text import SafeText

PAGE = 100


def plain_rows(count: int) -> list[dict[str, Any]]:
    return wire_rows(count)


def demo_rows(count: int) -> list[dict[str, Any]]:
    """Return the demo fleet's rows, with names from all over the world."""
    return DemoFleet(count, int(NOW)).rows(int(NOW))


def beating(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    later = {"lastHeartbeat": NOW - 1_000, "lastSeenAt": NOW - 1_000}
    return [row if index % 6 else row | later for index, row in enumerate(rows)]


def pages_of(rows: Sequence[dict[str, Any]]) -> list[bytes]:
    """Return a walk's bodies as servers write JSON: without blanks, and with minimal escapes."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    return [
        listing_body(
            (encode(row).encode() for row in rows[first : first + PAGE]), has_next_page=first + PAGE < len(rows)
        )
        for first in range(0, len(rows), PAGE)
    ]


def decoded(pages: Sequence[bytes], known: Mapping[SafeText, Environment] | None = None) -> list[Environment]:
    return [row for page in pages for row in parse_page(page, known).environments]


def write_reference_rows(server: ChildServer, path: Path) -> None:
    now = time.time() * 1000
    with Client(server.base_url, server.key) as client:
        listed = client.rows()
    path.write_text(json.dumps([_reference_row(row, now) for row in listed]))


def _reference_row(row: dict[str, Any], now: float) -> list[Any]:
    age = (now - (row.get("lastHeartbeat") or row["lastSeenAt"])) / 1000
    metadata = row.get("metadata") or {}
    state = "● on" if row.get("connectionId") and age < 120 else "○ off"
    rest = (row["connectionName"], row.get("currentMode"), metadata.get("lettaCodeVersion"), metadata.get("gitBranch"))
    return [state, age, *(text or "–" for text in rest)]
