"""What `envwatch watch --since` writes of the time before it began, and the seam to what it sees itself.

At the seam, the last recorded moment is compared with the first listing: nothing is missing and nothing comes twice,
whether envwatch did not run until now or another process records meanwhile.
"""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from envwatch.cli.streams import print_error
from envwatch.fleet.fleet import Fleet
from envwatch.model.clock import WallMs
from envwatch.model.times import span
from envwatch.past.earlier_runs import EarlierRuns
from envwatch.past.history import HistoryError, Moment
from envwatch.sources.daemon_thread import run_in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from envwatch.cli.monitoring import MonitorUpdate
    from envwatch.fleet.events import Event
    from envwatch.model.clock import Clocks
    from envwatch.model.text import SafeText
    from envwatch.past.history import Past
    from envwatch.views.events.event_stream import EventStream


class EarlierEvents:
    """The events before a command began, by profile, as far as they are since a moment."""

    def __init__(self, runs: Mapping[SafeText, EarlierRuns], since: WallMs) -> None:
        self._runs = dict(runs)
        self._since = since

    @classmethod
    async def read(cls, pasts: Mapping[SafeText, Past], since: datetime | None, began: Clocks) -> EarlierEvents:
        """Read what was recorded between two moments, nothing of it without the earlier one.

        What cannot be read is said on standard error, and counts as not recorded.
        """
        if since is None:
            return cls({}, began.wall)
        since_ms = WallMs(since.timestamp() * 1000)
        lasts = span(began.wall - since_ms)
        runs: dict[SafeText, EarlierRuns] = {}
        for profile, past in pasts.items():
            try:
                runs[profile] = await run_in_daemon_thread(partial(EarlierRuns.read, past, profile, lasts, began.wall))
            except HistoryError as error:
                print_error(f"envwatch: {profile and f'{profile}: '}earlier events are missing: {error}")
                runs[profile] = EarlierRuns(profile)
        return cls(runs, since_ms)

    def lines(self, stream: EventStream) -> Iterator[bytes]:
        """Yield the lines of what was recorded, and of the times in which nothing was."""
        if not self._runs:
            return
        events = [event for runs in self._runs.values() for event in (*runs.events, *runs.gaps(self._since))]
        last = {profile: runs.last.profile_state for profile, runs in self._runs.items() if runs.last is not None}
        yield from stream.past_lines(sorted(events, key=attrgetter("at")), Fleet(last))

    def until(self, update: MonitorUpdate) -> Sequence[Event]:
        """Return the events of the seam, for the update with the first listing of a profile."""
        profile = update.changes.profile
        if profile is None or profile not in self._runs or not update.has_new_listing:
            return ()
        moment = Moment(update.changes.now, update.monitor.fleet.by_profile[profile])
        return self._runs.pop(profile).until_now(moment, self._since)
