"""Remedies for the problems of an environment: what is wrong, the command to run there, and what to know before.

Pure. envwatch runs no command itself. Owns the only command that envwatch composes, `letta server`: text from an
environment is quoted in it or left out. A command that an environment reports is shown as received, with a note that
says so.
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
    """A problem, and what helps."""

    title: Clean
    """The problem in a few words."""
    command: Clean | None
    """The command to run on that machine; None if no command helps."""
    note: Clean
    """What to know before running it."""


def remedies(tracked: TrackedEnvironment, fleet: Fleet, now: Reading) -> Iterator[Remedy]:
    """Yield the remedies for an environment, the most urgent first; none for a healthy one.

    Args:
        tracked: the environment.
        fleet: its fleet.
        now: this machine's clocks: while the state is unknown, the environment is not called down.
    """
    if not tracked.verdict.is_up and not fleet.is_unknown(tracked, now):
        yield _remedy_for_down(tracked, fleet)
    if tracked.is_flapping:
        yield _FLAPPING
    if mode_of(tracked.environment.mode) == UNRESTRICTED and tracked.presence is not Presence.GONE:
        yield _UNRESTRICTED
    if (outdated := _remedy_for_outdated(tracked.environment, fleet)) is not None:
        yield outdated


def start_command(environment: Environment) -> Clean | None:
    """Return the command that starts this environment's listener again; None if no command line does.

    The same name on the same machine gives the same row. A name that a shell could misread, or that the screen cannot
    show as it is, is left out: then the listener keeps the name that it had.
    """
    if _is_desktop_app(environment) or _is_sandbox(environment):
        return None
    name = _quoted(environment.name, is_windows=environment.os == "win32")
    if name is None:
        return Clean("letta server")
    is_old = is_behind(environment.version, _FIRST_WITH_COMPUTER_NAME)
    return Clean(f"letta server --{'env' if is_old else 'computer'}-name={name}")


_FIRST_WITH_COMPUTER_NAME: Final = Clean("0.31.12")
"""Letta Code 0.31.12 and later take `--computer-name`; 0.25.9 and 0.30.28 accept only `--env-name`."""
_PLAIN_ON_WINDOWS: Final = re.compile(r"[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*")


def _quoted(name: Clean, *, is_windows: bool) -> str | None:
    """Return a name quoted so that every common shell of its system reads it the same, or None.

    A backslash may be the escape of a cleaned character, and shells differ in how they read it within single quotes; an
    ellipsis may mark a name that was cut.
    """
    if is_windows:
        return (f'"{name}"' if " " in name else name) if _PLAIN_ON_WINDOWS.fullmatch(name) else None
    return None if not name or "\\" in name or "…" in name else shlex.quote(name)


def _is_desktop_app(environment: Environment) -> bool:
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


def _remedy_for_down(tracked: TrackedEnvironment, fleet: Fleet) -> Remedy:
    environment, reason = tracked.environment, tracked.verdict.reason
    command = start_command(environment)
    how_to_start = _START if command is not None else _SANDBOX if _is_sandbox(environment) else _DESKTOP
    notes = [_NOTES[reason], how_to_start]
    others = (other for other in fleet.environments.values() if other.environment.device_id == environment.device_id)
    if (running := next((other.environment.name for other in others if other.verdict.is_up), None)) is not None:
        notes.insert(0, f"The machine is up: {running} runs there.")
    return Remedy(Clean(_TITLES[reason]), command, Clean(" ".join(notes)))


_FLAPPING = Remedy(
    Clean("flapping: it keeps coming and going"),
    None,
    Clean(
        "A running listener reconnects by itself: check the network and the sleep settings of the machine, then what "
        "ends its listener."
    ),
)
# Modes belong to conversations: docs.letta.com, "Permissions".
_UNRESTRICTED = Remedy(
    Clean("unrestricted: agents run every tool there without approval"),
    None,
    Clean(
        "The mode belongs to the conversation and survives a restart of the listener: it can be set to standard in the "
        "conversation with the agent."
    ),
)


def _remedy_for_outdated(environment: Environment, fleet: Fleet) -> Remedy | None:
    """Return the remedy for an environment whose version is behind the newest; None if it is not."""
    version, newest = environment.version, fleet.newest
    if not is_behind(version, newest):
        return None
    updates_itself = update_text(environment) == "yes"
    title = Clean(f"version {version} is behind {newest}")
    if environment.self_update is not None and not updates_itself:
        title = Clean(f"{title}, it cannot update itself")
    update = environment.self_update or {}
    command, reason = update.get("manual_command"), update.get("reason")
    notes = [f"It says: {reason.rstrip('.')}."] if isinstance(reason, str) and reason else []
    if updates_itself:
        notes.append("It updates itself; a new version runs once its listener has been restarted.")
    if not isinstance(command, str) or not command:
        return Remedy(title, None, Clean(" ".join(notes) or "It names no command."))
    notes.append("The machine itself reported what to run, and it may not be a command: read it first.")
    return Remedy(title, Clean(command), Clean(" ".join(notes)))
