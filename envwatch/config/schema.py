"""The configuration file: its settings with their types and bounds, and one plain line for each mistake in it.

Opens no file, and does not decide which of several values holds (`settings` does). No message repeats a value: a key
may stand where it does not belong. Names of themes and bindings are the screen's, and not checked here.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from datetime import timedelta  # noqa: TC003 - pydantic reads the annotations
from itertools import pairwise
from operator import itemgetter
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from envwatch.config.hook_schema import SECRET_URL, HookSettings, mistakes_between
from envwatch.config.toml_text import parsed
from envwatch.config.validators import (
    ARGUMENTS,
    BASE_URL,
    COLUMN_LIST,
    FILE,
    FLAG,
    KEYS,
    LINE,
    NAMES,
    OF_VARIABLES,
    QUERY,
    VARIABLE,
    ZONE,
    duration_between,
    duration_or_off,
    one_of,
    read_keys,
    whole_between,
)
from envwatch.config.values import PROFILE_NAME, ConfigError
from envwatch.model.text import SafeText, clean, did_you_mean, shortened
from envwatch.views.output.command_context import RowCommand
from envwatch.views.table.columns import COLUMNS, PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic_core import ErrorDetails
    from pydantic_core.core_schema import ModelSchema, WithDefaultSchema

_SECRETS: Final = frozenset({"apikey", "lettaapikey", "key", "token", "secret", "password"})
"""Names that people give to a key, letters only."""


class CommonSettings(BaseModel):
    """What a profile says of how to watch. Each also is a variable: `ENVWATCH_` and the name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filter: Annotated[str | None, QUERY] = None
    """The filter to start with, as in the filter box."""
    columns: Annotated[tuple[str, ...] | None, COLUMN_LIST] = None
    """The columns of the table, in their order."""
    sort: Annotated[str | None, one_of(PROBLEMS, *COLUMNS, none=PROBLEMS)] = None
    """The column to sort by at the start, or `problems` for problems first, which is the default."""
    bell: Annotated[bool | None, FLAG] = None
    """Whether the terminal's bell rings when an environment has been down for `alert_after`."""
    notify: Annotated[Literal["off", "osc9", "osc777"] | None, one_of("off", "osc9", "osc777")] = None
    """Which desktop notification goes with the bell, by the sequence that your terminal knows."""
    title: Annotated[bool | None, FLAG] = None
    """Whether the terminal's title shows what is wrong."""
    alert: Annotated[str | None, QUERY] = None
    """What can be a problem that needs attention, as in the filter box; the rest is shown and logged, and quiet."""
    alert_after: Annotated[timedelta | None, duration_between(0, 86_400)] = None
    """How long an environment must have been down before that counts."""
    ephemeral: Annotated[str | None, QUERY] = None
    """Which environments end by design, and raise nothing when they end, in addition to managed sandboxes."""
    blind_after: Annotated[timedelta | None, duration_or_off(1, 86_400)] = None
    """How long envwatch must have seen nothing before that is an incident about envwatch; false for never."""
    expect: Annotated[tuple[SafeText, ...] | None, NAMES] = None
    """Names or device ids of environments that must exist: one that is not listed is missing."""
    expect_file: Annotated[Path | None, FILE] = None
    """A file of such names, one a line, with comments after #; a relative path starts at this file's folder."""
    timezone: Annotated[str | None, ZONE] = None
    """The zone of clock times and reports, by default this machine's; of several profiles, the first one's holds."""
    theme: Annotated[str | None, LINE] = None
    """The colours: envwatch-dark, -light, -contrast, -safe, -ansi, or any of Textual's."""
    interval: Annotated[timedelta | None, duration_between(1, 600)] = None
    """From poll to poll."""
    page_size: Annotated[int | None, whole_between(1, 1000)] = None
    """Rows a request."""
    online_only: Annotated[bool | None, FLAG] = None
    """Only what the server calls online."""
    source: Annotated[Literal["local", "remote"] | None, one_of("local", "remote")] = None
    """Only environments of this kind."""
    user: Annotated[str | None, LINE] = None
    """Only this user's environments."""
    online_for: Annotated[timedelta | None, duration_between(10, 3600)] = None
    """Age of a heartbeat at which an environment is offline."""
    late_after: Annotated[timedelta | None, duration_between(5, 3600)] = None
    """Age of a heartbeat at which it is late; shorter than `online_for`."""
    requests_per_minute: Annotated[int | None, whole_between(1, 6000)] = None
    """Requests that are not exceeded, however short the interval."""
    page_deadline: Annotated[timedelta | None, duration_between(1, 300)] = None
    """How long one page may take."""
    walk_deadline: Annotated[timedelta | None, duration_between(1, 600)] = None
    """How long one listing may take; no shorter than `page_deadline`."""
    refused_recheck: Annotated[timedelta | None, duration_between(30, 3600)] = None
    """How long to wait between two tries with a key that the server keeps refusing (401)."""
    max_pages: Annotated[int | None, whole_between(1, 100_000)] = None
    """Pages after which a listing counts as endless."""
    max_rows: Annotated[int | None, whole_between(1, 1_000_000)] = None
    """Rows after which a listing counts as endless."""
    history: Annotated[bool | None, FLAG] = None
    """Whether dashboard and `watch` record what they see in the state folder of this machine."""
    history_days: Annotated[int | None, whole_between(1, 3650)] = None
    """Days before today of which the history is kept."""
    history_mb: Annotated[int | None, whole_between(1, 1_000_000)] = None
    """Megabytes of this profile's history at most: the oldest days are deleted first."""
    serve_tokens_file: Annotated[Path | None, FILE] = None
    """The file of mode 0600 with the tokens of viewers of `envwatch serve`, by default `serve-tokens` in this file's
    folder, where a relative path starts too."""
    serve_name: Annotated[str | None, LINE] = None
    """The name under which viewers of `envwatch serve` read what was acknowledged here; by default this machine's."""


