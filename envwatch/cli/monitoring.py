"""A watch of the selected profiles, and the ends of a run without a screen: refused keys and signals."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import History, history_for, note_targets, poll_log_for, targets_for
from envwatch.cli.streams import print_error, standard_error_to
from envwatch.fleet.monitor import Monitor
from envwatch.model.outcome import Failed, Listed, Outcome
from envwatch.model.text import SafeText, clean
from envwatch.sources.poller import Session, Target, read_clocks
from envwatch.watch.alert_files import failing_hooks_of
from envwatch.watch.loop import Deadline, MonitorUpdate, Watch, never
from envwatch.watch.profiles import policies_for
from envwatch.watch.state_files import StateFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from envwatch.cli.bootstrap import DemoHistory
    from envwatch.history.past import Past
    from envwatch.sources.poller import Observer as SessionObserver
    from envwatch.storage.log import PollLog
    from envwatch.watch.alert_files import AlertFiles
    from envwatch.watch.profiles import Profiles

_SLOW_LISTINGS = 2
"""Listings in a row with slow polls before a line says so: one may be slow by chance."""
_REFUSALS = 2
"""After so many refusals in a row the refusal counts as final; the poller tries again after 30 s."""


class Screen(NamedTuple):
    """The dashboard's part of a watch. The functions are called from any thread."""

    notify: Callable[[str], None]
    """Shows a line to the user."""
    on_ready: Callable[[SafeText], None]
    """Called once for each profile, when its past has become readable."""
    demo: DemoHistory | None = None


class Monitoring(NamedTuple):
    """A running watch, with the recorded pasts."""

    watch: Watch
    pasts: Mapping[SafeText, Past]
    poll_log: PollLog
    warn: Callable[[str], None]
    """Reports a problem outside the polls to the user and in the log, from any thread."""

    @property
    def polled(self) -> str:
        """The polled servers and intervals, as text for people."""
        parts = [
            f"{target.host} every {target.poller.interval.total_seconds():g} s (profile {target.profile})"
            for target in self.watch.targets.values()
        ]
        return ", ".join(parts)


@asynccontextmanager
async def monitoring(  # noqa: PLR0913  the differences between commands
    profiles: Profiles,
    options: Options,
    deadline: Deadline = never,
    alerts: AlertFiles | None = None,
    *,
    is_recorded: bool = True,
    screen: Screen | None = None,
) -> AsyncIterator[Monitoring]:
    """Poll and record profiles; `alerts` are the alert states of an earlier run."""
    targets, profile_name = targets_for(profiles), clean(profiles.first.profile)
    monitor = Monitor.create(
        profiles.limits, policies=policies_for(profiles), profile_name=profile_name, servers=profiles.servers
    )
    notify = show if screen is None else screen.notify
    poll_log = poll_log_for(options, notify)
    note_targets(poll_log, targets.values())

    def warn(line: str) -> None:
        poll_log.note(line)
        notify(line)

    async with AsyncExitStack() as stack:
        stack.callback(poll_log.close)
        if screen is not None:
            stack.enter_context(standard_error_to(poll_log.note_stray_line))
        on_ready, demo = (None, None) if screen is None else (screen.on_ready, screen.demo)
        history = history_for(profiles, options, warn, on_ready, demo) if is_recorded else History(None, {})
        advisers = [_pace_adviser(targets, warn)] if screen is None else []
        session = Session(targets, poll_log.observe, gc_tuning.start_after_first_outcome(), *advisers)
        start = partial(Watch, monitor, session, deadline=deadline, has_log=screen is not None)
        if demo is None:
            saved = StateFiles(profiles, warn, alerts, None if screen is None else failing_hooks_of(profiles))
            stack.callback(saved.close)
            watch = start(read=saved.read, keep=saved.keep)
            watch.observers.append(saved.observe)
        else:  # each demo has new environments
            watch = start(read=demo.read)
        if (recorder := history.recorder) is not None:
            watch.observers.append(lambda update: recorder.record(update.monitor, update.changes))
        if alerts is not None:
            watch.resume(await asyncio.to_thread(alerts.take_over, read_clocks(), warn))
        await stack.enter_async_context(session)
        await stack.enter_async_context(aclosing(watch))
        stack.enter_context(closing(history))
        yield Monitoring(watch, history.pasts, poll_log, warn)


def show(line: str) -> None:
    """Write a line for people to standard error."""
    print_error(f"envwatch: {clean(line)}")


def _pace_adviser(targets: Mapping[SafeText, Target], warn: Callable[[str], None]) -> SessionObserver:
    """Return a session's observer that warns once of a profile's slow polls."""
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


@dataclass(slots=True)
class Refusals:
    """Counts refusals (401 or 403) of each profile's key since the last listing."""

    targets: Mapping[SafeText, Target]
    _counts: dict[SafeText, int] = field(default_factory=dict)

    def check(self, update: MonitorUpdate) -> None:
        """Count an outcome.

        Raises:
            StopError: if all profiles' keys stay refused.
        """
        profile = update.changes.profile
        if profile is None:
            return
        match update.changes.outcome:
            case Listed():
                self._counts[profile] = 0
            case Failed(cause=cause, message=message) if cause.is_refusal:
                self._counts[profile] = self._counts.get(profile, 0) + 1
                if all(self._counts.get(profile, 0) >= _REFUSALS for profile in self.targets):
                    raise StopError(Exit.AUTHENTICATION, f"refused again: {message}")


def narrate(update: MonitorUpdate) -> None:
    """Write the events of whole profiles, such as blindness, to standard error."""
    from envwatch.views.events.event_text import event_text

    for event in update.changes.events:
        if event.id is None and not event.members:
            profile = f"{event.profile}: " if event.profile else ""
            print_error(f"envwatch: {profile}{event_text(event)}")


def run_until_signalled(main: Callable[[], Coroutine[None, None, int]]) -> int:
    """Return a coroutine's exit code. SIGINT, SIGTERM and SIGHUP cancel the coroutine, with separate codes.

    An ignored SIGHUP stays ignored, as under nohup.
    """
    return asyncio.run(_until_signalled(main))


async def _until_signalled(main: Callable[[], Coroutine[None, None, int]]) -> int:
    loop, codes = asyncio.get_running_loop(), list[int]()
    task = asyncio.ensure_future(main())

    def end(code: Exit) -> None:
        codes.append(code)
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, end, Exit.INTERRUPTED)
    loop.add_signal_handler(signal.SIGTERM, end, Exit.TERMINATED)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, end, Exit.HUNG_UP)
    try:
        return await task
    except asyncio.CancelledError:
        if not codes:
            raise
        return codes[0]
