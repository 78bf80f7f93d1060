"""The output of `envwatch config`: values with origins, mistakes, and a new file.

The output never has the key. All settings of the new file are commented out.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envwatch.config.declared import ADVANCED_SETTINGS, ALTERNATIVES, COMMON, SETTINGS, ProfileSettings
from envwatch.config.schema import Config, Document
from envwatch.config.settings import DEFAULT_PROFILE, PREFIX, Settings, Sources, build_settings, mistakes_in_limits
from envwatch.config.values import seconds_text
from envwatch.deliver.delivery import without_secret
from envwatch.model.limits import ONE_MESSAGE_FROM, SETTABLE
from envwatch.model.text import SafeText, clean, counted, wrapped
from envwatch.views.table.columns import LOSSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.views.table.table_view import NamedView


def settings_table(settings: Settings, credentials: Credentials | str, path: Path) -> str:
    """Return a line for each setting: name, value, origin.

    `credentials` is the reason if there is no key.
    """
    rows = [(clean(name), value_text(value), origin) for name, value, origin in _values(settings, credentials, path)]
    name_width = max(len(name) for name, _, _ in rows)
    value_width = min(max(len(value) for _, value, _ in rows[1:]), 32)
    return "".join(f"{name:<{name_width}}  {value:<{value_width}}  {origin}\n" for name, value, origin in rows)


def settings_json(settings: Settings, credentials: Credentials | str, path: Path) -> dict[str, object]:
    """Return value and origin of each setting, with the values of `settings_table` but for null, numbers and lists."""
    return {
        name: {"value": _json_value(value), "origin": origin}
        for name, value, origin in _values(settings, credentials, path)
    }


def _json_value(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case tuple():
            return [*map(str, value)]
        case _:
            return value_text(value)


def _values(settings: Settings, credentials: Credentials | str, path: Path) -> Iterator[tuple[str, object, SafeText]]:
    yield "config", path, clean("read" if settings.document else "not there")
    yield "profile", settings.profile, settings.origin("profile")
    if isinstance(credentials, str):
        yield "api_key", None, clean(credentials)
    else:
        yield "api_key", "********", clean(credentials.origin)
        yield "base_url", credentials.base_url, clean(credentials.base_url_origin)
    values = {each.name: getattr(settings, each.name) for each in fields(ProfileSettings)}
    for name in ("base_url", *ALTERNATIVES["key"]):  # key and server are shown above
        del values[name]
    values |= {"sort": settings.sort or LOSSES, "blind_after": settings.blind_after or False}
    values["ping_url"] = None if settings.ping_url is None else without_secret(settings.ping_url)
    values |= {limit.name: getattr(settings.limits, limit.name) for limit in SETTABLE}
    values |= {f"keys.{id_}": keys for id_, keys in settings.keys.items()}
    values |= {f"commands.{name}": f"{each.key}: {' '.join(each.run)}" for name, each in settings.commands.items()}
    values |= {f"views.{name}": _view_text(each) for name, each in settings.views.items()}
    values |= {f"hooks.{hook.name}": f"{','.join(hook.on)}: {hook.delivery().target}" for hook in settings.hooks}
    for name, value in values.items():
        yield name, value, settings.origin(name)


def mistakes_in(
    document: Document, found: Iterable[SafeText], outside: Callable[[Settings], Iterator[str]]
) -> tuple[SafeText, ...]:
    """Return a line for each mistake, in the file's order.

    `outside` yields the mistakes of a profile's settings beyond the file.
    """
    mistakes = dict.fromkeys(found)
    for settings in settings_in(document):
        mistakes |= dict.fromkeys(map(clean, (*mistakes_in_limits(settings), *outside(settings))))
    return in_order(document, mistakes)


def in_order(document: Document, lines: Iterable[SafeText]) -> tuple[SafeText, ...]:
    """Return lines in the order of the places in the file that they begin with."""

    def number_in_file(line: SafeText) -> int:
        number = re.match(r":([0-9]+):", line.removeprefix(clean(str(document.path))))
        return int(number[1]) if number else 0

    return tuple(sorted(dict.fromkeys(lines), key=number_in_file))


def warnings_about(document: Document) -> tuple[SafeText, ...]:
    """Return a line for each risky value of a file without mistakes."""
    risk = f"alert_after is under {seconds_text(ONE_MESSAGE_FROM.total_seconds())}: one outage may be several messages"
    found = list[SafeText]()
    for settings in settings_in(document):
        if settings.alert_after < ONE_MESSAGE_FROM:
            found.append(clean(f"{settings.origin('alert_after')}: {risk}"))
    return tuple(dict.fromkeys(found))


def settings_in(document: Document) -> Iterator[Settings]:
    """Yield the settings of each profile in the file, the default one first."""
    for profile in dict.fromkeys((document.config.default_profile or DEFAULT_PROFILE, *document.config.profiles)):
        yield build_settings(Sources(document=document), profile, clean("the file"))


def _toml_line(name: str, text: str) -> str:
    is_literal = '"' in text and "'" not in text
    return f"{name} = '{text}'" if is_literal else f"{name} = {json.dumps(text, ensure_ascii=False)}"


def checked_text(document: Document, environ: Mapping[str, str]) -> SafeText:
    """Return a text that counts the checked sections and variables."""
    config = document.config
    sections = (config, *config.profiles.values())
    settings = sum(len(section.model_fields_set & {*SETTINGS, "default_profile"}) for section in sections)
    parts: list[str] = [counted(settings, "setting")]
    if config.profiles:
        parts.append(f"{counted(len(config.profiles), 'profile')} ({', '.join(config.profiles)})")
    if config.keys:
        parts.append(f"the keys of {counted(len(config.keys), 'action')}")
    if config.commands:
        parts.append(f"{counted(len(config.commands), 'command')} ({', '.join(config.commands)})")
    if views := [name for section in sections for name in section.views]:
        parts.append(f"{counted(len(views), 'view')} ({', '.join(dict.fromkeys(views))})")
    if config.hooks:
        parts.append(counted(len(config.hooks), "hook"))
    if files := sum(section.api_key_file is not None for section in sections):
        parts.append(counted(files, "key file"))
    parts += sorted(name for name, text in environ.items() if name.startswith(PREFIX) and text.strip())
    return clean(f"fine; checked {', '.join(parts)}")


def _view_text(view: NamedView) -> str:
    """Return a view as `V: filter name:gpu-*; sort version`."""
    parts = {"filter": view.filter, "columns": ",".join(view.columns), "sort": view.sort, "group": view.group}
    text = "; ".join(f"{name} {value}" for name, value in parts.items() if value)
    return f"{view.key}: {text}" if view.key else text


def value_text(value: object) -> SafeText:
    """Return a setting's value as text, `-` for none."""
    match value:
        case timedelta():
            text = seconds_text(value.total_seconds())
        case bool():
            text = str(value).lower()
        case tuple():
            text = ",".join(map(str, value))
        case _:
            text = "" if value is None else str(value)
    return clean(text) or clean("-")


