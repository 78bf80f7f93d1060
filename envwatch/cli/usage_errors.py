"""Mistakes on the command line in plain words: what is wrong, what exists, and the nearest of it.

argparse decides what a mistake is; here are only the words. Words that are long enough to be a key are left out: a key
may have been pasted in the wrong place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from envwatch.model.text import SafeText, clean, composed, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONG_WORD: Final = re.compile(r"(?<![^\s'=])(?!--)[^\s'=]{17,}")

_CHOICE: Final = re.compile(r"argument (\S+): invalid choice: '?(.*?)'? \(choose from (.*)\)", re.DOTALL)
_OTHERS: Final = {
    re.compile(r"argument (\S+): expected one argument"): "needs a value",
    re.compile(r"argument (\S+?)(?:/\S+)?: ignored explicit argument .*", re.DOTALL): "takes no value",
    re.compile(r"the following arguments are required: (\S+)"): "is missing",
}
"""What to say of an argument in place of these messages."""
_NAMES_OF_KEYS: Final = re.compile(r"--?(?:letta-?)?(?:api-?)?(?:key|token)(?:=.*)?", re.IGNORECASE | re.DOTALL)

NO_KEY_HERE: Final = (
    "no option takes the API key, because every user of a machine can read those: `export LETTA_API_KEY=…` instead"
)


def plain(message: str) -> SafeText:
    """Return a message of argparse in words for people."""
    if match := _CHOICE.fullmatch(message):
        name, word, choices = match[1], _without_keys(match[2]), re.findall(r"[\w-]+", match[3])
        nearest = did_you_mean(word, choices)
        if name.isupper():  # a command or an action
            hint = nearest or f"; there are {', '.join(choices)}"
            return composed(f"there is no {name.lower()} {word}{hint}")
        return composed(f"{name} must be one of {', '.join(choices)}{nearest}")
    for pattern, words in _OTHERS.items():
        if match := pattern.fullmatch(message):
            return composed(f"{match[1]} {words}")
    return _without_keys(message.removeprefix("argument "))


def unknown(extras: Sequence[str], command: str, options: Iterable[str]) -> SafeText:
    """Return what to say of arguments that a command, as it is typed, does not know among its options."""
    word = _without_keys(extras[0])
    if not word.startswith("-"):
        return composed(f"`{command}` takes no argument {word}: every value stands after its option")
    return composed(f"`{command}` takes no {word}{did_you_mean(word.partition('=')[0], options, similarity=0.7)}")


def names_a_key(argument: str) -> bool:
    """Whether an argument is an option that people expect for the key."""
    return _NAMES_OF_KEYS.fullmatch(argument) is not None


def _without_keys(message: str) -> SafeText:
    return clean(_LONG_WORD.sub("…", message))
