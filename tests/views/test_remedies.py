"""Remedies; no outside name becomes a command."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, environment, failed, listed, own_device_id, reading, watched, wire_row
from support.hostile_fleet import WEAPONS

from envwatch.alerts.alert_policy import AlertPolicy
from envwatch.alerts.monitor import Monitor
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.clock import ServerMs
from envwatch.model.limits import Limits
from envwatch.model.text import clean
from envwatch.views.pane.remedies import Remedy, kind_of_start, remedies, start_remedies, update_command

if TYPE_CHECKING:
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.model.environment import Environment


METADATA: dict[str, Any] = wire_row()["metadata"]
IN = "cd /home/hiro/code/portal && "
OFFLINE = {"connectionId": None, "connectedAt": None, "lastHeartbeat": None}


def update(version: str = "0.34.12", **self_update: Any) -> dict[str, Any]:
    return METADATA | {"lettaCodeVersion": version, "self_update": self_update}


def fleet_of(*rows: Environment) -> ProfileState:
    return watched([listed(rows)])[0]


def own(**changes: Any) -> Environment:
    """Return a row with the machine's own device id."""
    return environment(**{"deviceId": own_device_id()} | changes)


def start_command(row: Environment) -> str | None:
    (start,) = start_remedies(row)
    return None if start.command is None else start.command.removeprefix(IN)


def remedies_for(*others: Environment, **changes: Any) -> list[Remedy]:
    row = own(**changes)
    profile_state = fleet_of(row, *others)
    return list(remedies(profile_state.environments[row.id], profile_state, reading()))


def notes(*others: Environment, **changes: Any) -> list[str]:
    return [note for remedy in remedies_for(*others, **changes) for note in remedy.notes]


def test_a_healthy_environment_has_no_remedies() -> None:
    assert remedies_for() == []
    assert remedies_for(lastHeartbeat=NOW - 119_999) == []


LOCKED = "If a listener runs on that machine, the command ends and names its pid: stop this process if it is frozen."
UNLOCKED = "First stop any listener on that machine: before 0.30.28, `letta server` starts a second listener."
COMES_BACK = "A machine that sleeps or has no network comes back by itself."
LOG = "Read the newest log in ~/.letta/logs/remote/ on that machine."
ENDS = 'Look for 401, 403, "Replaced" or "reauthentication": E explains them, and a missing log.'


@pytest.mark.parametrize(
    ("changes", "start", "log"),
    [
        (OFFLINE, (LOCKED,), (LOG, ENDS)),
        ({"lastHeartbeat": NOW - 120_000}, (LOCKED, COMES_BACK), (LOG,)),
        ({"lastHeartbeat": None}, (LOCKED,), (LOG,)),
    ],
)
def test_a_lost_environment_is_started_again_under_its_name_and_its_log_is_named(
    changes: dict[str, Any], start: tuple[str, ...], log: tuple[str, ...]
) -> None:
    assert [(remedy.label, remedy.command, remedy.notes) for remedy in remedies_for(**changes)] == [
        ("do", f"{IN}letta server --computer-name='laptop of env-1'", start),
        ("log", None, log),
    ]


@pytest.mark.parametrize(
    ("version", "option", "note"),
    [
        ("0.34.12", "computer", LOCKED),
        ("0.31.12", "computer", LOCKED),
        ("0.31.11", "env", LOCKED),
        ("0.30.28", "env", LOCKED),
        ("0.30.27", "env", UNLOCKED),
        ("0.25.9", "env", UNLOCKED),
        ("nightly", "computer", UNLOCKED),
        (None, "computer", UNLOCKED),
    ],
)
def test_the_version_decides_the_option_and_whether_a_second_listener_is_refused(
    version: str | None, option: str, note: str
) -> None:
    changes: dict[str, Any] = {"connectionName": "nas", "metadata": METADATA | {"lettaCodeVersion": version}}
    assert start_command(own(**changes)) == f"letta server --{option}-name=nas"
    assert notes(**changes, **OFFLINE)[0] == note


