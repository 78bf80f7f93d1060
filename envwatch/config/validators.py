"""pydantic's validators of settings, which raise `ValueError` with the end of a sentence."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from envwatch.alerts.recurring_hours import DAY_MINUTES, DAYS, EVERY_DAY, RecurringHours
from envwatch.config.values import (
    DURATION,
    MOST_EXPECTED,
    column_list,
    column_or,
    duration,
    path_text,
    query,
    whole_number,
    zone_named,
)
from envwatch.deliver.rules import NON_EMPTY, words_schema
from envwatch.letta.network_settings import SettingsError, checked_base_url
from envwatch.model.text import SafeText, clean, nearest_word, one_line
from envwatch.query.language import parse
from envwatch.query.lexer import QueryError
from envwatch.views.table.columns import COLUMNS, LOSSES, META
from envwatch.views.table.table_view import GROUPINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import timedelta

_BOOLEANS: Final = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)

OF_VARIABLES: Final = "variables"
"""The validation context of variables, whose values are text."""

_HOURS: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-3]|24):([0-5][0-9])")
_DAY_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def duration_between(low: int, high: int) -> BeforeValidator:
    """Return a validator of durations from `low` to `high` seconds."""
    return BeforeValidator(duration(low, high), json_schema_input_type=_duration_input(low, high))


def _duration_input(low: int, high: int) -> Any:  # noqa: ANN401 - a type
    return Annotated[float, Field(ge=low, le=high)] | Annotated[str, Field(pattern=f"^{DURATION.pattern}$")]


def duration_or_off(low: int, high: int) -> BeforeValidator:
    """Return a validator of durations from `low` to `high` seconds; false gives None."""
    read = duration(low, high)

    def read_or_off(raw: object) -> timedelta | None:
        if raw is False or (isinstance(raw, str) and raw.strip().casefold() == "false"):
            return None
        try:
            return read(raw)
        except ValueError as mistake:
            raise ValueError(f"{mistake}, or false") from None

    return BeforeValidator(read_or_off, json_schema_input_type=_duration_input(low, high) | Literal[False])


def whole_between(low: int, high: int) -> BeforeValidator:
    """Return a validator of whole numbers from `low` to `high`."""
    return BeforeValidator(whole_number(low, high), json_schema_input_type=Annotated[int, Field(ge=low, le=high)])


_METADATA: TypeAlias = Annotated[str, Field(pattern=rf"^{re.escape(META)}.+$")]


def column_among(words: Iterable[str], none: str | None = None) -> BeforeValidator:
    """Return a validator of `words` and `meta.KEY`; the word `none` gives None."""
    words = tuple(words)
    read = column_or(words)
    schema = Annotated[str, words_schema(words)] | _METADATA
    return BeforeValidator(lambda raw: None if (word := read(raw)) == none else word, json_schema_input_type=schema)


def _names(raw: object) -> tuple[SafeText, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if isinstance(parts, list) and len(parts) <= MOST_EXPECTED:
        with suppress(ValueError):
            return tuple(clean(one_line(part)) for part in parts)
    raise ValueError(f"must be a list of names or device ids, {MOST_EXPECTED:,} at most")


def _boolean(raw: object, info: ValidationInfo) -> bool:
    is_word = isinstance(raw, str) and info.context is OF_VARIABLES
    value = _BOOLEANS.get(str(raw).strip().casefold()) if is_word else raw
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _checked(text: str, check: Callable[[str], Any]) -> Any:  # noqa: ANN401 - what `check` returns
    try:
        return check(text)
    except (QueryError, SettingsError) as mistake:
        raise ValueError(f"cannot be used: {mistake}") from None


def _read_filter(raw: object) -> str:
    _checked(text := query(raw), parse)
    return text


def _read_filter_of_table(raw: object) -> str:
    _checked(text := query(raw), lambda typed: parse(typed, has_past=True))
    return text


def _read_zone(raw: object) -> str:
    zone_named(name := one_line(raw))
    return name


def _read_file(raw: object) -> Path:
    try:
        return Path(path_text(one_line(raw))).expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, and this user has no home folder") from None


def read_keys(raw: object) -> object:
    """Flatten the tables of `[keys]`: in TOML, `machine.explain` is a table."""
    return dict(_flat(raw)) if isinstance(raw, dict) else raw


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str) and value != ",":
            yield f"{prefix}{name}", tuple(key.strip() for key in value.split(","))
        else:  # a single comma is a key
            yield f"{prefix}{name}", (value,) if value == "," else value


def _days(raw: object) -> frozenset[int]:
    """Read days of the week, Monday as 0: `mon-fri`, `sat,sun`, `fri-mon`, or a list."""
    parts = raw.split(",") if isinstance(raw, str) else raw
    found: set[int] = set()
    for part in parts if isinstance(parts, list) else ():
        first, dash, last = part.partition("-") if isinstance(part, str) else ("", "", "")
        begin, end = _day(first, part), _day(last if dash else first, part)
        found |= {(begin + count) % len(DAYS) for count in range((end - begin) % len(DAYS) + 1)}
    if not found:
        raise ValueError("must be days of the week, written like mon-fri or sat,sun")
    return frozenset(found)


def _day(word: str, days: str) -> int:
    """Return a day's number; `days` is what the word stands in, for the message."""
    word = word.strip().casefold()
    for names in (DAYS, _DAY_NAMES):
        if word in names:
            return names.index(word)
    meant = [*map(_nearest_day, days.casefold().split("-"))]
    hint = f"; did you mean {'-'.join(meant)}?" if all(meant) else ""
    raise ValueError(f"has a word that is no day: write {', '.join(DAYS)}, like mon-fri or sat,sun{hint}")


