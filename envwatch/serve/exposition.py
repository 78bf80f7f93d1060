"""Series for Prometheus.

Poll counts begin at zero with each start. Environments of a blind or unlisted profile have no series, because values
would freeze. An unknown state has no value, because 0 would mean down. Connection ids are no labels: each reconnect
would begin new series. Environments over a limit have no series: rows that alert come first, then other problems, rows
that are up and the rest, each by profile and id, so no heartbeat changes the selection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from envwatch import __version__
from envwatch.fleet.presence import Presence
from envwatch.fleet.problems import is_problem
from envwatch.fleet.profile_state import Freshness, ProfileState
from envwatch.model import limits
from envwatch.model.environment import mode_of
from envwatch.model.outcome import Cause, Failed, Listed, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envwatch.alerts.monitor import Monitor
    from envwatch.fleet.tracking import EnvironmentKey, TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText


_ALERTING, _PROBLEM, _UP, _OTHER = range(4)
"""Ranks of selection; `_OTHER` is old or gone."""


SeriesEnvironment: TypeAlias = "tuple[SafeText, TrackedEnvironment, bool, bool]"
"""Profile label, environment, whether alerting, whether in `ProfileState.known`."""


def is_seen(profile_state: ProfileState, now: Clocks) -> bool:
    """Whether a profile's environments have series."""
    return profile_state.freshness(now) not in (Freshness.WAITING, Freshness.BLIND)


def gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    """Return an empty family with the label `profile`."""
    return GaugeMetricFamily(name, about, labels=("profile", *labels))


def selection_of(
    monitor: Monitor, now: Clocks, largest: int
) -> tuple[Sequence[SeriesEnvironment], Mapping[SafeText, int]]:
    """Return at most `largest` environments, and the number omitted by profile label."""
    seen = [profile_state for profile_state in monitor.fleet if is_seen(profile_state, now)]
    judge = monitor.judge(now)
    everything = [
        (
            profile_state.profile_name,
            tracked,
            judge.is_alerting(tracked),
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
    """Yield the families of single environments; `mass_losses` has incident ids."""
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
        "Since when it is down, by the platform's clock; absent while it is up, and once another machine replaces it.",
        "id",
    )
    alerting = gauge(
        "envwatch_environment_paging",
        "1 while it pages: off, neither acknowledged nor silenced; absent otherwise.",
        "id",
    )
    flapping = gauge(
        "envwatch_environment_flapping", "1 while it comes and goes again and again; absent otherwise.", "id"
    )
    together = gauge(
        "envwatch_environment_lost_together",
        "1 while it is a part of an open incident with others; absent otherwise.",
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


SUCCESS: Final = "success"


def _result_of(cause: Cause) -> str:
    return cause.value.lower().replace(" ", "_")


RESULTS: Final = (SUCCESS, *map(_result_of, Cause))

BOUNDS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, inf)
"""Upper bounds of buckets: a page takes 0.1 to 0.5 s, and a request ends after 10 s."""
_BOUNDS: Final = [*map(str, BOUNDS_S[:-1]), "+Inf"]


@dataclass(frozen=True, slots=True)
class ProfilePolls:
    """The polls of a profile."""

    results: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(RESULTS, 0)))
    durations: tuple[int, ...] = (0,) * len(BOUNDS_S)
    """Counts by bucket, not cumulative."""
    seconds: float = 0.0
    """Total duration by the monotonic clock."""

    def apply(self, outcome: Listed | Failed) -> ProfilePolls:
        """Return the counts after another poll."""
        result = SUCCESS if isinstance(outcome, Listed) else _result_of(outcome.cause)
        took = max(outcome.ended.monotonic - outcome.started.monotonic, 0.0)
        bucket = bisect_left(BOUNDS_S, took)
        durations = (*self.durations[:bucket], self.durations[bucket] + 1, *self.durations[bucket + 1 :])
        results = MappingProxyType({**self.results, result: self.results[result] + 1})
        return ProfilePolls(results, durations, self.seconds + took)


NO_POLLS: Final = ProfilePolls()


Polls: TypeAlias = "Mapping[SafeText, ProfilePolls]"


def with_poll(polls: Polls, profile: SafeText | None, outcome: Outcome | None) -> Polls:
    """Return the polls after an update; sleep is no poll."""
    if profile is None or not isinstance(outcome, Listed | Failed):
        return polls
    return {**polls, profile: polls.get(profile, NO_POLLS).apply(outcome)}


LARGEST: Final = 2000

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

NO_HOOKS: Final[Mapping[SafeText, bool]] = MappingProxyType({})


def exposition(  # noqa: PLR0913 - the parts of a moment, and two wishes
    monitor: Monitor,
    polls: Polls,
    now: Clocks,
    *,
    hooks: Mapping[SafeText, bool] = NO_HOOKS,
    largest: int = LARGEST,
    accept: str = "",
) -> tuple[bytes, str]:
    """Return all series of a moment, and the content type; the header `accept` selects the format.

    `hooks` tells whether each hook fails; `largest` limits environments over all profiles.
    """
    collector = _Families(families(monitor, polls, now, largest, hooks))
    if "application/openmetrics-text" in accept:
        body: bytes = generate_openmetrics(collector)  # type: ignore[no-untyped-call]
        return body, OPENMETRICS
    return generate_latest(collector), TEXT


