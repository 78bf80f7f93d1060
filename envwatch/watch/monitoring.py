"""A watch of the selected profiles: polls, log, history, state files, and hooks with dead man's switches."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from envwatch import __version__
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.letta.poller import PolledProfile, Session, read_clocks
from envwatch.model.outcome import Listed, Outcome
from envwatch.model.text import SafeText, clean
from envwatch.watch import gc_tuning
from envwatch.watch.clients import targets_for
from envwatch.watch.file_filters import file_filters_of
from envwatch.watch.loop import Deadline, MonitorUpdate, Watch, never
from envwatch.watch.profiles import policies_for
from envwatch.watch.state_files import StateFiles, failing_hooks_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from envwatch.alerts.uptime_record import UptimeRecord
    from envwatch.deliver.delivery import Delivery
    from envwatch.deliver.runner import HookReport
    from envwatch.history.past import Past
    from envwatch.history.recorder import HistoryRecorder
    from envwatch.letta.poller import Observer as SessionObserver
    from envwatch.watch.alert_files import AlertFiles
    from envwatch.watch.hooks import HookDispatch
    from envwatch.watch.log import PollLog
    from envwatch.watch.loop import Observer
    from envwatch.watch.profiles import Profiles

_SLOW_LISTINGS = 2
"""Consecutive slow listings before a warning."""
_SENDS_NOTHING: Final = "this hook sends nothing"
_DRAWN_AFTER_S: Final = 0.5
"""Seconds until a slow machine has drawn the first outcome."""


class DemoHistory(NamedTuple):
    """The demo's history, and uptimes before the opening."""

    folder: Path
    prepare: Callable[[], None]
    uptimes: UptimeRecord


class Monitoring(NamedTuple):
    """A running watch with recorded pasts."""

    watch: Watch
    pasts: Mapping[SafeText, Past]
    poll_log: PollLog
    acks_written: Callable[[], Awaitable[None]]

    @property
    def polled(self) -> str:
        """Polled servers and intervals, as text."""
        parts = [
            f"{target.host} every {target.poller.interval.total_seconds():g} s (profile {target.profile})"
            for target in self.watch.targets.values()
        ]
        return ", ".join(parts)


@asynccontextmanager
async def monitoring(  # noqa: PLR0913  the differences between commands
    profiles: Profiles,
    poll_log: PollLog,
    deadline: Deadline = never,
    alerts: AlertFiles | None = None,
    *,
    has_screen: bool = False,
    is_recorded: bool = True,
    is_writer: bool = True,
    on_ready: Callable[[SafeText], None] | None = None,
    demo: DemoHistory | None = None,
) -> AsyncIterator[Monitoring]:
    """Poll and record profiles until `deadline`.

    `alerts` has an earlier run's alert states. Only a writer changes state files. `on_ready` is called, in any thread,
    when a profile's past is readable. `demo` replaces the histories.
    """
    targets, profile_name = targets_for(profiles), clean(profiles.first.profile)
    monitor = Monitor.create(
        profiles.limits, policies=policies_for(profiles), profile_name=profile_name, servers=profiles.servers
    )
    for target in targets.values():
        pace = f"{target.host} every {target.poller.interval.total_seconds():g} s"
        poll_log.note(f"envwatch {__version__} asks {pace}, with the key from {target.key_origin}")

    warn = poll_log.warn
    async with AsyncExitStack() as stack:
        recorder, pasts = _history(profiles, warn, on_ready, demo) if is_recorded else (None, {})
        advisers = [] if has_screen else [_pace_adviser(targets, warn)]
        session = Session(targets, poll_log.observe, gc_tuning.start_after_first_outcome(), *advisers)
        awaits_past = pasts.keys() if has_screen else ()
        start = partial(Watch, session=session, deadline=deadline, has_log=has_screen, awaits_past=awaits_past)
        acks_written = _nothing_to_write
        if demo is None:
            failing = failing_hooks_of(profiles) if has_screen else None
            saved = StateFiles(profiles, warn, alerts, failing, is_writer=is_writer)
            stack.callback(saved.close)
            acks_written = saved.acks_written
            watch = start(monitor, read=saved.read, keep=saved.keep)
            watch.observers.append(saved.observe)
        else:  # each demo has new environments
            watch = start(monitor.with_uptime_record(NO_PROFILE, demo.uptimes))
        watch.observers.append(lambda update: poll_log.note_blindness(update.changes.events))
        if demo is None and is_writer:
            watch.observers.append(_filter_adviser(profiles, warn, is_one_line=has_screen))
            for mistake in profiles.first.hook_mistakes:
                warn(f"{mistake} ({_SENDS_NOTHING})")
        if recorder is not None:
            watch.observers.append(lambda update: recorder.record(update.monitor, update.changes))
        if alerts is not None:
            watch.resume(await asyncio.to_thread(alerts.take_over, read_clocks(), warn))
        await stack.enter_async_context(session)
        await stack.enter_async_context(aclosing(watch))
        if recorder is not None:
            stack.callback(recorder.close)
        yield Monitoring(watch, pasts, poll_log, acks_written)


