"""Remedies for an environment's problems.

envwatch runs no command of a remedy. In `letta server`, text from an environment is quoted or left out.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from envwatch.fleet.presence import NEVER_LISTED, Reason
from envwatch.model import limits
from envwatch.model.environment import UNRESTRICTED, Environment, mode_of, update_text
from envwatch.model.text import SafeText, clean, composed, has_emoji_side_by_side
from envwatch.model.times import MS
from envwatch.model.versions import is_behind, is_version

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.clock import Clocks


@dataclass(frozen=True, slots=True)
class Remedy:
    """A remedy for a problem."""

    command: SafeText | None
    notes: tuple[SafeText, ...]
    label: str = "do"
    copy: str = "start command"


def remedies(tracked: TrackedEnvironment, profile_state: ProfileState, now: Clocks) -> Iterator[Remedy]:
    """Yield the remedies, the most urgent first."""
    if tracked.replaced_by is not None:
        text = f"nothing: {tracked.reason}, this machine's new name"
        yield Remedy(None, (composed(text),))
    elif not tracked.verdict.is_up and not profile_state.is_unknown(tracked, now):
        yield from _remedies_for_down(tracked, profile_state)
    if tracked.is_flapping and tracked.replaced_by is None:
        yield from _remedies_for_flapping(tracked)
    if mode_of(tracked.environment.mode) == UNRESTRICTED and tracked.replaced_by is None and tracked.verdict.is_up:
        yield _UNRESTRICTED
    outdated = outdated_remedy(tracked.environment, profile_state)
    if outdated is not None and (outdated is not _RESTART or tracked.verdict.is_up):
        yield outdated


def is_started_by_command(environment: Environment) -> bool:
    """Whether `letta server` starts the environment."""
    return not environment.is_desktop_app and not environment.is_sandbox


def kind_of_start(environment: Environment) -> Hashable:
    """Return a key, equal for environments started alike apart from the name."""
    starts = start_remedies(environment, is_named=False)
    return environment.is_desktop_app, environment.is_sandbox, not environment.device_id, starts


def start_remedies(environment: Environment, *, is_named: bool = True) -> tuple[Remedy, ...]:
    """Return the command that starts the listener again, or two commands if the row does not tell the right one.

    The same name and organization on the same machine give the same row. A name that a shell could misread or the
    screen cannot show exactly is left out, and the listener keeps the earlier name. The last remedy's notes have the
    reason for a second command, or a condition. The Desktop app, sandboxes and expected device ids without a row have
    no command.
    """
    device_id = environment.device_id
    if not is_started_by_command(environment) or (not device_id and _has_form_of_device_id(environment.name)):
        return ()
    name = _quoted(environment.name, is_windows=environment.os == "win32") if is_named else None
    version = environment.version if environment.version and is_version(environment.version) else None
    option = "--env-name" if is_behind(version, _FIRST_WITH_COMPUTER_NAME) else "--computer-name"
    plain = Remedy(composed("letta server" if name is None else f"letta server {option}={name}"), ())
    is_old, is_hashed = is_behind(version, _FIRST_WITH_ORG), _ID_IN_ORGANIZATION.fullmatch(device_id)
    if not device_id or _OWN_ID.fullmatch(device_id) or (is_old and not is_hashed):
        return (plain,)
    other = _start_in_organization(environment, name)
    if not is_hashed:
        return plain, replace(other, label="or", copy=OTHER_START, notes=(*other.notes, _UNKNOWN_DEVICE))
    if version is None:
        return other, replace(plain, label="or", copy=OTHER_START, notes=(_UNKNOWN_VERSION,))
    return (replace(other, notes=(*other.notes, _needs_upgrade(version))) if is_old else other,)


def _start_in_organization(environment: Environment, name: str | None) -> Remedy:
    organization = _quoted(environment.organization_id, is_windows=environment.os == "win32")
    if organization is None:
        return Remedy(None, (_UNTYPEABLE_ORGANIZATION,))
    named = "" if name is None else f" --computer-name={name}"
    return Remedy(composed(f"letta server --org={organization}{named}"), ())


def _needs_upgrade(version: SafeText) -> SafeText:
    return composed(f"{version} has no option --org: first upgrade Letta Code on that machine to 0.34.10 or newer")


def _has_form_of_device_id(text: SafeText) -> bool:
    return bool(_OWN_ID.fullmatch(text) or _ID_IN_ORGANIZATION.fullmatch(text))


_OWN_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""The machine's device id, registered without `--org`."""
_ID_IN_ORGANIZATION: Final = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
"""The machine's id hashed with the organization, registered only with `--org`."""
_FIRST_WITH_COMPUTER_NAME: Final = clean("0.31.12")
"""Letta Code 0.25.9 and 0.30.28 accept only `--env-name`."""
_FIRST_WITH_ORG: Final = clean("0.34.10")
"""Letta Code 0.34.9 has no `--org`."""
_FIRST_WITH_LOCK: Final = clean("0.30.28")
"""First version in which a second `letta server` of a name exits with 1 and names the first's pid."""
_PLAIN_ON_WINDOWS: Final = re.compile(r"[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*")
OTHER_START: Final = "other start command"
_UNKNOWN_VERSION: Final = clean("the version is unknown: before 0.34.10, `letta server` has no option --org")
_UNKNOWN_DEVICE: Final = clean("the device id does not tell whether the listener was started with --org")
_UNTYPEABLE_ORGANIZATION: Final = clean(
    "`letta server --org`, with the organization's id: no shell command can name this id safely"
)


