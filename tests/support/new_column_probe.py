"""Asserts what a new column `outages` does, in a copy of the project; see tests/test_new_parts.py.

`python new_column_probe.py COPY`
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from support.app_harness import staged
from support.builders import NOW
from support.memory_history import day, monitor_now, rows_at, with_past
from support.tracked_environments import contexts_at

import envwatch
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.times import TimeStyle
from envwatch.query.language import parse
from envwatch.query.presentation import MatchContext
from envwatch.views.pane.details import about_lines
from envwatch.views.table.columns import COLUMNS, fitting

HOURS = {"steady": "0", "once": "4", "lost": "3", "new": "0"}


def declared() -> None:
    assert "outages" in COLUMNS
    assert "outages" not in {column.id for column, _ in fitting(400, has_past=False)}
    assert "outages" in {column.id for column, _ in fitting(400)}


def computed() -> None:
    monitor = with_past(monitor_now(), day())
    (context,) = contexts_at(monitor, NOW).values()
    moment = MatchContext(context.at, context.judge, days=context.days)
    found = filter(parse("outages:>2", has_past=True).test(moment, ()), monitor.fleet.environments)
    assert {row.environment.name for row in found} == {"once", "lost"}
    for row in monitor.fleet.environments:
        lines = {line.label: line.text for line in about_lines(row, context, None, TimeStyle.UTC)}
        assert lines["outages"] == HOURS[row.environment.name]


async def drawn() -> None:
    async with staged((120, 24), columns=("outages", "version"), sort="outages") as stage:
        await stage.show(rows_at(0))
        await stage.watch.seed(NO_PROFILE, lambda monitor, _: (with_past(monitor, day()), ()))
        stage.app._publish(stage.app.state)  # noqa: SLF001  what reads the disk does it
        await stage.pilot.pause()
        assert "OUTAGES▲" in stage.titles
        assert stage.names == ["new", "steady", "once"], "the row that is off stands in the block"
        assert [line.split()[5] for line in stage.body[:3]] == ["0", "0", "4"]
        await stage.press("o", "o")
        assert stage.names == ["once", "new", "steady"]
        await stage.press("slash")
        await stage.type("outages:>2")
        await stage.press("enter")
        assert stage.names == ["once"]


if __name__ == "__main__":
    assert Path(envwatch.__file__).is_relative_to(sys.argv[1])
    declared()
    computed()
    asyncio.run(drawn())
