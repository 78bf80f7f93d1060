"""The demo fleet's machines: a table, and constant properties by place."""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

from envwatch.model.environment import (
    DESKTOP_CLOUD_LISTENER,
    DESKTOP_DEVICE,
    DESKTOP_LISTENER,
    LOCAL_ORGANIZATION,
    Environment,
)

NEWEST: Final = "0.34.12"


class Blueprint(NamedTuple):
    """A line of the table."""

    name: str
    os: str
    device: str
    """Form of the deviceId: uuid, hex or sandbox; for the Desktop app, desktop, "cloud" (a uuid) or "local" (the app
    on this machine). A number is the place of a machine with the same device."""
    mode: str | None
    branch: str | None
    version: str = NEWEST
    role: str = "server"
    """server: always up; laptop: not at night; job: some hours of a day; away: lost long ago."""


# Oldest first. Places 0, 3, 6, … share a pod and hold most absent machines: any other pod's loss is a mass change, even
# in a fleet of 40. Only versions from 0.34.10 on have the option `--org`, which makes a hex device id.
ROSTER: Final = tuple(Blueprint(*line) for line in (
    ("build-box-8", "linux", "uuid", "unrestricted", "main"),
    ("lukas-laptop-6", "darwin", "uuid", "standard", "feat/login", NEWEST, "laptop"),
    ("mac-mini-20", "darwin", "hex", "acceptEdits", "main"),
    ("old-jenkins-21", "linux", "uuid", "default", None, "0.33.4", "away"),
    ("chen-nas", "linux", "uuid", None, None),
    ("sandbox", "linux", "sandbox", "standard", "main"),
    ("chen-thinkpad", "win32", "uuid", "standard", "fix/token-refresh", NEWEST, "laptop"),
    ("gpu-node-16", "linux", "uuid", "bypassPermissions", "train/v3", "0.33.4"),
    ("chen-desktop", "win32", "cloud", "acceptEdits", "main"),
    ("hiro-macbook-air", "darwin", "hex", "standard", "feat/onboarding", NEWEST, "laptop"),
    ("東京-build-10", "linux", "uuid", "standard", "main"),
    ("ci-runner-16", "linux", "uuid", "fullAccess", "release/2026.11", "0.31.2", "job"),
    ("meeting-room-29", "win32", "uuid", "standard", None, NEWEST, "away"),
    ("sofia-workstation", "linux", "uuid", "acceptEdits", "perf/arena-alloc"),
    ("sofia-workstation", "linux", "13", "standard", "main"),
    ("sandbox", "linux", "sandbox", None, None, "0.33.4", "away"),
    ("Andre\u0301’s MacBook Pro", "darwin", "uuid", "standard", "feat/faktura", NEWEST, "laptop"),
    ("staging-10", "linux", "uuid", "strict", "staging"),
    ("raspberry-18", "linux", "hex", "standard", "main"),
    ("мария-ноутбук", "win32", "uuid", "acceptEdits", "feature/поиск", "0.34.9", "laptop"),
    ("edge-fra-11", "linux", "uuid", "standard", "main"),
    ("sofia-laptop-4", "darwin", "uuid", "acceptEdits", "spike/duckdb", NEWEST, "away"),
    ("🚀 release-runner", "linux", "uuid", "unrestricted", "release/2026.11", NEWEST, "job"),
    ("hiro-studio", "darwin", "desktop", "standard", "main", "0.33.4"),
    ("build-box-20", "linux", "uuid", "standard", "main"),
    ("مكتب-الرياض", "win32", "hex", "standard", "main"),
    ("sandbox", "linux", "sandbox", "acceptEdits", "agent/refactor-auth"),
    ("db-replica-23", "linux", "uuid", "standard", None, "0.34.9", "away"),
    ("ci-eu-central-1-spot-c6gd-16xlarge-integration-tests-shard-9", "linux", "hex", "standard", "main", NEWEST, "job"),
    ("김-맥북", "darwin", "uuid", "plan", "feat/검색", NEWEST, "laptop"),
    ("priya-devbox", "linux", "uuid", "acceptEdits", "feat/login"),
    ("mac-mini-25", "darwin", "uuid", "standard", "main", "0.34.9"),
    ("lukas-surface", "win32", "uuid", "standard", "docs/adr-19", NEWEST, "laptop"),
    ("qa-bench-25", "linux", "uuid", "standard", "main", NEWEST, "away"),
    ("amara-laptop-14", "darwin", "uuid", "standard", "main", NEWEST, "laptop"),
    ("sandbox", "linux", "sandbox", "standard", "main", "0.33.4"),
    ("nightly-15", "linux", "uuid", "acceptEdits", "nightly", NEWEST, "job"),
    ("amara-imac", "darwin", "local", "standard", "fix/flaky-tests"),
    ("edge-sin-7", "linux", "hex", None, None),
    ("sandbox", "linux", "sandbox", None, None, "0.34.9"),
))  # fmt: skip
SIZE: Final = len(ROSTER)
ARRIVALS: Final = (
    Blueprint("build-box-30", "linux", "uuid", None, None),
    Blueprint("mac-mini-25-new", "darwin", "31", "standard", "main", "0.34.9"),
)
"""Machines added by the story; the second renames place 31."""
LEAST_WITH_ARRIVALS: Final = 32

