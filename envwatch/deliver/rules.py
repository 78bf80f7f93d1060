"""pydantic's rules for settings of hooks; further rules are in `config.validators`.

A rule returns a value, or raises `ValueError` with the end of a sentence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator

from envwatch.letta.network_settings import SettingsError, checked_hook_url
from envwatch.model.redactor import Secret
from envwatch.model.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def words_schema(words: Iterable[str]) -> Any:  # noqa: ANN401 - as pydantic declares `Field`
    """Return the JSON schema's list of accepted words."""
    return Field(json_schema_extra={"enum": list(words)})


def one_of(*words: str) -> BeforeValidator:
    """Return a rule that accepts only `words`."""

    def read(raw: object) -> str:
        word = raw.strip() if isinstance(raw, str) else ""
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return BeforeValidator(read, json_schema_input_type=Annotated[str, words_schema(words)])


def _read_url(raw: object) -> Secret:
    text = one_line(raw)
    try:
        checked_hook_url(text)
    except SettingsError as mistake:
        raise ValueError(f"cannot be used: {mistake}") from None
    return Secret(text)


def _read_variable(raw: object) -> str:
    if isinstance(raw, str) and _VARIABLE_NAME.fullmatch(raw):
        return raw
    raise ValueError("must be the name of an environment variable")


def _arguments(raw: object) -> tuple[str, ...]:
    if isinstance(raw, list) and raw and all(isinstance(word, str) and "\0" not in word for word in raw) and raw[0]:
        return tuple(raw)
    raise ValueError('must be a list of texts, a program and its arguments: ["ssh-to-env", "--quiet"]')


NON_EMPTY: TypeAlias = Annotated[str, Field(min_length=1)]
LINE: Final = BeforeValidator(one_line, json_schema_input_type=NON_EMPTY)
VARIABLE: Final = BeforeValidator(
    _read_variable, json_schema_input_type=Annotated[str, Field(pattern=f"^{_VARIABLE_NAME.pattern}$")]
)
"""The name of a secret variable, which no command gets."""
SECRET_URL: Final = PlainValidator(_read_url, json_schema_input_type=NON_EMPTY)
ARGUMENTS: Final = BeforeValidator(_arguments, json_schema_input_type=Annotated[list[str], Field(min_length=1)])
