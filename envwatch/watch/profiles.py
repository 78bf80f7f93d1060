"""Watched profiles: credentials, settings, alert policies, and file paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envwatch.config.values import zone_named
from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envwatch.alerts.alert_policy import AlertPolicy
    from envwatch.alerts.judge import Judge
    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.fleet.tracking import Matcher
    from envwatch.model.limits import Limits


class SelectedProfile(NamedTuple):
    """A selected profile."""

    credentials: Credentials
    settings: Settings

    @property
    def server(self) -> str:
        """The server, by `server_in`."""
        return server_in(self.credentials.base_url)

    @property
    def history_folder(self) -> Path:
        """The profile's history folder."""
        return history_folder_for(self.server, self.settings)


class Profiles(dict[SafeText, SelectedProfile]):
    """Selected profiles by name in rows and log lines, empty for a single profile."""

    @property
    def first(self) -> Settings:
        """The first profile's settings."""
        return next(iter(self.values())).settings

    @property
    def limits(self) -> dict[SafeText, Limits]:
        """Each profile's limits."""
        return {name: settings.limits for name, (_, settings) in self.items()}

    @property
    def servers(self) -> dict[SafeText, SafeText]:
        """Each profile's server."""
        return {name: clean(profile.server) for name, profile in self.items()}

    def silence_matcher(self, query: str) -> Matcher | None:
        """Return a silence's query as a matcher; None for a wrong query."""
        from envwatch.views.events.matching import matcher_or_none

        return matcher_or_none(query, clean(self.first.profile))

    def with_settings(self, change: Callable[[Settings], Settings]) -> Profiles:
        """Return the profiles with changed settings."""
        return Profiles({name: SelectedProfile(each, change(settings)) for name, (each, settings) in self.items()})


def policies_for(profiles: Profiles) -> dict[SafeText, AlertPolicy]:
    """Return each profile's alert policy."""
    return {name: policy_for(settings) for name, (_, settings) in profiles.items()}


def policy_for(settings: Settings) -> AlertPolicy:
    """Return a profile's alert policy."""
    from dataclasses import replace

    from envwatch.config.settings import expected_by

    return replace(
        silences_policy(settings),
        alert=matcher_for(settings.alert, settings) if settings.alert else None,
        alert_after=settings.alert_after,
        blind_after=settings.blind_after,
        expect=expected_by(settings),
    )


def silences_policy(settings: Settings) -> AlertPolicy:
    """Return a policy with only a profile's silences and zone."""
    from envwatch.alerts.alert_policy import AlertPolicy
    from envwatch.alerts.silences import recurring_silences

    zone = None if settings.timezone is None else zone_named(settings.timezone)
    tables = ((matcher_for(each.filter, settings), each) for each in settings.silences)
    return AlertPolicy(recurring=recurring_silences(tables, zone), zone=zone)


def matcher_for(query: str, settings: Settings, judge: Judge | None = None) -> Matcher:
    """Return a query as a matcher; an empty query imports nothing.

    Without a judge, no row is acknowledged or silenced.
    """
    from envwatch.fleet.tracking import EVERYTHING

    if not query:
        return EVERYTHING
    from envwatch.query.presentation import TIMELESS
    from envwatch.views.events.matching import compile_matcher

    profile = clean(settings.profile)
    return compile_matcher(
        query, profile, TIMELESS if judge is None else TIMELESS._replace(judge=judge, profile=profile)
    )


def server_host(credentials: Credentials) -> str:
    """Return the server's host and port."""
    return credentials.base_url.partition("://")[2].partition("/")[0]


def server_in(base_url: str) -> str:
    """Return host, port and path: `envwatch serve` has several paths on a port."""
    return base_url.partition("://")[2]


def state_file(name: str) -> Path:
    """Return a state file's path."""
    return state_folder() / f"{name}.json"


def state_folder() -> Path:
    """Return the folder of state files."""
    import platformdirs

    return platformdirs.user_state_path("envwatch", appauthor=False)


def history_folder_for(server: str, settings: Settings) -> Path:
    """Return the history folder of a server (`server_in`).

    Each set of filters has a folder, because rows outside the filters are not gone.
    """
    from envwatch.history.stored import history_folder

    filters = {"online_only": settings.online_only or None, "source": settings.source, "user": settings.user}
    parts = [f"{name}={value}" for name, value in filters.items() if value is not None]
    return history_folder(state_folder(), "?".join([settings.profile, *parts]), server)


def alert_file_for(credentials: Credentials, settings: Settings) -> Path:
    """Return the path of a profile's alert state for the filters."""
    name = history_folder_for(server_in(credentials.base_url), settings).name
    return state_folder() / "alerts" / f"{name}.json"
