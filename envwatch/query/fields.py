"""The fields of the filter language, and any key of the metadata."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from envwatch.model.environment import mode_from_query
from envwatch.model.text import SafeText, clean, composed
from envwatch.presentation import PRESENTATIONS, Match, Presentation
from envwatch.query.field_types import (
    Field,
    FlagField,
    InstantField,
    MatchContext,
    PercentField,
    StatusField,
    TextField,
    VersionField,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.lexer import Token

META = "meta."

STATUS = "status"


def named_field(token: Token) -> Field:
    """Return the field of a name.

    Raises:
        QueryError: with the nearest names, if no field has the name.
    """
    name = token.text.casefold()
    if name.startswith(META) and len(name) > len(META):
        return meta_field(clean(token.text[len(META) :]))
    if name in (META, META[:-1]):
        raise token.error("name a key of the metadata: meta.KEY:value")
    field = FIELDS.get(ALIASES.get(name, name))
    if field is None:
        raise token.error(f"there is no field {clean(token.text, 20)}; {_nearest(name[:40])}; or quote it")
    return field


def known_field(typed: str) -> str | None:
    """Return the name of a field or alias, except metadata."""
    name = typed.casefold()
    name = ALIASES.get(name, name)
    return name if name in FIELDS else None


def may_become_field(typed: str) -> bool:
    """Whether a person may be about to type a field's name."""
    typed = typed.casefold()
    return typed.startswith(META) or any(name.startswith(typed) for name in (*FIELDS, *ALIASES, META))


def _nearest(typed: str) -> str:
    names = [*FIELDS, *ALIASES]
    begun = [name for name in names if typed and name.startswith(typed)]
    nearest = list(dict.fromkeys([*begun, *get_close_matches(typed, names, cutoff=0.5)]))
    return f"the nearest: {', '.join(nearest[:2])}" if nearest else f"there are {', '.join([*FIELDS][:3])} and more"


def meta_field(key: str) -> Field:
    """Return the field of a metadata key, or of an unknown key of the row."""
    return TextField(META + key, "a key of the metadata", lambda tracked, _: _texts_of(member_of(tracked, key)))


def member_of(tracked: TrackedEnvironment, path: str) -> JsonValue:
    """Return a value of the metadata, or else of the row's unknown members."""
    value = member(tracked.environment.metadata, path)
    return member(tracked.environment.unknown, path) if value is None else value


def member(value: JsonValue, path: str) -> JsonValue:
    """Return the value at a dotted path, or None. A key may itself contain dots."""
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    end = path.find(".")
    while end >= 0:
        if (found := member(value.get(path[:end]), path[end + 1 :])) is not None:
            return found
        end = path.find(".", end + 1)
    return None


def _texts_of(value: JsonValue) -> Iterator[SafeText]:
    if isinstance(value, list):
        for item in value:
            yield from _texts_of(item)
    elif value is not None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield composed(text)


def _host(tracked: TrackedEnvironment, _: MatchContext) -> Iterator[SafeText | None]:
    yield tracked.environment.os
    machine = tracked.environment.machine or {}
    yield from (clean(value) for value in machine.values() if isinstance(value, str))


def _field_of(presentation: Presentation) -> Field:
    name, text = presentation.id, presentation.text
    about = f"{presentation.about}: {presentation.example}" if presentation.example else presentation.about

    def texts(tracked: TrackedEnvironment, _: MatchContext) -> tuple[SafeText | None]:
        return (text(tracked),)

    if presentation.instant is not None:
        return InstantField(name, about, presentation.instant)
    match presentation.match:
        case Match.VERSION:
            return VersionField(name, about, texts)
        case Match.PREFIX if name == "mode":
            return TextField(name, about, texts, is_prefix=True, canonical=mode_from_query, known=presentation.known)
        case match:
            return TextField(name, about, texts, is_prefix=match is Match.PREFIX, known=presentation.known)


_COMPUTED: Final[tuple[Field, ...]] = (
    StatusField(STATUS, "online, late, offline, gone, missing, flapping, changed, acknowledged"),
    TextField("profile", "profile of the row", lambda tracked, context: (tracked.profile or context.profile,)),
    TextField("host", "system, processor or architecture", _host),
    InstantField("beat", "last heartbeat: >90s", lambda tracked: tracked.environment.last_heartbeat_at),
    FlagField("permanent", "up nearly all the time: yes, no", lambda tracked: tracked.is_permanent),
    PercentField("up7d", "percent of the last watched week up: <90", lambda tracked: tracked.up_share),
    TextField("command", "command of the listener", lambda tracked, _: tracked.environment.supported_commands or ()),
)

_ORDER: Final = (
    "status name mode profile version branch directory os host node beat up seen first user pod device connection"
    " listener owner org id update permanent up7d command"
)
"""Fields missing here come last."""

_ALL: Final = {field.name: field for field in (*_COMPUTED, *map(_field_of, PRESENTATIONS.values()))}

FIELDS: Final[Mapping[str, Field]] = {name: _ALL[name] for name in dict.fromkeys([*_ORDER.split(), *_ALL])}

ALIASES: Final[Mapping[str, str]] = {
    "state": STATUS,
    **{alias: each.id for each in PRESENTATIONS.values() for alias in each.aliases},
    "heartbeat": "beat",
    "commands": "command",
}
