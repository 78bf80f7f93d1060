"""A page of the listing: JSON bytes become frozen rows of cleaned text.

Usually pydantic validates the whole page, and `is_plain_json` proves within 0.1 ms that cleaning changes nothing. A
page with an unfit row or an unknown field is read row by row. `split_page` counts brackets without recursion, and
isolates rows beyond every parser: deep nesting, bytes that are not UTF-8, a number of 5,000 digits.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pydantic_core
from pydantic_core import SchemaValidator, ValidationError, core_schema

from envwatch.model import limits
from envwatch.model.environment import API_FIELDS, WIRE_FIELDS, WIRE_NAMES, Environment, ValueKind
from envwatch.model.shared_marks import SHARED_FIELD
from envwatch.model.text import DEPTH, LONGEST, SafeText, clean, clean_key, cleaned, is_hashed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import JsonValue
    from pydantic_core import CoreSchema


# An unterminated string matches: else the search would read to the page's end from each escaped quote.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|([\[{]+)|([\]}]+)', re.DOTALL)
_SPACE: Final = rb"[ \t\r\n]*"
_ARRAY: Final = re.compile(_SPACE + rb":" + _SPACE + rb"\[")
_FIRST_ROW: Final = re.compile(_SPACE + rb"(?=\{)")
_NEXT_ROW: Final = re.compile(_SPACE + rb"," + _SPACE + rb"(?=\{)")
_LAST: Final = re.compile(_SPACE + rb"(?=\])")
_TEXT: Final = re.compile(_SPACE + rb":" + _SPACE + rb'("[^"\\]*(?:\\.[^"\\]*)*")', re.DOTALL)


def split_page(page: bytes) -> tuple[list[bytes], bytes] | None:
    """Return a page's rows and the rest of the page; None without complete `connections`."""
    start = next((array.end() for key in _members(page, b'"connections"') if (array := _ARRAY.match(page, key))), None)
    if start is None:
        return None
    rows = []
    end = start
    row = _FIRST_ROW.match(page, start)
    while row is not None:
        closed = _end_of(page, row.end())
        if closed is None:
            return None
        rows.append(page[row.end() : closed])
        end = closed
        row = _NEXT_ROW.match(page, end)
    last = _LAST.match(page, end)
    return (rows, page[:start] + page[last.end() :]) if last else None


def id_in(row: bytes) -> bytes | None:
    """Return a row's last text `id` as JSON."""
    texts = [text[1] for key in _members(row, b'"id"') if (text := _TEXT.match(row, key))]
    return texts[-1] if texts else None


def _members(text: bytes, name: bytes) -> Iterator[int]:
    depth = 0
    for token in _TOKEN.finditer(text):
        if depth == 1 and token[0] == name:
            yield token.end()
        depth += _change(token)


def _end_of(text: bytes, start: int) -> int | None:
    depth = 0
    for token in _TOKEN.finditer(text, start):
        change = _change(token)
        if depth + change <= 0:
            return token.start() + depth
        depth += change
    return None


def _change(token: re.Match[bytes]) -> int:
    if token.lastindex is None:
        return 0
    brackets = token.end() - token.start()
    return brackets if token.lastindex == 1 else -brackets


_ESCAPE: Final = re.compile(rb"\\(.)")
_UNPRINTABLE: Final = frozenset([b"u", b"b", b"f", b"n", b"r", b"t"])
_ASCII: Final = bytes(range(128))


def is_plain_json(data: bytes) -> bool:
    r"""Whether `clean` surely keeps all characters of a JSON document's strings, apart from cuts.

    A document with `\u00e9` is never plain; nesting and numbers are not checked. A NUL fails because `json.loads`
    would read UTF-16.
    """
    return (
        b"\x7f" not in data
        and b"\x00" not in data
        and _UNPRINTABLE.isdisjoint(_ESCAPE.findall(data))
        and (data.isascii() or _keeps_beyond_ascii(data))
    )