def _nearest_day(word: str) -> str:
    return nearest_word(word.strip(), DAYS) or nearest_word(word.strip(), _DAY_NAMES)


def _hours(raw: object) -> tuple[int, int]:
    """Read begin and end of hours as minutes after midnight: `17:00-10:00`, `12:00-24:00`."""
    match = _HOURS.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if match is None:
        raise ValueError("must be begin and end, written like 17:00-10:00")
    hour, minute, last_hour, last_minute = map(int, match.groups())
    begin, end = hour * 60 + minute, last_hour * 60 + last_minute
    if end > DAY_MINUTES:
        raise ValueError("must end at 24:00 at the latest; hours that end on the next day are written like 17:00-10:00")
    if begin == end:
        raise ValueError("must not begin and end at one time: without hours, the whole day is silenced")
    return begin, end


FLAG: Final = BeforeValidator(_boolean, json_schema_input_type=bool)
SORT: Final = column_among((LOSSES, *COLUMNS), none=LOSSES)
SORT_OF_VIEW: Final = column_among((LOSSES, *COLUMNS))
GROUP: Final = column_among(GROUPINGS)
_COLUMN: TypeAlias = Annotated[str, words_schema(COLUMNS)] | _METADATA
COLUMN_LIST: Final = BeforeValidator(column_list, json_schema_input_type=Annotated[set[_COLUMN], Field(min_length=1)])
QUERY: Final = BeforeValidator(_read_filter, json_schema_input_type=str)
QUERY_OF_TABLE: Final = BeforeValidator(_read_filter_of_table, json_schema_input_type=str)
"""A filter of the dashboard's table, which knows recorded time."""
BASE_URL: Final = BeforeValidator(
    lambda raw: _checked(one_line(raw), checked_base_url), json_schema_input_type=NON_EMPTY
)
ZONE: Final = BeforeValidator(_read_zone, json_schema_input_type=NON_EMPTY)
NAMES: Final = BeforeValidator(_names, json_schema_input_type=list[NON_EMPTY])
FILE: Final = BeforeValidator(_read_file, json_schema_input_type=NON_EMPTY)
KEYS: Final = BeforeValidator(read_keys, json_schema_input_type=dict[str, str | list[str] | dict[str, Any]])
_DAY: TypeAlias = Annotated[str, words_schema(DAYS)]
_DAY_LIST: Final = BeforeValidator(_days, json_schema_input_type=NON_EMPTY | list[_DAY])
_HOUR_RANGE: Final = BeforeValidator(
    _hours, json_schema_input_type=Annotated[str, Field(pattern=f"^{_HOURS.pattern}$")]
)


class QuietTable(BaseModel):
    """A silence that recurs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filter: Annotated[str, QUERY] = Field(
        default="", description="Filter: the silenced machines. Without a filter, all are silenced."
    )
    days: Annotated[frozenset[int], _DAY_LIST] = Field(
        default=EVERY_DAY,
        description="Days on which the hours begin, such as `mon-fri` or `sat,sun`; by default, every day.",
    )
    hours: Annotated[tuple[int, int], _HOUR_RANGE] = Field(
        default=(0, DAY_MINUTES),
        description="Begin and end, such as `17:00-10:00`. An end before the begin is on the next day. By default, the "
        "whole day.",
    )

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.value.is_always:
            raise ValueError("needs days or hours that end; `alert` leaves out machines that never page")
        return self

    @property
    def value(self) -> RecurringHours:
        """The setting's value."""
        begin, end = self.hours
        return RecurringHours(filter=self.filter, days=self.days, begin=begin, end=end)


def _tables(raw: object, info: ValidationInfo) -> object:
    if isinstance(raw, str) and info.context is OF_VARIABLES:
        with suppress(tomllib.TOMLDecodeError):
            raw = tomllib.loads(f"value = {raw}")["value"]
    if isinstance(raw, list) and all(isinstance(table, dict) for table in raw):
        return raw
    if info.context is OF_VARIABLES:
        raise ValueError('must be a list of tables as in the file: [{ days = "mon-fri", hours = "17:00-10:00" }]')
    raise ValueError("must be tables, each of which begins with [[silences]]")


if TYPE_CHECKING:
    SILENCES: TypeAlias = tuple[RecurringHours, ...]
else:  # pydantic checks tables; the setting has values
    SILENCES = Annotated[
        tuple[QuietTable, ...],
        BeforeValidator(_tables),
        AfterValidator(lambda tables: tuple(table.value for table in tables)),
    ]
