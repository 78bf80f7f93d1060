"""A fleet that attacks the terminal: hostile text in every field that a careless program would print."""

from __future__ import annotations

import json
import time
from typing import Any

from support.builders import TEXT_KEYS, TEXT_MEMBERS

OSC_52 = "\x1b]52;c;cHduZWQ=\x07"
"""Writes to the clipboard."""

TITLE = "\x1b]0;pwned\x07"

WEAPONS = (
    f"{OSC_52}clip",
    f"{TITLE}title",
    "\x1b]2;pwned\x1b\\title2",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]1337;File=inline=1:AAAA\x07iterm",
    "\x1bP+q544e\x1b\\dcs",
    "\x1b_Gf=24,s=1,v=1;AAAA\x1b\\kitty",
    "\x1b[31;5mred\x1b[0m",
    "\x1b[2J\x1b[H\x1b[3Jcleared",
    "\x1b[?1049l\x1b[?1000hmodes",
    "\x1b[6n\x1b[c\x1b[>creports",
    "\x1b[20;1t\x1b[21twindow",
    "\x1bc\x1b(0\x0e\x1b#8reset",
    "\x9b31m\x9b2Jc1\x9d0;pwned\x9c\x90\x85\x84",
    "nul\x00bel\x07del\x7fbs\b\b\b\bcr\rlf\nvt\x0bff\x0ctab\t",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200e\u200f\u061c",
    "a\u200db\u200cc\u2060d\ufeffe\u00ad",
    "[/",
    "[/bold]",
    "[bold red]alarm[/bold red]",
    "[@click=app.quit]x[/]",
    "[@click=app.bell][link=https://evil.example]x[/link][/]",
    "$state-online {ansi_red} %s %n \\[x] \\x1b",
    "e" + "\u0301" * 300,
    "漢字" * 300,
    "👩\u200d👩\u200d👧\u200d👦🏳\ufe0f\u200d🌈🇩🇪👍🏽" * 40,
    "line\u2028para\u2029graph",
    "x" * 5000,
    "a b  c   " * 200,
    "\u115f\u3164\u2800",
    "\U000e0041\U000e0042tags",
    "=cmd|'/c calc'!A1",
    "-",
    "' OR 1=1 --",
)


def hostile_row(number: int, weapon: str, *, now: float) -> dict[str, Any]:
    states = [now - 5_000, now - 60_000, now - 500_000, None]
    beat = states[number % 4]
    return {
        "id": f"env-{number}-{weapon}"[:900],
        **dict.fromkeys(TEXT_MEMBERS, weapon),
        "connectionId": None if number % 4 == 3 else f"conn-{weapon}",
        "connectedAt": None if beat is None else now - 3_600_000,
        "lastHeartbeat": beat,
        "firstSeenAt": now - 86_400_000,
        "lastSeenAt": now - 5_000,
        "metadata": {
            **dict.fromkeys(TEXT_KEYS, weapon),
            "self_update": {
                "supported": number % 2 == 0,
                "writable": False,
                "reason": weapon,
                "install_path": weapon,
                "manual_command": weapon,
                weapon: weapon,
            },
            "supported_commands": [weapon, weapon],
            "machine": {
                "osName": weapon,
                "cpu": weapon,
                "architecture": weapon,
                "memoryBytes": 10**15,
                weapon: [weapon],
            },
            f"key {weapon}": {weapon: [weapon, {"deep": weapon}]},
            f"nest {weapon}": {f"a {weapon}": {f"b {weapon}": [{f"c {weapon}": [[{weapon: weapon}, weapon]]}]}},
        },
        f"field {weapon}": weapon,
    }


def hostile_rows(now: float | None = None) -> list[dict[str, Any]]:
    """Return one row for each weapon; `now` is in milliseconds since the epoch."""
    now = time.time() * 1000 if now is None else now
    return [hostile_row(number, weapon, now=now) for number, weapon in enumerate(WEAPONS)]


def benign_rows(now: float | None = None) -> list[dict[str, Any]]:
    """Return the same number of harmless rows of the same shape."""
    now = time.time() * 1000 if now is None else now
    return [hostile_row(number, f"word{number}", now=now) for number in range(len(WEAPONS))]


SURROGATE = "lone\ud800surrogate"
"""`json.dumps` writes an escape without a character: the page cannot be read as a whole."""


def hostile_error() -> str:
    words = "".join(weapon for weapon in WEAPONS if len(weapon) < 60)
    return json.dumps({"message": f"denied {words}", "error": words, "errorCode": words})
