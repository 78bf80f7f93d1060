"""The user's configuration file: what can stand in it, and one plain line for each thing that cannot.

Owns the names and bounds of all settings, and the search for the line of a mistake. Opens nothing, and knows nothing of
options or of which value counts in the end (`settings` does). No message repeats a value: somebody may have written a
key where it does not belong. Names of themes and bindings are not checked here, for they are the screen's.
"""

from __future__ import annotations

import re
import tomllib
from ast import literal_eval
from dataclasses import dataclass
from datetime import timedelta  # noqa: TC003 - pydantic reads the annotations
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from envwatch.config.values import (
    ConfigError,
    duration,
    line,
    one_of,
    path_text,
    query,
    reads,
    some_of,
    whole,
    yes_or_no,
)
from envwatch.model.text import Clean, clean, did_you_mean, shortened
from envwatch.query.language import parse
from envwatch.query.lexer import QueryError
from envwatch.sources.letta.network_settings import SettingsError, checked_base_url
from envwatch.views.columns import COLUMNS, PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema, ErrorDetails

    from envwatch.config.values import Reader

_SECRETS: Final = frozenset({"apikey", "lettaapikey", "key", "token", "secret", "password"})
"""What people call a key, without the signs between the words."""

_PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class _By:
    """Makes pydantic read a setting by one of our readers, and describe it as that does."""

    reader: Reader[Any]

    def __get_pydantic_core_schema__(self, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.reader, handler(source))

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.reader.schema)


@reads(**query.schema)
def _query(told: object) -> str:
    text = query(told)
    try:
        parse(text)
    except QueryError as mistake:
        raise ValueError(f"cannot be used: {mistake}") from None
    return text


_ORDER: Final = one_of((PROBLEMS, *COLUMNS))


@reads(**_ORDER.schema)
def _sort(told: object) -> str | None:
    order = _ORDER(told)
    return None if order == PROBLEMS else order


@reads(**line.schema)
def _base_url(told: object) -> str:
    try:
        return checked_base_url(line(told))
    except SettingsError as mistake:
        raise ValueError(f"cannot be used: {mistake}") from None


@reads(type="string", pattern=f"^{_VARIABLE_NAME.pattern}$")
def _variable(told: object) -> str:
    if isinstance(told, str) and _VARIABLE_NAME.fullmatch(told):
        return told
    raise ValueError("must be the name of an environment variable")


@reads(**line.schema)
def _file(told: object) -> Path:
    try:
        return Path(path_text(line(told))).expanduser()
    except RuntimeError:  # nobody knows where home is
        raise ValueError("begins with ~, and there is no such home") from None


class Choices(BaseModel):
    """What a profile says of how to watch. Each also is a variable: `ENVWATCH_` and the name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    filter: Annotated[str | None, _By(_query)] = None
    """The filter to start with, as in the filter box."""
    columns: Annotated[tuple[str, ...] | None, _By(some_of(COLUMNS))] = None
    """The columns of the table, in their order."""
    sort: Annotated[str | None, _By(_sort)] = None
    """The column to sort by at the start, or `problems`: those first, which is also the order if nothing is said."""
    bell: Annotated[bool | None, _By(yes_or_no)] = None
    """Whether the terminal's bell rings when an environment has been down for ten seconds."""
    notify: Annotated[Literal["off", "osc9", "osc777"] | None, _By(one_of(("off", "osc9", "osc777")))] = None
    """Which desktop notification goes with the bell, by the sequence that your terminal knows."""
    theme: Annotated[str | None, _By(line)] = None
    """The colours: envwatch-dark, -light, -contrast, -ansi, or any of Textual's."""
    interval: Annotated[timedelta | None, _By(duration(1, 600))] = None
    """From poll to poll."""
    page_size: Annotated[int | None, _By(whole(1, 1000))] = None
    """Rows a request."""
    online_only: Annotated[bool | None, _By(yes_or_no)] = None
    """Only what the server calls online."""
    source: Annotated[Literal["local", "remote"] | None, _By(one_of(("local", "remote")))] = None
    """Only environments of this kind."""
    user: Annotated[str | None, _By(line)] = None
    """Only this user's environments."""
    online_for: Annotated[timedelta | None, _By(duration(10, 3600))] = None
    """Age of a heartbeat at which an environment is offline."""
    late_after: Annotated[timedelta | None, _By(duration(5, 3600))] = None
    """Age of a heartbeat at which it is late; shorter than `online_for`."""
    requests_per_minute: Annotated[int | None, _By(whole(1, 6000))] = None
    """Requests that are not exceeded, however short the interval."""
    page_deadline: Annotated[timedelta | None, _By(duration(1, 300))] = None
    """How long one page may take."""
    walk_deadline: Annotated[timedelta | None, _By(duration(1, 600))] = None
    """How long one listing may take; no shorter than `page_deadline`."""
    refused_recheck: Annotated[timedelta | None, _By(duration(30, 3600))] = None
    """How long to wait between two tries with a key that the server keeps refusing (401)."""
    max_pages: Annotated[int | None, _By(whole(1, 100_000))] = None
    """Pages after which a listing is taken for endless."""
    max_rows: Annotated[int | None, _By(whole(1, 1_000_000))] = None
    """Rows after which a listing is taken for endless."""


