"""The configuration file: its settings with their types and bounds, and one plain line for each mistake in it.

Opens no file, and does not decide which of several values holds (`settings` does). No message repeats a value: a key
may stand where it does not belong. Names of themes and bindings are the screen's, and not checked here.
"""

from __future__ import annotations

import re
import tomllib
from ast import literal_eval
from dataclasses import dataclass
from datetime import timedelta  # noqa: TC003 - pydantic reads the annotations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from envwatch.config.values import DURATION, ConfigError, duration, line, path_text, query, whole
from envwatch.model.text import Clean, clean, did_you_mean, shortened
from envwatch.query.language import parse
from envwatch.query.lexer import QueryError
from envwatch.sources.letta.network_settings import SettingsError, checked_base_url
from envwatch.views.columns import COLUMNS, PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic_core import ErrorDetails
    from pydantic_core.core_schema import WithDefaultSchema

_SECRETS: Final = frozenset({"apikey", "lettaapikey", "key", "token", "secret", "password"})
"""Names that people give to a key, letters only."""

_BOOLEANS: Final = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)

_PROFILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")

_KEY_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_KEY_LINE: Final = re.compile(rf"[ \t]*(\[*)[ \t]*({_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*)[ \t]*[\]=]")
"""The start of a line of TOML that names a table or a key."""


# Validators. The second argument of each is the type that the JSON schema shows.


def _duration(low: int, high: int) -> BeforeValidator:
    number, text = Annotated[float, Field(ge=low, le=high)], Annotated[str, Field(pattern=f"^{DURATION.pattern}$")]
    return BeforeValidator(duration(low, high), json_schema_input_type=number | text)


def _whole(low: int, high: int) -> BeforeValidator:
    return BeforeValidator(whole(low, high), json_schema_input_type=Annotated[int, Field(ge=low, le=high)])


def _enum(words: Iterable[str]) -> Any:  # noqa: ANN401 - as pydantic declares `Field`
    return Field(json_schema_extra={"enum": list(words)})


def _one_of(*words: str, none: str | None = None) -> BeforeValidator:
    """Read one of some words; `none` is the word that means None."""

    def read(raw: object) -> str | None:
        word = raw.strip() if isinstance(raw, str) else ""
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return None if word == none else word

    return BeforeValidator(read, json_schema_input_type=Annotated[str, _enum(words)])


def _columns(raw: object) -> tuple[str, ...]:
    """Read a list of different columns, or their names with commas between them."""
    parts = raw.split(",") if isinstance(raw, str) else raw
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        words = tuple(part.strip() for part in parts)
        if words and set(words) <= COLUMNS.keys() and len(set(words)) == len(words):
            return words
    raise ValueError(f"must be a list of {', '.join(COLUMNS)}, each at most once")


def _boolean(raw: object) -> bool:
    """Read true or false, or one of the words that variables have for them."""
    value = _BOOLEANS.get(raw.strip().casefold()) if isinstance(raw, str) else raw
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _filter(raw: object) -> str:
    text = query(raw)
    try:
        parse(text)
    except QueryError as mistake:
        raise ValueError(f"cannot be used: {mistake}") from None
    return text


def _base_url(raw: object) -> str:
    try:
        return checked_base_url(line(raw))
    except SettingsError as mistake:
        raise ValueError(f"cannot be used: {mistake}") from None


def _variable(raw: object) -> str:
    if isinstance(raw, str) and _VARIABLE_NAME.fullmatch(raw):
        return raw
    raise ValueError("must be the name of an environment variable")


def _file(raw: object) -> Path:
    try:
        return Path(path_text(line(raw))).expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, and there is no such home") from None


def _keys(raw: object) -> object:
    """Flatten the tables of `[keys]`: to TOML, `row.explain` is a table with one key."""
    return dict(_flat(raw)) if isinstance(raw, dict) else raw


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str) and value != ",":
            yield f"{prefix}{name}", tuple(key.strip() for key in value.split(","))
        else:  # a comma alone is a key of its own
            yield f"{prefix}{name}", (value,) if value == "," else value


_NON_EMPTY: TypeAlias = Annotated[str, Field(min_length=1)]
_FLAG: Final = BeforeValidator(_boolean, json_schema_input_type=bool)
_LINE: Final = BeforeValidator(line, json_schema_input_type=_NON_EMPTY)
_COLUMN: TypeAlias = Annotated[str, _enum(COLUMNS)]
_COLUMNS: Final = BeforeValidator(_columns, json_schema_input_type=Annotated[set[_COLUMN], Field(min_length=1)])


