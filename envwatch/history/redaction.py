"""Replace texts that may identify a person, machine, customer or path.

Times, numbers and harmless texts stay: envwatch's words, versions, modes, platforms. Unknown texts are replaced or
dropped. A pseudonym such as `env-3` counts a kind's texts in recording order, so it cannot be looked up; equal texts
get equal pseudonyms. Environments' names, ids and device ids share a kind, because an inventory or event may hold any.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from envwatch.fleet.anomalies import Anomaly, QuarantinedListing
from envwatch.fleet.events import NOT_RUNNING, Event, Kind
from envwatch.fleet.last_run import NO_RUN
from envwatch.fleet.plausibility import IMPOSSIBLE
from envwatch.fleet.presence import Presence, Reason
from envwatch.fleet.profile_state import missing_id
from envwatch.fleet.replacement import is_replacement
from envwatch.fleet.tracking import TrackedEnvironment, replaced_by_text
from envwatch.history.past import About, Moment, RecordedAlerts
from envwatch.model.environment import (
    API_FIELDS,
    DECLARATIONS,
    DESKTOP_CLOUD_LISTENER,
    DESKTOP_DEVICE,
    DESKTOP_LISTENER,
    KNOWN_MODES,
    LOCAL_CONNECTION,
    LOCAL_ORGANIZATION,
    METADATA_FIELDS,
    SANDBOX_DEVICE,
    SANDBOX_LISTENER,
    Environment,
    Identifies,
    ValueKind,
)
from envwatch.model.outcome import Cause, Snapshot
from envwatch.model.text import EMPTY, SafeText, clean, composed, sliced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import JsonValue

    from envwatch.alerts.acknowledgements import OwnAcks
    from envwatch.alerts.alert_policy import Word
    from envwatch.alerts.incident import Incident
    from envwatch.alerts.silences import Silence
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.model.acks import Ack

T = TypeVar("T")

REDACTED: Final = clean("(redacted)")

_VERSION: Final = re.compile(r"v?[0-9]{1,5}(?:\.[0-9]{1,5}){0,2}(?:-(?:alpha|beta|dev|next|rc)(?:\.?[0-9]{1,5})?)?")
"""Versions of at most three numbers, because an address has four."""
_PLATFORMS: Final = frozenset({"aix", "android", "darwin", "freebsd", "linux", "openbsd", "sunos", "win32"})
"""Values of Node's `process.platform`."""
_ARCHITECTURES: Final = frozenset({"arm", "arm64", "ia32", "loong64", "ppc64", "riscv64", "s390x", "x64"})
"""Values of Node's `process.arch`."""
_SYSTEM: Final = re.compile(
    r"macOS|Linux|(?:Alpine|Amazon|Arch) Linux|Debian(?: GNU/Linux)?|Fedora(?: Linux)?|Ubuntu"
    r"|Windows (?:10|11)(?: Home| Pro| Enterprise)?|Windows Server 20[0-9]{2}"
)
_SYSTEM_VERSION: Final = re.compile(rf"(?:{_VERSION.pattern})(?: LTS)?")

_HARMLESS: Final[Mapping[Identifies, Callable[[str], object]]] = {
    Identifies.ORGANIZATION: LOCAL_ORGANIZATION.__eq__,
    Identifies.VERSION: _VERSION.fullmatch,
    Identifies.MODE: KNOWN_MODES.__contains__,
    Identifies.PLATFORM: _PLATFORMS.__contains__,
}
_BEGINS: Final[Mapping[Identifies, tuple[str, ...]]] = {
    Identifies.MACHINE: (DESKTOP_DEVICE, SANDBOX_DEVICE),
    Identifies.LISTENER: (DESKTOP_LISTENER, DESKTOP_CLOUD_LISTENER, SANDBOX_LISTENER),
    Identifies.CONNECTION: (LOCAL_CONNECTION,),
}
"""Prefixes of ids, kept by pseudonyms."""
_EXPECTED: Final = missing_id(EMPTY)
_RELATION: Final = re.compile(r"(twin of|replaces|beside) (.+)(, same device)", re.DOTALL)

_RECURRING: Final = re.compile("silence-[0-9]{1,4}")

