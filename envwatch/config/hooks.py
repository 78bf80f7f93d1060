"""The hooks of the configuration file: settings, mistakes, rules and deliveries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from envwatch.alerts.hook_rules import HookRule
from envwatch.config.validators import QUERY, duration_between
from envwatch.deliver.delivery import Apprise, Command, Delivery, PagerDuty, Webhook
from envwatch.deliver.rules import LINE, VARIABLE
from envwatch.fleet.events import Event, Kind
from envwatch.model.clock import ServerMs
from envwatch.model.text import EMPTY, SafeText, clean, did_you_mean
from envwatch.views.events.cloud_events import word_of
from envwatch.views.events.matching import event_test

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DELIVERIES: Final[tuple[type[Delivery], ...]] = (Command, Webhook, PagerDuty, Apprise)

INCIDENT: Final = "incident"
ACKNOWLEDGED: Final = "acknowledged"

KINDS: Final[Mapping[str, Kind]] = {
    word_of(Event(kind=kind, at=ServerMs(0))): kind
    for kind in Kind
    if kind not in {Kind.TOGETHER, Kind.WHILE_BLIND, Kind.NOTICE, Kind.ACKNOWLEDGED, Kind.ACK_ENDED}
}
"""Kinds by the words of `watch`; group members count separately."""

_WORDS: Final = (INCIDENT, ACKNOWLEDGED, *KINDS)
_TARGETS: Final = tuple(dict.fromkeys(target for kind in DELIVERIES for target in kind.targets))


def _kinds(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not raw or not all(isinstance(word, str) for word in raw):
        raise ValueError(f'must be a list of kinds of events: ["{INCIDENT}"], ["offline", "online"]')
    for word in raw:
        if word not in _WORDS:
            hint = did_you_mean(word, _WORDS) or f"; there are {', '.join(_WORDS)}"
            raise ValueError(f"names an unknown kind of event{hint}")
    if ACKNOWLEDGED in raw and INCIDENT not in raw:
        raise ValueError(f'must have "{INCIDENT}" for "{ACKNOWLEDGED}", which is about incidents')
    return tuple(dict.fromkeys(raw))


_KINDS: Final = BeforeValidator(
    _kinds,
    json_schema_input_type=Annotated[
        list[Annotated[str, Field(json_schema_extra={"enum": list(_WORDS)})]], Field(min_length=1)
    ],
)


class _HookSettings(BaseModel):
    """A program or web service that gets messages. Only `watch --hooks` and `serve --hooks` run hooks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # `HookSettings` adds the settings of deliveries.
    name: Annotated[SafeText, LINE] = Field(
        default=EMPTY, description="The hook's name in messages and logs; by default, its number."
    )
    on: Annotated[tuple[str, ...], _KINDS] = Field(
        default=(INCIDENT,),
        description="Kinds of events. `incident`, the default, sends one message when an incident opens and one when "
        "it resolves. `acknowledged` sends one more when all its machines that are still off are acknowledged.",
    )
    filter: Annotated[str, QUERY] = Field(
        default="",
        description="Filter: messages only about matching machines, in addition to the alert policy. Each hook is for "
        "all profiles; `profile:prod` chooses one.",
    )
    after: Annotated[timedelta, duration_between(0, 86_400)] = Field(
        default=timedelta(),
        description="Send a message only after the incident or event has lasted this long; for a loss, at least "
        "`alert_after`.",
    )
    cooldown: Annotated[timedelta, duration_between(0, 86_400)] = Field(
        default=timedelta(),
        description="Shortest time between two messages about the same environment and kind of event.",
    )
    remind: Annotated[timedelta | None, duration_between(60, 604_800)] = Field(
        default=None,
        description="Repeat the message about an open incident without an acknowledgement, each time after this long.",
    )

    def numbered(self, number: int) -> Self:
        """Return the hook with a clean name, by default `number`."""
        return self.model_copy(update={"name": clean(self.name or str(number))})

    def rule(self, profile: SafeText) -> HookRule:
        """Return the hook's rule; `profile` is a single profile's name."""
        rule = HookRule(
            kinds=frozenset(KINDS[word] for word in self.on if word in KINDS),
            has_incidents=INCIDENT in self.on,
            after=self.after,
            cooldown=self.cooldown,
            has_acks=ACKNOWLEDGED in self.on or self._kind.has_acks,
            remind=self.remind,
        )
        return replace(rule, matches=event_test(self.filter, profile)) if self.filter else rule

    def delivery(self) -> Delivery:
        """Return the hook's delivery, not prepared yet."""
        kind = self._kind
        names = self.model_fields_set & kind.model_fields.keys()
        return kind.model_construct(**{name: getattr(self, name) for name in names})

    @property
    def _kind(self) -> type[Delivery]:
        return (_deliveries_in({name: getattr(self, name) for name in self.model_fields_set}) or DELIVERIES)[0]

    @property
    def secret_variables(self) -> tuple[str, ...]:
        """The hook's variables with secrets."""
        names = (name for name, field in type(self).model_fields.items() if VARIABLE in field.metadata)
        return tuple(filter(None, (getattr(self, name) for name in names)))


_FIELDS: Final[Mapping[str, Any]] = {
    name: (field.rebuild_annotation(), Field(default=field.default, description=field.description))
    for kind in DELIVERIES
    for name, field in kind.model_fields.items()
}
if TYPE_CHECKING:
    HookSettings: TypeAlias = _HookSettings
else:
    HookSettings = create_model("HookSettings", __base__=_HookSettings, __doc__=_HookSettings.__doc__, **_FIELDS)


def _deliveries_in(table: Mapping[str, Any]) -> Sequence[type[Delivery]]:
    chosen = [kind for kind in DELIVERIES if kind.is_chosen(table)]
    return [kind for kind in chosen if not table.keys().isdisjoint(kind.targets)] or chosen


def mistakes_between_hooks(tables: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield key and text of each mistake between values."""
    names: set[str] = set()
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if not isinstance(table, dict):
            continue
        key = ("hooks", str(index))
        yield from ((key, what) for what in _mistakes_in_hook(table))
        name = str(table.get("name", index + 1)).strip()
        if name in names:
            yield (*key, "name"), "is the name of another hook as well"
        names.add(name)


def _mistakes_in_hook(table: Mapping[str, Any]) -> Iterator[str]:
    chosen = _deliveries_in(table)
    targets = [name for name in _TARGETS if name in table]
    if not chosen:
        yield f"needs what takes its messages: {', '.join(_TARGETS[:-1])} or {_TARGETS[-1]}"
    elif len(targets) > 1:
        yield f"has {' and '.join(targets)}, and can have one of them only"
    usable = {*targets, *(name for kind in chosen for name in kind.model_fields)}
    owners = {name: kind.targets[0] for kind in DELIVERIES for name in kind.model_fields if name in table}
    for name in sorted(owners.keys() - usable):
        yield f"has {name}, which goes with {owners[name]} only"
    for kind in chosen:
        yield from kind.mistakes(table)