class Profile(CommonSettings):
    """A server, the key for it, and how to watch."""

    base_url: Annotated[str | None, BASE_URL] = None
    """The server: https, or http to this machine."""
    api_key_env: Annotated[str | None, VARIABLE] = None
    """The environment variable that holds the API key."""
    api_key_file: Annotated[Path | None, FILE] = None
    """The file of mode 0600 that holds the API key; a relative path starts at this file's folder."""
    ping_url: Annotated[SecretStr | None, SECRET_URL] = None
    """The address of a dead man's switch, which `watch`, `serve` and `record` fetch once a minute while they see."""
    ping_url_env: Annotated[str | None, VARIABLE] = None
    """The environment variable that holds this address, if the address is a secret."""


class Command(BaseModel):
    """A command of the user's own for the row under the cursor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, LINE]
    """The key that runs it on the dashboard."""
    run: Annotated[tuple[str, ...], ARGUMENTS]
    """The program and its arguments. No shell reads them, and nothing is put into them: the row is in `ENVWATCH_*`."""
    description: Annotated[str, LINE] = ""
    """What help and palette call it; the name by default."""

    def named(self, name: str) -> RowCommand:
        """Return the command as the screen takes it."""
        return RowCommand(name=name, key=self.key, run=self.run, description=self.description or name)


class Config(Profile):
    """The whole file: settings of every profile, the profiles, the keys, the hooks, and the commands."""

    default_profile: Annotated[str | None, LINE] = None
    """The profile that is used where nothing names another."""
    profiles: Annotated[
        dict[str, Profile], Field(json_schema_extra={"propertyNames": {"pattern": f"^{PROFILE_NAME.pattern}$"}})
    ] = {}
    """Profiles by name; a setting of a profile goes before the same one outside."""
    keys: Annotated[dict[str, tuple[str, ...]], KEYS] = {}
    """Keys by the id of what they do: `row.explain = "z"`."""
    hooks: tuple[HookSettings, ...] = ()
    """What `envwatch watch --hooks` runs or posts when something happens."""
    commands: Annotated[
        dict[str, Command], Field(json_schema_extra={"propertyNames": {"pattern": f"^{PROFILE_NAME.pattern}$"}})
    ] = {}
    """Commands of your own for the row under the cursor, by name."""


def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstrings of a model's fields by name, the inherited ones among them.

    pydantic's `use_attribute_docstrings` reads the same, but whenever a model is defined: 20 ms of every start with
    a file.
    """
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if cls is BaseModel or not issubclass(cls, BaseModel):
            continue
        (definition,) = ast.parse(inspect.getsource(cls)).body
        for statement, following in pairwise(ast.iter_child_nodes(definition)):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = inspect.cleandoc(text)
    return found


class _Schema(GenerateJsonSchema):
    """A JSON schema with descriptions and without defaults: None stands for an absent setting, and TOML has no null."""

    def model_schema(self, schema: ModelSchema) -> dict[str, Any]:
        """Return the schema of a table."""
        content = super().model_schema(schema)
        for name, text in field_docs(schema["cls"]).items():
            content["properties"][name]["description"] = text
        return content

    def default_schema(self, schema: WithDefaultSchema) -> dict[str, Any]:
        """Return the schema of a setting that may be absent."""
        return self.generate_inner(schema["schema"])


def schema() -> dict[str, Any]:
    """Return the file's JSON schema."""
    content = Config.model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect} | content | {"title": "envwatch's configuration file"}


