"""Hooks of `envwatch watch --hooks`: after each update, messages that fire go to the runner, and are remembered.

Owns the wiring between the configuration, the decision, the runner and the file of open incidents.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from envwatch.cli.arguments import Exit, StopError
from envwatch.cli.bootstrap import config_path_for, host_of, state_file
from envwatch.cli.streams import print_error
from envwatch.fleet.kept_incidents import KeptIncident, kept_incidents
from envwatch.hooks.decision import HookState
from envwatch.hooks.hook import deliveries_of
from envwatch.hooks.message import Context, message_of
from envwatch.hooks.runner import Runner
from envwatch.model.text import clean
from envwatch.sources.letta.network_settings import SettingsError
from envwatch.sources.poller import read_clocks
from envwatch.storage.incidents_file import INCIDENTS, IncidentsFile
from envwatch.storage.log import Level, LogLine
from envwatch.views.cloud_events import source_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from envwatch.cli.arguments import Options
    from envwatch.cli.bootstrap import Profiles
    from envwatch.cli.monitoring import MonitorUpdate
    from envwatch.config.settings import Settings
    from envwatch.fleet.incidents import Incident
    from envwatch.hooks.delivery import Delivery
    from envwatch.hooks.hook import Hook
    from envwatch.hooks.runner import HookReport
    from envwatch.model.clock import WallMs
    from envwatch.model.text import SafeText
    from envwatch.storage.log import PollLog


class Prepared(NamedTuple):
    """Hooks that can run, before anything is asked of the server."""

    hooks: Sequence[Hook]
    deliveries: Mapping[SafeText, Delivery]
    contexts: Mapping[SafeText, Context]
    """What messages say of a profile, by the name under which it is watched."""
    kept: Sequence[KeptIncident]
    """Incidents that an earlier run has left open, and that may be over."""

    @property
    def open_incidents(self) -> list[Incident]:
        """Those incidents, for the monitor."""
        return [kept.incident for kept in self.kept]


def hooks_in(settings: Settings, options: Options) -> tuple[Sequence[Hook], Mapping[SafeText, Delivery]]:
    """Return the configured hooks, and what delivers their messages by their names.

    Raises:
        StopError: if there is none, or one cannot run.
    """
    if not settings.hooks:
        path, _ = config_path_for(options)
        raise StopError(
            Exit.USAGE, f"there are no hooks: {path} has no [[hooks]]; `envwatch config init` explains them"
        )
    try:
        return settings.hooks, deliveries_of(settings.hooks, os.environ, settings.key_variables)
    except SettingsError as error:
        raise StopError(Exit.USAGE, str(error)) from None


def prepared(profiles: Profiles, options: Options) -> Prepared:
    """Return the hooks for profiles that will be watched; stops as `hooks_in` does."""
    hooks, deliveries = hooks_in(profiles.first, options)
    contexts = {
        name: Context(
            source=source_of(credentials.base_url),
            host=host_of(credentials),
            profile=settings.profile_in_file,
        )
        for name, (credentials, settings) in profiles.items()
    }
    content = INCIDENTS.read_or_empty(state_file("incidents"))
    names = {_listing(context): name for name, context in contexts.items()}
    return Prepared(hooks, deliveries, contexts, kept_incidents(content, names, read_clocks().monotonic))


def _listing(context: Context) -> str:
    """Return what distinguishes the listing of a profile from all others."""
    return f"{context.source}#{context.profile}"


class HookDispatch:
    """All hooks between two updates; `keep` stores changes of open incidents by their ids, None for an ended one."""

    def __init__(
        self, prepared: Prepared, runner: Runner, keep: Callable[[Mapping[SafeText, KeptIncident | None]], None]
    ) -> None:
        self._contexts = prepared.contexts
        self._runner = runner
        self._keep = keep
        profile = clean(next(iter(prepared.contexts.values())).profile)
        self._states = {
            hook.name: HookState(
                rule=hook.rule(profile),
                announced=frozenset(kept.incident.id for kept in prepared.kept if hook.name in kept.hooks),
            )
            for hook in prepared.hooks
        }
        self._kept = {kept.incident.id: (len(kept.incident.losses), kept.hooks) for kept in prepared.kept}
        """The number of losses and the hooks of each incident, as they are stored."""
        self._open: Sequence[Incident] = prepared.open_incidents

    def take(self, update: MonitorUpdate) -> None:
        """Send what an update calls for; never waits."""
        for name, state in self._states.items():
            self._states[name], fired = state.apply(update.changes, update.monitor, update.now)
            for each in fired:
                context = self._contexts[each.subject.profile]
                self._runner.put(name, message_of(each, name, context, update.monitor, update.now))
        self._open = update.monitor.incidents.open
        self.store()

    def store(self) -> None:
        """Store the open incidents, and which hooks have sent their opening; what is not delivered is not sent."""
        unsent = {name: {message.incident for message in self._runner.unsent(name)} for name in self._states}
        changes: dict[SafeText, KeptIncident | None] = {}
        # Those that no hook has sent yet as well: their environments are no news to the next run's first listing.
        for incident in self._open:
            hooks = frozenset(
                name
                for name, state in self._states.items()
                if incident.id in state.announced and incident.id not in unsent[name]
            )
            if self._kept.get(incident.id) != (size := (len(incident.losses), hooks)):
                self._kept[incident.id] = size
                changes[incident.id] = KeptIncident(incident, _listing(self._contexts[incident.profile]), hooks)
        for id_ in self._kept.keys() - {incident.id for incident in self._open}.union(*unsent.values()):
            del self._kept[id_]
            changes[id_] = None
        if changes:
            self._keep(changes)


class RunningHooks(NamedTuple):
    """The hooks while they run; without hooks, nothing happens."""

    take: Callable[[MonitorUpdate], None] = lambda _update: None
    """Takes each update."""
    failing: Callable[[], Mapping[SafeText, WallMs]] = dict
    """See `Runner.failing`."""
    names: Sequence[SafeText] = ()

    @property
    def are_failing(self) -> Mapping[SafeText, bool]:
        """Whether each hook is failing."""
        failing = self.failing()
        return {name: name in failing for name in self.names}


@asynccontextmanager
async def dispatching(prepared: Prepared | None, poll_log: PollLog) -> AsyncIterator[RunningHooks]:
    """Run hooks as long as the context lasts; leaving it gives what waits a short time."""
    if prepared is None:
        yield RunningHooks()
        return

    def report(line: HookReport) -> None:
        poll_log.write(LogLine(Level.WARNING if line.is_failure else Level.INFO, line.text))
        if line.is_news:
            print_error(f"envwatch: {line.text}")

    def warn(line: str) -> None:
        poll_log.note(line)
        print_error(f"envwatch: {clean(line)}")

    file = IncidentsFile(state_file("incidents"), warn)
    runner = Runner(prepared.deliveries, report)
    dispatch = HookDispatch(prepared, runner, file.keep)
    try:
        async with runner:
            yield RunningHooks(dispatch.take, runner.failing, [hook.name for hook in prepared.hooks])
    finally:
        dispatch.store()
        file.close()
