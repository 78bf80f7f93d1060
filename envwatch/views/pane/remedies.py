"""Remedies for an environment's problems.

envwatch runs no command of a remedy. In `letta server`, text from an environment is quoted or left out.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from enum import Enum, auto
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
        text = f"Nothing needs to be done: {tracked.reason}, this machine's new name."
        yield Remedy(None, (composed(text),))
    elif not tracked.verdict.is_up and not profile_state.is_unknown(tracked, now):
        yield from _remedies_for_down(tracked, profile_state)
    if tracked.is_flapping and tracked.replaced_by is None:
        yield from _remedies_for_flapping(tracked)
    if mode_of(tracked.environment.mode) == UNRESTRICTED and tracked.replaced_by is None and tracked.verdict.is_up:
        yield _UNRESTRICTED
    outdated = outdated_remedy(tracked.environment, profile_state)
    if outdated is not None and (_UPDATES_ITSELF not in outdated.notes or tracked.verdict.is_up):
        yield outdated


def is_started_by_command(environment: Environment) -> bool:
    """Whether `letta server` starts the environment."""
    return not environment.is_desktop_app and not environment.is_sandbox


def kind_of_start(environment: Environment) -> Hashable:
    """Return a key, equal for environments started alike apart from name and directory."""
    starts = start_remedies(environment, is_named=False)
    return environment.is_desktop_app, environment.is_sandbox, not environment.device_id, starts


def start_remedies(environment: Environment, *, is_named: bool = True) -> tuple[Remedy, ...]:
    """Return the command that starts the listener again, or two commands if the row does not tell the right one.

    The same name and organization on the same machine give the same row. Letta Code saves a name for each directory,
    so a command names both, unless `is_named` is false. What a shell could misread or the screen cannot show exactly is
    left out, and a note says what follows. The Desktop app, sandboxes and expected device ids without a row have no
    command.
    """
    device_id = environment.device_id
    if not is_started_by_command(environment) or (not device_id and _has_form_of_device_id(environment.name)):
        return ()
    name = _quoted(environment.name, is_windows=environment.os == "win32") if is_named else None
    if not device_id:
        return (_start_outside_organizations(environment, name),)
    if _listener(environment) is _Listener.CLI:
        starts = [_start_in_cli(environment)]
    else:
        starts = _starts_by_server(environment, name)
    directory = _quoted_directory(environment) if is_named else None
    if directory is not None:
        starts = [_in_directory(start, directory) for start in starts]
    notes = _notes_on_listener(environment)
    if is_named:
        is_name_typed = name is not None and _listener(environment) is not _Listener.CLI
        notes += _notes_on_place(environment, is_place_typed=directory is not None, is_name_typed=is_name_typed)
    return (*starts[:-1], replace(starts[-1], notes=(*starts[-1].notes, *notes)))


def why_listener_ends(environment: Environment) -> str:
    """Return why a listener ends, where its cause stands, and how to find its machine."""
    if _listener(environment) is _Listener.CLI:
        causes = [_ENDS_WITH_CLI, _ENDS]
    else:
        causes = [_ENDS, _WAITS_FOR_LOGIN, _ENDS_WITHOUT_LOG]
    if _ID_IN_ORGANIZATION.fullmatch(environment.device_id):
        return " ".join([*causes, _LOGIN_IN_ORGANIZATION, _MACHINE_IN_ORGANIZATION])
    return " ".join([*causes, _MACHINE])


class _Listener(Enum):
    SERVER = auto()
    """Registered by `letta server`."""
    CLI = auto()
    """Registered by `/server` in the interactive `letta`."""
    SPAWNED = auto()
    """A program chose the listener id."""
    UNKNOWN = auto()


def _listener(environment: Environment) -> _Listener:
    listener = environment.listener_instance_id
    if not listener:
        return _Listener.UNKNOWN
    if listener.startswith("server-"):
        return _Listener.SERVER
    return _Listener.CLI if listener.startswith("listen-") else _Listener.SPAWNED


def _start_in_cli(environment: Environment) -> Remedy:
    in_organization = (_CLI_IN_ORGANIZATION,) if _ID_IN_ORGANIZATION.fullmatch(environment.device_id) else ()
    return Remedy(clean("letta"), (_TYPE_SERVER, _NEW_ROW, *in_organization))


def _starts_by_server(environment: Environment, name: str | None) -> list[Remedy]:
    device_id, version = environment.device_id, _known_version(environment)
    is_old, is_hashed = is_behind(version, _FIRST_WITH_ORG), _ID_IN_ORGANIZATION.fullmatch(device_id)
    plain = _start_outside_organizations(environment, name)
    if _OWN_ID.fullmatch(device_id) or (is_old and not is_hashed):
        return [plain]
    other = _start_in_organization(environment, name)
    if not is_hashed:
        return [plain, replace(other, label="or", copy=OTHER_START, notes=(_UNKNOWN_DEVICE, *other.notes))]
    if version is None:
        return [other, replace(plain, label="or", copy=OTHER_START, notes=(_UNKNOWN_VERSION,))]
    return [replace(other, notes=(_needs_upgrade(version), *other.notes)) if is_old else other]


def _start_outside_organizations(environment: Environment, name: str | None) -> Remedy:
    option = "--env-name" if is_behind(_known_version(environment), _FIRST_WITH_COMPUTER_NAME) else "--computer-name"
    return Remedy(composed("letta server" if name is None else f"letta server {option}={name}"), ())


def _start_in_organization(environment: Environment, name: str | None) -> Remedy:
    organization = _quoted(environment.organization_id, is_windows=environment.os == "win32")
    if organization is None:
        return Remedy(None, (_UNTYPEABLE_ORGANIZATION, _LOGIN))
    named = "" if name is None else f" --computer-name={name}"
    return Remedy(composed(f"letta server --org={organization}{named}"), (_LOGIN,))


def _in_directory(start: Remedy, directory: str) -> Remedy:
    return start if start.command is None else replace(start, command=composed(f"cd {directory} && {start.command}"))


def _notes_on_listener(environment: Environment) -> tuple[SafeText, ...]:
    match _listener(environment):
        case _Listener.SPAWNED:
            return (_SPAWNED,)
        case _Listener.UNKNOWN:
            return (_UNKNOWN_LISTENER,)
        case _:
            return ()


def _notes_on_place(environment: Environment, *, is_place_typed: bool, is_name_typed: bool) -> tuple[SafeText, ...]:
    if not environment.working_directory:
        return (_NO_DIRECTORY if is_name_typed else _NO_DIRECTORY_NO_NAME,)
    if not is_place_typed:
        return (_UNTYPED_DIRECTORY if is_name_typed else _UNTYPED_DIRECTORY_NO_NAME,)
    if is_name_typed or _listener(environment) is _Listener.CLI:
        return ()
    return (_UNTYPED_NAME,)


def _known_version(environment: Environment) -> SafeText | None:
    return environment.version if environment.version and is_version(environment.version) else None


def _needs_upgrade(version: SafeText) -> SafeText:
    return composed(f"{version} has no option --org: first upgrade Letta Code on that machine to 0.34.10 or newer.")


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
_UNKNOWN_VERSION: Final = clean("The version is unknown, and before 0.34.10 `letta server` has no option --org.")
_UNKNOWN_DEVICE: Final = clean("The device id does not tell whether the listener was started with --org.")
_UNTYPEABLE_ORGANIZATION: Final = clean(
    "Run `letta server --org` with the organization's id: no shell command can name this id safely."
)
_LOGIN: Final = clean(
    "Run the command with --org once by hand to log in: it ignores the login of `letta` and LETTA_API_KEY, and works "
    "only with Letta's default address."
)
_TYPE_SERVER: Final = clean("Then type /server, which registered it. A `letta` that still runs there will do.")
_NEW_ROW: Final = clean(
    "`letta server` would add a new machine, and this one would stay lost. If you want `letta server` from now "
    "on, forget this one."
)
_CLI_IN_ORGANIZATION: Final = clean(
    "The device id belongs to an organization, and nothing tells how /server chose it. If a new machine appears, "
    "forget this one."
)
_SPAWNED: Final = clean(
    "Another program chose the listener id: start the listener with that program, because `letta server` may add a "
    "new machine."
)
_UNKNOWN_LISTENER: Final = clean(
    "Nothing tells what registered this machine. If it was /server, start `letta` in that directory and type /server."
)
_NO_DIRECTORY: Final = clean(
    "The server does not name the directory. Run the command where the listener ran: elsewhere agents work in another "
    "directory, and a later start without the name adds a new machine."
)
_NO_DIRECTORY_NO_NAME: Final = clean(
    "The server does not name the directory. Run the command where the listener ran, because its name is saved there: "
    "elsewhere the host's name adds a new machine."
)
_UNTYPED_DIRECTORY: Final = clean(
    "Run the command in the directory of this listener: Letta Code saves the name for each directory."
)
_UNTYPED_DIRECTORY_NO_NAME: Final = clean(
    "Run the command in the directory of this listener, because the listener's name is saved there: elsewhere the "
    "host's name adds a new machine."
)
_UNTYPED_NAME: Final = clean(
    "No shell command can name this listener safely: it keeps the name saved in its directory."
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


def _quoted_directory(environment: Environment) -> str | None:
    """Return the directory quoted for a POSIX shell, or None if uncertain: shells of Windows share no `cd` and `&&`."""
    directory = environment.working_directory
    if directory is None or environment.os == "win32" or not directory.startswith("/"):
        return None
    return _quoted(directory, is_windows=False)


_LOCKED: Final = clean(
    "If a listener runs on that machine, the command ends and names its pid: stop this process if it is frozen."
)
_UNLOCKED: Final = clean(
    "First stop any listener on that machine: before 0.30.28, `letta server` starts a second listener."
)
_COMES_BACK: Final = clean("A machine that sleeps or has no network comes back by itself.")
_LOG: Final = clean("Read the newest log in ~/.letta/logs/remote/ on that machine.")
_LOOK_FOR: Final = clean('Look for 401, 403, "Replaced" or "reauthentication": E explains them, and a missing log.')
_CONNECTED: Final = frozenset({Reason.HEARTBEAT_LOST, Reason.NEVER_BEAT})
"""Reasons of a loss without an end of the listener: the platform has the connection."""
_START_NAME: Final = clean("Run the command on the machine that should have this name.")
_CORRECT_NAME: Final = clean("If no machine should have this name, correct the name in the setting `expect`.")
_START_ID: Final = clean(
    "Start the listener of the machine with this device id: it stands in ~/.letta/settings.json as `deviceId`."
)
_START_ID_IN_ORGANIZATION: Final = clean(
    "Start the listener of the machine with this device id by `letta server --org`. The id is a hash of the "
    "organization and of `deviceId` in ~/.letta/settings.json."
)
_CORRECT_ID: Final = clean("If no machine has this device id, correct the id in the setting `expect`.")
_DESKTOP: Final = clean("Open the Letta Code desktop app on that machine, and turn remote access on.")
_SANDBOX: Final = clean("Nothing needs to be done: the platform manages this sandbox.")

# Letta Code 0.32 to 0.34 ends with exit status 1 in these cases.
_ENDS: Final = (
    "A running listener reconnects. A listener ends if the server refuses the key (401, 403), if the login has expired "
    '(the log says "reauthentication"), if a clone replaces the listener (close code 1000), if the first connection '
    "fails for minutes, or, with --channels, if the restarts of the gateway are used up. A refused key stands in the "
    'log file after "FATAL:", not in the journal.'
)
_WAITS_FOR_LOGIN: Final = (
    "After an expired login, the next start waits for a new login: the process runs, the machine stays offline, and "
    "the log file is silent. The output or the journal of the service then has "
    '"No API key found. Starting OAuth login" and a sign-in address.'
)
_ENDS_WITHOUT_LOG: Final = (
    "With --lifecycle-output jsonl and no valid login, the process ends instead: its whole output is one line with "
    '"state":"error", and it writes no log file. Run the command once by hand without '
    "this option to see the cause and to log in."
)
_ENDS_WITH_CLI: Final = "The listener of /server ends with the `letta` in which it runs."
_LOGIN_IN_ORGANIZATION: Final = (
    "With --org, the login of `letta` and LETTA_API_KEY are ignored: `letta server --org=ID`, once by hand, logs in."
)
_MACHINE: Final = "The device id of a machine is `deviceId` in ~/.letta/settings.json, to compare with the id here."
_MACHINE_IN_ORGANIZATION: Final = (
    "This device id is a hash of the organization and of the machine's `deviceId` in "
    "~/.letta/settings.json, so the two differ."
)


def _remedies_for_down(tracked: TrackedEnvironment, profile_state: ProfileState) -> Iterator[Remedy]:
    environment = tracked.environment
    starts = start_remedies(environment)
    if tracked.verdict == NEVER_LISTED:
        by_name = [replace(start, notes=(_START_NAME, _CORRECT_NAME)) for start in starts]
        is_hashed = _ID_IN_ORGANIZATION.fullmatch(environment.name)
        yield from by_name or [Remedy(None, (_START_ID_IN_ORGANIZATION if is_hashed else _START_ID, _CORRECT_ID))]
        return
    is_in_cli = _listener(environment) is _Listener.CLI
    if not starts:
        notes = [_SANDBOX if environment.is_sandbox else _DESKTOP]
    else:
        notes = [*starts[-1].notes]
        if not is_in_cli:
            notes.append(_LOCKED if _has(environment.version, _FIRST_WITH_LOCK) else _UNLOCKED)
        if tracked.verdict.reason is Reason.HEARTBEAT_LOST:
            notes.append(_COMES_BACK)
    others = (
        other for other in profile_state.environments.values() if other.environment.device_id == environment.device_id
    )
    if (running := next((other.environment.label for other in others if other.verdict.is_up), None)) is not None:
        other = f"another listener {running}" if running == environment.label else running
        notes.append(composed(f"That machine is up: {other} has the same device id and is online."))
    yield from starts[:-1]
    yield replace(starts[-1] if starts else Remedy(None, ()), notes=tuple(notes))
    if not starts:
        return
    if tracked.verdict.reason in _CONNECTED:
        yield Remedy(None, (_LOG,), "log")
    else:
        yield Remedy(None, (_LOG, _LOOK_FOR), "log")


_FLAPPING: Final = clean(
    "Check the machine's network and sleep settings, then the log: a running listener reconnects by itself."
)
_FLAPPING_DESKTOP: Final = clean(
    "Check the machine's network and sleep settings, then the desktop app on that machine."
)
_EVICTED: Final = clean(
    'If the log says "Replaced by new connection", a clone with the same name ends each connection: give each machine '
    "a name of its own."
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
            "Set the mode to standard in the agent's conversation: agents run every tool without approval, also "
            "after a restart."
        ),
    ),
)
_REPORTED: Final = clean("The machine reported this command: read the command before you run it.")
_PROSE: Final = clean("These are the machine's own words.")
_UPDATES_ITSELF: Final = clean("Restart the listener: a restart updates it.")
_UPDATE_DESKTOP: Final = clean("Update the Letta Code desktop app on that machine.")
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
    dropped = _dropped_by_upgrade(environment)
    if update_text(environment) == "yes":
        return Remedy(None, (_UPDATES_ITSELF, *dropped), "update")
    text, command = reported_update(environment), update_command(environment)
    if command is not None:
        return Remedy(command, (_REPORTED, *dropped), "update", "update command")
    return None if text is None else Remedy(None, (text, _PROSE, *dropped), "update")


def _dropped_by_upgrade(environment: Environment) -> tuple[SafeText, ...]:
    """Return what the platform's upgrade of a listener started by hand changes."""
    if environment.is_sandbox or _listener(environment) is _Listener.CLI:
        return ()
    is_outside = _OWN_ID.fullmatch(environment.device_id) or is_behind(_known_version(environment), _FIRST_WITH_ORG)
    return (_DROPS_OPTIONS if is_outside else _DROPS_ORGANIZATION,)


_DROPS_OPTIONS: Final = clean(
    "Letta's remote upgrade restarts a listener started by hand without --channels, --skills and --lifecycle-output."
)
_DROPS_ORGANIZATION: Final = clean(
    "Letta's remote upgrade restarts a listener started by hand without --org, --channels, --skills and "
    "--lifecycle-output: a machine with an organization is lost, and another appears."
)
