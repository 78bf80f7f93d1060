"""The demo fleet's machines: names, owners, hosts and ids, each a pure function of fleet and index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from envwatch.model.environment import (
    DESKTOP_CLOUD_LISTENER,
    DESKTOP_DEVICE,
    DESKTOP_LISTENER,
    LOCAL_ORGANIZATION,
    Environment,
)

if TYPE_CHECKING:
    from envwatch.demo.scenarios import FleetSpec

NEWEST_VERSION = "0.34.12"
UNRESTRICTED = ("unrestricted", "bypassPermissions", "fullAccess")

# Listeners before 0.33 advertise fewer commands.
_COMMANDS = ["clear", "doctor", "dream", "init", "compact", "reload", "context-limit", "upgrade-letta-code", "toolset"]
_OLD_COMMANDS = ["clear"]

_PEOPLE = (
    "hiro", "chen", "amara", "lukas", "priya", "sofia", "noor", "diego", "mei", "tomas", "ines", "kofi", "yuki", "ravi",
    "elena", "omar", "freya", "jonas", "lena", "mateo", "zoe", "arjun", "nadia", "emil",
)  # fmt: skip
_REPOSITORIES = ("portal", "billing", "agents", "infra", "search", "mobile", "docs", "ledger")

_TEAMS = ("agents", "platform", "research", "support")
"""The value of the metadata's key `team`, which people set themselves."""


class Role(StrEnum):
    """Times at which a machine is up."""

    SERVER = "server"
    """Always."""
    LAPTOP = "laptop"
    """Not at night."""
    JOB = "job"
    """For some hours of a day."""


class Blueprint(NamedTuple):
    """A kind of machine. The name's fields are `{who}`, `{n}` and `{agent}`."""

    name: str
    os: str
    device: str
    """Form of the deviceId: uuid, hex, desktop or sandbox; "twin" repeats the previous deviceId. Three forms belong to
    the Desktop app: desktop, "cloud" (a uuid) and "local" (the app on this machine)."""
    mode: str | None
    branch: str | None
    presence: str = "online"
    """online; away (all fields of the connection null); asleep (connection, old heartbeat); left (old heartbeat)."""
    role: Role = Role.SERVER