_PEOPLE: Final = ("hiro", "chen", "amara", "lukas", "priya", "sofia")
_REPOSITORIES: Final = ("portal", "billing", "agents", "infra", "search", "mobile", "docs", "ledger")
_TEAMS: Final = ("agents", "platform", "research", "support")
"""Values of `team`, a metadata key set by people."""
_COMMANDS: Final = ("clear", "doctor", "dream", "init", "compact", "reload", "context-limit", "toolset")
"""Listeners before 0.34 advertise only the first."""
_DESKTOP_APPS: Final = {"desktop": DESKTOP_LISTENER, "cloud": DESKTOP_CLOUD_LISTENER, "local": DESKTOP_LISTENER}
"""Prefix of the listener instance, by form of the deviceId."""


_MACHINE: Final = ("architecture", "cpu", "osName", "osVersion", "model")
_SYSTEMS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "darwin": ("v24.11.1", "/Users/{}/src/", ("arm64", "Apple M3 Pro", "macOS", "26.1", "Mac15,6")),
    "linux": ("v22.21.1", "/home/{}/code/", ("x64", "AMD EPYC 9454P", "Ubuntu", "24.04.3 LTS")),
    "win32": ("v22.20.0", "C:\\Users\\{}\\src\\", ("x64", "AMD Ryzen 7", "Windows 11", "10.0.26200", "ThinkPad")),
}
"""Node's version, home folder, and values of `_MACHINE`; Linux listeners send no model."""
_COMMAND: Final = "npm install -g @letta-ai/letta-code@latest"
_PATH: Final = "/usr/lib/node_modules/@letta-ai/letta-code"
_BY_HAND: Final = {"supported": False, "writable": False}
_REFUSED: Final = {"supported": True, "writable": False, "reason": f"{_PATH} is not writable by this user"}
_UPDATES: Final[tuple[dict[str, object] | None, ...]] = (
    {"supported": True, "writable": True},
    {"supported": True, "writable": True, "install_path": _PATH, "manual_command": _COMMAND},
    {**_REFUSED, "install_path": _PATH, "manual_command": f"sudo {_COMMAND}"},
    {**_BY_HAND, "manual_command": "Upgrade with your installer: uv tool upgrade letta, or pipx upgrade letta"},
    None,
)
_MANAGED: Final = {**_BY_HAND, "reason": "managed by the sandbox image"}
_UPDATE_DESKTOP: Final = {**_BY_HAND, "manual_command": "Update the Letta Code desktop app, then restart it."}


class Machine(NamedTuple):
    """An environment's permanent properties."""

    blueprint: Blueprint
    number: int
    identity: dict[str, str]
    metadata: dict[str, object] | None
    """The constant part; None for a listener without metadata."""
    directory: str


