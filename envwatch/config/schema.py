"""The configuration file: settings with types and bounds, and a line for each mistake.

Opens no file. The screen checks names of themes and bindings.
"""

from __future__ import annotations

import re
from dataclasses import Field as DataclassField
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema

from envwatch.config import declared, validators
from envwatch.config.declared import ALTERNATIVES, COMMON, SETTINGS, ProfileSettings
from envwatch.config.hooks import HookSettings, mistakes_between_hooks
from envwatch.config.toml_text import parsed
from envwatch.config.values import PROFILE_NAME, ConfigError
from envwatch.deliver import rules
from envwatch.deliver.rules import ARGUMENTS, LINE
from envwatch.model.text import SafeText, clean, did_you_mean, shortened
from envwatch.views.command_context import RowCommand
from envwatch.views.table.table_view import BUILT_IN_VIEWS, NamedView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

_SECRETS: Final = frozenset({"apikey", "lettaapikey", "key", "token", "secret", "password"})
"""Names that people give to a key, letters only."""


_TYPES: Final = get_type_hints(
    ProfileSettings, vars(rules) | vars(validators) | vars(declared) | {"timedelta": timedelta}, include_extras=True
)


def _definition(setting: DataclassField[Any]) -> Any:  # noqa: ANN401 - as pydantic declares `create_model`
    """Return type and field as `create_model` takes them; None stands for an absent setting."""
    field = Field(default=None, description=setting.metadata["about"])
    if "bounds" not in setting.metadata:
        return _TYPES[setting.name], field
    between = validators.duration_between if isinstance(setting.default, timedelta) else validators.whole_between
    return Annotated[type(setting.default), between(*setting.metadata["bounds"])], field


_ProfileSettings: Final = create_model(
    "_ProfileSettings",
    __config__=ConfigDict(extra="forbid", frozen=True),
    **{name: _definition(setting) for name, setting in SETTINGS.items()},
)


_BY_NAME: Final = Field(json_schema_extra={"propertyNames": {"pattern": f"^{PROFILE_NAME.pattern}$"}})