def _keeps_beyond_ascii(data: bytes) -> bool:
    try:
        text, others = data.decode(), set(data.translate(None, _ASCII).decode())
    except UnicodeDecodeError:
        return False
    return all(_is_kept(each) or (_is_kept(f"a{each}") and _follows_letters(each, text)) for each in others)


def _follows_letters(mark: str, text: str) -> bool:
    return all((last := before[-1:]).isalpha() and _is_kept(last) for before in text.split(mark)[:-1])


@lru_cache(maxsize=4096)
def _is_kept(text: str) -> bool:
    return clean(text) == text


# pydantic's `TypeAdapter` makes the same schemas, and costs 30 ms of every start.
_NUMBER_SCHEMA: Final = core_schema.float_schema(strict=True, allow_inf_nan=False)
_SCHEMAS: Final[Mapping[ValueKind, CoreSchema]] = {
    ValueKind.TEXT: core_schema.str_schema(max_length=LONGEST),
    ValueKind.INSTANT: _NUMBER_SCHEMA,
    ValueKind.NUMBER: _NUMBER_SCHEMA,
    ValueKind.FLAG: core_schema.bool_schema(strict=True),
    ValueKind.OBJECT: core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema()),
}
_KEY_SCHEMA: Final = core_schema.str_schema(min_length=1, max_length=LONGEST)


def _member_schema(attribute: Field[Any]) -> core_schema.DataclassField:
    declared = API_FIELDS[attribute.name]
    schema = _KEY_SCHEMA if declared.name == "id" else _SCHEMAS[declared.kind]
    if attribute.default is None:
        schema = core_schema.with_default_schema(core_schema.nullable_schema(schema), default=None)
    elif attribute.default_factory is not MISSING:
        schema = core_schema.with_default_schema(schema, default_factory=attribute.default_factory)
    return core_schema.dataclass_field(attribute.name, schema, validation_alias=declared.wire)


_MEMBERS: Final = [_member_schema(each) for each in fields(Environment)]
_ROW_SCHEMA: Final = core_schema.dataclass_schema(
    Environment,
    core_schema.dataclass_args_schema(Environment.__name__, _MEMBERS, extra_behavior="forbid"),
    [each["name"] for each in _MEMBERS],
    slots=True,
)
_PAGE_SCHEMA: Final = core_schema.typed_dict_schema(
    {
        "connections": core_schema.typed_dict_field(core_schema.list_schema(_ROW_SCHEMA)),
        "hasNextPage": core_schema.typed_dict_field(core_schema.bool_schema(strict=True)),
    }
)
_ENVIRONMENT: Final = SchemaValidator(_ROW_SCHEMA)
_PAGE: Final = SchemaValidator(_PAGE_SCHEMA)


def parse_environment(row: JsonValue) -> Environment:
    """Return a decoded row with clean text.

    Raises:
        ValueError: if the row is unfit or too large.
    """
    if not isinstance(row, dict):
        raise ValueError("an environment that is no object")  # noqa: TRY004  a fault of the data
    members = {key: cleaned(row[key]) for key in row.keys() & WIRE_NAMES}
    if isinstance(id_ := row.get("id"), str):
        members["id"] = clean_key(id_)
    unknown: dict[str, JsonValue] = {clean(key): cleaned(value) for key, value in row.items() if key not in WIRE_NAMES}
    if is_too_large([members, unknown]):
        raise ValueError(f"an environment of more than {limits.ROW_BYTES} bytes")
    environment: Environment = _ENVIRONMENT.validate_python(members)
    return replace(environment, unknown=unknown) if unknown else environment


def is_too_large(value: JsonValue) -> bool:
    """Whether a decoded row, or a part, exceeds `ROW_BYTES`."""
    return len(pydantic_core.to_json(value)) > limits.ROW_BYTES


class PageError(ValueError):
    """A body without a page; the message is a line."""


