"""What a person can do about an environment: what is the matter, the command to run there, and what to know before.

Pure. envwatch itself runs none of it. Owns the only command that envwatch makes up, `letta server`: what comes from an
environment stands in it quoted, or not at all. A command that an environment sends is handed on as it came, and said to
be so.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import Presence, Reason
from envwatch.model.environment import update_text
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.text import Clean
from envwatch.model.versions import is_behind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.fleet import Fleet
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Reading
    from envwatch.model.environment import Environment


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing that is the matter, and what helps."""

    title: Clean
    """What is the matter, short."""
    command: Clean | None
    """What to run on that machine; None where no command helps."""
    note: Clean
    """What to know before."""


def remedies(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Iterator[Remedy]:
    """Yield what helps an environment, the most urgent first; nothing for one that is well.

    Args:
        tracked: the environment.
        fleet: the one that it is listed in.
        now: this machine's clocks; what cannot be seen at this moment is not called down.
    """
    if not tracked.verdict.is_up and not fleet.is_unknown(tracked, now):
        yield _of_the_lost(tracked, fleet)
    if tracked.is_flapping:
        yield _FLAPPING
    if mode_of(tracked.environment.mode) == UNRESTRICTED and tracked.presence is not Presence.GONE:
        yield _UNRESTRICTED
    if (outdated := _of_the_outdated(tracked.environment, fleet)) is not None:
        yield outdated


def start_command(environment: Environment) -> Clean | None:
    """Return the command that starts a listener which is this environment again; None where nobody can type one.

    The same name on the same machine makes it the same row. A name that a shell could misread, or that stands on the
    screen otherwise than it is, is left out: then the listener takes the name that it had.
    """
    if _is_of_the_desktop(environment) or _is_sandbox(environment):
        return None
    name = _typed(environment.name, is_windows=environment.os == "win32")
    if name is None:
        return Clean("letta server")
    version = environment.version
    is_old = is_behind(version, _COMPUTERS_SINCE)
    return Clean(f"letta server --{'env' if is_old else 'computer'}-name={name}")


_COMPUTERS_SINCE: Final = Clean("0.31.12")
"""Letta Code 0.31.12 and later take `--computer-name`; 0.25.9 and 0.30.28 know it as `--env-name` only."""
_PLAIN_ON_WINDOWS: Final = re.compile(r"[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*")


def _typed(name: Clean, *, is_windows: bool) -> str | None:
    """Return a name as every usual shell of its system reads it, or None.

    A backslash may be the escape of another character, an ellipsis the end of a longer name; and within single quotes
    not all shells read a backslash alike.
    """
    if is_windows:
        return (f'"{name}"' if " " in name else name) if _PLAIN_ON_WINDOWS.fullmatch(name) else None
    return None if not name or "\\" in name or "…" in name else shlex.quote(name)


def _is_of_the_desktop(environment: Environment) -> bool:
    return environment.organization_id == "local" or environment.device_id.startswith("desktop:")


def _is_sandbox(environment: Environment) -> bool:
    return environment.device_id.startswith("sandbox-")


_TITLES = {
    Reason.DISCONNECTED: "its listener stopped, or lost its link",
    Reason.HEARTBEAT_LOST: "its heartbeat stopped: asleep, frozen or cut off",
    Reason.NEVER_BEAT: "connected, but without a heartbeat",
    Reason.ABSENT: "no longer listed",
}
_NOTES = {
    Reason.DISCONNECTED: "A listener that still runs is back within a minute.",
    Reason.HEARTBEAT_LOST: "A machine that wakes up is back at once.",
    Reason.NEVER_BEAT: "A listener that runs pings every 30 s.",
    Reason.ABSENT: "A listener that starts is listed.",
}
_DESKTOP = "Open the Letta Code desktop app there, with remote access on."
_SANDBOX = "It is a sandbox of the platform: there is no machine to log in to."
_START = "If none runs there, start one under the same name."


def _of_the_lost(tracked: TrackedEnvironment, fleet: Fleet) -> Remedy:
    environment, reason = tracked.environment, tracked.verdict.reason
    command = start_command(environment)
    way = _START if command is not None else _SANDBOX if _is_sandbox(environment) else _DESKTOP
    notes = [_NOTES[reason], way]
    if (other := _up_on_the_same_machine(environment, fleet)) is not None:
        notes.insert(0, f"The machine is up: {other} runs there.")
    return Remedy(Clean(_TITLES[reason]), command, Clean(" ".join(notes)))


def _up_on_the_same_machine(environment: Environment, fleet: Fleet) -> Clean | None:
    device = environment.device_id
    others = (tracked for tracked in fleet.environments.values() if tracked.environment.device_id == device)
    return next((tracked.environment.name for tracked in others if tracked.verdict.is_up), None)


_FLAPPING = Remedy(
    Clean("flapping: it keeps coming and going"),
    None,
    Clean(
        "A listener that runs mends its link by itself: look at the network and the sleep settings of the machine, "
        "then at what ends its listener."
    ),
)
# Modes belong to conversations: docs.letta.com, "Permissions".
_UNRESTRICTED = Remedy(
    Clean("unrestricted: agents run every tool there unasked"),
    None,
    Clean(
        "The mode belongs to the conversation and outlives a restart of the listener: whoever talks to the agent can "
        "set it to standard."
    ),
)


def _of_the_outdated(environment: Environment, fleet: Fleet) -> Remedy | None:
    """Return what brings an environment up to date that is behind."""
    version, newest = environment.version, fleet.newest
    if not is_behind(version, newest):
        return None
    is_able = update_text(environment) == "yes"
    troubles = [f"version {version} is behind {newest}"]
    if environment.self_update is not None and not is_able:
        troubles.append("it cannot update itself")
    update = environment.self_update or {}
    command, reason = update.get("manual_command"), update.get("reason")
    notes = [f"It says: {reason.rstrip('.')}."] if isinstance(reason, str) and reason else []
    if is_able:
        notes.append("It updates itself; a new version runs once its listener has been restarted.")
    if not isinstance(command, str) or not command:
        return Remedy(Clean(", ".join(troubles)), None, Clean(" ".join(notes) or "It names no command."))
    notes.append("What to run is what that machine says, and not always a command: read it first.")
    return Remedy(Clean(", ".join(troubles)), Clean(command), Clean(" ".join(notes)))