class CommonSettings(BaseModel):
    """What a profile says of how to watch. Each also is a variable: `ENVWATCH_` and the name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    filter: Annotated[str | None, BeforeValidator(_filter, json_schema_input_type=str)] = None
    """The filter to start with, as in the filter box."""
    columns: Annotated[tuple[str, ...] | None, _COLUMNS] = None
    """The columns of the table, in their order."""
    sort: Annotated[str | None, _one_of(PROBLEMS, *COLUMNS, none=PROBLEMS)] = None
    """The column to sort by at the start, or `problems` for problems first, which is the default."""
    bell: Annotated[bool | None, _FLAG] = None
    """Whether the terminal's bell rings when an environment has been down for ten seconds."""
    notify: Annotated[Literal["off", "osc9", "osc777"] | None, _one_of("off", "osc9", "osc777")] = None
    """Which desktop notification goes with the bell, by the sequence that your terminal knows."""
    theme: Annotated[str | None, _LINE] = None
    """The colours: envwatch-dark, -light, -contrast, -ansi, or any of Textual's."""
    interval: Annotated[timedelta | None, _duration(1, 600)] = None
    """From poll to poll."""
    page_size: Annotated[int | None, _whole(1, 1000)] = None
    """Rows a request."""
    online_only: Annotated[bool | None, _FLAG] = None
    """Only what the server calls online."""
    source: Annotated[Literal["local", "remote"] | None, _one_of("local", "remote")] = None
    """Only environments of this kind."""
    user: Annotated[str | None, _LINE] = None
    """Only this user's environments."""
    online_for: Annotated[timedelta | None, _duration(10, 3600)] = None
    """Age of a heartbeat at which an environment is offline."""
    late_after: Annotated[timedelta | None, _duration(5, 3600)] = None
    """Age of a heartbeat at which it is late; shorter than `online_for`."""
    requests_per_minute: Annotated[int | None, _whole(1, 6000)] = None
    """Requests that are not exceeded, however short the interval."""
    page_deadline: Annotated[timedelta | None, _duration(1, 300)] = None
    """How long one page may take."""
    walk_deadline: Annotated[timedelta | None, _duration(1, 600)] = None
    """How long one listing may take; no shorter than `page_deadline`."""
    refused_recheck: Annotated[timedelta | None, _duration(30, 3600)] = None
    """How long to wait between two tries with a key that the server keeps refusing (401)."""
    max_pages: Annotated[int | None, _whole(1, 100_000)] = None
    """Pages after which a listing counts as endless."""
    max_rows: Annotated[int | None, _whole(1, 1_000_000)] = None
    """Rows after which a listing counts as endless."""


class Profile(CommonSettings):
    """A server, the key for it, and how to watch."""

    base_url: Annotated[str | None, BeforeValidator(_base_url, json_schema_input_type=_NON_EMPTY)] = None
    """The server: https, or http to this machine."""
    api_key_env: Annotated[
        str | None,
        BeforeValidator(_variable, json_schema_input_type=Annotated[str, Field(pattern=f"^{_VARIABLE_NAME.pattern}$")]),
    ] = None
    """The environment variable that holds the API key."""
    api_key_file: Annotated[Path | None, BeforeValidator(_file, json_schema_input_type=_NON_EMPTY)] = None
    """The file of mode 0600 that holds the API key; a relative path starts at this file's folder."""


class Config(Profile):
    """The whole file: settings of every profile, the profiles, and the keys."""

    default_profile: Annotated[str | None, _LINE] = None
    """The profile that is used where nothing names another."""
    profiles: Annotated[
        dict[str, Profile], Field(json_schema_extra={"propertyNames": {"pattern": f"^{_PROFILE_NAME.pattern}$"}})
    ] = {}
    """Profiles by name; a setting of a profile goes before the same one outside."""
    keys: Annotated[
        dict[str, tuple[str, ...]],
        BeforeValidator(_keys, json_schema_input_type=dict[str, str | list[str] | dict[str, Any]]),
    ] = {}
    """Keys by the id of what they do: `row.explain = "z"`."""


class _Schema(GenerateJsonSchema):
    """A JSON schema without defaults: None stands for an absent setting, and TOML has no null."""

    def default_schema(self, schema: WithDefaultSchema) -> dict[str, Any]:
        """Return the schema of a setting that may be absent."""
        return self.generate_inner(schema["schema"])


