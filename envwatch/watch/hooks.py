"""Hooks of a long run: decide, send, and enter deliveries in the ledger and the state files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from envwatch.alerts.hook_rules import HookState, following
from envwatch.alerts.incident import Incident
from envwatch.alerts.ledger import Progress
from envwatch.deliver.message import Context, build_message
from envwatch.deliver.runner import Runner
from envwatch.model import limits
from envwatch.model.clock import Clocks, WallMs
from envwatch.model.text import SafeText, clean
from envwatch.views.events.cloud_events import source_of
from envwatch.watch.profiles import server_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from envwatch.config.hooks import HookSettings
    from envwatch.deliver.message import DeliveryError, Message, Sender
    from envwatch.deliver.runner import HookReport
    from envwatch.letta.poller import Runtime
    from envwatch.watch.alert_files import AlertFiles
    from envwatch.watch.loop import MonitorUpdate, Watch
    from envwatch.watch.profiles import Profiles


def message_contexts(profiles: Profiles, user: SafeText) -> dict[SafeText, Context]:
    """Return the context of each profile's messages; `user` acknowledges on this machine."""
    return {
        name: Context(
            source=source_of(credentials.base_url),
            host=server_host(credentials),
            profile=settings.profile_in_file,
            user=user,
        )
        for name, (credentials, settings) in profiles.items()
    }


class HookDispatch:
    """Sends the due messages of a watch's ledger; the runner's queues are never behind the ledger."""

    def __init__(  # noqa: PLR0913  the parts that a dispatch joins
        self,
        watch: Watch,
        report: Callable[[HookReport], None],
        *,
        hooks: Sequence[HookSettings],
        deliveries: Mapping[SafeText, Sender],
        contexts: Mapping[SafeText, Context],
        alerts: AlertFiles,
        runtime: Runtime | None = None,
        farewell: timedelta = limits.HOOK_FAREWELL,
    ) -> None:
        self.runner = Runner(
            deliveries,
            report,
            runtime,
            farewell,
            before_try=self._before_try,
            after_try=self._after_try,
        )
        self.hooks = hooks
        self._contexts = contexts
        self._alerts = alerts
        self._watch = watch
        profile = clean(next(iter(contexts.values())).profile)
        self._states = {hook.name: HookState(hook=hook.name, rule=hook.rule(profile)) for hook in hooks}
        self._now: Clocks | None = None

    def take(self, update: MonitorUpdate) -> None:
        """Queue an update's messages; never waits."""
        ledger, now = self._watch.monitor.ledger, update.changes.now
        for incident in update.changes.resolved:
            for hook, announcement in ledger.of_hooks(incident.id):
                if announcement.progress is not Progress.DUE and hook in self._states:
                    self.runner.drop(hook, incident.id)
        for name, state in self._states.items():
            self._states[name], fired = state.apply(update.changes, update.monitor, self._alerts.held)
            for each in fired:
                if isinstance(each, Incident):
                    ledger = ledger.due(each.id, name, each.profile, now.monotonic)
                else:
                    context = self._contexts[each.profile]
                    self.runner.put(name, build_message(each, name, context, update.monitor, now))
            for incident, progress in following(self._states[name], update.monitor, now, self._alerts.held):
                self.runner.drop(name, incident.id)
                ledger = ledger.next_due(incident.id, name, progress, now.monotonic)
        self._watch.enter(ledger)
        self._now = now
        self._put_unsent(now)
        self.store()

    def store(self) -> None:
        """Store the held profiles' state for the next run."""
        if (now := self._now) is not None:
            for profile in self._alerts.held:
                state = self._watch.monitor.alert_state(profile, now, self.runner.failing())
                self._alerts.keep(profile, state, now)

    def _put_unsent(self, now: Clocks) -> None:
        monitor, alerting = self._watch.monitor, self._watch.monitor.incidents.alerting
        for name in self._states:
            queued = {(message.incident, message.progress) for message in self.runner.unsent(name)}
            for incident, announcement in monitor.ledger.unsent(monitor.incidents.open, name):
                progress = announcement.progress
                is_known = progress is Progress.END_DUE or incident.id in monitor.ledger.over
                # A message of an earlier run waits until a listing confirms the message.
                if progress is Progress.ACK_DUE:
                    is_known = is_known or monitor.judge(now).is_incident_acked(incident)
                else:
                    is_known = is_known or bool(incident.remaining & alerting)
                if is_known and incident.profile in self._alerts.held and (incident.id, progress) not in queued:
                    ago_s = now.monotonic - announcement.at
                    is_end = progress is Progress.END_DUE
                    at = Clocks(WallMs(now.wall - ago_s * 1000), announcement.at) if is_end else now
                    context = self._contexts[incident.profile]
                    self.runner.put(name, build_message(incident, name, context, monitor, at, progress=progress))

    async def _before_try(self, hook: SafeText, message: Message) -> None:
        if (incident := message.incident) is None:
            return
        ledger = self._watch.monitor.ledger.tried(incident, hook)
        self._watch.enter(ledger)
        try:
            await self._alerts.write(message.subject.profile, ledger, self._watch.clocks())
        except asyncio.CancelledError:  # at the end of a run: nothing was sent, so the try leaves no doubt
            ledger, at = self._watch.monitor.ledger, self._watch.clocks().monotonic
            why = clean("envwatch ended before the try")
            self._watch.enter(ledger.failed(incident, hook, message.progress, why, at))
            raise

    def _after_try(self, hook: SafeText, message: Message, error: DeliveryError | None) -> bool:
        incident, ledger, at = message.incident, self._watch.monitor.ledger, self._watch.clocks().monotonic
        if incident is None:
            return True
        if error is not None:
            ledger = ledger.failed(incident, hook, message.progress, clean(str(error)), at, is_final=error.is_final)
            self._watch.enter(ledger)
            announcement = ledger.of(incident, hook)
            return announcement is None or error.is_final or announcement.progress is message.progress
        self._watch.enter(ledger.told(incident, hook, message.progress, at))
        self._put_unsent(self._watch.clocks())  # the end, if the incident resolved meanwhile
        self.store()  # a kill before the next update would repeat the message
        return True
