"""How a long run speaks and ends: events of profiles, refused keys, signals."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING

from envwatch.cli.arguments import Exit, StopError
from envwatch.cli.streams import print_error
from envwatch.model.outcome import Failed, Listed
from envwatch.model.text import SafeText

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

    from envwatch.watch.loop import MonitorUpdate

_REFUSALS = 2
"""Consecutive refusals of a key before the run ends; the poller tries again after 30 s."""


def refusal_check(profiles: Collection[SafeText]) -> Callable[[MonitorUpdate], None]:
    """Return a function that raises `StopError` if all keys stay refused."""
    counts = Counter[SafeText]()

    def check(update: MonitorUpdate) -> None:
        profile, outcome = update.changes.profile, update.changes.outcome
        if profile is not None and isinstance(outcome, Listed):
            counts[profile] = 0
        elif profile is not None and isinstance(outcome, Failed) and outcome.cause.is_refusal:
            counts[profile] += 1
            if all(counts[each] >= _REFUSALS for each in profiles):
                raise StopError(Exit.AUTHENTICATION, f"refused again: {outcome.message}")

    return check


def narrate(update: MonitorUpdate) -> None:
    """Write events of whole profiles, such as blindness, to standard error."""
    from envwatch.views.events.event_text import event_text

    for event in update.changes.events:
        if event.id is None and not event.members:
            profile = f"{event.profile}: " if event.profile else ""
            print_error(f"envwatch: {profile}{event_text(event)}")


def run_until_signalled(main: Callable[[], Coroutine[None, None, int]]) -> int:
    """Return a coroutine's exit code; SIGINT, SIGTERM and SIGHUP cancel with separate codes.

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
