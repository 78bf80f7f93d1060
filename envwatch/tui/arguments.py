"""The App's arguments."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from envwatch.fleet.alerting.silences import Silence, silence_of_environments
from envwatch.model.text import EMPTY, SafeText
from envwatch.model.times import long_age
from envwatch.query.language import parse
from envwatch.sources.poller import read_clocks
from envwatch.views.command_context import NO_COMMANDS
from envwatch.views.screen_settings import ScreenSettings
from envwatch.views.table.block_text import several_text
from envwatch.views.table.table_view import BUILT_IN_VIEWS, View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from envwatch.fleet.alerting.acknowledgements import Ack, Acks, ServerKey
    from envwatch.fleet.alerting.alert_policy import AlertPolicy, Word
    from envwatch.fleet.alerting.silences import Silences
    from envwatch.fleet.monitor import Monitor, MonitorChanges
    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.fleet.uptime_record import UptimeRecord
    from envwatch.history.past import Past
    from envwatch.model.clock import Clocks, WallMs
    from envwatch.model.outcome import Outcome
    from envwatch.sources.poller import Target
    from envwatch.views.command_context import CommandSettings
    from envwatch.views.table.table_view import NamedView


_ENDED: Final = Silence(EMPTY)


def ignore(*_: object, **__: object) -> None:
    """Save nothing."""


K = TypeVar("K")
T = TypeVar("T")


@dataclass(eq=False, repr=False)
class SharedEntries(Generic[K, T]):
    """Entries of a state file that other processes change too."""

    read: Callable[[], Mapping[K, T] | None] | None = None
    """Returns all entries, or None if unchanged since the last call; may be slow, runs in a thread.

    None if no other process changes the entries."""
    keep: Callable[[Mapping[K, T | None]], None] = ignore
    """Saves changes; the value None removes an entry."""
    _unread: dict[K, T | None] = field(default_factory=dict)

    def change(self, changes: Mapping[K, T | None]) -> None:
        self._unread.update(changes)
        self.keep(changes)

    async def newest(self) -> Mapping[K, T] | None:
        if self.read is None:
            return None
        entries = await asyncio.to_thread(self.read)
        if entries is None:
            return None
        # A change of this process may not be in the file yet; the next reading has every written change.
        merged = {**entries, **self._unread}
        self._unread.clear()
        return {key: entry for key, entry in merged.items() if entry is not None}


@dataclass(eq=False, repr=False)
class SilenceControl:
    """Makes and ends silences."""

    entries: SharedEntries[SafeText, Silence] = field(default_factory=SharedEntries)
    user: SafeText = EMPTY

    def silence(
        self, monitor: Monitor, keys: Sequence[EnvironmentKey], at: WallMs, lasts: timedelta, note: SafeText
    ) -> tuple[Monitor, str]:
        known = [tracked for key in keys if (tracked := monitor.fleet.tracked(key)) is not None]
        if not known:
            return monitor, "nothing to silence: the row has left the fleet"
        silenced = [(monitor.fleet.server_of(each.profile), each.environment.id) for each in known]
        silence = silence_of_environments(silenced, at, lasts, note, self.user)
        name = several_text(known)
        recovered = " (it is up)" if len(known) == 1 and known[0].verdict.is_up else ""
        text = f"silenced on this machine for {long_age(lasts)}: {name}{recovered}"
        return self._changed(monitor, {silence.id: silence}), text

    def end(self, monitor: Monitor, silences: Iterable[Silence], at: WallMs) -> tuple[Monitor, str]:
        found = [
            silence
            for silence in silences
            if silence.hours is not None or monitor.silences.get(silence.id, _ENDED).holds(at)
        ]
        if not found:
            return monitor, "the silence has ended already"
        ended = (silence.ended(at, self.user) for silence in found)
        return self._changed(monitor, {each.id: each for each in ended}), "no longer silenced"

    def _changed(self, monitor: Monitor, changes: Silences) -> Monitor:
        self.entries.change(changes)
        return monitor.with_silences(changes)


async def no_outcomes() -> AsyncIterator[tuple[SafeText, Outcome]]:
    """Yield nothing."""
    nothing: tuple[tuple[SafeText, Outcome], ...] = ()
    for each in nothing:
        yield each


class Replay(NamedTuple):
    """Makes the App show the recorded moments of `Inputs.pasts` and poll nothing."""

    name: str
    profile: str
    host: str
    speed: float = 1.0
    """Recorded seconds per second, over 0."""
    at: WallMs | None = None
    """The first moment, by the recording machine's clock; None is the recording's start."""
    plays: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The App's targets and its sources of data."""

    targets: Mapping[SafeText, Target] = field(default_factory=dict)
    """By profile; empty for a replay."""
    outcomes: AsyncIterator[tuple[SafeText, Outcome]] = field(default_factory=no_outcomes)
    policies: Mapping[SafeText, AlertPolicy] = field(default_factory=dict)
    servers: Mapping[SafeText, SafeText] = field(default_factory=dict)
    """See `ProfileState.server`; empty for a replay."""
    notices: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    clocks: Callable[[], Clocks] = read_clocks
    record: Callable[[Monitor, MonitorChanges], None] = ignore
    """Records the monitor after an outcome, or only the events after a tick.

    The function never waits and never fails. Events may have any profile."""
    pasts: Mapping[SafeText, Past] = field(default_factory=dict)
    """The history by profile, empty if none is kept. In a replay, the recording."""
    readable: asyncio.Queue[SafeText] = field(default_factory=asyncio.Queue)
    """Each profile once, when its past has become readable."""
    replay: Replay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """The settings of the screen, and the user's views, keys and commands."""

    settings: ScreenSettings = field(default_factory=ScreenSettings)
    is_filter_option: bool = False
    """Whether the command line has the query, which then takes precedence over the first view's query."""
    views: Mapping[str, NamedView] = field(default_factory=dict)
    """The user's own views by name."""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """The user's keys by binding id, in Textual's form."""
    commands: CommandSettings = NO_COMMANDS
    ascii_only: bool = False

    @property
    def first_view(self) -> View:
        """The rows and columns at first."""
        first = self.settings
        plain = View(sort=first.sort, query=parse(first.filter), columns=first.columns)
        if first.view is None:
            return plain
        named = (self.views.get(first.view) or BUILT_IN_VIEWS[first.view]).chosen(plain)
        return replace(named, query=plain.query) if self.is_filter_option else named


DEFAULTS: Final = Preferences()


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """Values of an earlier run, and functions that save changes."""

    export: Callable[[bytes, str], Path]
    """Writes a file with a suffix such as `.json`, and returns the path."""
    keep: Callable[..., None] = ignore
    """Saves settings by keyword: `columns`, `theme`, `bell`."""
    acks: Acks = field(default_factory=dict)
    keep_acks: Callable[[Mapping[ServerKey, Ack | None]], None] = ignore
    """Saves changes; the value None is an ended acknowledgement."""
    silence_control: SilenceControl = field(default_factory=SilenceControl)
    words: SharedEntries[ServerKey, Word] = field(default_factory=SharedEntries)
    newest_uptimes: Callable[[Clocks], Mapping[SafeText, UptimeRecord]] | None = None
    """Returns uptime records that the monitor lacks; may be slow, runs in a thread."""
    keep_uptimes: Callable[[Monitor, Clocks], None] = ignore
    failing_hooks: Callable[[Clocks], Mapping[SafeText, WallMs]] | None = None
    """Returns when other processes' hooks began to fail; may be slow, runs in a thread."""
