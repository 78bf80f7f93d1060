"""The fields of an API row, each declared once, and the row as a frozen value of cleaned text.

A declaration gives a field its name on the wire, its number in the history, and its rule of redaction. Decoding
(`page`), `wire_row`, the history's cells, redaction, the names in JSON and CSV, and the demo's rows derive from the
declarations. `presentation` says how a field is named, found and drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum, auto
from itertools import count
from operator import attrgetter
from types import MappingProxyType, NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Self,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from envwatch.model.clock import ServerMs
from envwatch.model.text import LONGEST, SafeText, clean

if TYPE_CHECKING:
    from pydantic import JsonValue
else:
    JsonValue = Any  # for pydantic any JSON value; the demo's server imports no pydantic

T = TypeVar("T")

JsonObject: TypeAlias = Mapping[str, JsonValue]


class _Constraints:
    """Adds constraints to the schema by which pydantic validates a value.

    Args:
        constraints: as in `pydantic_core.core_schema`.
    """

    def __init__(self, **constraints: object) -> None:
        self._constraints = constraints

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], Any]) -> Any:  # noqa: ANN401
        return handler(source) | self._constraints


_Text = Annotated[SafeText, _Constraints(max_length=LONGEST)]
_Instant = Annotated[ServerMs, _Constraints(strict=True, allow_inf_nan=False)]

_NEVER_ON_THE_WIRE: Final = "\0"
"""An alias that no plain page can contain: only this module fills that field."""

SANDBOX_DEVICE: Final = "sandbox-"
SANDBOX_LISTENER: Final = "sandbox:"
"""How the device id or the listener's instance of a managed sandbox begins."""

DESKTOP_DEVICE: Final = "desktop:"
DESKTOP_LISTENER: Final = "desktop-primary:"
DESKTOP_CLOUD_LISTENER: Final = "desktop-direct-cloud:"
LOCAL_ORGANIZATION: Final = "local"
LOCAL_CONNECTION: Final = "local-"
"""How the ids of a row of the Desktop app begin, see `Environment.is_desktop_app`."""

NEVER = ServerMs(float("-inf"))
"""The instant of an event that never happened, such as the last sign of life of an environment never listed."""


class Identifies(StrEnum):
    """What a text may identify. Redaction replaces the text with a pseudonym that begins with this word."""

    MACHINE = "env"
    USER = "user"
    ORGANIZATION = "org"
    CONNECTION = "conn"
    LISTENER = "listener"
    POD = "pod"
    BRANCH = "branch"
    DIRECTORY = "/dir"
    VERSION = "version"
    """Redaction keeps a version of numbers."""
    MODE = "mode"
    """Redaction keeps a known mode."""
    PLATFORM = "os"
    """Redaction keeps a known platform."""
    OTHER = "text"


class ValueKind(Enum):
    """What a field of the row holds."""

    TEXT = auto()
    INSTANT = auto()
    """Milliseconds since the epoch."""
    OBJECT = auto()
    """A JSON object."""


@dataclass(slots=True, kw_only=True, eq=False)
class Declaration:
    """What `Environment` declares of a field."""

    identifies: Identifies | None = None
    """None for values that redaction keeps (instants) or drops (objects)."""
    label: str = ""
    """The name of the field in events and comparisons, as `key owner`; by default the attribute's name."""
    examples: tuple[str, ...] = ()
    """The values of the demo's machines, in turn. Empty where the demo has a rule of its own."""
    name: str = field(default="", init=False)
    """The attribute of `Environment`, and the name in JSON and CSV."""
    place: int = field(default_factory=count().__next__, init=False)
    """The place among the declarations, which is the order of the names in JSON and CSV. So this module evaluates
    annotations at once."""

    def example(self, index: int) -> str:
        """Return the value of the demo's machine with an index."""
        return self.examples[index % len(self.examples)]

    def set_name(self, name: str) -> None:
        """Note the attribute's name."""
        self.name, self.label = name, self.label or name