def test_a_gone_environment_is_started_again_too() -> None:
    rows = [own(currentMode="unrestricted"), environment("env-2")]
    profile_state, _ = watched([listed(rows), *(listed(rows[1:], NOW + 5_000 * number) for number in (1, 2))])

    start, log = remedies(profile_state.environments[rows[0].id], profile_state, reading(NOW + 10_000))

    assert (start.command, start.notes) == (f"{IN}letta server --computer-name='laptop of env-1'", (LOCKED,))
    assert log.notes == (LOG, ENDS)


def test_no_environment_is_called_down_while_blind() -> None:
    row = environment("env-1", **OFFLINE)
    profile_state, _ = watched([listed([row]), failed(at=NOW + 60_000)])
    only = profile_state.environments[row.id]
    assert [bool(list(remedies(only, profile_state, reading(NOW + late)))) for late in (60_000, 60_001)] == [
        True,
        False,
    ]


def test_another_listener_on_the_machine_is_named_if_up() -> None:
    for name, row in (("nas", "nas"), ("laptop of env-1", "another listener laptop of env-1")):
        twin = environment("env-2", deviceId=own_device_id(), connectionName=name)
        assert remedies_for(twin, **OFFLINE)[0].notes[1:] == (
            f"That machine is up: {row} has the same device id and is online.",
        )

    alone = remedies_for(environment("env-2", deviceId=own_device_id(), **OFFLINE), **OFFLINE)[0]
    assert len(alone.notes) == 1


APP = "Open the Letta Code desktop app on that machine, and turn remote access on."
PRIMARY = {"deviceId": "desktop:5b49", "listenerInstanceId": "desktop-primary:5b49"}


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (PRIMARY, APP),
        ({"listenerInstanceId": "desktop-direct-cloud:5b49"}, APP),
        ({"organizationId": "local"}, APP),
        ({"deviceId": "sandbox-agent-1"}, "Nothing needs to be done: the platform manages this sandbox."),
    ],
)
def test_desktop_apps_and_sandboxes_have_no_command_and_no_log(changes: dict[str, Any], note: str) -> None:
    (remedy,) = remedies_for(**OFFLINE, **changes)
    assert remedy.command is None
    assert remedy.notes == (note,)


@pytest.mark.parametrize(
    "changes",
    [
        PRIMARY | {"listenerInstanceId": "server-5b49"},
        PRIMARY | {"deviceId": "5b49"},
        {"listenerInstanceId": "desktop-direct-cloud"},
        {"organizationId": "locals"},
    ],
)
def test_a_row_similar_to_a_row_of_the_desktop_app_is_started_by_a_command(changes: dict[str, Any]) -> None:
    assert str(remedies_for(**OFFLINE, **changes)[0].command).endswith(" --computer-name='laptop of env-1'")
    assert notes(connectionId="local", lastHeartbeat=None)[0] == LOCKED
    assert notes(connectionId="local-1", lastHeartbeat=None) == [APP]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("nas", "letta server --computer-name=nas"),
        ("build box", "letta server --computer-name='build box'"),
        ("-x", "letta server --computer-name=-x"),
        ("it's", """letta server --computer-name='it'"'"'s'"""),
        ("$(reboot)", "letta server --computer-name='$(reboot)'"),
        ("a;b`c`!", "letta server --computer-name='a;b`c`!'"),
        ("日本", "letta server --computer-name='日本'"),
        ("\U0001f680 run", "letta server --computer-name='\U0001f680 run'"),
        ("\U0001f469\u200d\U0001f4bb", "letta server"),
        ("", "letta server"),
        ("a\x1bb", "letta server"),
        ("a\\'b", "letta server"),
        ("x" * 2000, "letta server"),
    ],
)
def test_a_name_also_of_other_letters_than_ascii_is_quoted_or_left_out(name: str, command: str) -> None:
    assert start_command(own(connectionName=name)) == command


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("nas", "letta server --computer-name=nas"),
        ("build box 2.0", 'letta server --computer-name="build box 2.0"'),
        ("it's", "letta server"),
        ("%PATH%", "letta server"),
        ("a & b", "letta server"),
        (" nas", "letta server"),
        ("日本", "letta server"),
    ],
)
def test_on_windows_only_a_name_with_one_meaning_in_all_shells_is_used(name: str, command: str) -> None:
    assert start_command(own(connectionName=name, metadata=METADATA | {"os": "win32"})) == command


