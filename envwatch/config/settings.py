"""What holds in the end: options over variables over the configuration file over what is remembered over defaults.

Owns that order, and for each value where it came from. The file is read only if it is there, and neither it nor its
checks cost anything otherwise. Knows no key: `key` finds one by what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from envwatch.config.values import ConfigError, path_text
from envwatch.model.limits import SETTINGS_BYTES, Limits
from envwatch.model.text import Clean, clean, shortened
from envwatch.storage.regular_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envwatch.config.schema import Document

PREFIX: Final = "ENVWATCH_"
CONFIG: Final = "ENVWATCH_CONFIG"
PROFILE: Final = "ENVWATCH_PROFILE"
"""Variables. Each setting of how to watch has one too: the prefix, and its name in capitals."""

DEFAULT_PROFILE: Final = "default"
"""Used where nothing names another; it need not be in the file."""

_BY_DEFAULT: Final = Clean("default")
_PROFILE_OPTION: Final = Clean("--profile")

LOOKS: Final = frozenset({"theme", "columns", "sort", "bell", "notify", "interval", "page_size"})
"""What the demo takes of file and variables: the rest is about the user's own environments."""

KEY_PLACES: Final = frozenset({"api_key_env", "api_key_file"})
"""Where a profile can say that its key is: in one of them."""