# Oldest first. Places 0, 3, 6, … share a pod and hold most absent machines: the loss of another pod is a mass change,
# even in a fleet of 40.
ROSTER = (
    Blueprint("build-box-{n}", "linux", "uuid", "unrestricted", "main"),
    Blueprint("{who}-laptop-{n}", "darwin", "uuid", "standard", "feat/login", role=Role.LAPTOP),
    Blueprint("mac-mini-{n}", "darwin", "hex", "acceptEdits", "main"),
    Blueprint("old-jenkins-{n}", "linux", "hex", "default", None, "away"),
    Blueprint("chen-nas", "linux", "uuid", None, None),
    Blueprint("sandbox-{agent}", "linux", "sandbox", "standard", "main"),
    Blueprint("{who}-thinkpad", "win32", "uuid", "standard", "fix/token-refresh", role=Role.LAPTOP),
    Blueprint("gpu-node-{n}", "linux", "uuid", "bypassPermissions", "train/v3"),
    Blueprint("{who}-desktop", "win32", "cloud", "acceptEdits", "main"),
    Blueprint("{who}-macbook-air", "darwin", "hex", "standard", "feat/onboarding", "asleep", role=Role.LAPTOP),
    Blueprint("東京-build-{n}", "linux", "uuid", "standard", "main"),
    Blueprint("ci-runner-{n}", "linux", "hex", "fullAccess", "release/2026.11", role=Role.JOB),
    Blueprint("meeting-room-{n}", "win32", "uuid", "standard", None, "left"),
    Blueprint("{who}-workstation", "linux", "uuid", "acceptEdits", "perf/arena-alloc"),
    Blueprint("{who}-workstation", "linux", "twin", "standard", "main"),
    Blueprint("sandbox-{agent}", "linux", "sandbox", None, None, "away"),
    Blueprint("Andre\u0301’s MacBook Pro", "darwin", "uuid", "standard", "feat/faktura", role=Role.LAPTOP),
    Blueprint("staging-{n}", "linux", "uuid", "strict", "staging"),
    Blueprint("raspberry-{n}", "linux", "hex", "standard", "main"),
    Blueprint("мария-ноутбук", "win32", "uuid", "acceptEdits", "feature/поиск", role=Role.LAPTOP),
    Blueprint("edge-fra-{n}", "linux", "uuid", "standard", "main"),
    Blueprint("{who}-laptop-{n}", "darwin", "uuid", "acceptEdits", "spike/duckdb", "asleep", role=Role.LAPTOP),
    Blueprint("🚀 release-runner", "linux", "uuid", "unrestricted", "release/2026.11", role=Role.JOB),
    Blueprint("{who}-studio", "darwin", "desktop", "standard", "main"),
    Blueprint("build-box-{n}", "linux", "uuid", "standard", "main"),
    Blueprint("مكتب-الرياض", "win32", "hex", "standard", "main"),
    Blueprint("sandbox-{agent}", "linux", "sandbox", "acceptEdits", "agent/refactor-auth"),
    Blueprint("db-replica-{n}", "linux", "uuid", "standard", None, "left"),
    Blueprint(
        "ci-eu-central-1-spot-c6gd-16xlarge-integration-tests-shard-{n}",
        "linux",
        "hex",
        "standard",
        "main",
        role=Role.JOB,
    ),
    Blueprint("김-맥북", "darwin", "uuid", "plan", "feat/검색", role=Role.LAPTOP),
    Blueprint("{who}-devbox", "linux", "uuid", "acceptEdits", "feat/login"),
    Blueprint("mac-mini-{n}", "darwin", "hex", "standard", "main"),
    Blueprint("{who}-surface", "win32", "uuid", "standard", "docs/adr-19", role=Role.LAPTOP),
    Blueprint("qa-bench-{n}", "linux", "uuid", "standard", "main", "away"),
    Blueprint("{who}-laptop-{n}", "darwin", "uuid", "standard", "main", role=Role.LAPTOP),
    Blueprint("sandbox-{agent}", "linux", "sandbox", "standard", "main"),
    Blueprint("nightly-{n}", "linux", "uuid", "acceptEdits", "nightly", role=Role.JOB),
    Blueprint("{who}-imac", "darwin", "local", "standard", "fix/flaky-tests"),
    Blueprint("edge-sin-{n}", "linux", "hex", None, None),
    Blueprint("sandbox-{agent}", "linux", "sandbox", None, None),
)
_ARRIVALS = tuple(
    each._replace(mode=None, branch=None) for each in ROSTER if each.os == "linux" and each.presence == "online"
)

_DESKTOP_APPS = {"desktop": DESKTOP_LISTENER, "cloud": DESKTOP_CLOUD_LISTENER, "local": DESKTOP_LISTENER}
"""Prefix of the listener instance, by form of the deviceId."""