IN_DIRECTORY = "Run the command in the directory of this listener: Letta Code saves the name for each directory."
OWN, HASHED = own_device_id(), "5b491561437b4f0e9c7d0a1b2c3d4e5f"
PLAIN, OLD_PLAIN = "letta server --computer-name=nas", "letta server --env-name=nas"
BY_ORGANIZATION = "letta server --org=org-1 --computer-name=nas"
UNKNOWN_VERSION = "The version is unknown, and before 0.34.10 `letta server` has no option --org."
UNKNOWN_DEVICE = "The device id does not tell whether the listener was started with --org."
LOGIN = (
    "Run the command with --org once by hand to log in: it ignores the login of `letta` and LETTA_API_KEY, and works "
    "only with Letta's default address."
)


def needs_upgrade(version: str) -> str:
    return f"{version} has no option --org: first upgrade Letta Code on that machine to 0.34.10 or newer."


@pytest.mark.parametrize(
    ("device", "version", "commands", "reasons"),
    [
        *((OWN, version, [PLAIN], []) for version in ("0.34.12", "0.34.10", "0.34.9", "nightly", None)),
        (OWN.upper(), "0.34.12", [PLAIN], []),
        (OWN, "0.30.28", [OLD_PLAIN], []),
        (HASHED, "0.34.12", [BY_ORGANIZATION], [LOGIN]),
        (HASHED, "0.34.10", [BY_ORGANIZATION], [LOGIN]),
        (HASHED, "0.34.9", [BY_ORGANIZATION], [needs_upgrade("0.34.9"), LOGIN]),
        (HASHED, "0.30.28", [BY_ORGANIZATION], [needs_upgrade("0.30.28"), LOGIN]),
        (HASHED, "nightly", [BY_ORGANIZATION, PLAIN], [LOGIN, UNKNOWN_VERSION]),
        (HASHED, None, [BY_ORGANIZATION, PLAIN], [LOGIN, UNKNOWN_VERSION]),
        *(
            (device, version, [PLAIN, BY_ORGANIZATION], [UNKNOWN_DEVICE, LOGIN])
            for device in (
                "spawned-7",
                OWN.replace("-", "", 1),
                HASHED[:-1],
                f"{HASHED}0",
                f"g{HASHED[1:]}",
                "desktop:1",
            )
            for version in ("0.34.12", "0.34.10", "nightly", None)
        ),
        ("spawned-7", "0.34.9", [PLAIN], []),
        ("spawned-7", "0.30.28", [OLD_PLAIN], []),
        ("sandbox-agent-1", "0.34.12", [], []),
    ],
)
def test_the_start_command_names_the_organization_by_the_kind_of_the_device_id_and_the_version(
    device: str, version: str | None, commands: list[str], reasons: list[str]
) -> None:
    metadata = METADATA | {"lettaCodeVersion": version, "workingDirectory": "/srv"}
    starts = start_remedies(environment(connectionName="nas", deviceId=device, metadata=metadata))
    assert [start.command for start in starts] == [f"cd /srv && {command}" for command in commands]
    assert [note for start in starts for note in start.notes] == reasons


def test_of_two_commands_the_second_is_an_alternative_with_a_copy_of_its_own_and_the_reason_below() -> None:
    first, second, _ = remedies_for(**OFFLINE, deviceId="spawned-7")
    assert [(each.label, each.copy) for each in (first, second)] == [
        ("do", "start command"),
        ("or", "other start command"),
    ]
    assert (first.notes, second.notes) == ((), (UNKNOWN_DEVICE, LOGIN, LOCKED))


