"""Views of acknowledged and silenced rows, if two servers use one id for two environments."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest
from support.builders import environment, listed, reading
from support.tracked_environments import contexts_at

from envwatch.fleet.alerting.silences import silence_of_environments
from envwatch.fleet.monitor import Monitor
from envwatch.model.acks import Ack
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.output.environment_list import environment_list_of_rows
from envwatch.views.pane.group_details import problem_lines
from envwatch.views.table.arrangement import arrange
from envwatch.views.table.block import Aside, block_of
from envwatch.views.table.block_text import nothing_open_text
from envwatch.views.table.columns import COLUMNS
from envwatch.views.table.table_view import View

HOME, AWAY = clean("a-home"), clean("b-away")
SERVERS: Final = {HOME: clean("one.example"), AWAY: clean("other.example")}
KEY = (SERVERS[HOME], clean("env-1"))
NOW = reading()
MONITOR: Final = Monitor.create(dict.fromkeys(SERVERS, Limits()), servers=SERVERS).with_acks(
    {KEY: Ack(NOW.wall, clean("disk"))}
)
SILENCE: Final = silence_of_environments([KEY], NOW.wall, timedelta(hours=1), clean(""), clean("ana"))


@pytest.fixture
def monitor() -> Monitor:
    """Return two profiles on two servers, each with an offline row of one id; the row of `home` is acknowledged."""
    found = MONITOR
    for profile in SERVERS:
        row = environment("env-1", connectionName=profile, connectionId=None, lastHeartbeat=None)
        found, _ = found.apply(profile, listed([row]), NOW)
    return found


def test_only_the_line_of_the_servers_row_comes_after_the_other_one_if_acknowledged(monitor: Monitor) -> None:
    block = block_of(monitor, NOW)
    assert [(line.profile, line.is_acked) for line in block.lines] == [(AWAY, False), (HOME, True)]


def test_only_the_row_of_the_server_leaves_the_block_if_silenced(monitor: Monitor) -> None:
    block = block_of(monitor.with_silences({SILENCE.id: SILENCE}), NOW)
    assert [line.profile for line in block.lines] == [AWAY]
    assert block.asides == {Aside.SILENCED: 1}


def test_only_the_row_of_the_server_is_found_and_listed_as_acknowledged(monitor: Monitor) -> None:
    view = View(query=parse("status:acknowledged"))
    rows = arrange(contexts_at(monitor, NOW.wall), view, tuple(COLUMNS.values())).rows
    assert [row.profile for row in rows] == [HOME]
    listing = environment_list_of_rows([*monitor.fleet.environments], monitor, View(), NOW)
    assert listing.acknowledged == {(HOME, clean("env-1")): "disk"}


def test_only_the_row_of_the_server_counts_as_acknowledged(monitor: Monitor) -> None:
    away = SILENCE._replace(environments=frozenset({(SERVERS[AWAY], clean("env-1"))}))
    text = nothing_open_text(block_of(monitor.with_silences({away.id: away}), NOW), monitor.fleet)
    assert text == "nothing needs a person: 1 acknowledged, 1 silenced"
    lines = problem_lines([*monitor.fleet.environments], monitor, NOW)
    assert {line.label: line.text for line in lines}["acked"] == "a-home"