_OPTIONS: Final = {
    "interval": "--interval",
    "page_size": "--page-size",
    "online_only": "--online-only",
    "source": "--source",
    "user": "--user",
    "filter": "--filter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds."""

    profile: str = DEFAULT_PROFILE
    own: frozenset[str] = frozenset()
    """Names of the settings that this profile itself has in the file."""
    base_url: str = ""
    """Of the file; empty if it names none."""
    api_key_env: str | None = None
    api_key_file: Path | None = None
    filter: str = ""
    columns: tuple[str, ...] = ()
    """Empty for those that fit."""
    sort: str | None = None
    """The id of a column; None for problems first."""
    theme: str | None = None
    bell: bool = False
    notify: Literal["off", "osc9", "osc777"] = "off"
    online_only: bool = False
    source: Literal["local", "remote"] | None = None
    user: str | None = None
    limits: Limits = field(default_factory=Limits)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys by the id of a binding. Whether there is such a binding is the screen's to say."""
    origins: Mapping[str, Clean] = field(default_factory=dict)
    """Where each value came from that is not the default, by its name; those of keys by `keys.` and the id."""
    document: Document | None = None
    """The file, if there is one."""

    @property
    def is_by_option(self) -> bool:
        """Whether the command line names the profile."""
        return self.origin("profile") == _PROFILE_OPTION

    def origin(self, name: str) -> Clean:
        """Return where a value came from, for people."""
        return self.origins.get(name, _BY_DEFAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All that has a say in what holds."""

    document: Document | None
    """The file, if there is one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the command line says, by the options' names; only what was given."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """The process's environment."""
    remembered: Mapping[str, Any] = field(default_factory=dict)
    """What the last run left, by the settings' names."""
    only: Iterable[str] | None = None
    """Names of settings to take from file and variables; all if None."""


def config_path(option: str | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Return where the configuration file is, or would be, and whether the user says so.

    Raises:
        ConfigError: if what stands in place of its path looks like a key.
    """
    named = option if option is not None else environ.get(CONFIG, "")
    if named:
        try:
            return Path(path_text(named)), True
        except ValueError as mistake:
            raise ConfigError(f"{CONFIG if option is None else '--config'} {mistake}") from None
    import platformdirs  # noqa: PLC0415 - only where nobody names a file

    return platformdirs.user_config_path("envwatch", appauthor=False) / "config.toml", False


def document_at(path: Path, *, is_wanted: bool) -> Document | None:
    """Read the configuration file; None if there is none.

    Args:
        path: where it is.
        is_wanted: the user named it, so it must be there.

    Raises:
        ConfigError: if it cannot be used.
    """
    try:
        content = read_regular(path, limit=SETTINGS_BYTES)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not is_wanted:
            return None
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    from envwatch.config.schema import document_of  # noqa: PLC0415 - only for those who have a file

    return document_of(path, content)


def all_settings_of(
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    remembered: Mapping[str, Any] | None = None,
    only: Iterable[str] | None = None,
) -> list[Settings]:
    """Return what holds for each profile that is named, in their order; at least one.

    Args:
        options: what the command line says, by the options' names; only what was given.
        environ: the process's environment.
        remembered: what the last run left, by the settings' names.
        only: names of settings to take from file and variables; all if None.

    Raises:
        ConfigError: if file, variables or options make no sense, alone or together.
    """
    path, is_wanted = config_path(options.get("config"), environ)
    document = document_at(path, is_wanted=is_wanted)
    names, origin = _profiles(options.get("profile"), environ, document, path)
    sources = Sources(document=document, options=options, environ=environ, remembered=remembered or {}, only=only)
    return [settings_of(sources, name, origin) for name in names]


def settings_of(sources: Sources, profile: str, origin: Clean) -> Settings:
    """Return what holds for one profile.

    Args:
        sources: where to look.
        profile: the name; it need not be in the file.
        origin: who named it.

    Raises:
        ConfigError: if variables make no sense, or values do not fit together.
    """
    document, only = sources.document, sources.only
    values: dict[str, Any] = {}
    origins = {"profile": origin}

    def take(more: Mapping[str, Any], places: Mapping[str, str]) -> None:
        for name, value in more.items():
            values[name] = value
            origins[name] = clean(places[name])

    known = {name: value for name, value in sources.remembered.items() if value}
    take(known, dict.fromkeys(known, "remembered"))
    own: frozenset[str] = frozenset()
    keys: Mapping[str, tuple[str, ...]] = {}
    if document is not None:
        keys = document.config.keys
        origins |= {f"keys.{id_}": document.place("keys", id_) for id_ in keys}
        for place in ((), ("profiles", profile)):
            told = _told_in(document, place, only)
            if told.keys() & KEY_PLACES:
                for name in KEY_PLACES:
                    values.pop(name, None)
            own = frozenset(told)
            take(told, {name: document.place(*place, name) for name in told})
    variables = {name: value for name, value in _variables(sources.environ).items() if only is None or name in only}
    take(variables, {name: f"{PREFIX}{name.upper()}" for name in variables})
    given = {name: sources.options[name] for name in _OPTIONS if name in sources.options}
    take(given, {name: _OPTIONS[name] for name in given})

    limits = {limit.name: values.pop(limit.name) for limit in fields(Limits) if limit.name in values}
    settings = Settings(
        profile=profile, own=own, keys=keys, origins=origins, document=document, limits=Limits(**limits), **values
    )
    _check(settings)
    return settings


def _profiles(
    option: str | None, environ: Mapping[str, str], document: Document | None, path: Path
) -> tuple[Iterable[str], Clean]:
    """Return the names of the profiles that count, and who named them.

    Args:
        option: what the command line says.
        environ: the process's environment.
        document: the file, if there is one.
        path: where it is, or would be.
    """
    for named, origin in ((option, _PROFILE_OPTION), (environ.get(PROFILE, "").strip() or None, Clean(PROFILE))):
        if named is not None:
            names = dict.fromkeys(name.strip() for name in named.split(",") if name.strip())
            if not names:
                raise ConfigError(f"{origin}: a name is missing")
            if document is None:
                raise ConfigError(f"{origin}: there are no profiles, for there is no file {path}")
            for name in names:
                if name not in document.config.profiles:
                    known = ", ".join(document.config.profiles) or "none at all"
                    raise ConfigError(f"{origin}: {path} has no profile {shortened(clean(name), 40)}; it has {known}")
            return names, origin
    if document is not None and document.config.default_profile is not None:
        return [document.config.default_profile], document.place("default_profile")
    return [DEFAULT_PROFILE], _BY_DEFAULT


def _told_in(document: Document, place: tuple[str, ...], only: Iterable[str] | None) -> dict[str, Any]:
    """Return what the top of the file or one of its profiles says."""
    config = document.config
    section = config.profiles.get(place[-1]) if place else config
    names = set() if section is None else section.model_fields_set - {"default_profile", "profiles", "keys"}
    told = {name: getattr(section, name) for name in names if only is None or name in only}
    if "api_key_file" in told:
        told["api_key_file"] = document.path.parent / told["api_key_file"]
    return told


def _variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the variables say; an empty one says nothing."""
    told = {
        name.removeprefix(PREFIX): text
        for name, text in environ.items()
        if name.startswith(PREFIX) and name not in {CONFIG, PROFILE} and text.strip()
    }
    if not told:
        return {}
    from envwatch.config.schema import choices_in  # noqa: PLC0415 - only for those who have such variables

    choices = choices_in(told)
    return {name: getattr(choices, name) for name in choices.model_fields_set}


def _check(settings: Settings) -> None:
    """Raise unless the values fit together, wherever each of them came from."""
    limits = settings.limits
    if limits.late_after >= limits.online_for:
        _refuse(settings, "late_after", "must be shorter than", "online_for")
    if limits.page_deadline > limits.walk_deadline:
        _refuse(settings, "page_deadline", "must not be longer than", "walk_deadline")


def _refuse(settings: Settings, name: str, how: str, other: str) -> NoReturn:
    def told(limit: str) -> str:
        return f"{limit} ({getattr(settings.limits, limit).total_seconds():g} s)"

    places = [settings.origins[limit] for limit in (name, other) if limit in settings.origins]
    raise ConfigError(f"{places[0]}: {told(name)} {how} {told(other)}")
