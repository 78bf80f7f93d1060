"""The settings in force: defaults, overridden by remembered values, then file, variables and options.

The schema is imported only for a file or a variable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from envwatch.config.declared import ALTERNATIVES, SETTINGS, ProfileSettings
from envwatch.config.values import MOST_EXPECTED, ConfigError, no_view, path_text, seconds_text
from envwatch.files import read_regular
from envwatch.model.limits import SETTABLE, SETTINGS_BYTES, Limits
from envwatch.model.text import SafeText, clean, one_line, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envwatch.config.hooks import HookSettings
    from envwatch.config.schema import Document
    from envwatch.deliver.delivery import Delivery
    from envwatch.views.command_context import RowCommand
    from envwatch.views.table.table_view import NamedView

PREFIX: Final = "ENVWATCH_"
CONFIG: Final = "ENVWATCH_CONFIG"
PROFILE: Final = "ENVWATCH_PROFILE"
ROW: Final = "ENVWATCH_ID"
"""A variable of commands and hooks; no setting, despite the prefix."""

DEFAULT_PROFILE: Final = "default"
"""The profile if none is named, and the file has not just one; need not be in the file."""

DEFAULT: Final = clean("default")
_PROFILE_OPTION: Final = clean("--profile")

_COMMENT: Final = re.compile(r"(?:^|\s)#.*", re.DOTALL)
"""A comment in `expect_file`; a # within a word is part of the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ProfileSettings):
    """A profile's settings, merged from all sources."""

    profile: str = DEFAULT_PROFILE
    is_one_of_several: bool = False
    own: frozenset[str] = frozenset()
    """Names of the settings in the profile's section."""
    limits: Limits = field(default_factory=Limits)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    commands: Mapping[str, RowCommand] = field(default_factory=dict)
    views: Mapping[str, NamedView] = field(default_factory=dict)
    hooks: tuple[HookSettings, ...] = ()
    key_variables: frozenset[str] = frozenset()
    """Variables of all profiles' keys and dead man's switches."""
    origins: Mapping[str, SafeText] = field(default_factory=dict)
    """Origins of non-default values, by setting, or as `keys.ID`, `commands.NAME`, `views.NAME` or `hooks.NAME`."""
    document: Document | None = None

    @property
    def secret_variables(self) -> frozenset[str]:
        """All variables with secrets in the file, hidden from the user's commands."""
        return self.key_variables.union(*(hook.secret_variables for hook in self.hooks))

    @property
    def deliveries(self) -> dict[SafeText, Delivery]:
        """The hooks' deliveries by name, not prepared yet."""
        return {hook.name: hook.delivery() for hook in self.hooks}

    @property
    def hook_mistakes(self) -> Sequence[SafeText]:
        """A line for each mistake of a hook in the file; `hooks` lacks these hooks."""
        return () if self.document is None else self.document.hook_mistakes

    @property
    def is_by_option(self) -> bool:
        """Whether the command line names the profile."""
        return self.origin("profile") == _PROFILE_OPTION

    @property
    def profile_in_file(self) -> str:
        """The profile's name; empty if the file has no such profile."""
        return self.profile if self.document and self.profile in self.document.config.profiles else ""

    def origin(self, name: str) -> SafeText:
        """Return a value's origin, for people."""
        return self.origins.get(name, DEFAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources of settings."""

    document: Document | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    remembered: Mapping[str, Any] = field(default_factory=dict)
    only: Iterable[str] | None = None
    """Settings to take from file and variables; None for all."""

    def takes(self, name: str) -> bool:
        """Whether a setting is taken from file and variables."""
        return self.only is None or name in self.only


_Layer: TypeAlias = "dict[str, tuple[Any, SafeText]]"


def config_path(option: str | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Return the configuration file's path, existing or not, and whether the user named the file.

    Raises:
        ConfigError: if the path looks like a key.
    """
    named = option if option is not None else environ.get(CONFIG, "")
    if named:
        try:
            return Path(path_text(named)), True
        except ValueError as mistake:
            raise ConfigError(f"{CONFIG if option is None else '--config'} {mistake}") from None
    import platformdirs  # noqa: PLC0415 - only without a named file

    return platformdirs.user_config_path("envwatch", appauthor=False) / "config.toml", False


def document_at(path: Path, *, must_exist: bool) -> Document | None:
    """Return the configuration file, None if missing.

    Raises:
        ConfigError: if the file has mistakes outside hooks, or as in `document_and_mistakes`.
    """
    document, mistakes = document_and_mistakes(path, must_exist=must_exist)
    in_hooks = () if document is None else document.hook_mistakes
    if elsewhere := [mistake for mistake in mistakes if mistake not in in_hooks]:
        raise ConfigError(*elsewhere)
    return document


def document_and_mistakes(path: Path, *, must_exist: bool) -> tuple[Document | None, tuple[SafeText, ...]]:
    """Return the configuration file's valid parts, None if missing, and a line for each mistake.

    Raises:
        ConfigError: if the file cannot be read, or must exist and is missing.
    """
    try:
        content = read_regular(path, limit=SETTINGS_BYTES)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not must_exist:
            return None, ()
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    from envwatch.config.schema import parse_document  # noqa: PLC0415 - only with a file

    return parse_document(path, content)


def mistakes_in_variables(environ: Mapping[str, str], document: Document | None, path: Path) -> tuple[SafeText, ...]:
    """Return a line for each unusable variable; a named profile must be in the file."""
    lines: list[SafeText] = []
    for read in (partial(_variable_layer, Sources(environ=environ)), partial(_profiles, None, environ, document, path)):
        try:
            read()
        except ConfigError as error:
            lines += error.lines
    return tuple(lines)


def read_settings(
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    remembered: Mapping[str, Any] | None = None,
    only: Iterable[str] | None = None,
) -> list[Settings]:
    """Return the settings of each named profile in order, never empty.

    Raises:
        ConfigError: if file, variables or options are wrong, alone or together.
    """
    path, is_named = config_path(options.get("config"), environ)
    document = document_at(path, must_exist=is_named)
    names, origin = _profiles(options.get("profile"), environ, document, path)
    sources = Sources(document=document, options=options, environ=environ, remembered=remembered or {}, only=only)
    are_several = len(names) > 1
    found = [replace(build_settings(sources, name, origin), is_one_of_several=are_several) for name in names]
    if mistakes := [mistake for settings in found for mistake in mistakes_in_limits(settings)]:
        raise ConfigError(*dict.fromkeys(mistakes))
    return found


def build_settings(sources: Sources, profile: str, origin: SafeText) -> Settings:
    """Return the settings of a profile, in the file or not; `origin` belongs to the profile's name.

    Raises:
        ConfigError: for wrong variables.
    """
    common, own = _file_layers(sources, profile)
    remembered = {name: (value, clean("remembered")) for name, value in sources.remembered.items() if value}
    layers = (remembered, common, own, _variable_layer(sources), _option_layer(sources))
    merged = {name: value for layer in layers for name, value in layer.items()}
    values = {name: value for name, (value, _) in merged.items()}
    origins = {"profile": origin} | {name: source for name, (_, source) in merged.items()}
    entries, origins_of_entries = _entries(sources.document, profile)
    limits = Limits(**{limit.name: values.pop(limit.name) for limit in SETTABLE if limit.name in values})
    return Settings(
        profile=profile,
        own=frozenset(own),
        origins=origins | origins_of_entries,
        document=sources.document,
        limits=limits,
        **entries,
        **values,
    )


def _entries(document: Document | None, profile: str) -> tuple[dict[str, Any], dict[str, SafeText]]:
    if document is None:
        return {}, {}
    from envwatch.views.command_context import RowCommand  # noqa: PLC0415 - only with a file
    from envwatch.views.table.table_view import NamedView  # noqa: PLC0415 - only with a file

    config, own = document.config, document.config.profiles.get(profile)
    hooks = tuple(each.numbered(i + 1) for i, each in zip(document.hook_indices, config.hooks, strict=True))
    views: dict[str, NamedView] = {}
    places: dict[str, tuple[str, ...]] = {
        f"hooks.{hook.name}": ("hooks", str(i)) for i, hook in zip(document.hook_indices, hooks, strict=True)
    }
    places |= {f"keys.{id_}": ("keys", id_) for id_ in config.keys}
    places |= {f"commands.{name}": ("commands", name, "key") for name in config.commands}
    for path, section in (((), config), (("profiles", profile), own)):
        for name, view in section.views.items() if section is not None else ():
            views[name] = NamedView(name=name, **dict(view))
            places[f"views.{name}"] = (*path, "views", name, "key")
    commands = [RowCommand(name=name, **dict(each)) for name, each in config.commands.items()]
    sections = (config, *config.profiles.values())
    variables = (name for each in sections for name in (each.api_key_env, each.ping_url_env))
    entries = {
        "keys": config.keys,
        "commands": {each.name: each._replace(description=each.description or each.name) for each in commands},
        "views": views,
        "hooks": hooks,
        "key_variables": frozenset(filter(None, variables)),
    }
    return entries, {name: document.origin(*place) for name, place in places.items()}


def view_named(settings: Settings, name: str, origin: str) -> NamedView:
    """Return a configured or built-in view; `origin` is the place of the name.

    Raises:
        ConfigError: if no view has the name.
    """
    from envwatch.views.table.table_view import BUILT_IN_VIEWS  # noqa: PLC0415 - only with a view

    found = settings.views.get(name) or BUILT_IN_VIEWS.get(name)
    if found is None:
        what = "" if origin.startswith(("--", PREFIX)) else "view: "
        raise ConfigError(f"{origin}: {what}{no_view(name, settings.views, BUILT_IN_VIEWS)}")
    return found


_ADDED: Final = ("expect", "silences")


def _file_layers(sources: Sources, profile: str) -> tuple[_Layer, _Layer]:
    document = sources.document
    if document is None:
        return {}, {}
    common = _section_layer(document, sources)
    own = _section_layer(document, sources, "profiles", profile)
    for names in ALTERNATIVES.values():
        if own.keys() & {*names}:  # a profile's alternative replaces the whole group
            common = {name: value for name, value in common.items() if name not in names}
    return common, {name: _added(name, common, value, origin) for name, (value, origin) in own.items()}


def _added(name: str, common: _Layer, value: Any, origin: SafeText) -> tuple[Any, SafeText]:  # noqa: ANN401  any setting
    """Return a profile's value; silences and expected names add to those for every profile."""
    if name in _ADDED and name in common:
        value = (*common[name][0], *value)
    return value, origin


def _section_layer(document: Document, sources: Sources, *path: str) -> _Layer:
    config = document.config
    section = config.profiles.get(path[-1]) if path else config
    names = section.model_fields_set & SETTINGS.keys() if section else ()
    values = {name: getattr(section, name) for name in names if sources.takes(name)}
    folder = document.path.parent  # relative paths start at the file's folder
    values |= {name: folder / value for name, value in values.items() if isinstance(value, Path)}
    return {name: (value, document.origin(*path, name)) for name, value in values.items()}


def _variable_layer(sources: Sources) -> _Layer:
    ignored = {CONFIG, PROFILE}
    if ROW in sources.environ:  # a dashboard or a hook started this process
        from envwatch.views.command_context import EVENT_VARIABLES, ROW_VARIABLES  # noqa: PLC0415 - only there

        ignored |= ROW_VARIABLES | EVENT_VARIABLES
    raw = {
        name.removeprefix(PREFIX): text
        for name, text in sources.environ.items()
        if name.startswith(PREFIX) and name not in ignored and text.strip()
    }
    if not raw:
        return {}
    from envwatch.config.schema import settings_in  # noqa: PLC0415 - only with such variables

    return {
        name: (value, clean(f"{PREFIX}{name.upper()}"))
        for name, value in settings_in(raw).items()
        if sources.takes(name)
    }


def _option_layer(sources: Sources) -> _Layer:
    return {
        name: (sources.options[name], clean(f"--{name.replace('_', '-')}"))
        for name, declared in SETTINGS.items()
        if declared.metadata.get("option") and name in sources.options
    }


def _profiles(
    option: str | None, environ: Mapping[str, str], document: Document | None, path: Path
) -> tuple[list[str], SafeText]:
    for named, origin in ((option, _PROFILE_OPTION), (environ.get(PROFILE, "").strip() or None, clean(PROFILE))):
        if named is None:
            continue
        names = list(dict.fromkeys(name.strip() for name in named.split(",") if name.strip()))
        if not names:
            raise ConfigError(f"{origin}: a name is missing")
        if document is None:
            raise ConfigError(
                f"{origin}: there is no file {path}, so there are no profiles; `envwatch config init` writes the file"
            )
        profiles = document.config.profiles
        for name in names:
            if name not in profiles:
                existing = ", ".join(profiles) or "none at all"
                raise ConfigError(f"{origin}: {path} has no profile {shortened(clean(name), 40)}; it has {existing}")
        return names, origin
    if document is not None and document.config.default_profile is not None:
        return [document.config.default_profile], document.origin("default_profile")
    if document is not None and len(document.config.profiles) == 1:
        (only,) = document.config.profiles
        return [only], document.origin("profiles", only, "key")
    return [DEFAULT_PROFILE], DEFAULT


def mistakes_in_limits(settings: Settings) -> list[str]:
    """Return a line for each pair of contradictory limits, from any source."""
    limits = settings.limits
    mistakes = []
    if limits.late_after >= limits.online_for:
        mistakes.append(_mismatch(settings, "late_after", "must be shorter than", "online_for"))
    if limits.page_deadline > limits.walk_deadline:
        mistakes.append(_mismatch(settings, "page_deadline", "must not be longer than", "walk_deadline"))
    return mistakes


def _mismatch(settings: Settings, name: str, relation: str, other: str) -> str:
    one, two = (f"{limit} ({seconds_text(getattr(settings.limits, limit).total_seconds())})" for limit in (name, other))
    origin = settings.origins.get(name) or settings.origins[other]
    return f"{origin}: {one} {relation} {two}"


def expected_by(settings: Settings) -> tuple[SafeText, ...]:
    """Return a profile's expected names and device ids, without duplicates.

    Raises:
        ConfigError: if the file cannot be used, with a line for each mistake.
    """
    names = list(settings.expect)
    if settings.expect_file is not None:
        try:
            names += _names_in(settings.expect_file)
        except OSError as error:
            origin = settings.origin("expect_file")
            raise ConfigError(
                f"{origin}: expect_file cannot be read: {error.strerror} ({settings.expect_file})"
            ) from None
    return tuple(dict.fromkeys(names))


def _names_in(path: Path) -> list[SafeText]:
    """No message repeats a line, which may be a key."""
    content = read_regular(path, limit=SETTINGS_BYTES)
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{number}: is not UTF-8") from None
    names, mistakes = [], []
    for number, text in enumerate(lines, 1):
        name = _COMMENT.sub("", text).strip()
        try:
            names += [clean(one_line(name))] if name else []
        except ValueError as mistake:
            mistakes.append(f"{path}:{number}: {mistake}")
    if len(names) > MOST_EXPECTED:
        mistakes.append(f"{path}: has more than {MOST_EXPECTED:,} names")
    if mistakes:
        raise ConfigError(*mistakes)
    return names
