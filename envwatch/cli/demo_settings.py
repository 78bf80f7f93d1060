"""The demo as a profile: its settings, its history folder and its uptimes."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from envwatch.cli.bootstrap import display_settings_of
from envwatch.demo.scenarios import DAY_MS
from envwatch.fleet.events import NO_PROFILE
from envwatch.fleet.uptime import Uptime
from envwatch.fleet.uptime_record import UptimeRecord
from envwatch.model.limits import DEMO_ALERT_AFTER, UPTIME_WINDOW
from envwatch.model.text import clean
from envwatch.model.times import MS
from envwatch.watch.loop import NO_NEWS, News
from envwatch.watch.profiles import history_folder_for, state_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envwatch.cli.arguments import Options
    from envwatch.config.settings import Settings
    from envwatch.demo.scenarios import FleetSpec
    from envwatch.model.clock import Clocks

DEMO_PROFILE: Final = "demo"
"""On screen and in the history."""
REMEDY: Final = "letta-server"
VIEW: Final = "laptops"
"""The demo's own view, unless the user has a view of this name."""


def demo_settings(options: Options) -> Settings:
    """Return the default profile's display settings, with an early alert and a view."""
    from envwatch.views.table.table_view import NamedView

    settings = display_settings_of(options)
    laptops = NamedView(
        name=VIEW,
        key=_free_key(settings, "V"),
        filter="name:laptop,macbook,thinkpad,surface",
        columns=("name", "mode", "version", "up"),
        group="meta.team",
    )
    views = {VIEW: laptops, **settings.views}
    return replace(settings, profile=DEMO_PROFILE, alert_after=DEMO_ALERT_AFTER, views=views)


def demo_host(spec: FleetSpec) -> str:
    """Return the host name of a fleet's history."""
    scenario = "" if spec.scenario is None else f"-{spec.scenario}"
    return f"demo-{spec.size}-{spec.seed}{scenario}"


def uptimes_before(spec: FleetSpec) -> UptimeRecord:
    """Return the uptimes of a fleet that was watched for a week before the opening."""
    from envwatch.demo.machines import Role, machine_at

    shares = {Role.SERVER: 0.998, Role.LAPTOP: 0.6, Role.JOB: 0.75}
    week = Uptime().after(UPTIME_WINDOW / MS, is_up=True)
    machines = (machine_at(spec, index) for index in range(spec.size))
    rows = {clean(each.identity["id"]): week._replace(up=shares[each.role] * week.watched) for each in machines}
    return UptimeRecord(week.at, rows, has_begun=True)


def uptimes_at_first(spec: FleetSpec) -> Callable[[Clocks], News]:
    """Return a function for `Watch.read`: the first call returns the uptimes before the opening."""
    news = (News(uptimes={profile: uptimes_before(spec)}) for profile in (NO_PROFILE,))
    return lambda _: next(news, NO_NEWS)


def start_file(folder: Path) -> Path:
    """Return the file of a demo's start, in ms since the epoch."""
    return folder / "demo-start"


def earlier_start(folder: Path, now: float) -> int | None:
    """Return a demo's noted start, unless older than 24 hours at `now` (ms)."""
    with suppress(OSError, ValueError):
        started_at = int(start_file(folder).read_text("ascii"))
        return started_at if 0 <= now - started_at < DAY_MS else None
    return None


def with_remedy(settings: Settings, base_url: str) -> Settings:
    """Return settings with a row command that starts a listener, on a free key."""
    from envwatch.demo import start_listener
    from envwatch.views.command_context import RowCommand

    remedy = RowCommand(
        name=REMEDY,
        key=_free_key(settings, "R"),
        run=(sys.executable, "-P", start_listener.__file__, base_url),
        description="Start its listener (demo)",
        starts_listener=True,
    )
    return replace(settings, commands={**settings.commands, REMEDY: remedy})


def hints_key(settings: Settings) -> str:
    """Return the key that closes the demo's hints, or "" after the user has closed the hints."""
    from envwatch.storage.state_file import remembered

    return "" if remembered(state_file("state")).get("hints") is False else _free_key(settings, "H")


def _free_key(settings: Settings, first: str) -> str:
    taken = {key for keys in settings.keys.values() for key in keys}
    taken |= {each.key for each in settings.commands.values()} | {each.key for each in settings.views.values()}
    return next(key for key in (first, *(f"f{number}" for number in range(2, 25))) if key not in taken)


def newest_demo_host(settings: Settings) -> str | None:
    """Return the host of the newest recorded demo, if any."""
    from envwatch.history.stored import day_paths, profile_and_host

    without_host = history_folder_for("", settings)
    folders = without_host.parent.glob(f"{without_host.name}demo-*")
    recorded = {folder: max((path.stat().st_mtime for path in day_paths(folder)), default=0.0) for folder in folders}
    newest = max(recorded, key=recorded.__getitem__, default=None)
    return None if newest is None or not recorded[newest] else profile_and_host(newest)[1]