_Mistake: TypeAlias = tuple[tuple[str, ...], str]
"""A key, and what is wrong with it, to stand after its name."""


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration file that was read."""

    path: Path
    config: Config
    lines: Mapping[str, int]
    """The line of each key by its full name; see `toml_text`."""

    def line(self, key: Iterable[str]) -> int:
        """Return the line of a key, or of the nearest table around it; 0 if neither was found."""
        parts = ".".join(key).split(".")
        around = (self.lines.get(".".join(parts[:length]), 0) for length in range(len(parts), 0, -1))
        return next(filter(None, around), 0)

    def origin(self, *key: str) -> SafeText:
        """Return the place of a key, for people: `PATH:LINE`."""
        number = self.line(key)
        return clean(f"{self.path}:{number}" if number else str(self.path))


def document_of(path: Path, content: bytes) -> tuple[Document, tuple[SafeText, ...]]:
    """Return a configuration file as far as it can be used, and a line for each mistake, in the file's order."""
    text = parsed(content)
    table = text.table | {"keys": read_keys(text.table["keys"])} if "keys" in text.table else text.table
    config, found = _config_of(table)
    found += _contradictions(config, table)
    document = Document(path, config, text.lines)
    mistakes = [(number, f"{path}{f':{number}' * bool(number)}: {what}") for number, what in text.mistakes]
    mistakes += [(document.line(key), f"{document.origin(*key)}: {_dotted(key)} {what}") for key, what in found]
    return document, tuple(clean(line) for _, line in sorted(mistakes, key=itemgetter(0)))


def _config_of(table: dict[str, Any]) -> tuple[Config, list[_Mistake]]:
    """Return what is right in a table, and what is not."""
    mistakes: list[_Mistake] = []
    while True:
        try:
            return Config.model_validate(table), mistakes
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                key = tuple(map(str, detail["loc"]))
                mistakes.append((key, _sentence(key, detail)))
                # A command without one of its settings is none, so its other mistakes would be followed by false ones.
                table = _without(table, *key[: 2 if key[0] == "commands" else None])


def _without(table: dict[str, Any], name: str, *rest: str) -> dict[str, Any]:
    """Return a table without a value: the one that a key of several parts leads to, as far as there are tables."""
    inner = table.get(name)
    if rest and isinstance(inner, dict):
        return table | {name: _without(inner, *rest)}
    return {other: value for other, value in table.items() if other != name}


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
        known = {names[name]: variables[name] for name in variables if name in names}
        settings = CommonSettings.model_validate(known, context=OF_VARIABLES)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        mistakes += [f"ENVWATCH_{str(detail['loc'][0]).upper()} {detail['ctx']['error']}" for detail in details]
    if mistakes:
        raise ConfigError(*mistakes)
    return settings


def _contradictions(config: Config, table: Mapping[str, Any]) -> Iterator[_Mistake]:
    """Yield mistakes that no single value shows, each with the key that it is about."""
    for name in config.profiles:
        if not PROFILE_NAME.fullmatch(name):
            yield ("profiles", name), "is no name for a profile: letters, digits, and - _ . between them, 40 at most"
    for name in config.commands:
        if not PROFILE_NAME.fullmatch(name):
            yield ("commands", name), "is no name for a command: letters, digits, and - _ . between them, 40 at most"
    default = config.default_profile
    profiles = table.get("profiles", {})  # those with mistakes as well
    if default is not None and default not in profiles:
        yield ("default_profile",), f"names no profile of this file{did_you_mean(default, profiles)}"
    yield from mistakes_between(table.get("hooks"))
    for key, section in (((), config), *((("profiles", name), profile) for name, profile in config.profiles.items())):
        if section.api_key_env is not None and section.api_key_file is not None:
            yield (*key, "api_key_file"), "and api_key_env are two places for one key: keep one of them"
        if section.ping_url is not None and section.ping_url_env is not None:
            yield (*key, "ping_url_env"), "and ping_url are two places for one address: keep one of them"


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
            return f"is no setting{did_you_mean(key[-1], _names_beside(key))}"
        case "missing":
            return "is missing"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "model_type" | "dict_type":
            return "must be a table"
        case _:
            is_hooks = key == ("hooks",)
            return (
                f"must be {'tables, each of which begins with [[hooks]]' if is_hooks else 'a text, or a list of texts'}"
            )


def _names_beside(key: tuple[str, ...]) -> Iterable[str]:
    """Return the names of the settings that may stand where a key stands."""
    if len(key) == 1:
        return Config.model_fields
    tables: dict[str, type[BaseModel]] = {"commands": Command, "hooks": HookSettings}
    return tables.get(key[0], Profile).model_fields


def _dotted(key: Iterable[str]) -> str:
    return ".".join(shortened(clean(part), 60) for part in key if not part.isdecimal())
