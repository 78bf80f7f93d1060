"""The demo as a profile: settings, history folder and uptimes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from envwatch.alerts.uptime_record import UptimeRecord
from envwatch.cli.bootstrap import read_display_settings
from envwatch.fleet.uptime import Uptime
from envwatch.model.limits import DEMO_ALERT_AFTER, UPTIME_WINDOW
from envwatch.model.text import clean
from envwatch.model.times import MS
from envwatch.watch.profiles import history_folder_for, state_file

if TYPE_CHECKING:
    from pathlib import Path

    from envwatch.cli.arguments import Options
    from envwatch.config.settings import Settings

DEMO_PROFILE: Final = "demo"
"""Profile name, and host in the history, because each demo has a new address."""
VIEW: Final = "laptops"
"""The demo's view; a user's view of this name takes precedence."""


def demo_settings(options: Options) -> Settings:
    """Return the default profile's display settings, with the demo's alert time and view."""
    from envwatch.views.table.table_view import NamedView

    settings = read_display_settings(options)
    laptops = NamedView(
        name=VIEW,
        key=_free_key(settings, "V"),
        filter="name:*laptop*,*macbook*,*thinkpad*,*surface*",
        columns=("name", "mode", "version", "up"),
        group="meta.team",
    )
    views = {VIEW: laptops, **settings.views}
    return replace(settings, profile=DEMO_PROFILE, alert_after=DEMO_ALERT_AFTER, views=views)


def demo_folder(settings: Settings) -> Path:
    """Return the demo's history folder."""
    return history_folder_for(DEMO_PROFILE, settings)


def uptimes_before(size: int) -> UptimeRecord:
    """Return a fleet's uptimes after a week of watching."""
    from envwatch.demo.machines import machine_at

    shares = {"laptop": 0.6, "job": 0.75}
    week, rows = Uptime().after(UPTIME_WINDOW / MS, is_up=True), {}
    for machine in (machine_at(index, size) for index in range(size)):
        share = shares.get(machine.blueprint.role, 0.998)
        rows[clean(machine.identity["id"])] = week._replace(up=share * week.watched)
    return UptimeRecord(week.at, rows, has_begun=True)


def hints_key(settings: Settings) -> str:
    """Return the key that closes the demo's hints, or "" if closed for good."""
    from envwatch.watch.state_file import remembered

    return "" if remembered(state_file("state")).get("hints") is False else _free_key(settings, "H")


def _free_key(settings: Settings, first: str) -> str:
    taken = {key for keys in settings.keys.values() for key in keys}
    taken |= {each.key for each in settings.commands.values()} | {each.key for each in settings.views.values()}
    return next(key for key in (first, *(f"f{number}" for number in range(2, 25))) if key not in taken)
