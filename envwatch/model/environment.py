"""A row as a frozen value of cleaned text.

Decoding, `wire_row`, history, redaction, JSON, CSV and demo derive from the fields' declarations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum, auto
from itertools import count
from operator import attrgetter
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
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
from envwatch.model.text import EMPTY, SafeText, clean

if TYPE_CHECKING:
    from pydantic import JsonValue
else:
    JsonValue = Any  # pydantic costs 30 ms of every start

T = TypeVar("T")

_NO_MEMBERS: Final[dict[str, JsonValue]] = {}
"""Shared by all rows, like every JSON value (`model/page.py: Pool`)."""

JsonObject: TypeAlias = Mapping[str, JsonValue]


_NEVER_ON_THE_WIRE: Final = "\0"
"""The wire name of `unknown`; a page with this name is read row by row."""

_SLEEPING_SYSTEMS: Final = frozenset({"darwin", "win32"})
SANDBOX_DEVICE: Final = "sandbox-"
SANDBOX_LISTENER: Final = "sandbox:"

DESKTOP_DEVICE: Final = "desktop:"
DESKTOP_LISTENER: Final = "desktop-primary:"
DESKTOP_CLOUD_LISTENER: Final = "desktop-direct-cloud:"
LOCAL_ORGANIZATION: Final = "local"
LOCAL_CONNECTION: Final = "local-"

NEVER = ServerMs(float("-inf"))
"""The instants of a never listed environment."""


class Identifies(StrEnum):
    """Things that a text may identify, with the prefixes of redaction's pseudonyms."""

    MACHINE = "env"
    USER = "user"
    ORGANIZATION = "org"
    CONNECTION = "conn"
    LISTENER = "listener"
    POD = "pod"
    BRANCH = "branch"
    DIRECTORY = "/dir"
    VERSION = "version"
    MODE = "mode"
    PLATFORM = "os"
    OTHER = "text"


class ValueKind(Enum):
    """The kinds of values."""

    TEXT = auto()
    INSTANT = auto()
    NUMBER = auto()
    FLAG = auto()
    OBJECT = auto()


@dataclass(slots=True, kw_only=True, eq=False)
class Declaration:
    """The declaration of a field."""

    identifies: Identifies | None = None
    """None for all but texts. Redaction drops objects, and keeps instants, numbers and flags."""
    label: str = ""
    """The name in events and comparisons, by default `name`."""
    examples: tuple[JsonValue, ...] = ()
    """The demo's values, in turn; empty for a special rule."""
    is_output: bool = True
    name: str = field(default="", init=False)
    place: int = field(default_factory=count().__next__, init=False)
    """The position in JSON and CSV, counted while annotations are evaluated, which must not be postponed."""

    def example(self, index: int) -> JsonValue:
        """Return the value of a demo machine."""
        return self.examples[index % len(self.examples)]

    def set_name(self, name: str) -> None:
        """Set the attribute's name."""
        self.name, self.label = name, self.label or name


@dataclass(slots=True, eq=False)
class ApiField(Declaration):
    """A field of a row, a member of the API's object."""

    wire: str
    number: int
    """The number in histories and recordings; a number never changes meaning."""
    is_null_sent: bool = False
    """Whether the platform sends null for a missing value."""
    kind: ValueKind = field(default=ValueKind.TEXT, init=False)


