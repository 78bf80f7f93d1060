"""Views with a name: which parts they set, what follows from a change, and the built-in views."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW
from support.tracked_environments import named, tracked

from envwatch.query.language import parse
from envwatch.views.table.baseline import Baseline
from envwatch.views.table.table_view import BUILT_IN_VIEWS, GROUPINGS, NamedView, Preset, View

GPU = NamedView(name="gpu", key="V", filter="name:gpu-*", columns=("name", "meta.team"), sort="version", group="os")
PLAIN = NamedView(name="plain")

views = st.builds(
    View,
    preset=st.sampled_from(Preset),
    query=st.sampled_from(["", "gpu", "meta.team:a"]).map(parse),
    sort=st.sampled_from([None, "name", "meta.team"]),
    columns=st.sampled_from([(), ("name", "mode")]),
    group=st.sampled_from([None, *GROUPINGS, "meta.team"]),
    baseline=st.sampled_from([None, Baseline.from_environments([named("one")], NOW)]),
    named=st.sampled_from([None, GPU, PLAIN]),
    view_columns=st.sampled_from([None, (), ("name",)]),
)
own = st.sampled_from([GPU, PLAIN])


@given(views, own)
def test_a_view_is_the_same_whatever_was_chosen_before(before: View, view: NamedView) -> None:
    after = view.chosen(before)
    assert after == view.chosen(View(columns=before.columns, baseline=before.baseline))
    assert (after.name, after.preset, after.compares) == (view.name, Preset.ALL, False)


@given(views, own)
def test_no_view_changes_the_users_own_columns_or_the_baseline(before: View, view: NamedView) -> None:
    after = view.chosen(before)
    assert (after.columns, after.baseline) == (before.columns, before.baseline)
    assert after.visible_columns == (view.columns or before.columns)
    assert BUILT_IN_VIEWS["reset"].chosen(after).visible_columns == before.columns


@given(views, st.sampled_from(Preset))
def test_a_built_in_part_of_the_fleet_keeps_all_other_parts_of_the_view(before: View, preset: Preset) -> None:
    assert BUILT_IN_VIEWS[preset].chosen(before) == replace(before, preset=preset)


@given(views)
def test_reset_drops_everything_but_columns_and_baseline(before: View) -> None:
    assert BUILT_IN_VIEWS["reset"].chosen(before) == View(columns=before.columns, baseline=before.baseline)


@pytest.mark.parametrize(
    "changed",
    [
        {"preset": Preset.LATE},
        {"query": parse("name:other")},
        {"query": parse("")},
        {"sort": None},
        {"is_inverted": True},
        {"group": None},
        {"view_columns": ("name", "mode")},
    ],
)
def test_a_changed_view_has_a_star_until_the_change_is_undone(changed: dict[str, object]) -> None:
    chosen = GPU.chosen(View())
    other = replace(chosen, **changed)  # type: ignore[arg-type]
    assert (chosen.name, other.name) == ("gpu", "gpu*")
    assert GPU.chosen(other) == chosen
    assert replace(other, **{name: getattr(chosen, name) for name in changed}).name == "gpu"


@pytest.mark.parametrize(
    ("changed", "has_query", "has_order"),
    [
        ({}, True, True),
        ({"query": parse("name:other")}, False, True),
        ({"sort": None}, True, False),
        ({"is_inverted": True}, True, False),
        ({"group": None}, True, False),
        ({"view_columns": None}, True, True),
    ],
)
def test_a_view_has_the_query_or_the_order_of_its_named_view(
    changed: dict[str, object], *, has_query: bool, has_order: bool
) -> None:
    view = replace(GPU.chosen(View()), **changed)  # type: ignore[arg-type]
    assert (view.has_named_query, view.has_named_order) == (has_query, has_order)
    assert not View().has_named_query
    assert not View().has_named_order


def test_folding_and_the_baseline_change_no_view() -> None:
    chosen = replace(GPU.chosen(View()), folded=frozenset(), baseline=Baseline.from_environments([], NOW))
    assert chosen.name == "gpu"
    assert replace(chosen, compares=True).name == "gpu"


def test_another_spelling_of_the_filter_is_no_change() -> None:
    assert replace(GPU.chosen(View()), query=parse('name:"gpu-"*')).name == "gpu"


def test_columns_that_are_chosen_within_a_view_belong_to_the_view_only_if_the_view_has_columns() -> None:
    within = GPU.chosen(View(columns=("name", "mode"))).with_columns(("name", "os"))
    assert (within.columns, within.visible_columns) == (("name", "mode"), ("name", "os"))
    everywhere = PLAIN.chosen(View(columns=("name", "mode"))).with_columns(("name", "os"))
    assert everywhere.columns == everywhere.visible_columns == ("name", "os")
    assert everywhere.name == "plain"
    assert GPU.chosen(View(columns=("name", "mode"))).with_columns(()).visible_columns == ()


def test_every_built_in_view_has_its_key_and_an_id_of_its_own() -> None:
    assert [view.key for view in BUILT_IN_VIEWS.values()] == [*"1234560"]
    assert [view.id for view in BUILT_IN_VIEWS.values()] == [f"find.{name}" for name in (*Preset, "reset")]
    assert (GPU.id, GPU._replace(name="late").id) == ("view.gpu", "view.late")


def test_a_view_is_described_by_the_rows_or_the_name() -> None:
    assert [view.description for view in BUILT_IN_VIEWS.values()] == [
        *(f"Show {preset}" for preset in Preset),
        "Reset the view except the columns",
    ]
    assert GPU.description == "View: gpu"


def test_a_row_is_of_the_view_by_its_metadata() -> None:
    view = NamedView(name="ml", filter="meta.team:ml").chosen(View())
    assert view.query == parse("meta.team:ml")
    assert tracked(metadata={"team": "ml"}).environment.metadata