@pytest.mark.parametrize(
    ("organization", "system", "command"),
    [
        ("org 9;x", "linux", "letta server --org='org 9;x' --computer-name=nas"),
        ("$(reboot)", "linux", "letta server --org='$(reboot)' --computer-name=nas"),
        ("org-9", "win32", "letta server --org=org-9 --computer-name=nas"),
        ("%PATH%", "win32", None),
        ("org-9\x1b", "linux", None),
        ("", "linux", None),
    ],
)
def test_an_organization_is_quoted_or_the_command_is_described(
    organization: str, system: str, command: str | None
) -> None:
    row = environment(
        connectionName="nas", deviceId=HASHED, organizationId=organization, metadata=METADATA | {"os": system}
    )
    (start,) = start_remedies(row)
    described = "Run `letta server --org` with the organization's id: no shell command can name this id safely."
    notes_on_place = () if system == "linux" else (IN_DIRECTORY,)
    assert start_command(row) == command
    assert start.notes == (*(() if command else (described,)), LOGIN, *notes_on_place)


@given(*[st.text(max_size=40) | st.sampled_from(WEAPONS)] * 2)
def test_any_name_and_organization_is_one_word_to_the_shell_or_left_out(name: str, organization: str) -> None:
    row = environment(connectionName=name, deviceId=HASHED, organizationId=organization, metadata=METADATA)
    (start,) = start_remedies(row)
    if start.command is None:
        assert row.organization_id == "local" or start.notes
        return
    assert start.command.isprintable()
    words = ["cd", "/home/hiro/code/portal", "&&", "letta", "server", f"--org={row.organization_id}"]
    assert shlex.split(start.command) in (words, [*words, f"--computer-name={row.name}"])


def never_listed(expected: str) -> list[Remedy]:
    monitor = Monitor.create({NO_PROFILE: Limits()}, policies={NO_PROFILE: AlertPolicy(expect=(clean(expected),))})
    for at in (NOW, NOW + 5_000):
        monitor, _ = monitor.apply(NO_PROFILE, listed([], at), reading(at))
    (missing,) = monitor.fleet.environments
    return list(remedies(missing, monitor.fleet.for_environment(missing), reading(NOW + 5_000)))


def test_an_expected_name_without_a_row_is_started_on_its_machine_or_corrected() -> None:
    (remedy,) = never_listed("web-9")
    assert remedy.command == "letta server --computer-name=web-9"
    assert remedy.notes == (
        "Run the command on the machine that should have this name.",
        "If no machine should have this name, correct the name in the setting `expect`.",
    )


@pytest.mark.parametrize(
    ("device", "start"),
    [
        (
            OWN,
            "Start the listener of the machine with this device id: it stands in ~/.letta/settings.json as `deviceId`.",
        ),
        (
            HASHED,
            (
                "Start the listener of the machine with this device id by `letta server --org`. The id is a hash of "
                "the organization and of `deviceId` in ~/.letta/settings.json."
            ),
        ),
    ],
)
def test_the_machine_of_an_expected_device_id_without_a_row_is_found_by_its_settings(device: str, start: str) -> None:
    (remedy,) = never_listed(device)
    assert remedy.command is None
    assert remedy.notes == (
        start,
        "If no machine has this device id, correct the id in the setting `expect`.",
    )


def flapping(*rows: Environment) -> tuple[TrackedEnvironment, list[str]]:
    """Return an environment after listings half a minute apart, and the starts of the remedies."""
    profile_state, _ = watched(listed([row], NOW + 30_000 * number) for number, row in enumerate(rows))
    (only,) = profile_state.environments.values()
    found = remedies(only, profile_state, reading(NOW + 30_000 * (len(rows) - 1)))
    assert only.is_flapping
    return only, [f"{remedy.label} {remedy.notes[0].partition(':')[0]}" for remedy in found]


CLONE = 'do If the log says "Replaced by new connection", a clone with the same name ends each connection'
CHECK = "do Check the machine's network and sleep settings, then the log"


def alternating(count: int = 15, **changes: Any) -> list[Environment]:
    """The row goes and comes with each listing, and is up at last."""
    ups = [{"lastHeartbeat": NOW + 30_000 * number} | changes for number in range(count)]
    return [own(**(up if number % 2 == 0 else up | OFFLINE)) for number, up in enumerate(ups)]