@dataclass(slots=True, eq=False)
class MetadataField(Declaration, Generic[T]):
    """A key of `metadata` as an attribute; None if missing or of a different type."""

    key: str
    kind: type[Any]
    read: Callable[[Any], T] | None = None

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
    """Return a field's name in the API."""
    return API_FIELDS[name].wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A row of the listing; instants may be integers or floats.

    A new declaration comes last, because JSON and CSV have this order. A new member is optional, because older
    histories lack the member, and has the next free number of `stored/rows.py`.
    """

    id: Annotated[SafeText, ApiField("id", 0, identifies=_I.MACHINE)]
    """The permanent id, cleaned by `clean_key`."""
    name: Annotated[SafeText, ApiField("connectionName", 1, identifies=_I.MACHINE)]
    """The machine user's choice; not unique."""
    device_id: Annotated[SafeText, ApiField("deviceId", 2, identifies=_I.MACHINE, label="device")]
    """The listeners of a machine share the device id."""
    connection_id: Annotated[
        SafeText | None, ApiField("connectionId", 6, is_null_sent=True, identifies=_I.CONNECTION, label="connection")
    ] = None
    """None when offline; a re-registration brings a new id."""
    listener_instance_id: Annotated[
        SafeText | None, ApiField("listenerInstanceId", 10, identifies=_I.LISTENER, label="listener")
    ] = None
    """Undocumented `<surface>-<hash>`."""
    last_heartbeat_at: Annotated[ServerMs | None, ApiField("lastHeartbeat", 8, is_null_sent=True)] = None
    connected_at: Annotated[ServerMs | None, ApiField("connectedAt", 7, is_null_sent=True)] = None
    first_seen_at: Annotated[ServerMs, ApiField("firstSeenAt", 4)]
    last_seen_at: Annotated[ServerMs, ApiField("lastSeenAt", 5)]
    mode: Annotated[SafeText | None, ApiField("currentMode", 13, identifies=_I.MODE)] = None
    """An open set of modes; None before the first report."""
    version = _metadata_text("lettaCodeVersion", _I.VERSION)
    branch = _metadata_text("gitBranch", _I.BRANCH)
    """None before an agent has run."""
    os = _metadata_text("os", _I.PLATFORM)
    """Node's `process.platform`, such as darwin or win32."""
    node_version = _metadata_text("nodeVersion", _I.VERSION, "node")
    """The version starts with a v."""
    working_directory = _metadata_text("workingDirectory", _I.DIRECTORY, "directory")
    """None before an agent has run."""
    organization_id: Annotated[
        SafeText, ApiField("organizationId", 3, identifies=_I.ORGANIZATION, label="organization")
    ]
    """`local` in rows of the Desktop app."""
    pod_id: Annotated[SafeText | None, ApiField("podId", 9, is_null_sent=True, identifies=_I.POD, label="pod")] = None
    user_id: Annotated[SafeText | None, ApiField("userId", 12, identifies=_I.USER, label="user")] = None
    api_key_owner: Annotated[SafeText | None, ApiField("apiKeyOwner", 11, identifies=_I.USER, label="key owner")] = None
    self_update = _metadata_object("self_update")
    """The command is present if the listener cannot update itself."""
    supported_commands = MetadataField("supported_commands", list, _only_texts)
    machine = _metadata_object("machine", is_output=False)
    """Undocumented: architecture, cpu, memoryBytes, osName, osVersion, model, gpus."""
    metadata: Annotated[dict[str, JsonValue] | None, ApiField("metadata", 14)] = None
    unknown: Annotated[dict[str, JsonValue], ApiField(_NEVER_ON_THE_WIRE, 15)] = field(
        default_factory=lambda: _NO_MEMBERS
    )
    message_protocol = MetadataField[SafeText](
        "environmentMessageProtocol", str, identifies=_I.OTHER, label="protocol", is_output=False
    )
    """Undocumented; `v2-input` is known."""
    has_paired_generations = _metadata_flag("supportsPairedListenerGenerations")
    subagents_notify_caller = _metadata_flag("launch_subagent_notify_caller")

    @classmethod
    def unlisted(cls, id_: SafeText, name: SafeText = EMPTY, last_seen_at: ServerMs = NEVER) -> Self:
        """Return a row with only an id or a name."""
        return cls(
            id=id_, name=name, device_id=EMPTY, organization_id=EMPTY, first_seen_at=NEVER, last_seen_at=last_seen_at
        )

    @property
    def label(self) -> SafeText:
        """The name, or the id if the name is blank."""
        return self.id if not self.name or self.name.isspace() else self.name

    @property
    def is_sandbox(self) -> bool:
        """Whether the row is a managed sandbox, which ends with the conversation.

        The server assigns the device id, by default `sandbox-<agent>`.
        """
        return self.device_id.startswith(SANDBOX_DEVICE) or (self.listener_instance_id or "").startswith(
            SANDBOX_LISTENER
        )

    @property
    def may_sleep(self) -> bool:
        """Whether the system is macOS or Windows, whose machines sleep."""
        return (self.os or "").casefold() in _SLEEPING_SYSTEMS

    @property
    def is_desktop_app(self) -> bool:
        """Whether the Desktop app, and not `letta server`, brings the row back (Letta Code 0.32.18 and 0.34.12)."""
        if self.organization_id == LOCAL_ORGANIZATION or (self.connection_id or "").startswith(LOCAL_CONNECTION):
            return True
        listener = self.listener_instance_id or ""
        is_primary = self.device_id.startswith(DESKTOP_DEVICE) and listener.startswith(DESKTOP_LISTENER)
        return is_primary or listener.startswith(DESKTOP_CLOUD_LISTENER)

    @property
    def last_seen_alive_at(self) -> ServerMs:
        """The last heartbeat, or `last_seen_at` without a heartbeat."""
        return self.last_seen_at if self.last_heartbeat_at is None else self.last_heartbeat_at


_KINDS: Final[Mapping[object, ValueKind]] = {
    SafeText: ValueKind.TEXT,
    ServerMs: ValueKind.INSTANT,
    float: ValueKind.NUMBER,
    bool: ValueKind.FLAG,
    dict: ValueKind.OBJECT,
}