@dataclass(slots=True, eq=False)
class ApiField(Declaration):
    """The declaration of a member of the row."""

    wire: str
    """The name in the API."""
    number: int
    """The number of the cell in histories and recordings. A number never changes its meaning."""
    is_null_sent: bool = False
    """Whether the platform sends null for no value, instead of leaving the member out."""
    kind: ValueKind = field(default=ValueKind.TEXT, init=False)


@dataclass(slots=True, eq=False)
class MetadataField(Declaration, Generic[T]):
    """The declaration of a key of `metadata`, and the attribute of `Environment` that reads the key.

    The attribute is None if the row has no such key, or a value of another type.
    """

    key: str
    kind: type[Any]
    """The type of the value."""
    read: Callable[[Any], T] | None = None
    """Makes the attribute's value; None for the value as it is, since every text was cleaned with the row."""
    is_output: bool = True
    """Whether the attribute has a name in JSON and CSV."""

    def __set_name__(self, _: type, name: str) -> None:
        self.set_name(name)

    @overload
    def __get__(self, row: None, owner: type) -> Self: ...
    @overload
    def __get__(self, row: "Environment", owner: type) -> T | None: ...
    def __get__(self, row: "Environment | None", owner: type) -> Self | T | None:
        if row is None:
            return self
        value: Any = row.metadata.get(self.key) if row.metadata else None
        if not isinstance(value, self.kind):
            return None
        return value if self.read is None else self.read(value)


def _metadata_text(key: str, identifies: Identifies, label: str = "") -> MetadataField[SafeText]:
    return MetadataField(key, str, identifies=identifies, label=label)


def _metadata_object(key: str, *, is_output: bool = True) -> MetadataField[JsonObject]:
    return MetadataField(key, dict, is_output=is_output)


def _metadata_flag(key: str) -> MetadataField[bool]:
    return MetadataField(key, bool, is_output=False)


def _only_texts(values: list[JsonValue]) -> tuple[SafeText, ...]:
    return tuple([clean(value) for value in values if isinstance(value, str)])


_I = Identifies