@dataclass(frozen=True, slots=True)
class Page:
    """A decoded answer of `GET /v1/environments`."""

    environments: list[Environment]
    has_next_page: bool
    cursor: str | None
    """The last `id` as received, for the next page's `after`."""
    rejected: int
    rejected_ids: tuple[SafeText, ...] = ()
    received_ids: Mapping[SafeText, str] = field(default_factory=dict)
    """Received ids by cleaned id, if cleaning changed the id."""
    has_marks: bool = False


_TEXTS: Final = [each.name for each in WIRE_FIELDS if each.kind is ValueKind.TEXT and each.name != "id"]
_OBJECTS: Final = [each.name for each in WIRE_FIELDS if each.kind is ValueKind.OBJECT]
_texts_of: Final[Callable[[Environment], tuple[SafeText | None, ...]]] = attrgetter(*_TEXTS)


def parse_page(data: bytes, known: Mapping[SafeText, Environment] | None = None, pool: Pool | None = None) -> Page:
    """Return the page in a response's inflated body.

    Reuse of equal `known` rows of an earlier listing saves memory and makes comparisons cheap.

    Raises:
        PageError: for a body without a page, or with extreme numbers or nesting.
    """
    page = _page_at_once(data, known or {}) or _page_row_by_row(data)
    if pool is not None:
        for row in page.environments:
            before = known.get(row.id) if known else None
            for name in _OBJECTS:
                value = getattr(row, name)
                if value and (before is None or value is not getattr(before, name)):
                    pool.share(value)
    return page


def _page_at_once(data: bytes, known: Mapping[SafeText, Environment]) -> Page | None:
    try:
        page = _PAGE.validate_json(data)
    except ValidationError:
        return None
    rows: list[Environment] = page["connections"]
    cursor = rows[-1].id if rows else None
    # In later listings, a test of the few new rows is cheaper.
    is_plain = not known and is_plain_json(data)
    may_be_too_large = len(data) > limits.ROW_BYTES
    received_ids: dict[SafeText, str] = {}
    for index, row in enumerate(rows):
        before = known.get(row.id)
        # A row equal to a cleaned row is clean, unless the received id only looks like a hashed key.
        if before is None or row != before or is_hashed(row.id):
            if may_be_too_large and _has_large_object(row):
                return None
            try:
                rows[index] = _cleaned_row(row, before, is_plain=is_plain)
            except ValueError:
                return None
            _note_id(received_ids, rows[index].id, row.id)
        else:
            rows[index] = before
    return Page(rows, page["hasNextPage"], cursor, 0, received_ids=received_ids)


def _has_large_object(row: Environment) -> bool:
    for name in _OBJECTS:  # noqa: SIM110  `any` takes three times as long, and this runs for every new row
        if is_too_large(getattr(row, name)):
            return True
    return False


def _cleaned_row(row: Environment, before: Environment | None, *, is_plain: bool) -> Environment:
    """Return a clean row that shares equal objects with `before`, or raise ValueError for `_page_row_by_row`."""
    if row.unknown:
        raise ValueError("the wire must not fill that field")
    changes: dict[str, Any] = {}
    key = clean_key(row.id)
    if key != row.id:
        changes["id"] = key
    if not is_plain:
        texts = _texts_of(row)
        if not _is_plain("".join(filter(None, texts))):
            changes |= {name: clean(text) for name, text in zip(_TEXTS, texts, strict=True) if text is not None}
    for name in _OBJECTS:
        value = getattr(row, name)
        if before is not None and value == (known := getattr(before, name)):
            # The row is not shared yet; `replace` would take as long as decoding.
            object.__setattr__(row, name, known)
        elif not _needs_no_cleaning(value, is_plain=is_plain) and (clean_value := cleaned(value)) != value:
            changes[name] = clean_value
            if is_too_large(clean_value):
                raise ValueError("escapes made it too large")
    return replace(row, **changes) if changes else row


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _page_row_by_row(data: bytes) -> Page:
    page = _decoded_page(data)
    rows = page.get("connections") if isinstance(page, dict) else None
    has_next_page = page.get("hasNextPage") if isinstance(page, dict) else None
    if not isinstance(rows, list) or not isinstance(has_next_page, bool):
        raise PageError("no page of environments: it lacks `connections` or `hasNextPage`")
    environments: list[Environment] = []
    cursor = None
    rejected_ids = []
    received_ids: dict[SafeText, str] = {}
    for row in rows:
        id_ = row.get("id") if isinstance(row, dict) else None
        if isinstance(id_, str) and _is_sendable(id_):
            cursor = id_
        if id_ and isinstance(id_, str):
            _note_id(received_ids, clean_key(id_), id_)
        try:
            environments.append(parse_environment(row))
        except ValueError:
            if id_ and isinstance(id_, str):
                rejected_ids.append(clean_key(id_))
    rejected = len(rows) - len(environments)
    has_marks = any(SHARED_FIELD in row.unknown for row in environments)
    return Page(environments, has_next_page, cursor, rejected, tuple(rejected_ids), received_ids, has_marks)


