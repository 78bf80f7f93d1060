"""The output of `envwatch config`: each value with its origin, the mistakes of the file.

Returns text; `cli` writes it. Sees of the key only where it comes from.
"""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING

from envwatch.config.settings import DEFAULT_PROFILE, PREFIX, Settings, Sources, mistakes_in_limits, settings_of
from envwatch.config.values import seconds_text
from envwatch.hooks.hook import without_secret
from envwatch.model.limits import Limits
from envwatch.model.text import SafeText, clean, counted
from envwatch.views.columns import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from envwatch.config.credentials import Credentials
    from envwatch.config.schema import Document


def settings_table(settings: Settings, credentials: Credentials | str, path: Path) -> str:
    """Return a line for each setting: its name, the value, its origin.

    In place of the key and the address there may be the reason why there are none.
    """
    rows = [
        ("config", clean(str(path)), "read" if settings.document else "not there"),
        ("profile", clean(settings.profile), settings.origin("profile")),
    ]
    if isinstance(credentials, str):
        rows.append(("api_key", clean("-"), clean(credentials)))
    else:
        rows.append(("api_key", clean("********"), clean(credentials.origin)))
        rows.append(("base_url", clean(credentials.base_url), clean(credentials.base_url_origin)))
    names = [each.name for each in fields(Settings)]
    how = names[names.index("filter") : names.index("limits")]  # without what names the server and the key
    values = {name: getattr(settings, name) for name in how} | {"sort": settings.sort or PROBLEMS}
    values["blind_after"] = settings.blind_after or False
    ping_url = None if settings.ping_url is None else without_secret(settings.ping_url)
    values |= {"ping_url": ping_url, "ping_url_env": settings.ping_url_env}
    values |= {limit.name: getattr(settings.limits, limit.name) for limit in fields(Limits)}
    values |= {f"keys.{id_}": keys for id_, keys in settings.keys.items()}
    values |= {f"commands.{name}": f"{each.key}: {' '.join(each.run)}" for name, each in settings.commands.items()}
    values |= {f"hooks.{hook.name}": f"{','.join(hook.on)}: {hook.target}" for hook in settings.hooks}
    rows += [(clean(name), _text_of(value), settings.origin(name)) for name, value in values.items()]
    name_width = max(len(name) for name, _, _ in rows)
    value_width = min(max(len(value) for _, value, _ in rows[1:]), 32)
    return "".join(f"{name:<{name_width}}  {value:<{value_width}}  {origin}\n" for name, value, origin in rows)


def mistakes_in(
    document: Document, found: Iterable[SafeText], outside: Callable[[Settings], Iterator[str]]
) -> tuple[SafeText, ...]:
    """Return a line for each mistake of a configuration file, in the file's order.

    To the lines about the file taken alone, `outside` adds what is wrong with a profile's settings beyond it.
    """
    mistakes = dict.fromkeys(found)
    for profile in dict.fromkeys((document.config.default_profile or DEFAULT_PROFILE, *document.config.profiles)):
        settings = settings_of(Sources(document=document), profile, clean("the file"))
        mistakes |= dict.fromkeys(map(clean, (*mistakes_in_limits(settings), *outside(settings))))

    def line_number(mistake: SafeText) -> int:
        number = re.match(r":([0-9]+):", mistake.removeprefix(clean(str(document.path))))
        return int(number[1]) if number else 0

    return tuple(sorted(mistakes, key=line_number))


def checked_text(document: Document, environ: Mapping[str, str]) -> SafeText:
    """Return what was checked of a file without mistakes: settings, profiles, keys, key files, variables."""
    config = document.config
    sections = (config, *config.profiles.values())
    settings = sum(len(section.model_fields_set - {"profiles", "keys", "hooks", "commands"}) for section in sections)
    parts: list[str] = [counted(settings, "setting")]
    if config.profiles:
        parts.append(f"{counted(len(config.profiles), 'profile')} ({', '.join(config.profiles)})")
    if config.keys:
        parts.append(f"the keys of {counted(len(config.keys), 'action')}")
    if config.commands:
        parts.append(f"{counted(len(config.commands), 'command')} ({', '.join(config.commands)})")
    if config.hooks:
        parts.append(counted(len(config.hooks), "hook"))
    if files := sum(section.api_key_file is not None for section in sections):
        parts.append(counted(files, "key file"))
    parts += sorted(name for name, text in environ.items() if name.startswith(PREFIX) and text.strip())
    return clean(f"fine; checked {', '.join(parts)}")


def _text_of(value: object) -> SafeText:
    match value:
        case timedelta():
            text = seconds_text(value.total_seconds())
        case bool():
            text = str(value).lower()
        case tuple():
            text = ",".join(value)
        case _:
            text = "" if value is None else str(value)
    return clean(text) or clean("-")
