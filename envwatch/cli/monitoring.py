"""Monitoring without a screen: a loop over a session's outcomes and seconds."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from envwatch.cli import gc_tuning
from envwatch.cli.arguments import Exit, Options, StopError
from envwatch.cli.bootstrap import History, history_for, note_targets, poll_log_for, targets_for
from envwatch.cli.streams import print_error
from envwatch.fleet.monitor import Monitor
from envwatch.model.outcome import Failed, Listed
from envwatch.model.text import SafeText, clean
from envwatch.sources.poller import Session, Target, read_clocks
from envwatch.watch.loop import Deadline, MonitorUpdate, never, updates
from envwatch.watch.profiles import policies_for
from envwatch.watch.state_files import StateFiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping

    from envwatch.history.past import Past
    from envwatch.storage.log import PollLog
    from envwatch.watch.alert_files import AlertFiles
    from envwatch.watch.profiles import Profiles

_SLOW_LISTINGS = 2
"""Listings in a row with slow polls before a line says so: one may be slow by chance."""
_REFUSALS = 2
"""After so many refusals in a row the refusal counts as final; the poller tries again after 30 s."""


class Monitoring(NamedTuple):
    """The polled targets and the monitor's updates."""

    targets: Mapping[SafeText, Target]
    updates: AsyncGenerator[MonitorUpdate, None]
    pasts: Mapping[SafeText, Past]
    poll_log: PollLog
    warn: Callable[[str], None]
    """Reports a problem outside the polls on standard error and in the log, from any thread."""

    @property
    def polled(self) -> str:
        """The polled servers and intervals, as text for people."""
        parts = [
            f"{target.host} every {target.poller.interval.total_seconds():g} s (profile {target.profile})"
            for target in self.targets.values()
        ]
        return ", ".join(parts)


@asynccontextmanager
async def monitoring(
    profiles: Profiles,
    options: Options,
    deadline: Deadline = never,
    alerts: AlertFiles | None = None,
    *,
    is_recorded: bool = True,
) -> AsyncIterator[Monitoring]:
    """Poll and record profiles; `alerts` are the alert states of an earlier run."""
    policies, targets = policies_for(profiles), targets_for(profiles)
    profile_name = clean(profiles.first.profile)
    monitor = Monitor.create(profiles.limits, policies=policies, profile_name=profile_name, servers=profiles.servers)
    poll_log = poll_log_for(options, _warn)
    note_targets(poll_log, targets.values())

    def warn(line: str) -> None:
        poll_log.note(line)
        _warn(line)

    saved = StateFiles(profiles, warn, alerts)
    history = history_for(profiles, options, warn) if is_recorded else History(None, {})
    try:
        monitor = await saved.resumed(monitor, targets, read_clocks())
        async with (
            Session(targets, poll_log.observe, gc_tuning.start_after_first_outcome()) as session,
            aclosing(updates(session, monitor, deadline, saved)) as fresh,
            aclosing(_recorded(fresh, history, targets, warn)) as recorded,
        ):
            with closing(history):
                yield Monitoring(targets, recorded, history.pasts, poll_log, warn)
    finally:
        saved.close()
        poll_log.close()


def _warn(line: str) -> None:
    print_error(f"envwatch: {clean(line)}")


async def _recorded(
    fresh: AsyncGenerator[MonitorUpdate, None],
    history: History,
    targets: Mapping[SafeText, Target],
    warn: Callable[[str], None],
) -> AsyncGenerator[MonitorUpdate, None]:
    """Record updates, and warn once of a profile's slow polls."""
    slow: Counter[SafeText] = Counter()
    async for update in fresh:
        if history.recorder is not None:
            history.recorder.record(update.monitor, update.changes)
        profile = update.changes.profile
        if profile is not None and isinstance(update.changes.outcome, Listed) and slow[profile] < _SLOW_LISTINGS:
            poller = targets[profile].poller
            slow[profile] = slow[profile] + 1 if poller.schedule.is_slow else 0
            if slow[profile] == _SLOW_LISTINGS:
                from envwatch.views.pace import pace_advice

                if (advice := pace_advice(poller.limits, poller.cost)) is not None:
                    warn(f"{profile}: {advice}" if profile else advice)
        yield update


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