def _make_table(shape: Any, name: str, doc: str, **rules: tuple[object, str]) -> type[BaseModel]:  # noqa: ANN401 - a NamedTuple
    """Return the model of tables like a named tuple; `rules` has rule and help of each setting."""
    types, defaults = get_type_hints(shape), shape._field_defaults
    fields: Any = {
        each: (Annotated[types[each], rule], Field(default=defaults.get(each, ...), description=about))
        for each, (rule, about) in rules.items()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", frozen=True), __doc__=doc, **fields)


OwnView: Final = _make_table(
    NamedView,
    "OwnView",
    "A view of your own: machines, columns, order and groups under one name and key.",
    filter=(
        validators.QUERY_OF_TABLE,
        "The machines of the view, in the language of the filter box; by default, all.",
    ),
    columns=(
        validators.COLUMN_LIST,
        "Columns of the table, in order; by default, the columns outside of the view.",
    ),
    sort=(validators.SORT_OF_VIEW, "A column, or `losses`; by default, the setting `sort`."),
    group=(validators.GROUP, "A column whose equal values form a group; no groups by default."),
    key=(LINE, "The key that chooses the view on the dashboard; by default, only the palette lists the view."),
)
Command: Final = _make_table(
    RowCommand,
    "Command",
    "A command of your own for the machine under the cursor.",
    key=(LINE, "The key that runs the command on the dashboard."),
    run=(
        ARGUMENTS,
        (
            "The program and its arguments, without a shell and without substitution. The variables `ENVWATCH_*` say "
            "which machine it is."
        ),
    ),
    description=(LINE, "The command's description in help and palette; by default, its name."),
    wait=(
        Field(strict=True),
        "Whether the output stays until enter is pressed; `false` suits programs that fill the screen.",
    ),
)


class Profile(_ProfileSettings, BaseModel):  # type: ignore[misc, valid-type]  # the first base is made at run time
    """A server with its key and settings."""

    views: Annotated[dict[str, OwnView], _BY_NAME] = Field(  # type: ignore[valid-type]  # made at run time
        default={},
        description="Views of your own, by name. A profile's view replaces the view of the same name above the "
        "profiles.",
    )


class Config(Profile):
    """The whole file: common settings, profiles, keys, hooks and commands."""

    default_profile: Annotated[str | None, LINE] = Field(
        default=None, description="The profile to use if neither `--profile` nor `ENVWATCH_PROFILE` names a profile."
    )
    profiles: Annotated[dict[str, Profile], _BY_NAME] = Field(
        default={},
        description="Profiles by name. A profile's setting takes precedence over the same setting above the profiles.",
    )
    keys: Annotated[dict[str, tuple[str, ...]], validators.KEYS] = Field(
        default={}, description='Keys of the dashboard by the id of the action: `machine.explain = "z"`.'
    )
    hooks: tuple[HookSettings, ...] = Field(
        default=(), description="Programs and web services that `watch --hooks` and `serve --hooks` send messages to."
    )
    commands: Annotated[dict[str, Command], _BY_NAME] = Field(  # type: ignore[valid-type]  # made at run time
        default={}, description="Commands of your own for the machine under the cursor, by name."
    )


def schema() -> dict[str, Any]:
    """Return the file's JSON schema, without defaults: None stands for an absent setting, and TOML has no null."""
    content = Config.model_json_schema()
    for model in (content, *content["$defs"].values()):
        for described in model["properties"].values():
            described.pop("default", None)
    return {"$schema": GenerateJsonSchema.schema_dialect} | content | {"title": "envwatch's configuration file"}


_Mistake: TypeAlias = tuple[tuple[str, ...], str]
"""A key, and the end of a sentence about the mistake."""


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed configuration file."""

    path: Path
    config: Config
    lines: Mapping[str, int]
    """Lines by full name; see `toml_text.parsed`."""
    hook_indices: tuple[int, ...] = ()
    """Places in the file of `config.hooks`: a hook with a mistake is left out, and the others keep their numbers."""
    hook_mistakes: tuple[SafeText, ...] = ()
    """The lines about hooks that are left out. They stop no other hook, and no command without hooks."""

    def line(self, key: Iterable[str]) -> int:
        """Return the line of a key or of the nearest table, or 0."""
        parts = ".".join(key).split(".")
        names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        # Names of an array's tables end with a number.
        around = (self.lines.get(name, 0) for name in (names[0], f"{names[0]}.0", *names[1:]))
        inside = (number for name, number in self.lines.items() if name.startswith(f"{names[0]}."))
        return next(filter(None, around), 0) or min(inside, default=0)

    def origin(self, *key: str) -> SafeText:
        """Return a key's place for people: `PATH:LINE`."""
        number = self.line(key)
        return clean(f"{self.path}:{number}" if number else str(self.path))


def parse_document(path: Path, content: bytes) -> tuple[Document, tuple[SafeText, ...]]:
    """Return a file's usable parts, and a line for each mistake, in the file's order."""
    table, lines, mistakes_of_syntax = parsed(content)
    if "keys" in table:
        table["keys"] = validators.read_keys(table["keys"])
    config, found = _validate_config(table)
    found += _contradictions(config, table)
    document = Document(path, config, lines, tuple(range(len(config.hooks))))

    def line(key: tuple[str, ...], what: str) -> SafeText:
        return clean(f"{document.origin(*key)}: {_dotted(key)} {what}")

    mistakes = [(number, clean(f"{path}{f':{number}' * bool(number)}: {what}")) for number, what in mistakes_of_syntax]
    mistakes += [(document.line(key), line(key, what)) for key, what in found]
    in_order = tuple(each for _, each in sorted(mistakes, key=itemgetter(0)))
    in_hooks = {line(key, what): key[1] for key, what in found if key[0] == "hooks" and len(key) > 1}
    if not in_hooks:
        return document, in_order

    usable = {index: each for index, each in enumerate(table["hooks"]) if str(index) not in in_hooks.values()}
    hooks = Config.model_validate({"hooks": [*usable.values()]}).hooks
    config = config.model_copy(update={"hooks": hooks})
    hook_mistakes = tuple(each for each in in_order if each in in_hooks)
    return replace(document, config=config, hook_indices=tuple(usable), hook_mistakes=hook_mistakes), in_order


def _validate_config(table: dict[str, Any]) -> tuple[Config, list[_Mistake]]:
    mistakes: list[_Mistake] = []
    while True:
        try:
            return Config.model_validate(table), mistakes
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                key = tuple(map(str, detail["loc"]))
                mistakes.append((key, _sentence(key, detail)))
                # A command goes as a whole: a missing setting would be a further, false mistake.
                table = _without(table, *key[: 2 if key[0] == "commands" else None])


def _without(table: dict[str, Any], name: str, *rest: str) -> dict[str, Any]:
    inner = table.get(name)
    if rest and isinstance(inner, dict):
        return table | {name: _without(inner, *rest)}
    return {other: value for other, value in table.items() if other != name}


def settings_in(variables: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the settings in variables, whose names lack the prefix `ENVWATCH_`.

    Raises:
        ConfigError: with a line for each wrong value and unknown name.
    """
    names = {name.upper(): name for name in COMMON}
    # Unknown names need not be UTF-8, which pydantic requires.
    mistakes = [_unknown_variable(name, names) for name in variables if name not in names]
    known = {names[name]: variables[name] for name in variables if name in names}
    values: dict[str, Any] = {}
    try:
        profile = Profile.model_validate(known, context=validators.OF_VARIABLES)
        values = {name: getattr(profile, name) for name in profile.model_fields_set}
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        mistakes += [f"ENVWATCH_{str(detail['loc'][0]).upper()} {detail['ctx']['error']}" for detail in details]
    if mistakes:
        raise ConfigError(*mistakes)
    return values


def _contradictions(config: Config, table: Mapping[str, Any]) -> Iterator[_Mistake]:
    sections: list[tuple[tuple[str, ...], Profile]] = [((), config)]
    sections += [(("profiles", name), profile) for name, profile in config.profiles.items()]
    named: list[tuple[tuple[str, ...], str, Mapping[str, object]]] = [
        (("profiles",), "profile", config.profiles),
        (("commands",), "command", config.commands),
        *(((*key, "views"), "view", section.views) for key, section in sections),
    ]
    for path, noun, tables in named:
        for name in tables:
            if not PROFILE_NAME.fullmatch(name):
                what = f"is no name for a {noun}: letters, digits, and - _ . between them, 40 at most"
                yield (*path, name), what
            elif noun == "view" and name in BUILT_IN_VIEWS:
                yield (*path, name), "is the name of a built-in view: choose another name"
    default = config.default_profile
    profiles = table.get("profiles", {})
    if default is not None and default not in profiles:
        yield ("default_profile",), f"names no profile of this file{did_you_mean(default, profiles)}"
    yield from mistakes_between_hooks(table.get("hooks"))
    for key, section in sections:
        for what, (first, second) in ALTERNATIVES.items():
            if getattr(section, first) is not None and getattr(section, second) is not None:
                yield (*key, second), f"and {first} both give the {what}: keep one of the two"


def _unknown_variable(name: str, names: Iterable[str]) -> str:
    variable = shortened(clean(f"ENVWATCH_{name}"), 60)
    if _is_secret(name):
        return f"{variable} is no setting: `export LETTA_API_KEY=…`, or name a file in api_key_file"
    return f"{variable} is no setting{did_you_mean(f'ENVWATCH_{name.upper()}', [f'ENVWATCH_{n}' for n in names])}"


def _is_secret(name: str) -> bool:
    return re.sub(r"[^a-z]", "", name.casefold()) in _SECRETS


def _sentence(key: tuple[str, ...], detail: ErrorDetails) -> str:
    match detail["type"]:
        case "extra_forbidden" if _is_secret(key[-1]):
            return "must not stand here: put the key into a file of mode 0600, and name the file in api_key_file"
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
    if "silences" in key[:-1]:
        return validators.QuietTable.model_fields
    tables: dict[str, type[BaseModel]] = {"commands": Command, "hooks": HookSettings, "views": OwnView}
    place = key[2] if key[0] == "profiles" and len(key) > 4 else key[0]  # profiles.work.views.gpu.sort
    return (Config if len(key) == 1 else tables.get(place, Profile)).model_fields


def _dotted(key: Iterable[str]) -> str:
    return ".".join(shortened(clean(part), 60) for part in key if not part.isdecimal())
