"""Recurring silences in the real program: the screen, `list`, `check`, `metrics`, and messages of `watch --hooks`."""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from support import programs
from support.builders import wire_row
from support.faulty_server import credentials, serving
from support.pty_terminal import Terminal, environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MINUTE_MS: Final = 60_000
ENVWATCH: Final = (sys.executable, "-m", "envwatch")


def clock(minutes: float) -> str:
    """Return what the clocks of UTC show so many minutes from now."""
    return f"{datetime.now(UTC) + timedelta(minutes=minutes):%H:%M}"


def laptops(begin: float, end: float) -> tuple[str, str]:
    """Return the setting of hours for laptops, from and until so many minutes from now, and the end of the hours."""
    until = clock(end)
    return f'[{{ filter = "name:mac-*", hours = "{clock(begin)}-{until}" }}]', until


def rows(*off: str, since_minutes: float = 30) -> list[dict[str, Any]]:
    """Return two laptops and a server; `off` are offline."""
    now = time.time() * 1000
    up = {"lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000, "connectedAt": now - 86_400_000}
    down = {"connectionId": None, "lastHeartbeat": None, "lastSeenAt": now - since_minutes * MINUTE_MS}
    return [
        wire_row(name, connectionName=name, **(up | (down if name in off else {})))
        for name in ("mac-1", "mac-2", "web-1")
    ]


def run(home: Path, environ: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    done = programs.run([*ENVWATCH, *arguments], environment(home, **environ), folder=home)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "rule"), [((), "── 2 online · 1 silenced ─"), (("--ascii",), "-- 2 online - 1 silenced -")]
)
def test_the_rule_line_counts_a_silenced_laptop_and_the_block_has_no_line(
    arguments: Sequence[str], rule: str, tmp_path: Path
) -> None:
    with serving(rows("mac-1")) as server:
        setting, until = laptops(-60, 61)
        environ = credentials(server) | {"ENVWATCH_QUIET": setting, "ENVWATCH_TIMEZONE": "UTC", "NO_COLOR": "1"}
        with Terminal.of_envwatch("--no-history", *arguments, home=tmp_path, environ=environ) as terminal:
            terminal.wait_for(f"^{re.escape(rule)}")
            assert terminal.display[1].startswith(rule), "the block has no line"
            assert re.search("2 on ", terminal.display[0])
            terminal.press("n")
            terminal.wait_for("nothing needs a person: 1 silenced")
            terminal.press("G")
            terminal.wait_for("off +[0-9]+m .*mac-1")
            terminal.press("\r")
            terminal.wait_for(f"silenced +until {until}")
            terminal.press("E")
            terminal.wait_for(f"This environment is offline: disconnected, silenced until {until}")
            server.rows = rows("mac-1", "web-1")
            terminal.press("\x1b", "\x1b", "r")
            terminal.wait_for("off .* NEW +web-1")
            terminal.wait_for("1 online . 1 silenced")


def test_list_check_and_metrics_agree_on_a_silenced_laptop(tmp_path: Path) -> None:
    with serving(rows("mac-1")) as server:
        setting, until = laptops(-60, 61)
        environ = credentials(server) | {"ENVWATCH_QUIET": setting, "ENVWATCH_TIMEZONE": "UTC"}
        code, out, err = run(tmp_path, environ, "list", "-o", "json")
        reasons = {row["name"]: (row["state"], row["reason"]) for row in json.loads(out)["environments"]}
        assert (code, reasons["mac-1"]) == (0, ("offline", f"silenced until {until}"))
        code, out, err = run(tmp_path, environ, "list")
        assert re.search(f"mac-1 +disconnected · silenced until {until}", out)
        assert "2 on, 1 silenced" in err
        code, out, err = run(tmp_path, environ, "check")
        assert (code, err) == (0, "")
        assert out.startswith("ENVWATCH OK - no problem in 3 environments (1 silenced) | problems=0;;0;0;3 ")
        assert " silenced=1;;;0;3 " in out
        code, out, _ = run(tmp_path, environ, "metrics")
        assert (code, 'envwatch_alerting{profile="default"} 0.0' in out) == (0, True)


def test_check_counts_a_laptop_that_is_not_back_from_the_end_of_the_hours(tmp_path: Path) -> None:
    with serving(rows("mac-1")) as server:
        setting, ended = laptops(-60, -10)
        environ = credentials(server) | {"ENVWATCH_QUIET": setting, "ENVWATCH_TIMEZONE": "UTC"}
        code, out, _ = run(tmp_path, environ, "check")
        assert code == 2
        assert "mac-1: offline (disconnected, not back by " + ended in out
        waits = environ | {"ENVWATCH_ALERT_AFTER": "15m"}
        code, out, _ = run(tmp_path, waits, "check")
        assert (code, "1 waiting" in out) == (0, True)