def schema() -> dict[str, Any]:
    """Return the file's JSON schema."""
    content = Config.model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect} | content | {"title": "envwatch's configuration file"}


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration file that was read."""

    path: Path
    config: Config
    lines: Mapping[str, int]
    """The line of each key by its full name; see `_lines_of_keys`."""

    def line(self, key: Iterable[str]) -> int:
        """Return the line of a key, or of the nearest table around it; 0 if neither was found."""
        parts = ".".join(key).split(".")
        around = (self.lines.get(".".join(parts[:length]), 0) for length in range(len(parts), 0, -1))
        return next(filter(None, around), 0)

    def origin(self, *key: str) -> Clean:
        """Return the place of a key, for people: `PATH:LINE`."""
        number = self.line(key)
        return clean(f"{self.path}:{number}" if number else str(self.path))


def document_of(path: Path, content: bytes) -> Document:
    """Parse and check the content of a configuration file.

    Raises:
        ConfigError: with every mistake, in the file's order.
    """
    text, table = _parsed(path, content)
    try:
        config = Config.model_validate(table)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        keys = [tuple(map(str, detail["loc"])) for detail in details]
        mistakes = [(key, _sentence(key, detail)) for key, detail in zip(keys, details, strict=True)]
        config = Config()
    else:
        mistakes = list(_contradictions(config))
    document = Document(path, config, _lines_of_keys(text))
    if mistakes:
        mistakes.sort(key=lambda mistake: document.line(mistake[0]))
        raise ConfigError(*(f"{document.origin(*key)}: {_dotted(key)} {what}" for key, what in mistakes))
    return document


def settings_in(variables: Mapping[str, str]) -> CommonSettings:
    """Read settings from variables, whose names come without `ENVWATCH_`.

    Raises:
        ConfigError: with every value that makes no sense and every name that is no setting.
    """
    names = {name.upper(): name for name in CommonSettings.model_fields}
    # Unknown names are handled here: they need not even be UTF-8, which pydantic insists on.
    mistakes = [_unknown_variable(name, names) for name in variables if name not in names]
    settings = CommonSettings()
    try:
        settings = CommonSettings.model_validate({names[name]: variables[name] for name in variables if name in names})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        mistakes += [f"ENVWATCH_{str(detail['loc'][0]).upper()} {detail['ctx']['error']}" for detail in details]
    if mistakes:
        raise ConfigError(*mistakes)
    return settings


def _parsed(path: Path, content: bytes) -> tuple[str, dict[str, Any]]:
    """Return a file's text and its TOML table."""
    try:
        text = content.decode("utf-8-sig")  # editors on Windows put a mark before the first line
    except UnicodeDecodeError as error:
        line_number = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line_number}: is not UTF-8") from None
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).rpartition(" (at ")
        if match := re.fullmatch(r"Cannot [^(]*(\(.*\))(?: twice)?", what):  # the parser shows a Python tuple
            what = f"{_dotted(literal_eval(match[1]))} stands in this file twice"
        number = re.search(r"line ([0-9]+)", place)
        last = text.count("\n") + 1
        raise ConfigError(f"{path}:{number[1] if number else last}: {what or 'is no TOML'}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: holds a number or a nesting that is too long or too deep") from None


def _contradictions(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield mistakes that no single value shows, each with the key that is named for it."""
    for name in config.profiles:
        if not _PROFILE_NAME.fullmatch(name):
            yield ("profiles", name), "is no name for a profile: letters, digits, and - _ . between them, 40 at most"
    default = config.default_profile
    if default is not None and default not in config.profiles:
        yield ("default_profile",), f"names no profile of this file{did_you_mean(default, config.profiles)}"
    for key, section in (((), config), *((("profiles", name), profile) for name, profile in config.profiles.items())):
        if section.api_key_env is not None and section.api_key_file is not None:
            yield (*key, "api_key_file"), "and api_key_env are two places for one key: keep one of them"


def _unknown_variable(name: str, names: Iterable[str]) -> str:
    variable = shortened(clean(f"ENVWATCH_{name}"), 60)
    if _is_secret(name):
        return f"{variable} is no setting: the key is taken from LETTA_API_KEY, or from a file that a profile names"
    return f"{variable} is no setting{did_you_mean(f'ENVWATCH_{name.upper()}', [f'ENVWATCH_{n}' for n in names])}"


def _is_secret(name: str) -> bool:
    return re.sub(r"[^a-z]", "", name.casefold()) in _SECRETS


def _sentence(key: tuple[str, ...], detail: ErrorDetails) -> str:
    """Return what is wrong with a key, to stand after its name."""
    match detail["type"]:
        case "extra_forbidden" if _is_secret(key[-1]):
            return "must not stand here: put the key into a file of mode 0600 and its path into api_key_file"
        case "extra_forbidden":
            return f"is no setting{did_you_mean(key[-1], (Config if len(key) == 1 else Profile).model_fields)}"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "model_type" | "dict_type":
            return "must be a table"
        case _:
            return "must be a text, or a list of texts"


def _dotted(key: Iterable[str]) -> str:
    return ".".join(shortened(clean(part), 60) for part in key if not part.isdecimal())


# Lines: `tomllib` keeps no positions, and a mistake without its line is hard to find among 50 profiles.


def _lines_of_keys(text: str) -> dict[str, int]:
    """Return the line of each table and key by its full name, keys in inline tables excepted.

    Best effort: a line of a multi-line text that looks like a key counts as one.
    """
    lines: dict[str, int] = {}
    table = ""
    # Not `splitlines`: to TOML, U+2028 and its like end no line.
    for number, line_text in enumerate(text.split("\n"), 1):
        if match := _KEY_LINE.match(line_text):
            parts = [_unquoted(part) for part in re.findall(_KEY_PART, match[2])]
            name = ".".join(parts if match[1] or not table else [table, *parts])
            table = name if match[1] else table
            lines.setdefault(name, number)
    return lines


def _unquoted(part: str) -> str:
    try:
        return str(tomllib.loads(f"part = {part}")["part"]) if part[0] in "\"'" else part
    except tomllib.TOMLDecodeError:  # not a key, but a line within a text
        return part
