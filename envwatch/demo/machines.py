"""The machines of the demo fleet: names, owners, hosts and ids, each a pure function of (fleet, index).

Knows nothing of time (`states.py`, `life.py`), JSON and HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from envwatch.model.environment import Environment

if TYPE_CHECKING:
    from envwatch.demo.fleet_spec import FleetSpec

NEWEST_VERSION = "0.34.12"
UNRESTRICTED = ("unrestricted", "bypassPermissions", "fullAccess")
"""Modes in which an agent may do anything."""

# Listeners before 0.33 advertised less.
_COMMANDS = ["clear", "doctor", "dream", "init", "compact", "reload", "context-limit", "upgrade-letta-code", "toolset"]
_OLD_COMMANDS = ["clear"]

_PEOPLE = (
    "hiro", "chen", "amara", "lukas", "priya", "sofia", "noor", "diego", "mei", "tomas", "ines", "kofi", "yuki", "ravi",
    "elena", "omar", "freya", "jonas", "lena", "mateo", "zoe", "arjun", "nadia", "emil",
)  # fmt: skip
_REPOSITORIES = ("portal", "billing", "agents", "infra", "search", "mobile", "docs", "ledger")


class Blueprint(NamedTuple):
    """A kind of machine, made many by index: its name has the places `{who}`, `{n}` and `{agent}`."""

    name: str
    os: str
    device: str
    """Form of its deviceId: uuid, hex, desktop or sandbox; "twin" shares that of the blueprint before."""
    mode: str | None
    branch: str | None
    presence: str = "online"
    """online; away (all fields of the connection null); asleep (connection, old heartbeat); left (old heartbeat)."""


# Oldest first. Places 0, 3, 6, … share a pod and hold most of the absent, so that the other two pods are well filled
# and the loss of one is a mass change even in a fleet of 40.
ROSTER = (
    Blueprint("build-box-{n}", "linux", "uuid", "unrestricted", "main"),
    Blueprint("{who}-laptop-{n}", "darwin", "uuid", "standard", "feat/login"),
    Blueprint("mac-mini-{n}", "darwin", "hex", "acceptEdits", "main"),
    Blueprint("old-jenkins-{n}", "linux", "hex", "default", None, "away"),
    Blueprint("chen-nas", "linux", "uuid", None, None),
    Blueprint("sandbox-{agent}", "linux", "sandbox", "standard", "main"),
    Blueprint("{who}-thinkpad", "win32", "uuid", "standard", "fix/token-refresh"),
    Blueprint("gpu-node-{n}", "linux", "uuid", "bypassPermissions", "train/v3"),
    Blueprint("{who}-desktop", "win32", "desktop", "acceptEdits", "main"),
    Blueprint("{who}-macbook-air", "darwin", "hex", "standard", "feat/onboarding", "asleep"),
    Blueprint("東京-build-{n}", "linux", "uuid", "standard", "main"),
    Blueprint("ci-runner-{n}", "linux", "hex", "fullAccess", "release/2026.11"),
    Blueprint("meeting-room-{n}", "win32", "uuid", "standard", None, "left"),
    Blueprint("{who}-workstation", "linux", "uuid", "acceptEdits", "perf/arena-alloc"),
    Blueprint("{who}-workstation", "linux", "twin", "standard", "main"),
    Blueprint("sandbox-{agent}", "linux", "sandbox", None, None, "away"),
    Blueprint("Andre\u0301’s MacBook Pro", "darwin", "uuid", "standard", "feat/faktura"),
    Blueprint("staging-{n}", "linux", "uuid", "strict", "staging"),
    Blueprint("raspberry-{n}", "linux", "hex", "standard", "main"),
    Blueprint("мария-ноутбук", "win32", "uuid", "acceptEdits", "feature/поиск"),
    Blueprint("edge-fra-{n}", "linux", "uuid", "standard", "main"),
    Blueprint("{who}-laptop-{n}", "darwin", "uuid", "acceptEdits", "spike/duckdb", "asleep"),
    Blueprint("🚀 release-runner", "linux", "uuid", "unrestricted", "release/2026.11"),
    Blueprint("{who}-studio", "darwin", "desktop", "standard", "main"),
    Blueprint("build-box-{n}", "linux", "uuid", "standard", "main"),
    Blueprint("مكتب-الرياض", "win32", "hex", "standard", "main"),
    Blueprint("sandbox-{agent}", "linux", "sandbox", "acceptEdits", "agent/refactor-auth"),
    Blueprint("db-replica-{n}", "linux", "uuid", "standard", None, "left"),
    Blueprint("ci-eu-central-1-spot-c6gd-16xlarge-integration-tests-shard-{n}", "linux", "hex", "standard", "main"),
    Blueprint("김-맥북", "darwin", "uuid", "plan", "feat/검색"),
    Blueprint("{who}-devbox", "linux", "uuid", "acceptEdits", "feat/login"),
    Blueprint("mac-mini-{n}", "darwin", "hex", "standard", "main"),
    Blueprint("{who}-surface", "win32", "uuid", "standard", "docs/adr-19"),
    Blueprint("qa-bench-{n}", "linux", "uuid", "standard", "main", "away"),
    Blueprint("{who}-laptop-{n}", "darwin", "uuid", "standard", "main"),
    Blueprint("sandbox-{agent}", "linux", "sandbox", "standard", "main"),
    Blueprint("nightly-{n}", "linux", "uuid", "acceptEdits", "nightly"),
    Blueprint("{who}-imac", "darwin", "uuid", "standard", "fix/flaky-tests"),
    Blueprint("edge-sin-{n}", "linux", "hex", None, None),
    Blueprint("sandbox-{agent}", "linux", "sandbox", None, None),
)
_ARRIVALS = tuple(
    each._replace(mode=None, branch=None) for each in ROSTER if each.os == "linux" and each.presence == "online"
)

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
_UPDATE_COMMAND = "npm install -g @letta-ai/letta-code@latest"
_NODE_VERSIONS = {
    "darwin": ("v22.21.1", "v24.11.1"),
    "linux": ("v22.21.1", "v22.14.0", "v20.19.5"),
    "win32": ("v22.20.0",),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """The properties of one environment that never change."""

    identity: dict[str, str]
    """By attribute of `Environment`: ids and name and, where present, the fields of the owner and the listener."""
    metadata: dict[str, object] | None
    """The constant part of `metadata`; None for a listener that never sent any."""
    os: str
    home: str
    """Working directory."""
    fraction: float | None
    """Milliseconds subtracted from its times, which then are floats; None for integers."""
    mode: str | None
    branch: str | None
    version: str
    node: str
    presence: str

    @property
    def is_sandbox(self) -> bool:
        """Whether it is a sandbox of the cloud, which may leave the listing."""
        return self.identity["device_id"].startswith("sandbox-")


def machine_at(spec: FleetSpec, index: int) -> Machine:
    """Return the machine at an index: below the size from the roster, from there on an arrival."""
    cycle, place = divmod(index, len(ROSTER))
    rng = random_at(spec.seed, index)
    is_arrival = index >= spec.size
    blueprint = rng.choice(_ARRIVALS) if is_arrival else ROSTER[place]
    is_twin = blueprint.device == "twin"
    desk = random_at(spec.seed, index - 1) if is_twin else rng  # a twin is a second listener on the machine before it
    who = desk.choice(_PEOPLE[: 6 + spec.size // 500])
    number = desk.randrange(2, 30) + 30 * cycle
    agent = f"agent-{_uuid(desk)}"
    device = _device_id(blueprint.device, desk, agent)
    name = blueprint.name.format(who=who, n=number, agent=agent)
    if cycle and name == blueprint.name:
        name = f"{name}-{cycle + 1}"
    identity = {"id": f"env-{_uuid(rng)}", "name": name, "device_id": device}
    identity["organization_id"] = "local" if blueprint.device == "desktop" else f"org-{_shared_uuid(spec.seed, -1)}"
    user = _shared_uuid(spec.seed, -2 - _PEOPLE.index(who))
    if place % 9 != 8:
        identity["user_id"] = f"user-{user}"
    if place % 7 != 3:
        identity["api_key_owner"] = f"user-{user}"
    version = rng.choice(("0.34.9", "0.33.4", "0.32.1", "0.31.2")) if place % 4 == 3 else NEWEST_VERSION
    current = version.startswith("0.34")
    if current:
        surface = "listen" if is_twin or blueprint.device == "desktop" else "server"
        identity["listener_instance_id"] = _instance_id(surface, name)
    return Machine(
        identity=identity,
        metadata=None if place % 20 == 18 else _metadata(blueprint, place, current=current, rng=rng),
        os=blueprint.os,
        home=_home(blueprint, who) + desk.choice(_REPOSITORIES),
        fraction=rng.choice((0.0, 0.25, 0.5)) if place % 5 == 2 else None,
        mode=blueprint.mode,
        branch=blueprint.branch,
        version=NEWEST_VERSION if is_arrival else version,
        node=rng.choice(_NODE_VERSIONS[blueprint.os]),
        presence=blueprint.presence,
    )


def renamed(machine: Machine, spec: FleetSpec, index: int) -> Machine:
    """Return a machine under another name: a new row of the same device, with another hash of the name."""
    name = f"{machine.identity['name']}-new"
    identity = {
        **machine.identity,
        "id": f"env-{_uuid(random_at(spec.seed, index))}",
        "name": name,
        "listener_instance_id": _instance_id("server", name),
    }
    return replace(machine, identity=identity)


def _instance_id(surface: str, name: str) -> str:
    return f"{surface}-{sha256(name.encode()).hexdigest()[:16]}"


def random_at(seed: int, index: int) -> Random:
    """Return the random sequence of an index: negative for the whole fleet, from 1 << 31 on for first states."""
    return Random((seed << 32) ^ (index & 0xFFFF_FFFF))  # noqa: S311 - repeatable, not secret


def connection_id(random: Random) -> str:
    """Return the id of a new connection."""
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
    return f"desktop:{_uuid(rng)}" if form == "desktop" else str(_uuid(rng))


def _home(blueprint: Blueprint, who: str) -> str:
    homes = {"darwin": f"/Users/{who}/src/", "linux": f"/home/{who}/code/", "win32": f"C:\\Users\\{who}\\src\\"}
    return "/workspace/" if blueprint.device == "sandbox" else homes[blueprint.os]


def _metadata(blueprint: Blueprint, place: int, *, current: bool, rng: Random) -> dict[str, object]:
    metadata: dict[str, object] = {
        Environment.os.key: blueprint.os,
        Environment.supported_commands.key: _COMMANDS if current else _OLD_COMMANDS,
    }
    if place % 6 != 5:
        metadata[Environment.self_update.key] = _self_update(blueprint, place)
    if current:
        os_name, os_version, architecture = _SYSTEMS[blueprint.os]
        metadata["environmentMessageProtocol"] = "v2-input"
        metadata["supportsPairedListenerGenerations"] = True
        metadata[Environment.machine.key] = {
            "architecture": architecture,
            "cpu": rng.choice(_PROCESSORS[blueprint.os]),
            "memoryBytes": rng.choice((8, 16, 32, 64, 128)) << 30,
            "osName": os_name,
            "osVersion": os_version,
        }
    return metadata


def _self_update(blueprint: Blueprint, place: int) -> dict[str, object]:
    if blueprint.device == "sandbox":
        return {"supported": False, "writable": False, "reason": "managed by the sandbox image"}
    if place % 3 == 1:
        return {"supported": True, "writable": True}
    if place % 3 == 0 and blueprint.os != "win32":
        path = "/usr/lib/node_modules/@letta-ai/letta-code"
        refusal = {"supported": True, "writable": False, "reason": f"{path} is not writable by this user"}
        return {**refusal, "install_path": path, "manual_command": f"sudo {_UPDATE_COMMAND}"}
    path = _INSTALL_PATHS[blueprint.os]
    return {"supported": True, "writable": True, "install_path": path, "manual_command": _UPDATE_COMMAND}