class Profile(Choices):
    """Whom to ask, with which key, and how to watch."""

    base_url: Annotated[str | None, _By(_base_url)] = None
    """The server: https, or http to this machine."""
    api_key_env: Annotated[str | None, _By(_variable)] = None
    """The environment variable that holds the API key."""
    api_key_file: Annotated[Path | None, _By(_file)] = None
    """The file of mode 0600 that holds the API key; a relative path starts at this file's folder."""


class Config(Profile):
    """All that can stand in the file: what holds for every profile, the profiles, and the keys."""

    default_profile: Annotated[str | None, _By(line)] = None
    """The profile that is used where nothing names another."""
    profiles: Annotated[
        dict[str, Profile], Field(json_schema_extra={"propertyNames": {"pattern": f"^{_PROFILE_NAME.pattern}$"}})
    ] = {}
    """Profiles by name; what one says goes before what stands outside."""
    keys: Annotated[
        dict[str, tuple[str, ...]],
        WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "array", "object"]}}),
    ] = {}
    """Keys by the id of what they do: `row.explain = "z"`."""


class _Schema(GenerateJsonSchema):
    """A JSON schema of what can be written: no TOML holds the null that stands here for what was not."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """Return the schema of a setting that need not be there."""
        return self.generate_inner(schema["schema"])


def schema() -> dict[str, Any]:
    """Return the file's JSON schema."""
    told = Config.model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect} | told | {"title": "envwatch's configuration file"}


@dataclass(frozen=True)
class Document:
    """A configuration file that was read."""

    path: Path
    text: str
    config: Config

    def place(self, *key: str) -> Clean:
        """Return where a key stands, for people."""
        return clean(_place(self.path, self._lines, key))

    @cached_property
    def _lines(self) -> Mapping[str, int]:
        return _lines_of_keys(self.text)


def document_of(path: Path, content: bytes) -> Document:
    """Return what a configuration file holds.

    Args:
        path: where it is.
        content: what stands in it.

    Raises:
        ConfigError: if anything is wrong with that.
    """
    text = _text_of(path, content)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).rpartition(" (at ")
        number = re.search(r"line ([0-9]+)", place)
        last = text.count("\n") + 1
        raise ConfigError(f"{path}:{number[1] if number else last}: {_plain(what)}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: holds a number or a nesting that nobody could mean") from None
    lines = _lines_of_keys(text)
    if isinstance(table.get("keys"), dict):
        table["keys"] = {id_: _keys(told) for id_, told in _flat(table["keys"])}
    try:
        config = Config.model_validate(table)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        located = [(tuple(map(str, detail["loc"])), detail) for detail in found]
        told = [(key, f"{_place(path, lines, key)}: {_spelled(key)} {_sentence(key, one)}") for key, one in located]
        raise ConfigError(*_in_order(told, lines)) from None
    if mistakes := list(_contradictions(config)):
        told = [(key, f"{_place(path, lines, key)}: {_spelled(key)} {what}") for key, what in mistakes]
        raise ConfigError(*_in_order(told, lines))
    return Document(path, text, config)


def choices_in(variables: Mapping[str, str]) -> Choices:
    """Read settings from variables, whose names come without `ENVWATCH_`.

    Raises:
        ConfigError: if one makes no sense, or is none.
    """
    settings = {name.upper(): name for name in Choices.model_fields}
    # A name that is none need not even be UTF-8, which pydantic insists on.
    mistakes = [_of_stranger(name, settings) for name in variables if name not in settings]
    choices = Choices()
    try:
        choices = Choices.model_validate({settings[name]: text for name, text in variables.items() if name in settings})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        mistakes += [f"ENVWATCH_{str(one['loc'][0]).upper()} {one['ctx']['error']}" for one in details]
    if mistakes:
        raise ConfigError(*mistakes)
    return choices