def reconnecting(count: int = 15, **changes: Any) -> list[Environment]:
    """The row has a new connection in each listing."""
    return [
        environment(connectionId=f"conn-{number}", lastHeartbeat=NOW + 30_000 * number, **changes)
        for number in range(count)
    ]


def test_a_row_with_outages_is_told_from_a_row_with_new_connections_alone() -> None:
    only, found = flapping(*alternating())
    assert (only.verdict.is_up, found) == (True, [CHECK, f"log {LOG}"])
    only, found = flapping(*reconnecting())
    assert (only.verdict.is_up, found) == (True, [CLONE, f"log {LOG}"])


def test_a_flapping_row_down_now_has_its_log_once() -> None:
    _, found = flapping(*alternating(14))
    assert [text.partition(" ")[0] for text in found] == ["do", "log", "do"]
    assert found[-1] == CHECK


def test_an_outage_longer_ago_than_flapping_looks_back_hides_no_clone() -> None:
    rows = [environment(), *alternating(2)[1:], *reconnecting(30)]
    beating = [row if not row.connection_id else replace(row, last_heartbeat_at=ServerMs(NOW + 30_000 * number))
               for number, row in enumerate(rows)]  # fmt: skip
    assert flapping(*beating)[1][0] == CLONE


@pytest.mark.parametrize(("back_ms", "note"), [(599_999, CHECK), (600_000, CLONE)])
def test_flapping_looks_ten_minutes_back_for_an_outage(back_ms: float, note: str) -> None:
    only, _ = flapping(*reconnecting())
    state, _ = watched([listed([only.environment])])
    earlier = replace(only, since_at=ServerMs(NOW), transitions=(ServerMs(NOW), ServerMs(NOW + back_ms)))
    found = [*remedies(earlier, state, reading())]
    assert f"{found[0].label} {found[0].notes[0].partition(':')[0]}" == note


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (PRIMARY, "do Check the machine's network and sleep settings, then the desktop app on that machine."),
        ({"deviceId": "sandbox-1"}, "do Nothing needs to be done"),
    ],
)
def test_no_listener_is_looked_for_with_the_desktop_app_or_in_a_sandbox(changes: dict[str, Any], note: str) -> None:
    assert flapping(*reconnecting(**changes))[1] == [note]


@pytest.mark.parametrize(("mode", "is_named"), [("acceptEdits", False), ("fullAccess", True), (None, False)])
def test_only_the_mode_without_approvals_is_a_problem(mode: str | None, *, is_named: bool) -> None:
    found = [(remedy.command, remedy.notes[0].partition(":")[0]) for remedy in remedies_for(currentMode=mode)]
    assert found == [(None, "Set the mode to standard in the agent's conversation")] * is_named
    for changes in (OFFLINE, {"lastHeartbeat": NOW - 120_000}):
        assert not any("mode" in note for note in notes(currentMode=mode, **changes)), "a down machine"


NEWEST = environment("env-2", metadata=METADATA | {"lettaCodeVersion": "0.35.0"})
REPORTED = "The machine reported this command: read the command before you run it."
RESTART = "Restart the listener: a restart updates it."
WORDS = "These are the machine's own words."
DROPS = (
    "Letta's remote upgrade restarts a listener started by hand without --channels, --skills and --lifecycle-output."
)
DROPS_ORGANIZATION = (
    "Letta's remote upgrade restarts a listener started by hand without --org, --channels, --skills and "
    "--lifecycle-output: a machine with an organization is lost, and another appears."
)
PIP = "Upgrade with your installer: uv tool upgrade letta, or pipx upgrade letta"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (update("0.35.0", supported=True, writable=True), []),
        (update("0.34.12", supported=True, writable=True), [RESTART, DROPS]),
        (update("0.34.12", supported=True, writable=True, manual_command="npm i"), [RESTART, DROPS]),
        (update("0.34.12", supported=True, writable=False, manual_command="npm i"), [REPORTED, DROPS]),
        (update("0.34.12", supported=False, manual_command=PIP), [PIP, WORDS, DROPS]),
        (update("0.35.0", supported=False, manual_command="npm i"), []),
        (update("0.9.0", supported=False), []),
        (update("nightly", supported=True, writable=True), []),
        *((update("0.34.12", supported=False, manual_command=none), []) for none in (None, "", ["npm"], 5)),
        ({"lettaCodeVersion": "0.34.12"}, []),
        (None, []),
    ],
)
def test_an_outdated_environment_is_updated_or_updates_itself(
    metadata: dict[str, Any] | None, expected: list[str]
) -> None:
    assert notes(NEWEST, metadata=metadata) == expected