def wire_name(name: str) -> str:
    """Return the name in the API of a member of the row, by its attribute."""
    return API_FIELDS[name].wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One row of the listing as received, its text cleaned; instants may be integers or floats.

    The order of the declarations is the order in JSON and CSV, so a new one comes last. A new member is optional,
    because older histories lack it, and has the next free number of `storage/history/encoding/cells.py`.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid", "alias_generator": wire_name}

    id: Annotated[_Text, _Constraints(min_length=1), ApiField("id", 0, identifies=_I.MACHINE)]
    """The row's permanent key. Cleaned by `clean_key`: distinct rows have distinct keys."""
    name: Annotated[_Text, ApiField("connectionName", 1, identifies=_I.MACHINE)]
    """Chosen by the machine's user; not unique."""
    device_id: Annotated[_Text, ApiField("deviceId", 2, identifies=_I.MACHINE, label="device")]
    """Stable per machine; shared by two listeners on one machine."""
    connection_id: Annotated[
        _Text | None, ApiField("connectionId", 6, is_null_sent=True, identifies=_I.CONNECTION, label="connection")
    ] = None
    """The live connection; null when offline, new after a re-registration."""
    listener_instance_id: Annotated[
        _Text | None, ApiField("listenerInstanceId", 10, identifies=_I.LISTENER, label="listener")
    ] = None
    """Undocumented: `<surface>-<hash>`."""
    last_heartbeat_at: Annotated[_Instant | None, ApiField("lastHeartbeat", 8, is_null_sent=True)] = None
    connected_at: Annotated[_Instant | None, ApiField("connectedAt", 7, is_null_sent=True)] = None
    first_seen_at: Annotated[_Instant, ApiField("firstSeenAt", 4)]
    last_seen_at: Annotated[_Instant, ApiField("lastSeenAt", 5)]
    mode: Annotated[_Text | None, ApiField("currentMode", 13, identifies=_I.MODE)] = None
    """An open set; None on a fresh row."""
    version = _metadata_text("lettaCodeVersion", _I.VERSION)
    """Version of Letta Code."""
    branch = _metadata_text("gitBranch", _I.BRANCH)
    """Git branch; set once an agent has run there."""
    os = _metadata_text("os", _I.PLATFORM)
    """Node's `process.platform`: darwin, linux, win32."""
    node_version = _metadata_text("nodeVersion", _I.VERSION, "node")
    """Version of Node.js, with its leading v."""
    working_directory = _metadata_text("workingDirectory", _I.DIRECTORY, "directory")
    """Set once an agent has run there."""
    organization_id: Annotated[_Text, ApiField("organizationId", 3, identifies=_I.ORGANIZATION, label="organization")]
    """`local` marks a row of the Desktop app."""
    pod_id: Annotated[_Text | None, ApiField("podId", 9, is_null_sent=True, identifies=_I.POD, label="pod")] = None
    user_id: Annotated[_Text | None, ApiField("userId", 12, identifies=_I.USER, label="user")] = None
    api_key_owner: Annotated[_Text | None, ApiField("apiKeyOwner", 11, identifies=_I.USER, label="key owner")] = None
    self_update = _metadata_object("self_update")
    """Whether the listener can update itself, and the command if it cannot."""
    supported_commands = MetadataField("supported_commands", list, _only_texts)
    """Names of the commands that the listener accepts."""
    machine = _metadata_object("machine", is_output=False)
    """Undocumented: architecture, cpu, memoryBytes, osName, osVersion, model, gpus."""
    metadata: Annotated[dict[str, JsonValue] | None, ApiField("metadata", 14)] = None
    """An open set; the attributes above ignore a value of the wrong type."""
    unknown: Annotated[dict[str, JsonValue], ApiField(_NEVER_ON_THE_WIRE, 15)] = field(default_factory=dict)
    """Members of the row that this version does not declare."""
    message_protocol = MetadataField[SafeText](
        "environmentMessageProtocol", str, identifies=_I.OTHER, label="protocol", is_output=False
    )
    """Undocumented: the protocol of messages to the listener, `v2-input`."""
    has_paired_generations = _metadata_flag("supportsPairedListenerGenerations")
    """Undocumented."""
    subagents_notify_caller = _metadata_flag("launch_subagent_notify_caller")
    """Undocumented."""

    @property
    def label(self) -> SafeText:
        """What people call it: its name, or its id if the name is empty or blank."""
        return self.id if not self.name or self.name.isspace() else self.name

    @property
    def is_sandbox(self) -> bool:
        """Whether the platform manages the row as a sandbox, which ends with its conversation.

        The server assigns the device id; `sandbox-<agent>` is its fallback.
        """
        return self.device_id.startswith(SANDBOX_DEVICE) or (self.listener_instance_id or "").startswith(
            SANDBOX_LISTENER
        )

    @property
    def is_desktop_app(self) -> bool:
        """Whether the Desktop app brings the row back, and `letta server` does not.

        The rule for a device and a listener is the rule of Letta Code 0.32.18 and 0.34.12. A local row belongs to the
        Desktop app on this very machine.
        """
        if self.organization_id == LOCAL_ORGANIZATION or (self.connection_id or "").startswith(LOCAL_CONNECTION):
            return True
        listener = self.listener_instance_id or ""
        is_primary = self.device_id.startswith(DESKTOP_DEVICE) and listener.startswith(DESKTOP_LISTENER)
        return is_primary or listener.startswith(DESKTOP_CLOUD_LISTENER)

    @property
    def last_seen_alive_at(self) -> ServerMs:
        """The last sign of life: the heartbeat, or if there is none (as when offline) when it was last seen."""
        return self.last_seen_at if self.last_heartbeat_at is None else self.last_heartbeat_at


_KINDS: Final[Mapping[object, ValueKind]] = {
    SafeText: ValueKind.TEXT,
    ServerMs: ValueKind.INSTANT,
    dict: ValueKind.OBJECT,
}


def _api_fields() -> Mapping[str, ApiField]:
    hints, found = get_type_hints(Environment, include_extras=True), {}
    for name in [each.name for each in fields(Environment)]:
        hint = hints[name]
        declared = next(each for each in hint.__metadata__ if isinstance(each, ApiField))
        declared.set_name(name)
        (declared.kind,) = {_KINDS[get_origin(type_) or type_] for type_ in _types_in(hint)}
        if (declared.kind is ValueKind.TEXT) is not (declared.identifies is not None):
            raise TypeError(f"{name}: a text, and nothing else, declares whom it may identify")
        found[name] = declared
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: item[1].number)))