_PRESENCES: Final = frozenset({*Presence, "unknown"})
_CONNECTIONS: Final = frozenset({Kind.RECONNECTED, Kind.RESTARTED})
_OWN_WORDS: Final = re.compile(
    rf"(?:{'|'.join(map(re.escape, chain(Reason, Cause, Anomaly)))})(?: \([0-9]+ s\))?"
    rf"|[0-9,]+ of [0-9,]+ machines vanished at once|believed now|a later poll contradicts it|{NOT_RUNNING}"
    r"|(?:the server's clock \(Date\)|this machine's clock) [a-z0-9' ]+: "
    r"machines \(clk\?\) are judged by [a-z ']+, losses page"
    rf"|every heartbeat has an impossible time \({IMPOSSIBLE}\): machines are unknown \(clk\?\)"
)


class Redaction:
    """Replaces texts by pseudonyms."""

    def __init__(self) -> None:
        self._pseudonyms: dict[str, dict[str, SafeText]] = {}
        self._newest: dict[str, tuple[Any, Any]] = {}
        """Newest redacted values; most environments stay equal between polls."""
        self._profile = partial(self._pseudonym, "profile")
        self._incident = partial(self._pseudonym, "inc")
        self._person = partial(self._pseudonym, "person")
        self._rules: Mapping[Identifies, Callable[[SafeText], SafeText]] = {
            **{each: partial(self._pseudonym, each.value) for each in Identifies},
            **{each: partial(self._unless, is_harmless, each) for each, is_harmless in _HARMLESS.items()},
            **{each: partial(self._with_begin, begins, each) for each, begins in _BEGINS.items()},
            Identifies.MACHINE: self._machine,
        }
        self._connection = self._rules[Identifies.CONNECTION]
        self._pod = self._rules[Identifies.POD]
        self._by_label = {
            each.label: self._rules[each.identifies] for each in DECLARATIONS if each.identifies is not None
        }
        """Redactions by field label in events (`fleet.tracking`, `fleet.anomalies`)."""
        self._by_key: Mapping[str, Callable[[JsonValue], JsonValue]] = {
            **{key: partial(_harmless_part, tests) for key, tests in _OBJECTS.items()},
            **{
                key: _of_text(self._rules[each.identifies])
                for key, each in METADATA_FIELDS.items()
                if each.identifies is not None
            },
        }
        """Redactions by metadata key; unlisted keys are dropped."""

    def moment(self, moment: Moment) -> Moment:
        """Return a redacted moment."""
        profile_state, acks = self._fleet(moment.profile_state), self._again("acks", self._acks, moment.acks)
        return Moment(moment.now, profile_state, acks, self._alerts(moment.alerts))

    def event(self, event: Event) -> Event:
        """Return a redacted event."""
        return _with(
            event,
            profile=self._profile,
            id=self._machine,
            name=self._machine,
            before=partial(self._value, event),
            after=partial(self._value, event),
            reason=partial(self._reason, event),
            members=lambda members: tuple(map(self.event, members)),
            incident=self._incident,
            then=partial(_with, environment=self._environment, left_pod_id=self._pod),
        )

    def about(self, about: About) -> About:
        """Return the redacted origin; the host does not exist."""
        base_url = composed(f"https://{self._pseudonym('host', about.base_url)}.invalid")
        return About(profile=self._profile(about.profile), base_url=base_url, version=about.version, is_redacted=True)

    def _fleet(self, profile_state: ProfileState) -> ProfileState:
        environments = {}
        for id_, tracked in profile_state.environments.items():
            redacted = self._again(f"row {id_}", self._tracked_environment, tracked)
            environments[redacted.environment.id] = redacted
        return _with(
            replace(profile_state, server=EMPTY, last_run=NO_RUN, environments=MappingProxyType(environments)),
            profile=self._profile,
            profile_name=self._profile,
            expect=partial(self._again, "expect", lambda names: tuple(map(self._machine, names))),
            newest=self._rules[Identifies.VERSION],
            failure=partial(self._again, "failure", partial(_with, message=lambda _: REDACTED)),
            quarantine=partial(self._again, "quarantine", self._quarantine),
            snapshot=partial(self._again, "snapshot", self._snapshot),
        )

    def _again(self, name: str, redact: Callable[[T], T], value: T) -> T:
        known = self._newest.get(name)
        if known is None or known[0] is not value:
            known = self._newest[name] = (value, redact(value))
        redacted: T = known[1]
        return redacted

    def _acks(self, acks: OwnAcks) -> OwnAcks:
        return {self._machine(id_): self._ack(ack) for id_, ack in acks.items()}

    def _ack(self, ack: Ack) -> Ack:
        note, by, ended_by = REDACTED if ack.note else EMPTY, self._person(ack.by), self._person(ack.ended_by)
        return replace(ack, note=note, by=by, uuid=EMPTY, address=EMPTY, ended_by=ended_by)

    def _alerts(self, alerts: RecordedAlerts) -> RecordedAlerts:
        silences = {silence: self._silence(silence) for silence in alerts.silences}
        ends = {before.recurrence: after.recurrence for before, after in silences.items()}
        return RecordedAlerts(
            decisions={self._machine(id_): _with(each, word=self._word) for id_, each in alerts.decisions.items()},
            uptimes={self._machine(id_): uptime for id_, uptime in alerts.uptimes.items()},
            silences=tuple(each._replace(ends=ends.get(each.ends, EMPTY)) for each in silences.values()),
            waiting=tuple(_with(loss, event=self.event, incident=self._incident) for loss in alerts.waiting),
            open=tuple(map(self._opened, alerts.open)),
        )

    def _word(self, word: Word) -> Word:
        return _with(word, by=self._person)

    def _silence(self, silence: Silence) -> Silence:
        return _with(
            silence,
            id=partial(self._unless, _RECURRING.fullmatch, "silence"),
            note=lambda note: REDACTED if note else note,
            by=self._person,
            matcher=partial(_with, query=partial(self._pseudonym, "query")),
            environments=lambda keys: frozenset((EMPTY, self._machine(id_)) for _, id_ in keys),
            hours=partial(_with, filter=lambda _: EMPTY),
        )

    def _opened(self, incident: Incident) -> Incident:
        return _with(
            incident,
            id=self._incident,
            profile=self._profile,
            losses=lambda losses: tuple(map(self.event, losses)),
            remaining=lambda keys: frozenset((self._profile(profile), self._machine(id_)) for profile, id_ in keys),
            shared=self._values_shared,
            ended_by=lambda _: REDACTED,
        )

    def _quarantine(self, quarantine: QuarantinedListing) -> QuarantinedListing:
        finding = partial(_with, text=lambda text: text if _OWN_WORDS.fullmatch(text) else REDACTED)
        return _with(quarantine, finding=finding, missing=self._machines, confirmed_absent=self._machines)

    def _snapshot(self, snapshot: Snapshot) -> Snapshot:
        ids = self._machines
        return _with(snapshot._replace(pages=(), rows={}), rejected_ids=ids, confirmed_absent=ids, in_doubt=ids)

    def _tracked_environment(self, tracked: TrackedEnvironment) -> TrackedEnvironment:
        return _with(
            tracked,
            environment=self._environment,
            profile=self._profile,
            last_known_heartbeat=partial(_with, connection_id=self._connection),
            left_pod_id=self._pod,
            replaced_by=self._machine,
            replaced_by_name=self._machine,
            twins=self._machines,
            offline_beside=self._machines,
        )

    def _environment(self, row: Environment) -> Environment:
        kept: dict[str, Any] = {}
        for each in API_FIELDS.values():
            value = getattr(row, each.name)
            if each.identifies is not None:
                kept[each.name] = None if value is None else self._rules[each.identifies](value)
            elif each.kind is not ValueKind.OBJECT:
                kept[each.name] = value
        metadata = row.metadata and self._again(f"metadata of {row.id}", self._metadata, row.metadata)
        return Environment(**kept, metadata=metadata)

    def _metadata(self, metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
        known = {key: self._by_key[key](value) for key, value in metadata.items() if key in self._by_key}
        return {key: value for key, value in known.items() if value is not None}

    def _value(self, event: Event, value: SafeText) -> SafeText:
        if is_replacement(event):
            return self._machine(value)
        if event.field is not None:
            return self._in_field(event.field, value)
        if event.kind in _CONNECTIONS:
            return self._connection(value)
        return value if value in _PRESENCES else REDACTED

    def _in_field(self, field: str, value: SafeText) -> SafeText:
        return self._by_label[field](value) if field in self._by_label else REDACTED

    def _reason(self, event: Event, reason: SafeText) -> SafeText:
        if _OWN_WORDS.fullmatch(reason):
            return reason
        if event.kind is Kind.TOGETHER:
            return self._values_shared(reason)
        if event.kind is Kind.APPEARED and (relation := _RELATION.fullmatch(reason)):
            before, label, after = relation.groups()
            return composed(f"{before} {self._machine(composed(label))}{after}")
        if is_replacement(event) and event.after is not None:
            return replaced_by_text(self._machine(event.after))
        cause = reason.partition(":")[0]
        return clean(f"{cause}: {REDACTED}") if event.kind is Kind.FAILING and cause in set(Cause) else REDACTED

    def _values_shared(self, text: SafeText) -> SafeText:
        return composed(", ".join(self._shared(text.split(", "))))

    def _shared(self, parts: Iterable[str]) -> Iterable[str]:
        """Yield redacted values; a value with a comma arrives in several parts."""
        for part in parts:
            field = next((field for field in self._by_label if part.startswith(f"{field} ")), None)
            yield REDACTED if field is None else f"{field} {self._in_field(field, composed(part[len(field) + 1 :]))}"

    def _machines(self, ids: Iterable[SafeText]) -> frozenset[SafeText]:
        return frozenset(map(self._machine, ids))

    def _machine(self, text: SafeText) -> SafeText:
        if text.startswith(_EXPECTED):
            return missing_id(self._machine(sliced(text, len(_EXPECTED))))
        if text.isspace():
            return clean(" ")
        return self._with_begin(_BEGINS[Identifies.MACHINE], Identifies.MACHINE, text)

    def _with_begin(self, begins: tuple[str, ...], kind: str, text: SafeText) -> SafeText:
        begin = next((begin for begin in begins if text.startswith(begin)), "")
        return clean(f"{begin}{self._pseudonym(kind, text)}")

    def _unless(self, is_harmless: Callable[[str], object], kind: str, text: SafeText) -> SafeText:
        return text if is_harmless(text) else self._pseudonym(kind, text)

    def _pseudonym(self, kind: str, text: str) -> SafeText:
        if not text:
            return EMPTY
        known = self._pseudonyms.setdefault(kind, {})
        if text not in known:
            known[text] = clean(f"{kind}-{len(known) + 1}")
        return known[text]


def _with(value: T, **rules: Callable[[Any], Any]) -> T:
    record: Any = value
    old = {name: getattr(record, name) for name in rules}
    new = {name: None if each is None else rules[name](each) for name, each in old.items()}
    redacted: T = record._replace(**new) if hasattr(record, "_replace") else replace(record, **new)
    return redacted


def _of_text(redact: Callable[[SafeText], SafeText]) -> Callable[[JsonValue], JsonValue]:
    return lambda value: redact(clean(value)) if isinstance(value, str) else None


def _harmless_part(tests: Mapping[str, Callable[[JsonValue], object]], value: JsonValue) -> JsonValue:
    if not isinstance(value, dict):
        return None
    return {key: value[key] for key, is_harmless in tests.items() if key in value and is_harmless(value[key])}


_OBJECTS: Final[Mapping[str, Mapping[str, Callable[[JsonValue], object]]]] = {
    "self_update": dict.fromkeys(("supported", "writable"), lambda value: isinstance(value, bool)),
    "machine": {
        "architecture": lambda value: isinstance(value, str) and value in _ARCHITECTURES,
        "memoryBytes": lambda value: isinstance(value, (int, float)),
        "osName": lambda value: isinstance(value, str) and _SYSTEM.fullmatch(value),
        "osVersion": lambda value: isinstance(value, str) and _SYSTEM_VERSION.fullmatch(value),
    },
}
