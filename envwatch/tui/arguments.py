"""What the App is given: what comes in while it runs, what the user prefers, and where changes are saved."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from envwatch.fleet.alerting.silences import NO_SILENCES, silence_of_environments
from envwatch.model.text import EMPTY, SafeText, counted
from envwatch.model.times import long_age
from envwatch.sources.poller import read_clocks
from envwatch.views.output.command_context import NO_COMMANDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from envwatch.fleet.alerting.acknowledgements import Ack, Acks, ServerKey
    from envwatch.fleet.alerting.alert_policy import AlertPolicy
    from envwatch.fleet.alerting.silences import Silence, Silences
    from envwatch.fleet.monitor import Monitor, MonitorChanges
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.model.outcome import Outcome
    from envwatch.past.history import Past
    from envwatch.sources.session import Target
    from envwatch.views.output.command_context import CommandSettings


class SilenceControl:
    """Makes and ends silences, and reads the silences of other processes.

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
            return monitor, "nothing to silence: the row has left the fleet"
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
            return monitor, "the silence has ended already"
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


def ignore(*_: object, **__: object) -> None:
    """Save nothing."""


async def no_outcomes() -> AsyncIterator[tuple[SafeText, Outcome]]:
    """Yield nothing: what the App gets where nothing is polled."""
    nothing: tuple[tuple[SafeText, Outcome], ...] = ()
    for each in nothing:
        yield each


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """That the App shows what was recorded, `Inputs.pasts`, and polls nothing."""

    name: str
    """The recording's name for people, as of its file, without a path."""
    profile: str
    """The name of the profile that was recorded; of several, all of them."""
    host: str
    """The server that was watched."""
    speed: float = 1.0
    """Recorded seconds that pass in one second while it plays; over 0."""
    at: WallMs | None = None
    """The moment with which it starts, by the clock of the machine that recorded it; None for its beginning."""
    plays: bool = True
    """Whether it plays from the start; `p` pauses it, and lets it go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is watched, and what comes in while the App runs."""

    targets: Mapping[SafeText, Target] = field(default_factory=dict)
    """What is polled, by profile (`NO_PROFILE` if there is only one); nothing for a replay."""
    outcomes: AsyncIterator[tuple[SafeText, Outcome]] = field(default_factory=no_outcomes)
    """What each poll gave, with its profile, from the first on."""
    policies: Mapping[SafeText, AlertPolicy] = field(default_factory=dict)
    """The alert policies, by profile."""
    servers: Mapping[SafeText, SafeText] = field(default_factory=dict)
    """The servers, by profile, see `ProfileState.server`; none for a replay."""
    notices: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """Lines for the news bar, one each."""
    clocks: Callable[[], Clocks] = read_clocks
    """Reads this machine's clocks."""
    record: Callable[[Monitor, MonitorChanges], None] = ignore
    """Records the monitor after an outcome, or only the events if time alone has passed.

    Never waits and never fails. The events may have any profile.
    """
    pasts: Mapping[SafeText, Past] = field(default_factory=dict)
    """What was recorded, by profile; empty where no history is kept. A replay has those of its recording."""
    readable: asyncio.Queue[SafeText] = field(default_factory=asyncio.Queue)
    """The profiles whose past can be read now, each once."""
    replay: Replay | None = None
    """Set for a replay: the screen shows recorded moments only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """How the screen looks and sounds at first, and the user's own keys and commands."""

    theme: str | None = None
    """The name of the first theme; the default one if it does not exist."""
    sort: str | None = None
    """The id of the column to sort by at first; None for problems first."""
    columns: tuple[str, ...] = ()
    """Ids of the columns; empty for those that fit the width."""
    filter: str = ""
    """The first query."""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """The user's own keys, by binding id, in Textual's form."""
    commands: CommandSettings = NO_COMMANDS
    """The user's own commands for the row under the cursor."""
    bell: bool = False
    """Whether the bell is on at first."""
    notify: Literal["off", "osc9", "osc777"] = "off"
    """The desktop notification that goes with the bell."""
    title: bool = False
    """Whether the terminal's title has the counts."""
    ascii_only: bool = False
    """Whether the terminal shows nothing but ASCII."""


DEFAULTS: Final = Preferences()


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """What an earlier run left, and what saves changes for the next one."""

    export: Callable[[bytes, str], Path]
    """Writes a file with a suffix such as `.json` and returns its path."""
    keep: Callable[..., None] = ignore
    """Saves a setting for the next run, by keyword: `columns`, `theme`, `bell`."""
    acks: Acks = field(default_factory=dict)
    """Problems that were acknowledged in an earlier run."""
    keep_acks: Callable[[Mapping[ServerKey, Ack | None]], None] = ignore
    """Saves changed acknowledgements; None for one that ended."""
    silence_control: SilenceControl = field(default_factory=SilenceControl)
    failing_hooks: Callable[[Clocks], Mapping[SafeText, WallMs]] | None = None
    """Returns since when hooks of other processes fail, by their names; may be slow, and runs in a thread."""
