"""What the user has acknowledged and silenced on this machine, for a monitor that runs without a screen.

A dashboard, or `envwatch silence`, may change both at any time.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from envwatch.cli.bootstrap import state_file
from envwatch.storage.remembered import AcknowledgementsFile, acknowledged
from envwatch.storage.silences_file import SilencesReader
from envwatch.storage.state_file import ChangedFile
from envwatch.views.matching import matcher_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from envwatch.fleet.monitor import Monitor
    from envwatch.model.text import Clean


class SavedState:
    """The acknowledgements and silences in the state folder.

    Args:
        warn: called from any thread with one line if they cannot be used.
        profile: the name of the profile, if only one is watched.
    """

    def __init__(self, warn: Callable[[str], None], profile: Clean) -> None:
        path = state_file("acknowledged")
        self._file = AcknowledgementsFile(path, warn)
        self._acks = ChangedFile(path, acknowledged)
        self._silences = SilencesReader(state_file("silences"), partial(matcher_or_none, profile=profile))

    async def newest(self, monitor: Monitor) -> Monitor:
        """Return a monitor with what others have changed since the last call; the disk may be slow."""
        acks, silences = await asyncio.to_thread(lambda: (self._acks.changed(), self._silences.changed()))
        if acks is not None:
            monitor = replace(monitor, acks=acks)
        return monitor if silences is None else replace(monitor, silences=silences)

    def end(self, ids: Iterable[Clean]) -> None:
        """Save that the acknowledgements of some environments have ended."""
        self._file.keep(dict.fromkeys(ids))

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