def _text_of(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")  # editors on Windows put a mark before the first line
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{number}: is not UTF-8") from None


def _plain(told: str) -> str:
    """Return what the parser says, without the Python in it."""
    if match := re.fullmatch(r"Cannot [^(]*(\(.*\))(?: twice)?", told):
        return f"{_spelled(literal_eval(match[1]))} stands in this file twice"
    return told or "is no TOML"


def _contradictions(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what no single value tells, with the key at which to tell it."""
    for name in config.profiles:
        if not _PROFILE_NAME.fullmatch(name):
            yield ("profiles", name), "is no name for a profile: letters, digits, and - _ . between them, 40 at most"
    chosen = config.default_profile
    if chosen is not None and chosen not in config.profiles:
        yield ("default_profile",), f"names no profile of this file{did_you_mean(chosen, config.profiles)}"
    for key, section in (((), config), *((("profiles", name), own) for name, own in config.profiles.items())):
        if section.api_key_env is not None and section.api_key_file is not None:
            yield (*key, "api_key_file"), "and api_key_env are two places for one key: keep one of them"


def _of_stranger(name: str, settings: Iterable[str]) -> str:
    told = shortened(clean(f"ENVWATCH_{name}"), 60)
    if _is_secret(name):
        return f"{told} is no setting: the key is taken from LETTA_API_KEY, or from a file that a profile names"
    return (
        f"{told} is no setting{did_you_mean(f'ENVWATCH_{name.upper()}', (f'ENVWATCH_{known}' for known in settings))}"
    )


def _is_secret(name: str) -> bool:
    return re.sub(r"[^a-z]", "", name.casefold()) in _SECRETS


def _sentence(key: tuple[str, ...], detail: ErrorDetails) -> str:
    """Return what is wrong with a key, as it goes on from its name."""
    match detail["type"]:
        case "extra_forbidden":
            word = key[-1]
            if _is_secret(word):
                return "must not stand here: put the key into a file of mode 0600 and its path into api_key_file"
            section = Config if len(key) == 1 else Profile
            return f"is no setting{did_you_mean(word, section.model_fields)}"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "model_type" | "dict_type":
            return "must be a table"
        case _:
            return "must be a text, or a list of texts"


def _spelled(key: Iterable[str]) -> str:
    return ".".join(shortened(clean(part), 60) for part in key if not part.isdecimal())


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what stands in a table and the tables in it: to TOML, `row.explain` is a table with one key."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _keys(told: object) -> object:
    """Return keys as a list: in a text, a comma stands between two, unless it is all there is."""
    if isinstance(told, str):
        return tuple(key.strip() for key in told.split(",")) if told != "," else (",",)
    return told


# The lines of keys.


def _place(path: Path, lines: Mapping[str, int], key: Iterable[str]) -> str:
    number = _line(lines, key)
    return f"{path}:{number}" if number else str(path)


def _line(lines: Mapping[str, int], key: Iterable[str]) -> int:
    """Return the line of a key, or of the nearest thing around it; 0 if none was found."""
    parts = ".".join(key).split(".")
    around = (lines.get(".".join(parts[:length]), 0) for length in range(len(parts), 0, -1))
    return next(filter(None, around), 0)


def _in_order(told: Iterable[tuple[tuple[str, ...], str]], lines: Mapping[str, int]) -> list[str]:
    return [text for _, text in sorted(told, key=lambda pair: _line(lines, pair[0]))]


def _lines_of_keys(text: str) -> dict[str, int]:
    """Return the line of each key by its full name.

    The parser tells nothing of lines, so this looks at each for itself. It sees no key inside an inline table, and is
    taken in by a text of several lines that looks like keys.
    """
    found: dict[str, int] = {}
    table: tuple[str, ...] = ()
    # Not `splitlines`: to TOML, U+2028 and its like end no line.
    for number, written in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if written.lstrip().startswith("["):
            table = _path_in(written) or table
            found.setdefault(".".join(table), number)
        elif "=" in written and (key := _path_in(f"{_before_equals(written)}= 0")):
            found.setdefault(".".join((*table, *key)), number)
    return found


def _before_equals(written: str) -> str:
    match = re.match(r"""(?:[^="']|"(?:\\.|[^"\\])*"|'[^']*')*""", written)
    return match[0] if match else written


def _path_in(written: str) -> tuple[str, ...]:
    """Return the names that lead to the innermost table or key of one line of TOML; none if it is something else."""
    try:
        value: Any = tomllib.loads(written)
    except (ValueError, RecursionError):
        return ()
    path = []
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        path.append(name)
    return tuple(path)
