"""Silences made on the screen, and those that other processes keep in the same place.

Owns what was changed here and may not be in that place yet. Must not know widgets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from envwatch.fleet.alerting.silences import NO_SILENCES, silence_of_environments
from envwatch.model.text import EMPTY, SafeText, counted
from envwatch.model.times import long_age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from envwatch.fleet.alerting.silences import Silence, Silences
    from envwatch.fleet.monitor import Monitor
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.clock import WallMs


class SilenceControl:
    """Makes and ends silences.

    Args:
        read: returns all silences if another process may have changed them since the last call, else None; it may be
            slow, and runs in a thread. None if there are no others.
        keep: saves changes by id; None for a silence that ended. None to save nothing.
        user: the name under which silences are made.
    """

    def __init__(
        self,
        read: Callable[[], Silences | None] | None = None,
        keep: Callable[[Mapping[SafeText, Silence | None]], None] | None = None,
        user: SafeText = EMPTY,
    ) -> None:
        self._read = read
        self._keep = keep
        self._user = user
        self._unread: dict[SafeText, Silence | None] = {}
        """Changes made here since the last time that silences were read."""

    def silence(
        self, monitor: Monitor, keys: Sequence[EnvironmentKey], at: WallMs, lasts: timedelta, note: SafeText
    ) -> tuple[Monitor, str]:
        """Silence those of some environments that are still known.

        Returns:
            The monitor with the silence, and a line for the user.
        """
        known = [tracked for key in keys if (tracked := monitor.fleet.tracked(key)) is not None]
        if not known:
            return monitor, "nothing to silence: it has left the fleet meanwhile"
        silence = silence_of_environments(
            ((monitor.fleet.server_of(each.profile), each.environment.id) for each in known),
            at,
            lasts,
            note,
            self._user,
        )
        name = known[0].environment.label if len(known) == 1 else counted(len(known), "environment")
        recovered = " (it is up)" if len(known) == 1 and known[0].verdict.is_up else ""
        text = f"silenced on this machine for {long_age(lasts)}: {name}{recovered}"
        return self._changed(monitor, {silence.id: silence}), text

    def end(self, monitor: Monitor, ids: Iterable[SafeText]) -> tuple[Monitor, str]:
        """End silences by their ids, where they have not ended; return the monitor and a line for the user."""
        found = [id_ for id_ in ids if id_ in monitor.silences]
        if not found:
            return monitor, "it has ended meanwhile"
        return self._changed(monitor, dict.fromkeys(found)), "no longer silenced"

    def _changed(self, monitor: Monitor, changes: Mapping[SafeText, Silence | None]) -> Monitor:
        self._unread.update(changes)
        if self._keep is not None:
            self._keep(changes)
        return monitor.with_silences(changes)

    async def newest(self) -> Silences | None:
        """Return all silences if others may have changed them, with the changes made here; None if not."""
        if self._read is None:
            return None
        silences = await asyncio.to_thread(self._read)
        if silences is None:
            return None
        # A change made here may not have been written yet; if it was, the next reading shows it.
        merged = {**silences, **self._unread}
        self._unread.clear()
        return {id_: silence for id_, silence in merged.items() if silence is not None} or NO_SILENCES