def _has(version: SafeText | None, first: SafeText) -> bool:
    return version is not None and is_version(version) and not is_behind(version, first)


def _quoted(name: SafeText, *, is_windows: bool) -> str | None:
    """Return a name quoted alike for every common shell, or None if uncertain.

    A backslash may be the escape of a cleaned character, and shells differ within single quotes. An ellipsis may mark a
    cut name, and a joiner may be missing between two emoji.
    """
    if is_windows:
        return (f'"{name}"' if " " in name else name) if _PLAIN_ON_WINDOWS.fullmatch(name) else None
    is_uncertain = "\\" in name or "…" in name or has_emoji_side_by_side(name)
    return None if not name or is_uncertain else shlex.quote(name)


_LOCKED: Final = clean(
    "the command ends and names a pid if a listener runs on that machine: stop this process if it is frozen"
)
_UNLOCKED: Final = clean(
    "first stop any listener on that machine: before 0.30.28, `letta server` starts a second listener"
)
_COMES_BACK: Final = clean("a machine that sleeps or has no network comes back by itself")
_LOG: Final = clean("~/.letta/logs/remote/ on that machine")
_LOOK_FOR: Final = clean('look for 401, 403, "Replaced" or "reauthentication": E explains them')
_CONNECTED: Final = frozenset({Reason.HEARTBEAT_LOST, Reason.NEVER_BEAT})
"""Reasons of a loss without an end of the listener: the platform has the connection."""
_START_NAME: Final = clean("run the command on the machine that should have this name")
_CORRECT_NAME: Final = clean("if no machine should have this name, correct the name in the setting `expect`")
_START_ID: Final = clean(
    "start the listener of the machine with this device id: `letta computers current` prints the id"
)
_CORRECT_ID: Final = clean("if no machine has this device id, correct the id in the setting `expect`")
_DESKTOP: Final = clean("open the Letta Code desktop app on that machine, and turn remote access on")
_SANDBOX: Final = clean("nothing: the platform manages this sandbox")


def _remedies_for_down(tracked: TrackedEnvironment, profile_state: ProfileState) -> Iterator[Remedy]:
    environment = tracked.environment
    starts = start_remedies(environment)
    if tracked.verdict == NEVER_LISTED:
        by_name = [replace(start, notes=(_START_NAME, _CORRECT_NAME)) for start in starts]
        yield from by_name or [Remedy(None, (_START_ID, _CORRECT_ID))]
        return
    if not starts:
        notes = [_SANDBOX if environment.is_sandbox else _DESKTOP]
    else:
        notes = [*starts[-1].notes, _LOCKED if _has(environment.version, _FIRST_WITH_LOCK) else _UNLOCKED]
        if tracked.verdict.reason is Reason.HEARTBEAT_LOST:
            notes.append(_COMES_BACK)
    others = (
        other for other in profile_state.environments.values() if other.environment.device_id == environment.device_id
    )
    if (running := next((other.environment.label for other in others if other.verdict.is_up), None)) is not None:
        other = f"another row {running}" if running == environment.label else running
        notes.append(composed(f"that machine is up: {other} has the same device id and is online"))
    yield from starts[:-1]
    yield replace(starts[-1] if starts else Remedy(None, ()), notes=tuple(notes))
    if starts:
        yield Remedy(None, (_LOG,) if tracked.verdict.reason in _CONNECTED else (_LOG, _LOOK_FOR), "log")