def _api_fields() -> Mapping[str, ApiField]:
    hints, found = get_type_hints(Environment, include_extras=True), {}
    for name in [each.name for each in fields(Environment)]:
        hint = hints[name]
        declared = next(each for each in hint.__metadata__ if isinstance(each, ApiField))
        declared.set_name(name)
        plain = hint.__origin__
        types = get_args(plain) if get_origin(plain) in {Union, UnionType} else (plain,)
        (declared.kind,) = {_KINDS[get_origin(type_) or type_] for type_ in types if type_ is not NoneType}
        if (declared.kind is ValueKind.TEXT) is not (declared.identifies is not None):
            raise TypeError(f"{name}: a text, and nothing else, declares whom it may identify")
        found[name] = declared
    return dict(sorted(found.items(), key=lambda item: item[1].number))


API_FIELDS: Final[Mapping[str, ApiField]] = _api_fields()

METADATA_FIELDS: Final[Mapping[str, MetadataField[Any]]] = {
    each.key: each for each in vars(Environment).values() if isinstance(each, MetadataField)
}
DECLARATIONS: Final[tuple[Declaration, ...]] = (*API_FIELDS.values(), *METADATA_FIELDS.values())
LABELS: Final[Mapping[str, str]] = {each.name: each.label for each in DECLARATIONS}
TEXT_NAMES: Final = frozenset(each.name for each in DECLARATIONS if each.identifies is not None)
OUTPUT_NAMES: Final = tuple(each.name for each in sorted(DECLARATIONS, key=attrgetter("place")) if each.is_output)

WIRE_FIELDS: Final = tuple(
    sorted((each for each in API_FIELDS.values() if each.wire != _NEVER_ON_THE_WIRE), key=attrgetter("place"))
)
"""All fields but `unknown`, in the order of JSON."""
WIRE_NAMES: Final = frozenset(each.wire for each in WIRE_FIELDS)


def wire_row(environment: Environment) -> dict[str, JsonValue]:
    """Return a row under the API's names; `parse_environment` reads an equal row, apart from a hashed id.

    Missing values are null or left out, as on the platform's fresh rows.
    """
    row: dict[str, JsonValue] = dict(zip(_SENT, _values_to_send(environment), strict=True))
    for wire in _SENT_NUMBERS:
        row[wire] = whole_if_exact(row[wire])
    for wire in _LEFT_OUT:
        if row[wire] is None:
            del row[wire]
    if not environment.unknown:
        return row
    # A cleaned unknown name may equal a known name. A presentation hint, which cleaning removes, keeps both apart.
    return {
        name + _REMOVED_BY_CLEANING if name in WIRE_NAMES else name: value
        for name, value in environment.unknown.items()
    } | row


_SENT: Final = [each.wire for each in WIRE_FIELDS]
_SENT_NUMBERS: Final = [each.wire for each in WIRE_FIELDS if each.kind in {ValueKind.INSTANT, ValueKind.NUMBER}]
_OPTIONAL: Final = {each.name for each in fields(Environment) if each.default is None}
_LEFT_OUT: Final = [each.wire for each in WIRE_FIELDS if each.name in _OPTIONAL and not each.is_null_sent]
_values_to_send: Final[Callable[[Environment], tuple[Any, ...]]] = attrgetter(*(each.name for each in WIRE_FIELDS))

_REMOVED_BY_CLEANING = "\ufe0f"
_EXACT_BELOW = 1 << 53


def whole_if_exact(number: Any) -> float | None:  # noqa: ANN401  a number or None
    """Return a number as an integer if exact, for JSON."""
    # -0.0 is a whole number only as a float.
    return int(number) if number and number.is_integer() and abs(number) < _EXACT_BELOW else number


def update_text(environment: Environment) -> SafeText | None:
    """Return whether the listener can update itself: `yes`, `by hand` or `no`; None if unknown."""
    update = environment.self_update
    if update is None:
        return None
    if not update.get("supported"):
        return clean("no")
    return clean("yes" if update.get("writable") else "by hand")


STANDARD = clean("standard")
UNRESTRICTED = clean("unrestricted")

_LEGACY: Mapping[str, SafeText] = {"default": STANDARD, "bypassPermissions": UNRESTRICTED, "fullAccess": UNRESTRICTED}

_BY_FOLDED_NAME: Mapping[str, SafeText] = {name.casefold(): mode for name, mode in _LEGACY.items()}

_MEANING: Mapping[str, str] = {
    "standard": "normal approvals",
    "acceptEdits": "file edits auto-approved",
    "unrestricted": "all tools auto-approved",
    "strict": "everything needs approval",
}


CURRENT_MODES: Final = tuple(_MEANING)
KNOWN_MODES: Final = frozenset({*_LEGACY, *_MEANING})


def mode_of(raw: SafeText | None) -> SafeText | None:
    """Return a mode's current name; None before the first report."""
    return None if raw is None else _LEGACY.get(raw, raw)


def mode_from_query(typed: SafeText) -> SafeText:
    """Return a typed mode's current name, ignoring case."""
    return _BY_FOLDED_NAME.get(typed.casefold(), typed)


def mode_meaning(raw: SafeText | None) -> str:
    """Return a mode's meaning."""
    mode = mode_of(raw)
    if mode is None:
        return "not reported yet"
    return _MEANING.get(mode, "not known to this version of envwatch")