def _note_id(received_ids: dict[SafeText, str], key: SafeText, received: str) -> None:
    if key != received and len(received) <= LONGEST and _is_sendable(received):
        received_ids[key] = received


def _decoded_page(data: bytes) -> JsonValue:
    try:
        return _decoded(data)
    except PageError:
        pieces = split_page(data)
        if pieces is None:
            raise
    rows, rest = pieces
    page = _decoded(rest)
    if isinstance(page, dict) and page.get("connections") == []:
        page["connections"] = [_decoded_row(row) for row in rows]
    return page


def _decoded_row(data: bytes) -> JsonValue:
    with suppress(PageError):
        return _decoded(data)
    id_ = id_in(data)
    with suppress(PageError):
        return {"id": _decoded(id_)} if id_ else None
    return None


def _decoded(data: bytes) -> JsonValue:
    try:
        page: JsonValue = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        # The platform's JSON can hold half of a surrogate pair, which pydantic refuses: a name must not cost the page.
        if not _SURROGATE.search(data):
            raise PageError(f"not JSON: {clean(str(error), 120)}") from None
        try:
            page = json.loads(data, parse_constant=_refuse)
        except (ValueError, RecursionError) as other:
            raise PageError(f"not JSON: {clean(str(other), 120)}") from None
    return page


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _is_sendable(id_: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in id_)


def _needs_no_cleaning(value: JsonValue, *, is_plain: bool) -> bool:
    """Whether `cleaned` surely keeps a value; short JSON exceeds no limit."""
    text = pydantic_core.to_json(value)
    is_nested = text.count(b"{") + text.count(b"[") > DEPTH
    is_short = len(text) <= LONGEST and not is_nested and b"Infinity" not in text and b"NaN" not in text
    return is_short and (is_plain or is_plain_json(text))


POOL_LIMIT: Final = 10_000
"""Most distinct values of a kind: a pool of different values would only fill the memory."""


class Pool:
    """Shares equal JSON values, because 100,000 rows hold few distinct values; never change shared values in place."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._nested: dict[bytes, JsonValue] = {}

    def share(self, members: dict[str, JsonValue]) -> None:
        """Replace each value by an equal earlier value."""
        for name, value in members.items():
            members[name] = self._shared(value)

    def _shared(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (dict, list)):
            # In Python, 1, 1.0 and true are equal; the JSON text is not.
            text = pydantic_core.to_json(value)
            return self._nested[text] if text in self._nested else self._kept(text, value)
        return value

    def _kept(self, text: bytes, value: dict[str, JsonValue] | list[JsonValue]) -> JsonValue:
        shared: JsonValue
        if isinstance(value, dict):
            shared = {self._text(name): self._shared(item) for name, item in value.items()}
        else:
            shared = [self._shared(item) for item in value]
        if len(self._nested) < POOL_LIMIT:
            self._nested[text] = shared
        return shared

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text) if len(self._texts) < POOL_LIMIT else self._texts.get(text, text)

    def __len__(self) -> int:
        return len(self._texts) + len(self._nested)
