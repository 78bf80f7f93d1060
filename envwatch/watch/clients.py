"""The client of each profile, with the key as it is found now."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from envwatch.model.redactor import ReportedError, redactor
from envwatch.watch.profiles import server_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.config.credentials import Credentials
    from envwatch.config.settings import Settings
    from envwatch.letta.client import Client
    from envwatch.letta.poller import PolledProfile
    from envwatch.model.redactor import Secret
    from envwatch.model.text import SafeText
    from envwatch.watch.profiles import Profiles


def find_credentials(settings: Settings, ask: Callable[[], str] | None = None) -> Credentials:
    """Return a profile's key and address; the redactor learns the key. `ask` asks the user for a missing key."""
    from envwatch.config.credentials import read_credentials

    credentials = read_credentials(settings, os.environ, now_ms=time.time() * 1000, ask=ask)
    redactor().learn(credentials.key.get_secret_value())
    return credentials


def renewed_key(credentials: Credentials, settings: Settings) -> Secret:
    """Return the current key, or the old key if there is none for this server."""
    try:
        found = find_credentials(settings)
    except ReportedError:
        return credentials.key
    return found.key if found.base_url == credentials.base_url else credentials.key


def client_for(credentials: Credentials, settings: Settings, environ: Mapping[str, str] = os.environ) -> Client:
    """Return a profile's HTTP client."""
    from envwatch.letta.client import Client

    return Client(
        base_url=credentials.base_url,
        key=credentials.key,
        key_origin=credentials.origin,
        limits=settings.limits,
        find_key=partial(renewed_key, credentials, settings),
        online_only=settings.online_only,
        source=settings.source,
        user=settings.user,
        environ=environ,
    )


def targets_for(profiles: Profiles) -> dict[SafeText, PolledProfile]:
    """Return each profile's poll target."""
    return {name: _target_for(*profile) for name, profile in profiles.items()}


def _target_for(credentials: Credentials, settings: Settings) -> PolledProfile:
    from envwatch.letta.poller import PolledProfile, Poller

    client = client_for(credentials, settings)
    poller = Poller(client, settings.limits)
    client.on_page = poller.note_pages
    return PolledProfile(
        profile=settings.profile,
        host=server_host(credentials),
        key_origin=credentials.origin,
        poller=poller,
        close=client.aclose,
        remember=client.remember,
        find_team=lambda: client.team,
        new_key_by=credentials.new_by,
    )
