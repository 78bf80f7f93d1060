"""Completions of the filter box, and hints about values without a match."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from heapq import nsmallest
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from envwatch.model.environment import METADATA_FIELDS, Environment
from envwatch.model.text import SafeText, composed, counted, natural_key
from envwatch.model.versions import is_version
from envwatch.query.fields import (
    ALIASES,
    FIELDS,
    FLAGS,
    META,
    NONE,
    OF_PAST,
    STATUS,
    STATUSES,
    FlagField,
    NumberField,
    StatusField,
    TextField,
    VersionField,
    member,
    named_field,
    operator_of,
    state_test,
)
from envwatch.query.language import Query, Term, TextTerm, parse
from envwatch.query.lexer import QueryError, Token, normalize, quote_if_needed, tokens
from envwatch.query.presentation import TIMELESS, Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic import JsonValue

    from envwatch.fleet.tracking import TrackedEnvironment
    from envwatch.query.fields import Field, Value
    from envwatch.query.language import Searched

MOST = 20
MOST_KEYS = 100
_OWN_COLUMNS = frozenset(key for key, field in METADATA_FIELDS.items() if field.kind is str)
_SELF_UPDATE = f"{Environment.self_update.key}."
_DEPTH = 3

_TERM_EXAMPLES = (
    ("mode:unrestricted,strict", "either mode"),
    ("!os:darwin", "not on a Mac"),
    ("beat:>90s", "no heartbeat for 90 s"),
    ("version:<0.34", "older than 0.34"),
    ("branch:feat/*", "branches that start with feat/"),
    ("name:web-?", "one more character"),
    ("branch:none", "no branch"),
    ("first:>2026-11-01", "first seen after that day"),
    ('name:"build box"', "a text with a space"),
)

HELP: tuple[tuple[str, str], ...] = (
    ("web", "web in any visible column"),
    ("offline", "that state, or the word in a column"),
    *_TERM_EXAMPLES,
)

LOG_HELP: tuple[tuple[str, str], ...] = (
    ("web", "web in the text of an event"),
    ("!flapping", "events without that word"),
    *_TERM_EXAMPLES,
)

_COMPARISONS = (">", ">=", "<", "<=")
_INSTANT_COMPARISONS = (
    "longer ago, or after a date",
    "at least as long ago, or from a date",
    "less long ago, or before a date",
    "at most as long ago, or until a date",
)
_VERSION_COMPARISONS = ("newer than", "this or newer", "older than", "this or older")
_NUMBER_COMPARISONS = ("more than", "this or more", "less than", "this or less")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Completion:
    """Replaces the line from `start` to `end` with `text`."""

    start: int
    end: int
    text: SafeText
    description: SafeText


def completions(
    text: str, cursor: int, environments: Iterable[TrackedEnvironment], *, has_past: bool = True
) -> list[Completion]:
    """Return the completions at the cursor, the likeliest first.

    `cursor` is the index after the last typed character. Values of `environments` come by frequency. Without
    `has_past`, no field of recorded time is offered.
    """
    token = _token_at(text, cursor)
    body = token.part(1) if token.shape.startswith("!") else token
    before, colon, _ = body.shape.partition(":")
    name = body.part(0, len(before))
    if not colon or cursor <= name.end:
        end = name.end + len(colon) if colon else _end(name, text, cursor)
        typed = _typed(name, cursor)
        statuses = () if colon or len(typed) < 2 else _statuses(typed)
        names = _names(typed, environments, has_past=has_past)
        offers = chain(names, ((f"{STATUS}:{name}", about) for name, about in statuses))
        return [Completion(name.start, end, composed(offer), composed(about)) for offer, about in offers]
    try:
        field = named_field(name)
    except QueryError:
        return []
    values = list(body.part(len(before) + 1).parts(","))
    value = next(part for part in values if cursor <= part.end)
    present = {text[part.start : part.end] for part in values}
    end = _end(value, text, cursor)
    return [
        Completion(value.start, end, composed(offer), composed(about))
        for offer, about in _values(field, value, _typed(value, cursor), environments)
        if offer not in present
    ]


def _token_at(text: str, cursor: int) -> Token:
    for token in tokens(text):
        if token.start < cursor <= token.end:
            return token
    return Token("", "", (cursor,), cursor)


def _end(token: Token, text: str, cursor: int) -> int:
    """Return the end of the replaced text. An open quote, which includes the rest of the line, is meant for a word."""
    return cursor + len(text[cursor : token.end].partition(" ")[0]) if token.is_open else token.end


def _typed(token: Token, cursor: int) -> str:
    return "".join(letter for letter, place in zip(token.text, token.places, strict=False) if place < cursor)


def _names(typed: str, environments: Iterable[TrackedEnvironment], *, has_past: bool) -> Iterator[tuple[str, str]]:
    prefix = typed.casefold()
    if prefix.startswith(META):
        yield from _metadata_keys(typed[len(META) :], environments)
        return
    by_alias = {field for alias, field in ALIASES.items() if prefix and alias.startswith(prefix)}
    for name, field in FIELDS.items():
        is_known = has_past or name not in OF_PAST
        if is_known and (name.startswith(prefix) or name in by_alias):
            yield f"{name}:", field.about
    if META.startswith(prefix):
        yield META, "any key of the metadata"


def _statuses(typed: str) -> Iterator[tuple[str, str]]:
    return ((name, about) for name, (about, _) in STATUSES.items() if name.startswith(typed.casefold()))


def _metadata_keys(typed: str, environments: Iterable[TrackedEnvironment]) -> Iterator[tuple[str, str]]:
    path, dot, prefix = typed.rpartition(".")
    roots = (tracked.environment.metadata for tracked in environments)
    levels = [level for root in roots if isinstance(level := member(root, path) if dot else root, dict)]
    counts = Counter(chain.from_iterable(levels))
    for key, count in _most_frequent((key, count) for key, count in counts.items() if key.startswith(prefix)):
        value = next(level[key] for level in levels if key in level)
        separator = "." if isinstance(value, dict) else ":"
        yield quote_if_needed(f"{META}{path}{dot}{key}") + separator, counted(count, "machine")


def metadata_keys(environments: Iterable[TrackedEnvironment]) -> list[tuple[str, int]]:
    """Return at most `MOST_KEYS` dotted keys of the metadata, each with the number of rows.

    The most frequent keys come first, keys that envwatch reads last. Keys with a column are left out.
    """
    counts: Counter[str] = Counter()
    for tracked in environments:
        counts.update(set(_leaves(tracked.environment.metadata or {}, "", _DEPTH)))

    def place(pair: tuple[str, int]) -> tuple[bool, int, str]:
        key, count = pair
        return key.partition(".")[0] in METADATA_FIELDS, -count, key

    found = (
        (key, count) for key, count in counts.items() if key not in _OWN_COLUMNS and not key.startswith(_SELF_UPDATE)
    )
    return nsmallest(MOST_KEYS, found, key=place)


def _leaves(value: Mapping[str, JsonValue], prefix: str, depth: int) -> Iterator[str]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner and depth:
            yield from _leaves(inner, f"{prefix}{key}.", depth - 1)
        elif inner is not None and inner != "" and key:
            yield f"{prefix}{key}"


def _values(
    field: Field, token: Token, typed: str, environments: Iterable[TrackedEnvironment]
) -> Iterator[tuple[str, str]]:
    operator = operator_of(token)
    typed = typed[len(operator) :]
    match field:
        case StatusField():
            yield from _statuses(typed)
        case NumberField(kind=Filter.INSTANT):
            if typed.isascii() and typed.isdecimal():
                yield from ((f"{operator}{typed}{unit}", name) for unit, name in _UNITS.items())
            elif not token.text:
                yield from zip(_COMPARISONS, _INSTANT_COMPARISONS, strict=True)
                yield NONE, "never"
        case FlagField():
            yield from ((flag, f"{field.name}: {flag}") for flag in FLAGS if flag.startswith(typed.casefold()))
        case NumberField() if not token.text:
            yield from zip(_COMPARISONS, _NUMBER_COMPARISONS, strict=True)
            yield NONE, "not known yet"
        case VersionField():
            if not token.text:
                yield from zip(_COMPARISONS, _VERSION_COMPARISONS, strict=True)
            yield from _fleet_values(field, operator, typed, environments)
        case TextField() if operator in ("", "="):
            yield from _fleet_values(field, operator, typed, environments)


def _fleet_values(
    field: TextField, operator: str, typed: str, environments: Iterable[TrackedEnvironment]
) -> Iterator[tuple[str, str]]:
    sought = normalize(typed)
    is_version_field = isinstance(field, VersionField)
    is_prefix = is_version_field or field.is_prefix

    def is_match(value: SafeText | None) -> bool:
        if value is None:
            return not operator and NONE.startswith(sought)
        if operator and is_version_field and not is_version(value.lower()):
            return False
        return normalize(value).startswith(sought) if is_prefix else sought in normalize(value)

    counts = Counter(chain.from_iterable(field.values_of(tracked) for tracked in environments))
    for value, count in _most_frequent((value, count) for value, count in counts.items() if is_match(value)):
        yield NONE if value is None else operator + quote_if_needed(value), counted(count, "machine")


def value_hint(query: Query, environments: Iterable[TrackedEnvironment]) -> SafeText | None:
    """Return a hint about a value that no machine has but that resembles a usual value, or None.

    Any value may exist one day, so the query is no mistake.
    """
    environments = list(environments)
    for field, value in _values_without_rows(query, environments):
        if value.whole_name and state_test(value.source) is not None:
            return composed(f"no machine is called {value.source}; did you mean {STATUS}:{value.source}?")
        if (meant := _meant(field, value.source, environments)) is not None:
            what = f"no machine has {field.name}:{value.source}"
            return composed(f"{what}; did you mean {field.name}:{meant}?")
        if (wider := _as_part(field, value.source, environments)) is not None:
            return composed(f"{field.name}:{value.source} finds 0; {wider}")
    return None


def near_names(query: Query, environments: Iterable[TrackedEnvironment]) -> SafeText | None:
    """Return `the nearest: web-1, web-2; name:*web* finds 12` about names that no environment has, or None."""
    environments = list(environments)
    values = _values_without_rows(query, environments)
    missing = {value.source: field for field, value in values if field.name == "name"}
    if not missing:
        return None
    labels = {normalize(each.environment.label): each.environment.label for each in environments}
    found = (labels[name] for name in get_close_matches(normalize(" ".join(missing)), labels))
    near = sorted(found, key=natural_key)
    parts = [f"the nearest: {', '.join(near)}"] if near else []
    wider = filter(None, (_as_part(field, source, environments) for source, field in missing.items()))
    parts += islice(wider, 1)
    return composed("; ".join(parts)) if parts else None


def typing_hint(query: Query, environments: Iterable[TrackedEnvironment]) -> SafeText | None:
    """Return `0; name:web-* finds 12` if a term finds nothing because a value is only a part of texts, or None."""
    environments = list(environments)
    missing = [*_values_without_rows(query, environments)]
    typed = Counter(field.name for field, term in _text_terms(query) for _ in term.values)
    found = typed - Counter(field.name for field, _ in missing)
    for field, value in missing:
        if found[field.name]:
            continue
        begin = _finds(field, f"{value.source.rstrip('*')}*", value.source, environments)
        if (wider := begin or _as_part(field, value.source, environments)) is not None:
            return composed(f"0; {wider}")
    return None


def unmatched_filter(
    query: Query, environments: Iterable[TrackedEnvironment], profile: SafeText, searched: Sequence[Searched]
) -> SafeText | None:
    """Return `name:web finds 0; name:*web* finds 12` about a kept filter, or None.

    Terms that a machine meets for a time (states, ages, mode, version) may find nothing now, unless a value resembles a
    usual value. Nothing is known without environments.
    """
    environments = list(environments)
    lasting = Query(tuple(term for term in query.terms if _is_lasting(term, environments)))
    matches = lasting.test(TIMELESS._replace(profile=profile), searched)
    if not lasting or not environments or any(map(matches, environments)):
        return None
    text = f"{query} finds 0"
    for field, value in _values_without_rows(lasting, environments):
        if (meant := _meant(field, value.source, environments)) is not None:
            return composed(f"{text}; did you mean {field.name}:{meant}?")
        if (wider := _as_part(field, value.source, environments)) is not None:
            return composed(f"{text}; {wider}")
    return composed(f"{text} of {len(environments):,}")


def _is_lasting(term: TextTerm | Term, environments: Sequence[TrackedEnvironment]) -> bool:
    if not isinstance(term, Term):
        return term.state is None
    field = FIELDS.get(term.field)
    if field is None:
        return term.field.startswith(META)
    if not isinstance(field, TextField):
        return False
    is_for_a_time = field.name == "mode" or isinstance(field, VersionField)
    return not is_for_a_time or any(_meant(field, value.source, environments) for value in term.values)


def _values_without_rows(query: Query, environments: Sequence[TrackedEnvironment]) -> Iterator[tuple[TextField, Value]]:
    """Yield the values of texts that no environment has, of terms without `!`."""
    for field, term in _text_terms(query):
        for value in term.values:
            if value.source != NONE and not any(value.test(each, TIMELESS) for each in environments):
                yield field, value


def _text_terms(query: Query) -> Iterator[tuple[TextField, Term]]:
    """Yield the terms of texts without `!`."""
    for term in query.terms:
        field = FIELDS.get(term.field) if isinstance(term, Term) and not term.is_negated else None
        if isinstance(term, Term) and isinstance(field, TextField):
            yield field, term


def _as_part(field: TextField, source: str, environments: Sequence[TrackedEnvironment]) -> str | None:
    return _finds(field, f"*{source.strip('*')}*", source, environments)


def _finds(field: TextField, wider: str, source: str, environments: Sequence[TrackedEnvironment]) -> str | None:
    """Return `name:*web* finds 12` for a wider value than `source`, or None if no machine has the value."""
    # `mode:*strict*` would offer unrestricted.
    if field.known or source.startswith("="):
        return None
    try:
        (term,) = parse(f"{field.name}:{wider}").terms
    except QueryError:  # a comparison or range of versions, such as `version:>0.99`, has no wider form
        return None
    if not isinstance(term, Term):
        return None
    count = sum(term.values[0].test(each, TIMELESS) for each in environments)
    return f"{term} finds {count:,}" if count else None


def _meant(field: TextField, source: str, environments: Iterable[TrackedEnvironment]) -> str | None:
    typed = source.lstrip("=").strip('"').casefold()
    if not field.known or set("*?") & set(typed):
        return None
    present = {text.casefold(): text for each in environments for text in field.values_of(each) if text}
    known = {**field.known, **present}
    meant = known.get(next(iter(get_close_matches(typed, known)), ""), "")
    return quote_if_needed(meant) if meant and meant.casefold() != typed else None


_Value = TypeVar("_Value", str, SafeText | None)


def _most_frequent(counts: Iterable[tuple[_Value, int]]) -> list[tuple[_Value, int]]:
    return nsmallest(MOST, counts, key=lambda pair: (-pair[1], pair[0] is None, pair[0] or ""))
