"""The file of the expected inventory: one name or device id a line, with comments after `#`.

No message repeats a line: a key may stand where it does not belong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from envwatch.config.values import MOST_EXPECTED, ConfigError, line
from envwatch.model.limits import SETTINGS_BYTES
from envwatch.model.text import SafeText, clean
from envwatch.storage.regular_files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

    from envwatch.config.settings import Settings

_COMMENT: Final = re.compile(r"(?:^|\s)#.*", re.DOTALL)
"""A # within a word is a part of the name."""


def expected_by(settings: Settings) -> tuple[SafeText, ...]:
    """Return the names and device ids that a profile expects, each once.

    Raises:
        ConfigError: if the file cannot be used; each line has the file and the line of a mistake.
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
            names += [clean(line(name))] if name else []
        except ValueError as mistake:
            mistakes.append(f"{path}:{number}: {mistake}")
    if len(names) > MOST_EXPECTED:
        mistakes.append(f"{path}: has more than {MOST_EXPECTED:,} names")
    if mistakes:
        raise ConfigError(*mistakes)
    return names