# osName, osVersion, architecture
_SYSTEMS = {
    "darwin": ("macOS", "26.1", "arm64"),
    "linux": ("Ubuntu", "24.04.3 LTS", "x64"),
    "win32": ("Windows 11 Pro", "10.0.26200", "x64"),
}
_PROCESSORS = {
    "darwin": ("Apple M2", "Apple M3 Pro", "Apple M4 Max"),
    "linux": ("AMD EPYC 9454P", "Intel Xeon Gold 6430", "AMD Ryzen 9 7950X"),
    "win32": ("Intel Core Ultra 7 155H", "AMD Ryzen 7 PRO 7840U"),
}
_INSTALL_PATHS = {
    "darwin": "/opt/homebrew/lib/node_modules/@letta-ai/letta-code",
    "linux": "/usr/local/lib/node_modules/@letta-ai/letta-code",
    "win32": "C:\\Program Files\\nodejs\\node_modules\\@letta-ai\\letta-code",
}
_MODELS = {"darwin": ("Mac14,2", "Mac15,6", "Mac16,5"), "win32": ("Surface Laptop 7", "ThinkPad X1 Carbon")}
"""A listener on Linux sends no model."""
_UPDATE_COMMAND = "npm install -g @letta-ai/letta-code@latest"
_UPDATE_PIP = "Upgrade with your installer: uv tool upgrade letta, pipx upgrade letta, or pip install --upgrade letta"
_UPDATE_DESKTOP = "Update the Letta Code desktop app, then restart it."
_NODE_VERSIONS = {
    "darwin": ("v22.21.1", "v24.11.1"),
    "linux": ("v22.21.1", "v22.14.0", "v20.19.5"),
    "win32": ("v22.20.0",),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """An environment's permanent properties."""

    identity: dict[str, str]
    """By attribute of `Environment`."""
    metadata: dict[str, object] | None
    """The constant part; None for a listener that never sent metadata."""
    home: str
    fraction: float | None
    """Milliseconds subtracted from the row's times, which become floats; None for integers."""
    mode: str | None
    branch: str | None
    version: str
    node: str
    presence: str
    role: Role

    @property
    def is_sandbox(self) -> bool:
        """Whether the machine is a cloud sandbox, which may leave the listing."""
        return self.identity["device_id"].startswith("sandbox-")

    @property
    def is_server(self) -> bool:
        """Whether the machine is always up, so that a loss needs a person."""
        return self.role is Role.SERVER and not self.is_sandbox


def machine_at(spec: FleetSpec, index: int) -> Machine:
    """Return the machine at an index; from the fleet's size on, an arrival."""
    cycle, place = divmod(index, len(ROSTER))
    rng = random_at(spec.seed, index)
    is_arrival = index >= spec.size
    blueprint = rng.choice(_ARRIVALS) if is_arrival else ROSTER[place]
    is_twin = blueprint.device == "twin"
    desk = random_at(spec.seed, index - 1) if is_twin else rng  # a second listener on the previous machine
    who = desk.choice(_PEOPLE[: 6 + spec.size // 500])
    number = desk.randrange(2, 30) + 30 * cycle
    agent = f"agent-{_uuid(desk)}"
    device = _device_id(blueprint.device, desk, agent)
    name = blueprint.name.format(who=who, n=number, agent=agent)
    if cycle and name == blueprint.name:
        name = f"{name}-{cycle + 1}"
    identity = {"id": f"env-{_uuid(rng)}", "name": name, "device_id": device}
    is_local = blueprint.device == "local"
    identity["organization_id"] = LOCAL_ORGANIZATION if is_local else f"org-{_shared_uuid(spec.seed, -1)}"
    user = _shared_uuid(spec.seed, -2 - _PEOPLE.index(who))
    if place % 9 != 8:
        identity["user_id"] = f"user-{user}"
    if place % 7 != 3:
        identity["api_key_owner"] = f"user-{user}"
    version = rng.choice(("0.34.9", "0.33.4", "0.32.1", "0.31.2")) if place % 4 == 3 else NEWEST_VERSION
    current = version.startswith("0.34")
    if blueprint.device == "hex" and version != NEWEST_VERSION:  # older versions have no option `--org`
        identity["device_id"] = str(UUID(hex=device, version=4))
    if blueprint.device in _DESKTOP_APPS:
        identity["listener_instance_id"] = f"{_DESKTOP_APPS[blueprint.device]}{_hash_of(name)}"
    elif current:
        identity["listener_instance_id"] = f"{'listen' if is_twin else 'server'}-{_hash_of(name)}"
    return Machine(
        identity=identity,
        metadata=None if place % 20 == 18 else _metadata(blueprint, place, current=current, rng=rng),
        home=_home(blueprint, who) + desk.choice(_REPOSITORIES),
        fraction=rng.choice((0.0, 0.25, 0.5)) if place % 5 == 2 else None,
        mode=blueprint.mode,
        branch=blueprint.branch,
        version=NEWEST_VERSION if is_arrival else version,
        node=rng.choice(_NODE_VERSIONS[blueprint.os]),
        presence=blueprint.presence,
        role=blueprint.role,
    )


def renamed(machine: Machine, spec: FleetSpec, index: int) -> Machine:
    """Return a machine as a new row of the same device, with another name and name hash."""
    name = f"{machine.identity['name']}-new"
    identity = {
        **machine.identity,
        "id": f"env-{_uuid(random_at(spec.seed, index))}",
        "name": name,
        "listener_instance_id": f"server-{_hash_of(name)}",
    }
    return replace(machine, identity=identity)


def _hash_of(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:16]


def random_at(seed: int, index: int) -> Random:
    """Return a random sequence; negative indexes: the fleet, from 1 << 31 on: first states."""
    return Random((seed << 32) ^ (index & 0xFFFF_FFFF))  # noqa: S311 - repeatable, not secret


def connection_id(random: Random) -> str:
    """Return a new connection's id."""
    return f"conn-{UUID(int=random.getrandbits(128))}"


def _uuid(rng: Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)


@lru_cache(maxsize=64)
def _shared_uuid(seed: int, index: int) -> UUID:
    return _uuid(random_at(seed, index))


def _device_id(form: str, rng: Random, agent: str) -> str:
    if form == "sandbox":
        return f"sandbox-{agent}"
    if form == "hex":
        return f"{rng.getrandbits(128):032x}"
    return f"{DESKTOP_DEVICE if form in {'desktop', 'local'} else ''}{_uuid(rng)}"


def _home(blueprint: Blueprint, who: str) -> str:
    homes = {"darwin": f"/Users/{who}/src/", "linux": f"/home/{who}/code/", "win32": f"C:\\Users\\{who}\\src\\"}
    return "/workspace/" if blueprint.device == "sandbox" else homes[blueprint.os]


def _metadata(blueprint: Blueprint, place: int, *, current: bool, rng: Random) -> dict[str, object]:
    metadata: dict[str, object] = {
        Environment.os.key: blueprint.os,
        Environment.supported_commands.key: _COMMANDS if current else _OLD_COMMANDS,
    }
    if blueprint.device != "sandbox":
        metadata["team"] = _TEAMS[place % len(_TEAMS)]
    if place % 6 != 5 or blueprint.device in _DESKTOP_APPS:
        metadata[Environment.self_update.key] = _self_update(blueprint, place)
    if current:
        os_name, os_version, architecture = _SYSTEMS[blueprint.os]
        metadata[Environment.message_protocol.key] = "v2-input"
        metadata[Environment.has_paired_generations.key] = True
        metadata[Environment.subagents_notify_caller.key] = True
        machine = {
            "architecture": architecture,
            "cpu": rng.choice(_PROCESSORS[blueprint.os]),
            "memoryBytes": rng.choice((8, 16, 32, 64, 128)) << 30,
            "osName": os_name,
            "osVersion": os_version,
        }
        if blueprint.device == "sandbox":
            machine["model"] = "Container"
        elif models := _MODELS.get(blueprint.os):
            machine["model"] = models[place % len(models)]
        if blueprint.name.endswith("workstation"):
            machine["gpus"] = ["NVIDIA RTX 6000 Ada Generation"] * 2
        metadata[Environment.machine.key] = machine
    return metadata


def _self_update(blueprint: Blueprint, place: int) -> dict[str, object]:
    if blueprint.device == "sandbox":
        return {"supported": False, "writable": False, "reason": "managed by the sandbox image"}
    if blueprint.device in _DESKTOP_APPS:
        return {"supported": False, "writable": False, "manual_command": _UPDATE_DESKTOP}
    if place % 12 == 3:
        return {"supported": False, "writable": False, "manual_command": _UPDATE_PIP}
    if place % 3 == 1:
        return {"supported": True, "writable": True}
    if place % 3 == 0 and blueprint.os != "win32":
        path = "/usr/lib/node_modules/@letta-ai/letta-code"
        refusal = {"supported": True, "writable": False, "reason": f"{path} is not writable by this user"}
        return {**refusal, "install_path": path, "manual_command": f"sudo {_UPDATE_COMMAND}"}
    path = _INSTALL_PATHS[blueprint.os]
    return {"supported": True, "writable": True, "install_path": path, "manual_command": _UPDATE_COMMAND}