class _Families(Collector):
    def __init__(self, of_the_moment: Iterable[Metric]) -> None:
        self._families = of_the_moment

    def collect(self) -> Iterable[Metric]:
        return self._families


def families(
    monitor: Monitor, polls: Polls, now: Clocks, largest: int, hooks: Mapping[SafeText, bool]
) -> Iterator[Metric]:
    """Yield the families with samples."""
    shown, omitted_by_profile = selection_of(monitor, now, largest)
    omitted = gauge(
        "envwatch_environments_omitted", "Environments without series of their own, as there are more than the limit."
    )
    for profile, count in omitted_by_profile.items():
        omitted.add_metric((profile,), count)
    build = InfoMetricFamily("envwatch_build", "The version of envwatch; always 1.", {"version": __version__})
    every = (
        build,
        _of_hooks(hooks),
        *_of_polls(monitor, polls, now),
        *_of_fleets(monitor, now),
        _mass_losses(monitor, now),
        omitted,
        *environment_families(shown, _lost_together(monitor)),
    )
    return (family for family in every if family.samples)


def _of_hooks(hooks: Mapping[SafeText, bool]) -> Metric:
    failing = GaugeMetricFamily(
        "envwatch_hook_failing",
        "1 if the hook has failed for 10 minutes, until the hook delivers a message; 0 otherwise.",
        labels=("hook",),
    )
    for name, is_failing in hooks.items():
        failing.add_metric((name,), int(is_failing))
    return failing


def _of_polls(monitor: Monitor, polls: Polls, now: Clocks) -> Iterator[Metric]:
    up = gauge("envwatch_up", "1 if the newest poll was complete.")
    blind = gauge(
        "envwatch_blind", "1 while nothing is known of any machine: no answer yet, or the newest one is too old."
    )
    last = gauge(
        "envwatch_last_success_timestamp_seconds",
        "When the newest complete poll that is believed began, by the clock of this machine.",
    )
    total = CounterMetricFamily("envwatch_polls", "Polls by their result.", labels=("profile", "result"))
    duration = HistogramMetricFamily(
        "envwatch_poll_duration_seconds", "How long a poll took, all pages of it.", labels=("profile",)
    )
    for name, profile_state in monitor.fleet.by_profile.items():
        profile = profile_state.profile_name
        has_listing = profile_state.listed is not None or profile_state.quarantine is not None
        up.add_metric((profile,), int(has_listing and profile_state.failure is None))
        blind.add_metric((profile,), int(not is_seen(profile_state, now)))
        if profile_state.listed is not None:
            last.add_metric((profile,), profile_state.listed.wall / 1000)
        of_profile = polls.get(name, NO_POLLS)
        for result, count in of_profile.results.items():
            total.add_metric((profile, result), count)
        buckets = zip(_BOUNDS, accumulate(of_profile.durations), strict=True)
        duration.add_metric((profile,), list(buckets), of_profile.seconds)
    yield from (up, blind, last, total, duration)


def _of_fleets(monitor: Monitor, now: Clocks) -> Iterator[Metric]:
    environments = gauge("envwatch_environments", "Environments by their state.", "state")
    alerting = gauge("envwatch_machines_paging", "Machines that page now: off, neither acknowledged nor silenced.")
    alerting_rows = gauge("envwatch_machines_that_page", "Machines that page if they are lost, off or not.")
    judge = monitor.judge(now)
    for profile_state in monitor.fleet:
        if not is_seen(profile_state, now):
            continue
        profile = profile_state.profile_name
        known = profile_state.known(now)
        presences = Counter(row.presence for row in known)
        for presence in Presence:
            environments.add_metric((profile, presence.value), presences[presence])
        environments.add_metric((profile, "unknown"), len(profile_state.environments) - len(known))
        alerting.add_metric(
            (profile,), sum(judge.is_alerting(tracked) for tracked in profile_state.environments.values())
        )
        decisions = (judge.decision_of(tracked) for tracked in profile_state.environments.values())
        alerting_rows.add_metric((profile,), sum(decision.counts for decision in decisions))
    yield from (environments, alerting, alerting_rows)


def _mass_losses(monitor: Monitor, now: Clocks) -> Metric:
    lost = gauge(
        "envwatch_incident_machines",
        "Machines that were lost together and are not back yet, for each open incident.",
        "incident",
        "shared",
    )
    for incident in monitor.incidents.open:
        profile_state = monitor.fleet.by_profile.get(incident.profile)
        if not incident.is_mass or profile_state is None or not is_seen(profile_state, now):
            continue
        if count := sum(id_ in profile_state.environments for _, id_ in incident.remaining):
            lost.add_metric((profile_state.profile_name, incident.id, incident.shared or ""), count)
    return lost


def _lost_together(monitor: Monitor) -> Mapping[EnvironmentKey, SafeText]:
    return {key: incident.id for incident in monitor.incidents.open if incident.is_mass for key in incident.remaining}