_FLAPPING: Final = clean(
    "check the machine's network and sleep settings, then the log: a running listener reconnects by itself"
)
_FLAPPING_DESKTOP: Final = clean("check the machine's network and sleep settings, then the desktop app on that machine")
_EVICTED: Final = clean(
    'if the log says "Replaced by new connection", a clone with the same name ends each connection: give each machine '
    "a name of its own"
)
_FLAP_WINDOW_MS: Final = (limits.FLAP_SAMPLES - 1) * limits.FLAP_EVERY / MS


def _remedies_for_flapping(tracked: TrackedEnvironment) -> Iterator[Remedy]:
    environment, is_up = tracked.environment, tracked.verdict.is_up
    if environment.is_sandbox:
        if is_up:
            yield Remedy(None, (_SANDBOX,))
        return
    if environment.is_desktop_app:
        yield Remedy(None, (_FLAPPING_DESKTOP,))
        return
    yield Remedy(None, (_EVICTED if is_up and _was_always_up(tracked) else _FLAPPING,))
    if is_up:
        yield Remedy(None, (_LOG,), "log")


def _was_always_up(tracked: TrackedEnvironment) -> bool:
    since_at, changed_at = tracked.since_at, tracked.transitions
    if since_at is None:
        return True
    return all(at > since_at for at in changed_at if changed_at[-1] - at < _FLAP_WINDOW_MS)


# Modes belong to conversations: docs.letta.com, "Permissions".
_UNRESTRICTED = Remedy(
    None,
    (
        clean(
            "set the mode to standard in the agent's conversation: agents run every tool without approval, also "
            "after a restart"
        ),
    ),
)
_REPORTED: Final = clean("the machine reported this command: read the command before you run it")
_PROSE: Final = clean("the machine's own words")
_UPDATES_ITSELF: Final = clean("restart the listener: a restart updates the listener")
_RESTART: Final = Remedy(None, (_UPDATES_ITSELF,), "update")
_UPDATE_DESKTOP: Final = clean("update the Letta Code desktop app on that machine")
_PROGRAMS: Final = "npm|npx|pnpm|yarn|bun|volta|brew|letta|uv|pipx?|pip3|python3?|py|winget|choco|scoop"
_COMMAND: Final = re.compile(rf"(?:sudo (?:-\S+ )*)?(?:[^\s,:]*/)?(?:{_PROGRAMS})(?:\.cmd|\.exe)?(?: +\S+)+")
_PUNCTUATION: Final = re.compile(r"\w[,:.](?: |$)|\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})|…")
"""Marks of a sentence, a cleaned control character or a cut text."""


def update_command(environment: Environment) -> SafeText | None:
    """Return the reported update command, or None.

    Listeners from pip and the Desktop app report a sentence instead.
    """
    text = reported_update(environment)
    is_command = text is not None and _COMMAND.fullmatch(text) and not _PUNCTUATION.search(text)
    return text if is_command else None


def reported_update(environment: Environment) -> SafeText | None:
    """Return the reported advice on updates: a command or a sentence."""
    text = (environment.self_update or {}).get("manual_command")
    return clean(text) if isinstance(text, str) and text else None


def outdated_remedy(environment: Environment, profile_state: ProfileState) -> Remedy | None:
    """Return the remedy for an old version, or None."""
    if not is_behind(environment.version, profile_state.newest):
        return None
    if environment.is_desktop_app:
        return Remedy(None, (_UPDATE_DESKTOP,), "update")
    if update_text(environment) == "yes":
        return _RESTART
    text, command = reported_update(environment), update_command(environment)
    if command is not None:
        return Remedy(command, (_REPORTED,), "update", "update command")
    return None if text is None else Remedy(None, (text, _PROSE), "update")