async def _nothing_to_write() -> None:
    """Return at once: the demo keeps nothing."""


def _history(
    profiles: Profiles,
    warn: Callable[[str], None],
    on_ready: Callable[[SafeText], None] | None,
    demo: DemoHistory | None,
) -> tuple[HistoryRecorder | None, Mapping[SafeText, Past]]:
    """Return recorder and pasts; SQLite is imported after the first outcome is drawn."""
    recorded = {name: profile for name, profile in profiles.items() if profile.settings.history}
    if not recorded:
        return None, {}
    from envwatch.history.recorder import HistoryRecorder, nothing
    from envwatch.history.stored import Retention, StoredPast

    folders = {name: demo.folder if demo else profile.history_folder for name, profile in recorded.items()}
    recorder = HistoryRecorder(
        folders,
        {name: Retention(settings.history_days, settings.history_mb) for name, (_, settings) in recorded.items()},
        notify=warn,
        delay_s=_DRAWN_AFTER_S,
        prepare=demo.prepare if demo else nothing,
        on_ready=on_ready or nothing,
    )
    # Without waiting, a reader would not find the demo's day.
    wait = recorder.wait if demo else nothing
    return recorder, {name: StoredPast(folder, name, wait) for name, folder in folders.items()}


@asynccontextmanager
async def alerting(  # noqa: PLR0913  what `monitoring` takes, and what sends
    profiles: Profiles,
    poll_log: PollLog,
    deliveries: Mapping[SafeText, Delivery],
    user: SafeText,
    deadline: Deadline = never,
    *,
    is_recorded: bool = True,
) -> AsyncIterator[tuple[Monitoring, HookDispatch]]:
    """Run `monitoring` with dead man's switches, and with hooks if there are `deliveries`, by the hooks' names.

    `user` acknowledges on this machine. At the end, waiting messages get a short time.
    """
    from envwatch.watch.alert_files import open_alert_files
    from envwatch.watch.hooks import HookDispatch, message_contexts
    from envwatch.watch.pinging import find_pings, pinging

    hooks = profiles.first.hooks if deliveries else ()
    alerts, pings = open_alert_files(profiles, hooks), find_pings(profiles)
    async with monitoring(profiles, poll_log, deadline, alerts, is_recorded=is_recorded) as watched:
        if deliveries:
            from envwatch.deliver.delivery import unusable_hooks

            for line in unusable_hooks(deliveries):
                poll_log.warn(f"{line} ({_SENDS_NOTHING})")

        def report(line: HookReport) -> None:
            poll_log.write((logging.WARNING if line.is_failure else logging.INFO, line.text))
            if line.is_news:
                poll_log.notify(line.text)

        contexts = message_contexts(profiles, user)
        dispatch = HookDispatch(
            watched.watch, report, hooks=hooks, deliveries=deliveries, contexts=contexts, alerts=alerts
        )
        watched.watch.observers.append(dispatch.take)
        try:
            async with (
                dispatch.runner,
                pinging(pings, watched.watch, poll_log.warn, dispatch.runner.failing),
            ):
                yield watched, dispatch
        finally:
            dispatch.store()
            alerts.close()


def _filter_adviser(profiles: Profiles, warn: Callable[[str], None], *, is_one_line: bool) -> Observer:
    """Warn about filters that find nothing; `is_one_line` for the dashboard, which shows only the newest notice."""
    filters = file_filters_of(profiles)

    def observe(update: MonitorUpdate) -> None:
        if not update.has_new_listing:
            return
        lines = filters.lines_of(update.monitor.fleet)
        for line in ["; ".join(lines)] if lines and is_one_line else lines:
            warn(line)

    return observe


def _pace_adviser(targets: Mapping[SafeText, PolledProfile], warn: Callable[[str], None]) -> SessionObserver:
    slow: Counter[SafeText] = Counter()

    def observe(profile: SafeText, outcome: Outcome) -> None:
        if isinstance(outcome, Listed) and slow[profile] < _SLOW_LISTINGS:
            poller = targets[profile].poller
            slow[profile] = slow[profile] + 1 if poller.schedule.is_slow else 0
            if slow[profile] == _SLOW_LISTINGS:
                from envwatch.views.pace import pace_advice

                if (advice := pace_advice(poller.limits, poller.cost)) is not None:
                    warn(f"{profile}: {advice}" if profile else advice)

    return observe
