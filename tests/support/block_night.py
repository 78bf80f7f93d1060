"""A scripted fleet, and the block after each listing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from support.builders import NOW, environment, failed, listed, reading

from envwatch.alerts.acknowledgements import ack_of
from envwatch.alerts.monitor import Monitor
from envwatch.alerts.silences import silence_of_environments
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean
from envwatch.views.table.block import NO_BLOCK, Block, BlockLine, build_block
from envwatch.views.table.block_text import line_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.fleet.tracking import EnvironmentKey
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment

DAY = 86_400.0


def row(name: str, state: str, at: float, seen_at: float, **changes: Any) -> Environment:
    """Return a row in a state: `+` up, `~` late, `x` disconnected, `h` heartbeat lost, `?` an impossible time."""
    seen_at = {"+": at - 1_000, "~": at - 50_000, "h": min(seen_at, at - 130_000)}.get(state, seen_at)
    beat: dict[str, Any] = {"lastHeartbeat": seen_at, "lastSeenAt": seen_at}
    match state:
        case "x":
            beat |= {"connectionId": None, "lastHeartbeat": None}
        case "?":
            beat |= {"lastHeartbeat": at + 10 * DAY * 1000}
    return environment(name, **({"connectionName": name} | beat | changes))


@dataclass
class BlockNight:
    monitor: Monitor = field(default_factory=lambda: Monitor.create({NO_PROFILE: Limits()}))
    block: Block = NO_BLOCK
    now: float = 0.0
    """Seconds since `NOW`."""
    seen_at: dict[EnvironmentKey, float] = field(default_factory=dict)
    changes: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Changes to rows by name, with wire names of fields."""

    @property
    def clocks(self) -> Clocks:
        return reading(NOW + self.now * 1000)

    def poll(
        self,
        rows: str | Mapping[str, str],
        *,
        after: float = 5.0,
        profile: SafeText = NO_PROFILE,
        lost: Mapping[str, float] | None = None,
    ) -> Self:
        """Poll `after` seconds later.

        Args:
            rows: names with a state each, as in `row`: `web-1+ web-2x`. A row in the state `-` is not listed.
            after: seconds.
            profile: of the listing.
            lost: seconds since the last sign of life, by row name.
        """
        states = {word[:-1]: word[-1] for word in rows.split()} if isinstance(rows, str) else rows
        self.now += after
        at = NOW + self.now * 1000
        found: list[Environment] = []
        self.seen_at |= {(profile, clean(name)): at - seconds * 1000 for name, seconds in (lost or {}).items()}
        for name, state in states.items():
            if state == "-":
                continue
            key = (profile, clean(name))
            one = row(name, state, at, self.seen_at.get(key, at - 1_000), **self.changes.get(name, {}))
            self.seen_at[key] = one.last_seen_alive_at if state in "+~h" else self.seen_at.get(key, at - 1_000)
            found.append(one)
        self.monitor, _ = self.monitor.apply(profile, listed(found, at), self.clocks)
        return self.look()

    def hold(self, seconds: float, rows: str) -> Self:
        for _ in range(round(seconds / 5)):
            self.poll(rows)
        return self

    def fail(self, *, after: float = 5.0, profile: SafeText = NO_PROFILE) -> Self:
        self.now += after
        self.monitor, _ = self.monitor.apply(profile, failed(at=ServerMs(NOW + self.now * 1000)), self.clocks)
        return self.look()

    def wait(self, seconds: float) -> Self:
        self.now += seconds
        self.monitor, _ = self.monitor.tick(self.clocks)
        return self.look()

    def ack(self, *names: str, note: str = "") -> Self:
        """Acknowledge the rows of these names in the block, under every profile."""
        fleet = self.monitor.fleet
        rows = [row for row in fleet.environments if row.environment.id in names and row.key in self.block.homes]
        acks = {
            (fleet.server_of(row.profile), row.environment.id): ack_of(row, self.clocks.wall, clean(note))
            for row in rows
        }
        self.monitor = self.monitor.with_acks(acks)
        return self.wait(0)

    def silence(self, *names: str, seconds: float = 3_600) -> Self:
        servers, lasts = self.monitor.fleet.servers.values(), timedelta(seconds=seconds)
        keys = [(server, clean(name)) for server in servers for name in names]
        silence = silence_of_environments(keys, self.clocks.wall, lasts, clean(""), clean("ana"))
        self.monitor = self.monitor.with_silences({silence.id: silence})
        return self.wait(0)

    def look(self) -> Self:
        self.block = build_block(self.monitor, self.clocks, self.block)
        return self

    @property
    def lines(self) -> list[str]:
        """The lines: state, names, mark of a new line, and number of acknowledged members."""
        return [self._text(line) for line in self.block.lines]

    def _text(self, line: BlockLine) -> str:
        _, words = line_state(line, self.monitor, self.clocks)
        parts: Iterable[str] = (
            f"{words}:",
            *(tracked.environment.label for tracked in line.members),
            "NEW" if line.fresh_losses(self.clocks.wall) else "",
            "acked" if line.is_acked else f"{line.acked} acked" if line.acked else "",
        )
        return " ".join(filter(None, parts))

    @property
    def asides(self) -> dict[str, int]:
        """The rule line's counts by word."""
        return {aside.value: count for aside, count in self.block.asides.items() if count}
