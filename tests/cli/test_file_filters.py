"""Where a filter of the file that finds nothing is named; `tests/watch/test_file_filters.py` has which filters."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from support.builders import wire_rows
from support.faulty_server import credentials
from support.pty_terminal import Terminal

from envwatch.letta.poller import read_clocks

if TYPE_CHECKING:
    from pathlib import Path

    from support.faulty_server import Faulty
    from support.in_process import Envwatch

LINE = "alert: name:box finds 0; name:*box* finds 3"


@pytest.fixture
def boxes(envwatch: Envwatch, faulty: Faulty) -> Faulty:
    """Serve three machines, box-1 to box-3, of which `alert` finds none."""
    now = read_clocks().wall
    faulty.rows = [
        row | {"connectionName": f"box-{number}", "lastHeartbeat": now - 5_000, "lastSeenAt": now - 5_000}
        for number, row in enumerate(wire_rows(3), 1)
    ]
    envwatch.write_config('alert = "name:box"\n')
    envwatch.monkeypatch.delenv("ENVWATCH_ALERT")
    return faulty


@pytest.mark.parametrize(
    "command",
    [("list",), ("check",), ("watch", "--for", "1s"), ("metrics", "--once")],
)
@pytest.mark.usefixtures("boxes")
def test_a_command_names_the_filter_once_on_standard_error(envwatch: Envwatch, command: tuple[str, ...]) -> None:
    ended = envwatch(*command)
    assert ended.err.count(f"envwatch: {LINE}\n") == 1
    assert LINE not in ended.out


@pytest.mark.usefixtures("boxes")
def test_a_line_of_counts_and_a_wait_do_not_name_the_filter(envwatch: Envwatch) -> None:
    assert envwatch("list", "-o", "line").err == ""
    assert envwatch("wait", "name:box-*", "--timeout", "9s").err == ""


@pytest.mark.usefixtures("boxes")
def test_doctor_warns_after_its_listing(envwatch: Envwatch) -> None:
    ended = envwatch("doctor", "-o", "json")
    (found,) = (each for each in json.loads(ended.out) if each["id"] == "machines")
    assert (found["status"], found["summary"]) == ("warning", LINE)


@pytest.mark.usefixtures("boxes")
def test_validate_names_the_filter_by_the_rows_of_an_earlier_run(envwatch: Envwatch, boxes: Faulty) -> None:
    assert LINE not in envwatch("config", "validate").err, "no run was there"
    envwatch("watch", "--for", "1s")
    asked = len(boxes.seen)
    ended = envwatch("config", "validate")
    assert (ended.code, ended.err.splitlines()[0]) == (0, f"envwatch: {LINE}")
    assert len(boxes.seen) == asked


def test_the_dashboard_names_all_filters_in_the_line_of_news_with_alert_first(boxes: Faulty, tmp_path: Path) -> None:
    environ = credentials(boxes) | {"ENVWATCH_ALERT": "name:box"}
    file = tmp_path / "filters.toml"
    file.write_text('[[hooks]]\nname = "pager"\ncommand = ["true"]\nfilter = "name:web"\n')
    with Terminal.of_envwatch("--config", str(file), home=tmp_path, columns=120, environ=environ) as terminal:
        terminal.wait_for(re.escape(f"{LINE}; hook pager: name:web finds 0 of 3"))
        terminal.press("q")
        assert terminal.wait_for_end() == 0
