"""The keys of the metadata, offered for columns and in the filter box."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.tracked_environments import BARE, tracked

from envwatch.query.completion import completions, metadata_keys


def keys_of(*metadata: dict[str, Any]) -> dict[str, int]:
    rows = [
        tracked(id=f"env-{n}", metadata={**dict.fromkeys(tracked().environment.metadata or ()), **each})
        for n, each in enumerate(metadata)
    ]
    return dict(metadata_keys(rows))


def test_the_keys_of_the_fleet_are_counted_by_rows_with_a_value_nested_ones_as_paths() -> None:
    found = keys_of(
        {"team": "a", "machine": {"cpu": "x", "none": None, "gpus": {}}, "": 1}, {"team": "", "rack": 0}, {"team": "b"}
    )
    assert [*found.items()] == [("team", 2), ("rack", 1), ("machine.cpu", 1), ("machine.gpus", 1)]
    assert keys_of({"a.b": 1, "a": {"b": 1}}) == {"a.b": 1}
    without = tracked()
    assert metadata_keys([replace(without, environment=replace(without.environment, metadata=None)), BARE]) == []


def test_texts_with_a_column_of_their_own_are_left_out_and_other_known_keys_come_last() -> None:
    one = {"os": "linux", "machine": {"cpu": "x"}}
    assert [*keys_of({**one, "zone": "a"}, one)] == ["zone", "machine.cpu"]


def test_parts_of_the_ability_to_update_are_not_offered() -> None:
    assert keys_of({"self_update": {"supported": True, "manual_command": "npm i"}, "self_updates": 1}) == {
        "self_updates": 1
    }


def test_equally_frequent_keys_are_in_order_and_their_number_is_limited() -> None:
    assert [*keys_of({f"key-{number:03}": 1 for number in range(101)})] == [f"key-{number:03}" for number in range(100)]


def test_keys_are_offered_down_to_the_third_nested_level() -> None:
    deep: dict[str, Any] = {"a": {"b": {"c": {"d": {"e": 1}}}}}
    assert [*keys_of(deep)] == ["a.b.c.d"]


def test_tab_completes_the_keys_after_meta() -> None:
    rows = [tracked(metadata={"team": "ml"}), tracked(id="env-2", metadata={"team": "web", "tape": 1})]
    offers = {each.text: each.description for each in completions("meta.t", 6, rows)}
    assert offers == {"meta.team:": "2 environments", "meta.tape:": "1 environment"}
