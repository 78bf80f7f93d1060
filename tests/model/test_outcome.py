"""A failed poll's message about the cause."""

from __future__ import annotations

from envwatch.model.outcome import Cause


def test_only_401_and_403_are_a_refusal_of_the_key() -> None:
    assert {cause for cause in Cause if cause.is_refusal} == {Cause.UNAUTHORIZED, Cause.FORBIDDEN}