def machine_at(index: int, size: int) -> Machine:
    """Return a machine, or an arrival from `size` on. Later rounds of the table get numbered names."""
    blueprint, cycle = (ROSTER[index % SIZE], index // SIZE) if index < size else (ARRIVALS[index - size], 0)
    is_shared = blueprint.device.isdigit()  # a second listener on another line's machine
    place = int(blueprint.device) if is_shared else index % SIZE
    number, agent = number_of(index), f"agent-{uuid_of(cycle, place, 'agent')}"
    name = blueprint.name if not cycle else f"{blueprint.name}-{cycle + 1}"
    person = blueprint.name.partition("-")[0]
    who = person if person in _PEOPLE else _PEOPLE[number % len(_PEOPLE)]
    user = f"user-{uuid_of(who)}"
    device = f"{uuid_of(cycle, place, 'device')}"
    desktop = f"{DESKTOP_DEVICE}{device}"
    devices = {"sandbox": f"sandbox-{agent}", "hex": device.replace("-", ""), "desktop": desktop, "local": desktop}
    is_current = blueprint.version.startswith("0.34")
    identity = {
        "id": f"env-{uuid_of(index)}",
        "name": f"sandbox-{agent}" if blueprint.device == "sandbox" else name,
        "device_id": devices.get(blueprint.device, device),
        "organization_id": LOCAL_ORGANIZATION if blueprint.device == "local" else f"org-{uuid_of()}",
    }
    if place % 9 != 8:
        identity["user_id"] = user
    if place % 7 != 3:
        identity["api_key_owner"] = user
    if blueprint.device in _DESKTOP_APPS or is_current:
        surface = "listen-" if blueprint.device == "13" else "server-"
        name_hash = sha256(name.encode()).hexdigest()[:16]
        identity["listener_instance_id"] = f"{_DESKTOP_APPS.get(blueprint.device, surface)}{name_hash}"
    home = "/workspace/" if blueprint.device == "sandbox" else _SYSTEMS[blueprint.os][1].format(who)
    metadata = None if place % 20 == 18 else _metadata(blueprint, place, is_current=is_current)
    return Machine(blueprint, number, identity, metadata, home + _REPOSITORIES[number % len(_REPOSITORIES)])


def number_of(*parts: object) -> int:
    """Return a large pseudo-random number that depends only on the parts."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:16])


def uuid_of(*parts: object) -> UUID:
    """Return a UUID that depends only on the parts."""
    return UUID(int=number_of(*parts), version=4)


def _metadata(blueprint: Blueprint, place: int, *, is_current: bool) -> dict[str, object]:
    (node, _, system), is_sandbox = _SYSTEMS[blueprint.os], blueprint.device == "sandbox"
    metadata: dict[str, object] = {
        Environment.node_version.key: node,
        Environment.os.key: blueprint.os,
        Environment.supported_commands.key: _COMMANDS if is_current else _COMMANDS[:1],
    }
    if not is_sandbox:
        metadata["team"] = _TEAMS[place % len(_TEAMS)]
    update = _UPDATE_DESKTOP if blueprint.device in _DESKTOP_APPS else _UPDATES[place % len(_UPDATES)]
    if update is not None:
        metadata[Environment.self_update.key] = _MANAGED if is_sandbox else update
    if is_current:
        machine: dict[str, object] = {"memoryBytes": 8 << 30 << place % 5, **dict(zip(_MACHINE, system, strict=False))}
        if is_sandbox:
            machine["model"] = "Container"
        if blueprint.name.endswith("workstation"):
            machine["gpus"] = ["NVIDIA RTX 6000 Ada Generation"] * 2
        flags = (Environment.has_paired_generations, Environment.subagents_notify_caller)
        metadata |= {Environment.message_protocol.key: "v2-input", Environment.machine.key: machine}
        metadata |= {flag.key: True for flag in flags}
    return metadata
