"""Views of the configuration: parts, profiles, precedence, and messages about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from envwatch.cli.arguments import Options
from envwatch.cli.commands.dashboard import build_preferences, screen_mistakes
from envwatch.config.schema import Config, OwnView, parse_document, schema
from envwatch.config.settings import Settings, read_settings, view_named
from envwatch.config.values import ConfigError
from envwatch.views.command_context import NO_COMMANDS
from envwatch.views.table.columns import LOSSES
from envwatch.views.table.table_view import BUILT_IN_VIEWS, NamedView, View

GPU = """
[views.gpu]
key = "V"
filter = "name:gpu-*"
columns = ["name", "meta.team", "meta.a,b"]
sort = "meta.team"
group = "meta.machine.cpu"
"""


def settings(folder: Path, text: str, profile: str | None = None, **environ: str) -> Settings:
    path = folder / "config.toml"
    path.write_text(text)
    options = {"config": str(path)} | ({} if profile is None else {"profile": profile})
    (found,) = read_settings(options, environ)
    return found


def mistakes(text: str) -> list[str]:
    _, found = parse_document(Path("f"), text.encode())
    return list(found)


def first_view(found: Settings, filter_option: str = "") -> View:
    options = Options(filter=filter_option)
    return build_preferences(found, options, NO_COMMANDS).first_view


def test_a_view_has_all_its_parts_and_each_is_optional(tmp_path: Path) -> None:
    found = settings(tmp_path, f"{GPU}\n[views.rest]\n")
    assert found.views == {
        "gpu": NamedView(
            name="gpu",
            key="V",
            filter="name:gpu-*",
            columns=("name", "meta.team", "meta.a,b"),
            sort="meta.team",
            group="meta.machine.cpu",
        ),
        "rest": NamedView(name="rest"),
    }
    assert found.origin("views.gpu") == f"{tmp_path / 'config.toml'}:3"
    assert found.view is None


def test_a_profile_adds_views_and_replaces_the_whole_view_of_the_same_name(tmp_path: Path) -> None:
    text = f'{GPU}\n[profiles.work.views.gpu]\nsort = "name"\n[profiles.work.views.more]\n[profiles.home]\n'
    found = settings(tmp_path, text, "work").views
    assert found == {"gpu": NamedView(name="gpu", sort="name"), "more": NamedView(name="more")}
    assert settings(tmp_path, text, "home").views.keys() == {"gpu"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[views.gpu]\nfiltr = ""\n', "f:2: views.gpu.filtr is no setting; did you mean filter?"),
        (
            '[profiles.work.views.gpu]\nsrot = ""\n',
            "f:2: profiles.work.views.gpu.srot is no setting; did you mean sort",
        ),
        ('[views.gpu]\nfilter = "nmae:x"\n', "f:2: views.gpu.filter cannot be used: there is no field nmae"),
        ('[views.gpu]\ncolumns = ["nmae"]\n', "f:2: views.gpu.columns cannot have "),
        ('[views.gpu]\ncolumns = ["meta."]\n', "f:2: views.gpu.columns cannot have "),
        ('[views.gpu]\nsort = "verison"\n', "f:2: views.gpu.sort must be one of losses, state, for, beat, name"),
        ('[views.gpu]\ngroup = "name"\n', "f:2: views.gpu.group must be one of profile, pod, user, os, version, mode"),
        ('[views.gpu]\ngroup = "meta."\n', "f:2: views.gpu.group must be one of profile"),
        ("[views.gpu]\nkey = 7\n", "f:2: views.gpu.key must be a text of one line"),
        (
            '[views."g p"]\n',
            "f:1: views.g p is no name for a view: letters, digits, and - _ . between them",
        ),
        ("[profiles.work.views.paging]\n", "f:1: profiles.work.views.paging is the name of a built-in view"),
        ("views = 7\n", "f:1: views must be a table"),
    ],
)
def test_a_mistake_names_file_line_and_view(text: str, message: str) -> None:
    (line,) = mistakes(text)
    assert line.startswith(message)


def test_all_mistakes_of_a_view_are_found_at_once() -> None:
    text = '[views.gpu]\nsort = "verison"\ngroup = "braanch"\n'
    assert [line.rpartition("; ")[2] for line in mistakes(text)] == ["did you mean version?", "did you mean branch?"]
    text = '[views.gpu]\nfilter = "x:"\ncolumns = []\nsort = "x"\ngroup = "x"\nkey = ""\n'
    assert [line.partition(" ")[2].split()[0] for line in mistakes(text)] == [
        f"views.gpu.{name}" for name in OwnView.model_fields
    ]


@pytest.mark.parametrize("name", ["columns", "sort"])
def test_settings_above_the_views_take_metadata_too(name: str, tmp_path: Path) -> None:
    value = '["name", "meta.team"]' if name == "columns" else '"meta.team"'
    found = settings(tmp_path, f"{name} = {value}\n")
    assert getattr(found, name) == (("name", "meta.team") if name == "columns" else "meta.team")
    assert (
        settings(tmp_path, "", **{f"ENVWATCH_{name.upper()}": "meta.team"}).origin(name) == f"ENVWATCH_{name.upper()}"
    )


# Which view is first.


def test_the_first_view_takes_precedence_over_filter_columns_and_sort(tmp_path: Path) -> None:
    text = f'view = "gpu"\nfilter = "os:linux"\ncolumns = ["name"]\nsort = "mode"\n{GPU}'
    view = first_view(settings(tmp_path, text))
    assert (view.name, str(view.query), view.sort, view.group) == ("gpu", "name:gpu-*", "meta.team", "meta.machine.cpu")
    assert (view.visible_columns[1], view.columns) == ("meta.team", ("name",))


def test_a_view_has_columns_and_sort_but_not_the_filter_of_the_settings(
    tmp_path: Path,
) -> None:
    text = 'view = "rest"\nfilter = "os:linux"\ncolumns = ["name"]\nsort = "mode"\n[views.rest]\n'
    view = first_view(settings(tmp_path, text))
    assert (view.name, str(view.query), view.sort, view.visible_columns) == ("rest", "", "mode", ("name",))
    explicit = settings(tmp_path, text + 'sort = "losses"\n')
    assert explicit.views["rest"].sort == LOSSES
    assert first_view(explicit).sort is None


def test_the_option_filter_takes_precedence_over_the_filter_of_the_view(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(GPU)
    (found,) = read_settings({"config": str(path), "view": "gpu", "filter": "os:linux"}, {})
    view = first_view(found, "os:linux")
    assert (view.name, str(view.query), view.sort) == ("gpu*", "os:linux", "meta.team")


def test_a_built_in_view_can_be_the_first_and_keeps_the_settings(tmp_path: Path) -> None:
    view = first_view(settings(tmp_path, 'view = "off"\nfilter = "os:linux"\nsort = "mode"\n'))
    assert (view.preset, str(view.query), view.sort, view.name) == ("off", "os:linux", "mode", "")


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("", {"ENVWATCH_VIEW": "gpu"}, None),
        ('view = "gpuu"\n', {}, "{path}:1: view: there is no view gpuu; did you mean gpu?"),
        ("", {"ENVWATCH_VIEW": "gpuu"}, "ENVWATCH_VIEW: there is no view gpuu; did you mean gpu?"),
        (
            'view = "other"\n',
            {},
            f"{{path}}:1: view: there is no view other; there are gpu, {', '.join(BUILT_IN_VIEWS)}",
        ),
    ],
)
def test_an_unknown_view_is_refused_with_its_place(
    text: str, environ: dict[str, str], message: str | None, tmp_path: Path
) -> None:
    found = settings(tmp_path, text + GPU, **environ)
    found_message = next(iter(screen_mistakes(found)), None)
    assert found_message == (message and message.format(path=tmp_path / "config.toml"))
    assert found.view is not None


def test_without_views_the_message_says_how_a_view_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        view_named(settings(tmp_path, ""), "zzz", "--view")
    assert caught.value.lines == (
        f"--view: there is no view zzz; there are {', '.join(BUILT_IN_VIEWS)}, and a table [views.NAME] makes a view",
    )
    assert view_named(settings(tmp_path, ""), "off", "--view") is BUILT_IN_VIEWS["off"]


# The schema.


def test_the_schema_describes_views_above_and_in_profiles() -> None:
    content = schema()
    properties = content["$defs"]["OwnView"]["properties"]
    assert properties.keys() == OwnView.model_fields.keys()
    assert all(each["description"] for each in properties.values())
    for place in (content["properties"], content["$defs"]["Profile"]["properties"]):
        assert place["views"]["description"]
        assert place["views"]["propertyNames"]["pattern"]
    assert all(field.description for field in OwnView.model_fields.values())
    assert "views" in Config.model_fields
