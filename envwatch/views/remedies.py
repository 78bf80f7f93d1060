"""Remedies for the problems of an environment: the command to run there, and what to know before.

Pure. envwatch runs no command itself. Owns the only command that envwatch composes, `letta server`: text from an
environment is quoted in it or left out. A command that an environment reports is shown as received, with a note that
says so.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import Reason
from envwatch.model.environment import update_text
from envwatch.model.modes import UNRESTRICTED, mode_of
from envwatch.model.text import EMPTY, SafeText, clean, composed
from envwatch.model.versions import is_behind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks
    from envwatch.model.environment import Environment


_NO_KEY: Final = EMPTY


@dataclass(frozen=True, slots=True)
class Remedy:
    """What helps with one problem."""

    command: SafeText | None
    """The command to run on that machine; None if no command helps."""
    notes: tuple[SafeText, ...]
    """What to do without a command, or what to know before running it."""
    label: str = "do"
    copy: str = "start command"
    """What the command is called where it is copied."""


def remedies(
    tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks, start_key: SafeText = _NO_KEY
) -> Iterator[Remedy]:
    """Yield the remedies for an environment, the most urgent first; none for a healthy one.

    While its state is unknown, it is not called down. `start_key` is the key that does what helps one that is down;
    empty if none does.
    """
    if tracked.replaced_by is not None:
        text = f"nothing here: {tracked.reason}, which is this machine under another name"
        yield Remedy(None, (composed(text),))
    elif not tracked.verdict.is_up and not profile_state.is_unknown(tracked, now):
        yield _remedy_for_down(tracked, profile_state, start_key)
    if tracked.is_flapping and tracked.replaced_by is None:
        yield _FLAPPING
    if (
        mode_of(tracked.environment.mode) == UNRESTRICTED
        and tracked.replaced_by is None
        and not tracked.presence.is_absent
    ):
        yield _UNRESTRICTED
    if (outdated := _remedy_for_outdated(tracked.environment, profile_state)) is not None:
        yield outdated


def start_command(environment: Environment) -> SafeText | None:
    """Return the command that starts this environment's listener again; None if no command line does.

    The same name on the same machine gives the same row. A name that a shell could misread, or that the screen cannot
    show as it is, is left out: then the listener keeps the name that it had.
    """
    if _is_desktop_app(environment) or environment.is_sandbox:
        return None
    name = _quoted(environment.name, is_windows=environment.os == "win32")
    if name is None:
        return clean("letta server")
    is_old = is_behind(environment.version, _FIRST_WITH_COMPUTER_NAME)
    return composed(f"letta server --{'env' if is_old else 'computer'}-name={name}")


_FIRST_WITH_COMPUTER_NAME: Final = clean("0.31.12")
"""Letta Code 0.31.12 and later take `--computer-name`; 0.25.9 and 0.30.28 accept only `--env-name`."""
_PLAIN_ON_WINDOWS: Final = re.compile(r"[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*")


def _quoted(name: SafeText, *, is_windows: bool) -> str | None:
    """Return a name quoted so that every common shell of its system reads it the same, or None.

    A backslash may be the escape of a cleaned character, and shells differ in how they read it within single quotes; an
    ellipsis may mark a name that was cut.
    """
    if is_windows:
        return (f'"{name}"' if " " in name else name) if _PLAIN_ON_WINDOWS.fullmatch(name) else None
    return None if not name or "\\" in name or "…" in name else shlex.quote(name)


def _is_desktop_app(environment: Environment) -> bool:
    return environment.organization_id == "local" or environment.device_id.startswith("desktop:")


_NOTES = {
    Reason.DISCONNECTED: "only if none runs there: a live one is back within a minute",
    Reason.HEARTBEAT_LOST: "only if none runs there: it may be asleep, frozen or cut off, and is back at once then",
    Reason.NEVER_BEAT: "only if none runs there: one that runs pings every 30 s",
    **dict.fromkeys(
        (Reason.ABSENT, Reason.EXPECTED, Reason.NEVER_LISTED), "only if none runs there: one that starts is listed"
    ),
}
_DESKTOP = clean("open the Letta Code desktop app there, with remote access on")
_SANDBOX = clean("nothing: it is a sandbox of the platform, there is no machine to log in to")


def _remedy_for_down(tracked: TrackedEnvironment, profile_state: ProfileState, start_key: SafeText) -> Remedy:
    environment = tracked.environment
    command = start_command(environment)
    without_command = _SANDBOX if environment.is_sandbox else _DESKTOP
    notes = [without_command if command is None else clean(_NOTES[tracked.verdict.reason])]
    if start_key and not environment.is_sandbox:
        notes.insert(0 if command is not None else 1, clean(f"{start_key} does that from here: this is a demo"))
    others = (
        other for other in profile_state.environments.values() if other.environment.device_id == environment.device_id
    )
    if (running := next((other.environment.label for other in others if other.verdict.is_up), None)) is not None:
        another = f"another {running}" if running == environment.label else running
        notes.append(composed(f"the machine is up: {another} runs there"))
    return Remedy(command, tuple(notes))


_FLAPPING = Remedy(
    None,
    (
        clean(
            "check the network and the sleep settings of the machine, then what ends its listener: one that runs "
            "reconnects by itself"
        ),
    ),
)
# Modes belong to conversations: docs.letta.com, "Permissions".
_UNRESTRICTED = Remedy(
    None,
    (
        clean(
            "set the mode to standard in the conversation with the agent: agents run every tool there without "
            "approval, also after a restart"
        ),
    ),
)
_REPORTED = clean("the machine itself reported this, and it may not be a command: read it first")
_UPDATES_ITSELF = clean("restart its listener: it updates itself, and runs the new version from then on")


def _remedy_for_outdated(environment: Environment, profile_state: ProfileState) -> Remedy | None:
    """Return the remedy for an environment whose version is behind the newest; None without one."""
    if not is_behind(environment.version, profile_state.newest):
        return None
    command = (environment.self_update or {}).get("manual_command")
    updates_itself = [_UPDATES_ITSELF] if update_text(environment) == "yes" else []
    if not isinstance(command, str) or not command:
        return Remedy(None, tuple(updates_itself), "update") if updates_itself else None
    return Remedy(clean(command), (*updates_itself, _REPORTED), "update", "update command")
