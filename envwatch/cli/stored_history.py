"""A profile's recorded history, readable without a key."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import all_settings_for
from envwatch.cli.demo_settings import DEMO_PROFILE, demo_folder, demo_settings
from envwatch.config.credentials import CredentialsError, read_credentials, without_key
from envwatch.history.stored import StoredPast, day_paths
from envwatch.model.redactor import ReportedError
from envwatch.model.text import EMPTY, SafeText, clean
from envwatch.model.times import date_text
from envwatch.watch.profiles import history_folder_for, server_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envwatch.alerts.acknowledgements import Acks
    from envwatch.config.settings import Settings
    from envwatch.history.past import Past
    from envwatch.model.clock import WallMs
    from envwatch.views.report.period import Recorded


def recorded_settings_for(options: Options) -> list[Settings]:
    """Return the selected profiles' settings; an unconfigured profile `demo` is the demo."""
    if options.profile != DEMO_PROFILE:
        return all_settings_for(options)
    try:
        return all_settings_for(options)
    except ReportedError:
        return [demo_settings(options)]


def base_url_of(settings: Settings) -> SafeText:
    """Return a server's address as polled or, without a key, as configured.

    A demo has no lasting address.
    """
    if is_demo(settings):
        if not day_paths(demo_folder(settings)):
            raise StopError(Exit.FAILED, "there is no recorded demo: run `envwatch demo` first")
        return clean(f"http://{DEMO_PROFILE}")
    try:
        return clean(read_credentials(settings, os.environ, now_ms=time.time() * 1000).base_url)
    except CredentialsError:
        return clean(without_key(settings, os.environ).base_url)


def is_demo(settings: Settings) -> bool:
    """Whether the settings are the demo's."""
    return settings.profile == DEMO_PROFILE and not settings.profile_in_file


def open_past(settings: Settings, base_url: SafeText) -> StoredPast:
    """Return the history of a profile's server."""
    return StoredPast(history_folder_for(server_in(base_url), settings))


class RecordedProfile(NamedTuple):
    """A profile's records."""

    profile: SafeText
    host: SafeText
    past: Past
    advice: str
    """What to do without records."""
    acks: Acks | None = None
    server: SafeText = EMPTY


def recorded_profile(settings: Settings, acks: Acks | None = None) -> RecordedProfile:
    """Return a profile's history; `acks`, the present acknowledgements, do not apply to the demo."""
    base_url = base_url_of(settings)
    host, server = clean(base_url.partition("://")[2].partition("/")[0]), clean(server_in(base_url))
    advice = "the dashboard, `watch`, `serve` and `metrics` record; for the demo, use --profile demo"
    if not settings.history:
        advice = "the setting `history` is false, so nothing is recorded"
    own_acks = None if is_demo(settings) else acks
    return RecordedProfile(clean(settings.profile), host, open_past(settings, base_url), advice, own_acks, server)


def recorded_periods(
    sources: Sequence[RecordedProfile], since: WallMs, until: WallMs, query: str
) -> tuple[list[Recorded], list[StopError]]:
    """Return each recorded source's period, narrowed by a filter, and errors for unrecorded sources.

    Raises:
        StopError: no source has records.
    """
    from envwatch.history.past import HistoryError
    from envwatch.views.events.matching import compile_matcher
    from envwatch.views.report.period import matching, recorded_in

    found: list[Recorded] = []
    stops: list[StopError] = []
    for profile, host, past, advice, acks, server in sources:
        try:
            recorded = recorded_in(past, since, until, profile=profile, host=host, acks=acks, server=server)
        except HistoryError as error:
            stops.append(StopError(Exit.FAILED, f"the history of {profile} cannot be read: {error}"))
            continue
        if recorded is not None:
            found.append(matching(recorded, compile_matcher(query, profile)) if query else recorded)
            continue
        when = f"from {date_text(since, None)} to {date_text(until, None)}"
        stops.append(StopError(Exit.FAILED, f"nothing was recorded of profile {profile} on {host} {when}; {advice}"))
    if not found:
        raise stops[0]
    return found, stops
