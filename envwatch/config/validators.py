"""pydantic's validators of settings: each returns a value, or raises `ValueError` with the end of a sentence.

No message repeats a value, which may be a misplaced key.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta  # noqa: TC003 - `schema` evaluates the annotations of `declared` among these names
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo

from envwatch.config.values import DURATION, MOST_EXPECTED, duration, line, path_text, query, whole, zone_named
from envwatch.model.text import SafeText, clean, did_you_mean
from envwatch.query.language import parse
from envwatch.query.lexer import QueryError
from envwatch.sources.letta.network_settings import SettingsError, checked_base_url, checked_hook_url
from envwatch.views.table.columns import COLUMNS, PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_BOOLEANS: Final = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)

OF_VARIABLES: Final = "variables"
"""The validation context of variables, whose values are text."""

_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def duration_between(low: int, high: int) -> BeforeValidator:
    """Read a duration from `low` to `high` seconds."""
    return BeforeValidator(duration(low, high), json_schema_input_type=_duration_input(low, high))


def _duration_input(low: int, high: int) -> Any:  # noqa: ANN401 - a type
    return Annotated[float, Field(ge=low, le=high)] | Annotated[str, Field(pattern=f"^{DURATION.pattern}$")]


def duration_or_off(low: int, high: int) -> BeforeValidator:
    """Read a duration from `low` to `high` seconds, or false for None."""
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
    """Read a whole number from `low` to `high`, inclusive."""
    return BeforeValidator(whole(low, high), json_schema_input_type=Annotated[int, Field(ge=low, le=high)])


def _enumerated(words: Iterable[str]) -> Any:  # noqa: ANN401 - as pydantic declares `Field`
    return Field(json_schema_extra={"enum": list(words)})


def one_of(*words: str, none: str | None = None) -> BeforeValidator:
    """Read one of `words`; the word that `none` gives means None."""

    def read(raw: object) -> str | None:
        word = raw.strip() if isinstance(raw, str) else ""
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return None if word == none else word

    return BeforeValidator(read, json_schema_input_type=Annotated[str, _enumerated(words)])


def _columns(raw: object) -> tuple[str, ...]:
    parts, hint = raw.split(",") if isinstance(raw, str) else raw, ""
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        words = tuple(part.strip() for part in parts)
        if words and set(words) <= COLUMNS.keys() and len(set(words)) == len(words):
            return words
        wrong = [word for word in words if word not in COLUMNS]
        hint = did_you_mean(wrong[0], COLUMNS) if wrong else ""
    raise ValueError(f"must be a list of {', '.join(COLUMNS)}, each at most once{hint}")


def _names(raw: object) -> tuple[SafeText, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if isinstance(parts, list) and len(parts) <= MOST_EXPECTED:
        with suppress(ValueError):
            return tuple(clean(line(part)) for part in parts)
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


def _read_url(raw: object) -> SecretStr:
    _checked(text := line(raw), checked_hook_url)
    return SecretStr(text)


def _read_zone(raw: object) -> str:
    zone_named(name := line(raw))
    return name


def _read_variable(raw: object) -> str:
    if isinstance(raw, str) and _VARIABLE_NAME.fullmatch(raw):
        return raw
    raise ValueError("must be the name of an environment variable")


def _read_file(raw: object) -> Path:
    try:
        return Path(path_text(line(raw))).expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, and this user has no home folder") from None


def _arguments(raw: object) -> tuple[str, ...]:
    if isinstance(raw, list) and raw and all(isinstance(word, str) and "\0" not in word for word in raw) and raw[0]:
        return tuple(raw)
    raise ValueError('must be a list of texts, a program and its arguments: ["ssh-to-env", "--quiet"]')


def read_keys(raw: object) -> object:
    """Flatten the tables of `[keys]`: in TOML, `row.explain` is a table."""
    return dict(_flat(raw)) if isinstance(raw, dict) else raw


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str) and value != ",":
            yield f"{prefix}{name}", tuple(key.strip() for key in value.split(","))
        else:  # a single comma is a key
            yield f"{prefix}{name}", (value,) if value == "," else value


NON_EMPTY: TypeAlias = Annotated[str, Field(min_length=1)]
FLAG: Final = BeforeValidator(_boolean, json_schema_input_type=bool)
LINE: Final = BeforeValidator(line, json_schema_input_type=NON_EMPTY)
SORT: Final = one_of(PROBLEMS, *COLUMNS, none=PROBLEMS)
_COLUMN: TypeAlias = Annotated[str, _enumerated(COLUMNS)]
COLUMN_LIST: Final = BeforeValidator(_columns, json_schema_input_type=Annotated[set[_COLUMN], Field(min_length=1)])
VARIABLE: Final = BeforeValidator(
    _read_variable, json_schema_input_type=Annotated[str, Field(pattern=f"^{_VARIABLE_NAME.pattern}$")]
)
QUERY: Final = BeforeValidator(_read_filter, json_schema_input_type=str)
BASE_URL: Final = BeforeValidator(lambda raw: _checked(line(raw), checked_base_url), json_schema_input_type=NON_EMPTY)
SECRET_URL: Final = BeforeValidator(_read_url, json_schema_input_type=NON_EMPTY)
ZONE: Final = BeforeValidator(_read_zone, json_schema_input_type=NON_EMPTY)
NAMES: Final = BeforeValidator(_names, json_schema_input_type=list[NON_EMPTY])
FILE: Final = BeforeValidator(_read_file, json_schema_input_type=NON_EMPTY)
KEYS: Final = BeforeValidator(read_keys, json_schema_input_type=dict[str, str | list[str] | dict[str, Any]])
ARGUMENTS: Final = BeforeValidator(_arguments, json_schema_input_type=Annotated[list[str], Field(min_length=1)])