def test_the_desktop_app_is_updated_as_an_app() -> None:
    metadata = update("0.34.12", supported=True, writable=True, manual_command="npm i")
    (remedy,) = remedies_for(NEWEST, metadata=metadata, **PRIMARY)
    assert (remedy.command, remedy.notes) == (None, ("Update the Letta Code desktop app on that machine.",))


@pytest.mark.parametrize(
    "text",
    [
        "npm install -g @letta-ai/letta-code@latest",
        "sudo npm i -g .",
        "sudo -H pip3 install --upgrade letta",
        "/usr/local/bin/npm i x",
        "npm.cmd i x && npm cache clean",
        "npm i @例/code",
        "uv tool upgrade letta",
    ],
)
def test_a_reported_command_is_offered_as_received_and_said_to_be_reported(text: str) -> None:
    (remedy,) = remedies_for(NEWEST, metadata=update(supported=False, manual_command=text))
    assert (remedy.label, remedy.command, remedy.copy) == ("update", text, "update command")
    assert remedy.notes == (REPORTED, DROPS)
    assert update_command(environment(metadata=update(manual_command=text))) == text


@pytest.mark.parametrize(
    "text",
    [
        PIP,
        "Update the desktop app.",
        "uv tool upgrade letta, or pipx upgrade letta",
        "npm: not writable",
        "pip install -U letta.",
        "curl x | sh",
        "npm",
        "npm i x\nrm -rf y",
        "npm i x\x1b[31m",
        "npm i " + "x" * 2_000,
        "xnpm i",
        " npm i",
    ],
)
def test_a_sentence_is_no_command(text: str) -> None:
    (remedy,) = remedies_for(NEWEST, metadata=update(supported=False, manual_command=text))
    assert (remedy.label, remedy.command) == ("update", None)
    assert remedy.notes == (clean(text), WORDS, DROPS)
    assert update_command(environment(metadata=update(manual_command=text))) is None


def test_the_most_urgent_comes_first() -> None:
    metadata = update(supported=False, manual_command="npm i")
    found = remedies_for(NEWEST, currentMode="unrestricted", metadata=metadata, **OFFLINE)
    assert [remedy.label for remedy in found] == ["do", "log", "update"]
    assert [remedy.command is None for remedy in found] == [False, True, False]
    assert [remedy.label for remedy in remedies_for(NEWEST, **OFFLINE)] == ["do", "log"], "a restart updates"
    up = remedies_for(NEWEST, currentMode="unrestricted", metadata=metadata)
    assert [remedy.label for remedy in up] == ["do", "update"]


@given(st.sampled_from(WEAPONS))
def test_text_from_outside_stays_printable_text(weapon: str) -> None:
    found = remedies_for(
        NEWEST,
        connectionName=weapon,
        currentMode="unrestricted",
        metadata=update("0.1.0", supported=False, reason=weapon, manual_command=weapon),
        **OFFLINE,
    )
    assert len(found) == 3
    for remedy in found:
        assert all(text.isprintable() for text in (*remedy.notes, remedy.command or ""))


# Each kind of row: what the pane says, word by word.

TYPE_SERVER = "Then type /server, which registered it. A `letta` that still runs there will do."
NEW_ROW = (
    "`letta server` would add a new machine, and this one would stay lost. If you want `letta server` from now "
    "on, forget this one."
)
SPAWNED = (
    "Another program chose the listener id: start the listener with that program, because `letta server` may add a "
    "new machine."
)
NO_DIRECTORY = (
    "The server does not name the directory. Run the command where the listener ran: elsewhere agents work in another "
    "directory, and a later start without the name adds a new machine."
)
NO_DIRECTORY_NO_NAME = (
    "The server does not name the directory. Run the command where the listener ran, because its name is saved there: "
    "elsewhere the host's name adds a new machine."
)


