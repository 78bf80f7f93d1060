"""What a view says of acknowledged and silenced rows, where two servers use one id for two environments."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest
from support.builders import environment, listed, reading

from envwatch.fleet.acknowledgements import Ack
from envwatch.fleet.monitor import Monitor
from envwatch.fleet.silences import silence_of_environments
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.query.language import parse
from envwatch.views.arrangement import OrderInputs, arrange, lines_of
from envwatch.views.columns import COLUMNS
from envwatch.views.environment_list import environment_list_of_rows
from envwatch.views.group_details import problem_lines
from envwatch.views.grouping import GroupHeader
from envwatch.views.out_of_sight import no_problem_text
from envwatch.views.table_view import View

HOME, AWAY = clean("a-home"), clean("b-away")
SERVERS: Final = {HOME: clean("one.example"), AWAY: clean("other.example")}
KEY = (SERVERS[HOME], clean("env-1"))
NOW = reading()
MONITOR: Final = Monitor.create(dict.fromkeys(SERVERS, Limits()), {KEY: Ack(NOW.wall, clean("disk"))}, servers=SERVERS)
SILENCE: Final = silence_of_environments([KEY], NOW.wall, timedelta(hours=1), clean(""), clean("ana"))


@pytest.fixture
def monitor() -> Monitor:
    """Two profiles on two servers with one offline row each, of one id; that of `home` is acknowledged."""
    found = MONITOR
    for profile in SERVERS:
        row = environment("env-1", connectionName=profile, connectionId=None, lastHeartbeat=None)
        found, _ = found.apply(profile, listed([row]), NOW)
    return found


@pytest.mark.parametrize("is_silenced", [False, True], ids=["acknowledged", "silenced"])
def test_only_the_row_of_the_server_comes_after_the_other_problems(monitor: Monitor, *, is_silenced: bool) -> None:
    order_inputs = (
        OrderInputs(NOW.wall, silences={SILENCE.id: SILENCE}) if is_silenced else OrderInputs(NOW.wall, monitor.acks)
    )
    rows = arrange(monitor.fleet, View(), tuple(COLUMNS.values()), order_inputs).rows
    assert [row.profile for row in rows] == [AWAY, HOME]


def test_only_the_row_of_the_server_is_found_and_listed_as_acknowledged(monitor: Monitor) -> None:
    view, order_inputs = View(query=parse("status:acknowledged")), OrderInputs(NOW.wall, monitor.acks)
    rows = arrange(monitor.fleet, view, tuple(COLUMNS.values()), order_inputs).rows
    assert [row.profile for row in rows] == [HOME]
    both = [*monitor.fleet.environments]
    listing = environment_list_of_rows(both, monitor.fleet, View(), monitor.acks, NOW)
    assert listing.acknowledged == {(HOME, clean("env-1")): "disk"}


def test_only_the_row_of_the_server_counts_as_acknowledged(monitor: Monitor) -> None:
    text = no_problem_text(monitor.fleet, monitor.acks, NOW, 0, is_old_folded=False)
    assert text == "no new problems: 1 acknowledged, 1 without alert"
    view = View(group="os")
    arrangement = arrange(monitor.fleet, view, tuple(COLUMNS.values()), OrderInputs(NOW.wall))
    (header,) = (line for line in lines_of(arrangement, view, monitor.fleet) if isinstance(line, GroupHeader))
    lines = {line.label: line.text for line in problem_lines(header, monitor.fleet, monitor.acks, NOW)}
    assert lines["acked"] == "a-home"