_HEAD: Final = """\
# The configuration of envwatch. Every setting is optional: remove the # before one to use it.
# A value is the default, unless "an example" follows.
# `envwatch config validate` checks this file; `envwatch config show` prints what is in force.

"""
_BEFORE_COMMON: Final = """
# Settings up here hold for every profile that does not set them itself.

"""
_BEFORE_ADVANCED: Final = """
# Advanced: limits that few people ever change. They hold for every profile, too.

"""
_PROFILE: Final = """
# A profile: a server, the key for it, and whatever differs from the settings above. `--profile work` chooses it.
# Without any, the key comes from LETTA_API_KEY, the system's keyring, or the login of the Letta CLI.
#[profiles.work]
"""
_KEYS: Final = """
# Keys of your own: the id of an action, and its keys.
#[keys]
#machine.explain = "z"
#poll.pause = ["f5", "P"]

# Commands of your own for the machine under the cursor, which they find in the variables ENVWATCH_*.
#[commands.ssh]
#key = "S"
#run = ["ssh-to-env"]
#description = "ssh to the machine"
#wait = false

# Views of your own: filter, columns, order and groups. A key, the palette or `--view` chooses a view.
#[views.gpu]
#key = "V"
#filter = "name:gpu-*"
#columns = ["name", "version", "meta.team"]
#sort = "version"
#group = "meta.team"

# Hooks: what `envwatch watch --hooks` runs or posts when an incident opens and when it resolves.
# Each hook is for all profiles; a filter chooses one profile.
#[[hooks]]
#on = ["incident"]
#filter = "profile:work"
#after = "2m"
#command = ["/usr/local/bin/page", "--quiet"]
"""
_WIDTH: Final = 100


def starter() -> str:
    """Return the content of a new file."""
    names = [name for name in SETTINGS if name not in COMMON]
    usual = [name for name in COMMON if name not in ADVANCED_SETTINGS]
    parts = [_HEAD, *_lines(["default_profile"]), _BEFORE_COMMON, *_lines(usual)]
    parts += [_BEFORE_ADVANCED, *_lines(ADVANCED_SETTINGS)]
    return "".join([*parts, _PROFILE, *_lines(names), _KEYS])


def _lines(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        for line in wrapped(clean(help_of(name)), _WIDTH):
            yield f"# {line}\n"
        yield f"#{name} = {_default_or_example(name)}\n"


def _default_or_example(name: str) -> str:
    if name not in SETTINGS:
        return '"work"  # an example'
    declared = SETTINGS[name]
    example, text = declared.metadata["example"], value_text(declared.default)
    if text == "-":
        return f"{example}  # an example"
    default = json.dumps(text) if isinstance(declared.default, (str, timedelta)) else text
    return default if default == example else f"{default}  # or {example}"


def help_of(name: str) -> str:
    """Return the help of a setting above the profiles."""
    return Config.model_fields[name].description or ""