def told(*, listener: str | None = "server-5b49", **changes: Any) -> tuple[list[str | None], list[str]]:
    """Return the commands and notes of a row without `remedies`' general notes."""
    starts = start_remedies(own(**{"connectionName": "nas", "listenerInstanceId": listener} | changes))
    return [start.command for start in starts], [note for start in starts for note in start.notes]


def test_a_server_row_is_started_in_its_directory_under_its_name() -> None:
    assert told() == ([f"{IN}letta server --computer-name=nas"], [])


def test_a_server_row_with_a_name_of_other_letters_than_ascii_is_started_under_this_name() -> None:
    assert told(connectionName="東京 gpu") == ([f"{IN}letta server --computer-name='東京 gpu'"], [])


def test_a_server_row_without_a_directory_says_so_and_what_follows() -> None:
    without = METADATA | {"workingDirectory": None}
    assert told(metadata=without) == (["letta server --computer-name=nas"], [NO_DIRECTORY])
    assert told(metadata=without, connectionName="a\x1bb") == (["letta server"], [NO_DIRECTORY_NO_NAME])


def test_a_server_row_with_a_name_for_no_shell_keeps_the_name_saved_in_its_directory() -> None:
    untyped = "No shell command can name this listener safely: it keeps the name saved in its directory."
    assert told(connectionName="a\x1bb") == ([f"{IN}letta server"], [untyped])


@pytest.mark.parametrize(
    ("directory", "command"),
    [
        ("/srv/my work", "cd '/srv/my work' && letta server --computer-name=nas"),
        ("/srv/$(reboot);x", "cd '/srv/$(reboot);x' && letta server --computer-name=nas"),
        ("/srv/東京", "cd '/srv/東京' && letta server --computer-name=nas"),
        ("/srv/a\x1bb", None),
        ("/" + "x" * 2000, None),
        ("-", None),
        ("../x", None),
        ("$(reboot)", None),
    ],
)
def test_a_directory_is_one_absolute_word_to_the_shell_or_named_by_a_note(directory: str, command: str | None) -> None:
    left_out = (["letta server --computer-name=nas"], [IN_DIRECTORY])
    metadata = METADATA | {"workingDirectory": directory}
    assert told(metadata=metadata) == (left_out if command is None else ([command], []))


def test_a_server_row_on_windows_has_its_directory_in_a_note_for_all_its_shells() -> None:
    metadata = METADATA | {"os": "win32", "workingDirectory": "C:\\Users\\ada"}
    assert told(metadata=metadata) == (["letta server --computer-name=nas"], [IN_DIRECTORY])
    untyped = told(metadata=metadata, connectionName="it's")
    assert untyped == (
        ["letta server"],
        [
            (
                "Run the command in the directory of this listener, because the listener's name is saved there: "
                "elsewhere the host's name adds a new machine."
            )
        ],
    )


@given(st.text(max_size=40) | st.sampled_from(WEAPONS) | st.text(max_size=40).map("/{}".format))
def test_any_directory_is_one_word_to_the_shell_or_left_out(directory: str) -> None:
    row = own(connectionName="nas", metadata=METADATA | {"workingDirectory": directory})
    (start,) = start_remedies(row)
    assert start.command is not None
    assert start.command.isprintable()
    words = ["letta", "server", "--computer-name=nas"]
    assert shlex.split(start.command) in (words, ["cd", row.working_directory, "&&", *words])


def test_a_server_row_with_an_organization_is_logged_in_once_by_hand() -> None:
    assert told(deviceId=HASHED) == ([f"{IN}letta server --org=org-1 --computer-name=nas"], [LOGIN])


def test_a_server_row_with_an_organization_and_an_unknown_version_has_both_commands_and_the_reason() -> None:
    metadata = METADATA | {"lettaCodeVersion": None}
    assert told(deviceId=HASHED, metadata=metadata) == (
        [f"{IN}letta server --org=org-1 --computer-name=nas", f"{IN}letta server --computer-name=nas"],
        [LOGIN, UNKNOWN_VERSION],
    )


