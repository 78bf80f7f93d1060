"""Hooks of `watch --hooks` and `serve --hooks`, from configuration to alert state files."""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import config_path_for
from envwatch.cli.streams import print_error
from envwatch.fleet.alerting.incidents import Incident
from envwatch.hooks.decision import HookState
from envwatch.hooks.message import Context, message_of
from envwatch.hooks.runner import HookReport, Runner
from envwatch.model.text import SafeText, clean
from envwatch.storage.log import LogLine, PollLog
from envwatch.views.events.cloud_events import source_of
from envwatch.watch.alert_files import AlertFiles
from envwatch.watch.profiles import Profiles, alert_file_for, history_folder_for, host_of, server_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from envwatch.config.hooks import HookSettings
    from envwatch.config.settings import Settings
    from envwatch.fleet.alerting.alert_state import AlertState
    from envwatch.hooks.delivery import Delivery
    from envwatch.model.clock import WallMs
    from envwatch.watch.loop import MonitorUpdate


class Prepared(NamedTuple):
    """Hooks that can run; none without `--hooks`."""

    hooks: Sequence[HookSettings]
    deliveries: Mapping[SafeText, Delivery]
    contexts: Mapping[SafeText, Context]
    alerts: AlertFiles


def hooks_in(settings: Settings, options: Options) -> tuple[Sequence[HookSettings], Mapping[SafeText, Delivery]]:
    """Return the configured hooks, and deliveries by hook name.

    Raises:
        ReportedError: without hooks, or for an unusable hook.
    """
    if not settings.hooks:
        path, _ = config_path_for(options)
        raise StopError(
            Exit.USAGE, f"there are no hooks: {path} has no [[hooks]]; `envwatch config init` explains hooks"
        )
    from envwatch.config.hooks import deliveries_of

    return settings.hooks, deliveries_of(settings.hooks, os.environ, settings.key_variables)


def prepared(profiles: Profiles, options: Options) -> Prepared:
    """Return the watched profiles' hooks; stop as `hooks_in` does."""
    hooks, deliveries = hooks_in(profiles.first, options) if options.hooks else ((), {})
    contexts = {
        name: Context(
            source=source_of(credentials.base_url),
            host=host_of(credentials),
            profile=settings.profile_in_file,
        )
        for name, (credentials, settings) in profiles.items()
    }
    sources = {name: f"{context.source}#{context.profile}" for name, context in contexts.items()}
    paths = {name: alert_file_for(*profile) for name, profile in profiles.items()} if hooks else {}
    recorded = {name: profile for name, profile in profiles.items() if name in paths and profile.settings.history}
    histories = {
        name: history_folder_for(server_in(credentials.base_url), settings)
        for name, (credentials, settings) in recorded.items()
    }
    return Prepared(hooks, deliveries, contexts, AlertFiles(paths, sources, histories))


class HookDispatch:
    """Turns updates into queued messages of all hooks."""

    def __init__(self, prepared: Prepared, runner: Runner) -> None:
        self._contexts = prepared.contexts
        self._runner = runner
        self._alerts = prepared.alerts
        profile = clean(next(iter(prepared.contexts.values())).profile)
        self._states = {hook.name: HookState(rule=hook.rule(profile)) for hook in prepared.hooks}
        self._newest: MonitorUpdate | None = None
        self._resolved = dict[SafeText, Incident]()

    def take(self, update: MonitorUpdate) -> None:
        """Queue an update's messages; never waits."""
        for earlier in update.taken_over.values():
            if earlier is not None:
                self._take_over(earlier)
        for name, state in self._states.items():
            self._states[name], fired = state.apply(update.changes, update.monitor, self._alerts.held)
            for each in fired:
                context = self._contexts[each.subject.profile]
                self._runner.put(name, message_of(each, name, context, update.monitor, update.changes.now))
        self._resolved |= {incident.id: incident for incident in update.changes.resolved}
        self._newest = update
        self.store()

    def failing(self) -> Mapping[SafeText, WallMs]:
        """Return the failing hooks."""
        return self._runner.failing()

    @property
    def are_failing(self) -> Mapping[SafeText, bool]:
        """Whether each hook is failing."""
        failing = self.failing()
        return {name: name in failing for name in self._states}

    def _take_over(self, state: AlertState) -> None:
        for name, hook_state in self._states.items():
            announced = {id_ for id_, hooks in state.announced.items() if name in hooks}
            self._states[name] = replace(hook_state, announced=hook_state.announced | announced)

    def store(self) -> None:
        """Store the state for the next run; an incident with an undelivered opening does not count as announced."""
        if self._newest is None:
            return
        monitor, now = self._newest.monitor, self._newest.changes.now
        unsent = {name: {message.incident for message in self._runner.unsent(name)} for name in self._states}
        still_unsent = set[SafeText | None]().union(*unsent.values())
        self._resolved = {id_: incident for id_, incident in self._resolved.items() if id_ in still_unsent}
        for profile in self._alerts.held:
            announced = {
                incident.id: frozenset(
                    name
                    for name, hook in self._states.items()
                    if incident.id in hook.announced and incident.id not in unsent[name]
                )
                for incident in monitor.incidents.open
            }
            # A hook whose message about the end is undelivered has delivered the opening.
            announced |= {id_: frozenset(name for name, ids in unsent.items() if id_ in ids) for id_ in self._resolved}
            state = monitor.alert_state(profile, announced, self._resolved.values(), self._runner.failing(), now)
            self._alerts.keep(profile, state, now)


@asynccontextmanager
async def dispatching(prepared: Prepared, poll_log: PollLog) -> AsyncIterator[HookDispatch]:
    """Run hooks during the context; at the end, waiting messages get a short time."""

    def report(line: HookReport) -> None:
        poll_log.write(LogLine(logging.WARNING if line.is_failure else logging.INFO, line.text))
        if line.is_news:
            print_error(f"envwatch: {line.text}")

    runner = Runner(prepared.deliveries, report)
    dispatch = HookDispatch(prepared, runner)
    try:
        async with runner:
            yield dispatch
    finally:
        dispatch.store()
        prepared.alerts.close()
