"""The series of single environments, up to a limit.

Environments that need a person come first, then ids decide: no heartbeat changes the selection. States that the
dashboard shows as unknown have no value, because a 0 would mean down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.model import limits
from envwatch.model.environment import mode_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText

_ALERTING, _PROBLEM, _UP, _OTHER = range(4)
"""Order of selection; the last are old or gone."""


SeriesEnvironment: TypeAlias = "tuple[SafeText, TrackedEnvironment, bool, bool]"
"""An environment with series: profile label, environment, whether alerting, whether known (see `Counts.unknown`)."""


def is_seen(profile_state: ProfileState, now: Clocks) -> bool:
    """Whether environments have series; see `exposition`."""
    return profile_state.freshness(now) not in (Freshness.WAITING, Freshness.BLIND)


def gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    """Return an empty family with the label `profile`."""
    return GaugeMetricFamily(name, about, labels=("profile", *labels))


def selection_of(
    monitor: Monitor, now: Clocks, largest: int
) -> tuple[Sequence[SeriesEnvironment], Mapping[SafeText, int]]:
    """Return at most `largest` environments with series, and the number omitted, by profile label."""
    seen = [profile_state for profile_state in monitor.fleet if is_seen(profile_state, now)]
    everything = [
        (
            profile_state.profile_name,
            tracked,
            monitor.is_alerting(tracked, now),
            not (tracked.clock_suspect or profile_state.is_unproven(tracked)),
        )
        for profile_state in seen
        for tracked in profile_state.environments.values()
    ]
    shown = everything
    if len(everything) > largest:
        shown = sorted(everything, key=lambda each: _place(each, monitor, now))[:largest]
    omitted = {profile_state.profile_name: len(profile_state.environments) for profile_state in seen}
    for profile, *_ in shown:
        omitted[profile] -= 1
    return shown, omitted


def _place(shown: SeriesEnvironment, monitor: Monitor, now: Clocks) -> tuple[int, str, str]:
    profile, tracked, is_alerting, _ = shown
    if is_alerting:
        rank = _ALERTING
    elif is_problem(tracked, monitor.fleet.for_environment(tracked).clock.server_time(now.wall)):
        rank = _PROBLEM
    else:
        rank = _UP if tracked.verdict.is_up else _OTHER
    return rank, profile, tracked.environment.id


def environment_families(
    shown: Sequence[SeriesEnvironment], mass_losses: Mapping[EnvironmentKey, SafeText]
) -> Iterator[Metric]:
    """Yield the families of single environments; `mass_losses` are the open mass losses."""
    info = InfoMetricFamily(
        "envwatch_environment", "What an environment is, as last listed; always 1.", labels=("profile", "id")
    )
    up = gauge("envwatch_environment_up", "1 if it is online or late, 0 if it is down.", "id")
    beat = gauge(
        "envwatch_environment_last_heartbeat_timestamp_seconds",
        "When its newest heartbeat came, by the platform's clock.",
        "id",
    )
    down = gauge(
        "envwatch_environment_down_since_timestamp_seconds",
        "Since when it is down, by the platform's clock; absent while it is up, and once another row replaces it.",
        "id",
    )
    alerting = gauge(
        "envwatch_environment_alerting", "1 while it is a problem that needs a person; absent otherwise.", "id"
    )
    flapping = gauge(
        "envwatch_environment_flapping", "1 while it comes and goes again and again; absent otherwise.", "id"
    )
    together = gauge(
        "envwatch_environment_lost_together",
        "1 while it is a part of an open mass loss; absent otherwise.",
        "id",
        "incident",
    )
    for profile, tracked, is_alerting, is_known in shown:
        key = (profile, tracked.environment.id)
        info.add_metric(key, _info_of(tracked))
        if is_alerting:
            alerting.add_metric(key, 1)
        if (incident := mass_losses.get(tracked.key)) is not None:
            together.add_metric((*key, incident), 1)
        if not is_known:
            continue
        is_up = tracked.verdict.is_up
        up.add_metric(key, int(is_up))
        if (beat_at := tracked.environment.last_heartbeat_at) is not None:
            beat.add_metric(key, beat_at / 1000)
        if tracked.replaced_by is not None:
            continue
        if not is_up and tracked.lost_at >= limits.EARLIEST_MS:
            down.add_metric(key, tracked.lost_at / 1000)
        if tracked.is_flapping:
            flapping.add_metric(key, 1)
    yield from (info, up, beat, down, alerting, flapping, together)


def _info_of(tracked: TrackedEnvironment) -> dict[str, str]:
    environment = tracked.environment
    return {
        "name": environment.label,
        "os": environment.os or "",
        "version": environment.version or "",
        "mode": mode_of(environment.mode) or "",
        "pod": tracked.pod_id or "",
    }