def test_a_listen_row_comes_back_by_server_in_the_interactive_letta() -> None:
    assert told(listener="listen-5b49") == ([f"{IN}letta"], [TYPE_SERVER, NEW_ROW])
    found = remedies_for(listenerInstanceId="listen-5b49", **OFFLINE)
    assert [remedy.notes for remedy in found] == [(TYPE_SERVER, NEW_ROW), (LOG, ENDS)], "no lock and no service"


def test_a_listen_row_without_a_directory_says_so() -> None:
    metadata = METADATA | {"workingDirectory": None}
    assert told(listener="listen-5b49", metadata=metadata) == (
        ["letta"],
        [TYPE_SERVER, NEW_ROW, NO_DIRECTORY_NO_NAME],
    )


def test_a_listen_row_with_an_organization_may_come_back_as_another_row() -> None:
    unknown = (
        "The device id belongs to an organization, and nothing tells how /server chose it. If a new machine "
        "appears, forget this one."
    )
    assert told(listener="listen-5b49", deviceId=HASHED) == ([f"{IN}letta"], [TYPE_SERVER, NEW_ROW, unknown])


def test_a_row_with_a_spawned_device_id_has_both_commands_and_the_reason() -> None:
    assert told(deviceId="spawned-7") == (
        [f"{IN}letta server --computer-name=nas", f"{IN}letta server --org=org-1 --computer-name=nas"],
        [UNKNOWN_DEVICE, LOGIN],
    )


def test_a_row_with_a_spawned_listener_id_is_started_by_its_program() -> None:
    assert told(listener="worker:7") == ([f"{IN}letta server --computer-name=nas"], [SPAWNED])


def test_a_row_of_unknown_kind_has_both_ways_and_the_reason() -> None:
    unknown = (
        "Nothing tells what registered this machine. If it was /server, start `letta` in that directory and "
        "type /server."
    )
    assert told(listener=None) == ([f"{IN}letta server --computer-name=nas"], [unknown])


def test_a_desktop_row_and_a_sandbox_row_have_no_start_command() -> None:
    assert told(**PRIMARY) == ([], [])
    assert told(listener="sandbox:1") == ([], [])
    assert told(deviceId="sandbox-agent-1") == ([], [])


def test_rows_started_alike_in_other_directories_are_of_one_kind() -> None:
    here, there = own(), own(connectionName="nas", metadata=METADATA | {"workingDirectory": None})
    assert kind_of_start(here) == kind_of_start(there)
    assert kind_of_start(here) != kind_of_start(own(listenerInstanceId="listen-1"))


@pytest.mark.parametrize(
    ("kind", "drops"),
    [
        ({"listenerInstanceId": "server-1"}, [DROPS]),
        ({"listenerInstanceId": "listen-1"}, []),
        ({"listenerInstanceId": "sandbox:1"}, []),
        ({"deviceId": HASHED}, [DROPS_ORGANIZATION]),
        ({"deviceId": "spawned-7"}, [DROPS_ORGANIZATION]),
    ],
)
def test_an_update_says_by_the_kind_of_row_which_options_the_remote_upgrade_drops(
    kind: dict[str, Any], drops: list[str]
) -> None:
    metadata = update(supported=False, manual_command="npm i")
    assert notes(NEWEST, metadata=metadata, **kind) == [REPORTED, *drops]


@pytest.mark.parametrize(
    "kind",
    [
        {},
        PRIMARY,
        {"deviceId": HASHED},
        {"deviceId": "spawned-7"},
        {"deviceId": "sandbox-1"},
        {"listenerInstanceId": "listen-1"},
        {"listenerInstanceId": None},
        {"listenerInstanceId": "worker:7", "metadata": update("0.1.0", supported=True, writable=True)},
    ],
)
def test_every_note_of_every_kind_of_row_is_a_whole_sentence(kind: dict[str, Any]) -> None:
    for note in (*notes(NEWEST, **OFFLINE, **kind), *notes(NEWEST, currentMode="fullAccess", **kind)):
        assert note.endswith("."), note
        assert note[0].isupper() or note[0] in "`0123456789", note