def _types_in(hint: Any) -> set[object]:  # noqa: ANN401  any annotation
    """Return the types that an annotation allows, without None."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _types_in(hint.__origin__)
    return set().union(*map(_types_in, get_args(hint))) if origin in {Union, UnionType} else {hint} - {NoneType}


API_FIELDS: Final[Mapping[str, ApiField]] = _api_fields()
"""The members of the row by attribute, in the order of their numbers."""

METADATA_FIELDS: Final[Mapping[str, MetadataField[Any]]] = MappingProxyType(
    {each.key: each for each in vars(Environment).values() if isinstance(each, MetadataField)}
)
"""The declared keys of `metadata`."""

LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {each.name: each.label for each in (*API_FIELDS.values(), *METADATA_FIELDS.values())}
)
"""The label of each declared field, by attribute."""

TEXT_NAMES: Final = frozenset(
    each.name for each in (*API_FIELDS.values(), *METADATA_FIELDS.values()) if each.identifies is not None
)
"""The attributes that are texts."""

_OUTPUT_PLACES: Final = {
    **{each.name: each.place for each in API_FIELDS.values()},
    **{each.name: each.place for each in METADATA_FIELDS.values() if each.is_output},
}
OUTPUT_NAMES: Final = tuple(sorted(_OUTPUT_PLACES, key=_OUTPUT_PLACES.__getitem__))
"""The attributes that JSON and CSV contain, in their order."""

WIRE_FIELDS: Final = tuple(
    sorted((each for each in API_FIELDS.values() if each.wire != _NEVER_ON_THE_WIRE), key=attrgetter("place"))
)
"""The members that the wire has, in the order of their declarations: all but `unknown`."""
WIRE_NAMES: Final = frozenset(each.wire for each in WIRE_FIELDS)


def wire_row(environment: Environment) -> dict[str, JsonValue]:
    """Return a row under its names on the wire, so that `environment_of` reads the same from it.

    Its id is that of `Environment`, which `environment_of` changes if it is hashed. Instants are whole numbers where
    they can be. Optional fields without a value are left out, as the platform does it on a fresh row.
    """
    row: dict[str, JsonValue] = dict(zip(_SENT, _values_to_send(environment), strict=True))
    for wire in _SENT_INSTANTS:
        row[wire] = _wire_instant(row[wire])
    for wire in _LEFT_OUT:
        if row[wire] is None:
            del row[wire]
    if not environment.unknown:
        return row
    # Cleaning may have made the name of an unknown field the name of a known one, and removes the hint again.
    return {
        name + _REMOVED_BY_CLEANING if name in WIRE_NAMES else name: value
        for name, value in environment.unknown.items()
    } | row


_SENT: Final = [each.wire for each in WIRE_FIELDS]
_SENT_INSTANTS: Final = [each.wire for each in WIRE_FIELDS if each.kind is ValueKind.INSTANT]
_OPTIONAL: Final = {each.name for each in fields(Environment) if each.default is None}
_LEFT_OUT: Final = [each.wire for each in WIRE_FIELDS if each.name in _OPTIONAL and not each.is_null_sent]
"""The members that are left out where they have no value."""
_values_to_send: Final[Callable[[Environment], tuple[Any, ...]]] = attrgetter(*(each.name for each in WIRE_FIELDS))

_REMOVED_BY_CLEANING = "\ufe0f"
_EXACT_BELOW = 1 << 53
"""Whole numbers that a float holds exactly."""


def _wire_instant(at: Any) -> float | None:  # noqa: ANN401  an instant or None
    # Not -0.0, which is a whole number only as a float.
    return int(at) if at and at.is_integer() and abs(at) < _EXACT_BELOW else at


def update_text(environment: Environment) -> SafeText | None:
    """Return whether the listener can update itself, in a word or two."""
    update = environment.self_update
    if update is None:
        return None
    if not update.get("supported"):
        return clean("no")
    return clean("yes" if update.get("writable") else "by hand")
