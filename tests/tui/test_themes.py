"""Every colour of every theme is legible on every background, and states differ for every kind of colour vision."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from support.app_harness import Stage, running, staged
from support.budget import first_quick
from support.builders import environment
from support.pty_terminal import Terminal
from support.rewinding import BACK, lived, press
from textual.color import Color

from envwatch.demo.fleet_spec import FleetSpec
from envwatch.demo.server import Server
from envwatch.tui.themes import STATE_COLOURS, THEMES, theme_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.style import Style
    from textual.theme import Theme

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
TRUE = [theme for theme in THEMES if not theme.ansi]
(ANSI,) = (theme for theme in THEMES if theme.ansi)

AA = 4.5
"""WCAG 2's minimum contrast of text (1.4.3)."""
AAA = 7.0
"""Its enhanced contrast (1.4.6)."""

HIGHLIGHT = 1.3
"""The least contrast of a highlighted row against its neighbours."""

APART = 12.0
"""CIE76 distance of clearly different colours side by side; 2.3 is just noticeable."""

STATES = ("online", "late", "offline", "flapping")
"""States with a hue; unknown and gone are greys, marked by reverse and by a dot."""

Rgb = tuple[float, float, float]

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISIONS: dict[str, tuple[Rgb, Rgb, Rgb]] = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}
"""The visions for which every theme is made."""
_BLUE_BLIND: tuple[Rgb, Rgb, Rgb] = (
    (1.255528, -0.076749, -0.178779),
    (-0.078411, 0.930809, 0.147602),
    (0.004733, 0.691367, 0.303900),
)


def linear(colour: str) -> Rgb:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in Color.parse(colour).normalized
    )
    return red, green, blue


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def perceived(colour: str, vision: str) -> Rgb:
    """Return a colour as it is perceived, in CIE L*a*b*."""
    whole = linear(colour)
    red, green, blue = (
        min(max(sum(a * b for a, b in zip(row, whole, strict=True)), 0.0), 1.0)
        for row in VISIONS.get(vision, _BLUE_BLIND)
    )
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    fx, fy, fz = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def texts(theme: Theme) -> dict[str, str]:
    own = {name: colour for name, colour in theme.variables.items() if not name.startswith("row-")}
    return own | {"foreground": str(theme.foreground)}


def backgrounds(theme: Theme) -> dict[str, str]:
    own = {name: colour for name, colour in theme.variables.items() if name.startswith("row-")}
    return own | {"background": str(theme.background), "panel": str(theme.panel), "surface": str(theme.surface)}


def test_contrast_is_measured_as_in_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert math.dist(perceived("#ff0000", "deuteranopia"), perceived("#8f7b00", "deuteranopia")) < APART


@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_every_text_is_legible_on_every_background(theme: Theme) -> None:
    least = AAA if theme.name == "envwatch-contrast" else AA
    poor = {
        (text, background): round(contrast(colour, under), 2)
        for text, colour in texts(theme).items()
        for background, under in backgrounds(theme).items()
        if contrast(colour, under) < least
    }
    assert poor == {}


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_states_differ_for_every_colour_vision(theme: Theme, vision: str) -> None:
    colours = {state: perceived(theme.variables[f"state-{state}"], vision) for state in STATES}
    alike = {
        (one, other): round(math.dist(colours[one], colours[other]), 1)
        for one, other in combinations(STATES, 2)
        if math.dist(colours[one], colours[other]) < APART
    }
    assert alike == {}


@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_the_row_under_the_cursor_stands_out_from_its_neighbours(theme: Theme) -> None:
    assert contrast(theme.variables["row-cursor"], str(theme.background)) >= HIGHLIGHT


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_the_colour_of_a_loss_has_no_other_meaning(theme: Theme) -> None:
    loss = theme.variables["state-offline"]
    assert [name for name, colour in theme.variables.items() if colour == loss] == ["state-offline"]
    if not theme.ansi:
        calm = theme.variables["state-unrestricted"]
        assert all(math.dist(perceived(loss, vision), perceived(calm, vision)) >= APART for vision in VISIONS)


@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_the_mark_of_the_past_has_a_colour_of_its_own(theme: Theme) -> None:
    """It is drawn like badges and alarms, in reverse, and is not to be taken for one of them."""
    mark = theme.variables["rewound"]
    others = {name: colour for name, colour in theme.variables.items() if name.startswith("state-")}
    near = {
        (name, vision)
        for name, colour in others.items()
        for vision in VISIONS
        if math.dist(perceived(mark, vision), perceived(colour, vision)) < APART
    }
    assert near == set()


@pytest.mark.parametrize("theme", first_quick([theme.name for theme in THEMES]))
async def test_the_mark_of_the_past_stands_out_as_drawn(theme: str) -> None:
    async with lived(theme=theme) as stage:
        await press(stage, BACK)
        strips = stage.app.screen._compositor.render_strips()  # noqa: SLF001  Textual has no public access to styles
        badge = next(segment.style for segment in strips[0] if "REWOUND" in segment.text)
        (here,) = (segment for segment in strips[1] if segment.style is not None and segment.style.reverse)
        assert badge is not None
        assert (badge.reverse, badge.bold) == (True, True)
        assert here.style is not None
        assert (here.text, here.style.color, here.style.bold) == ("○", badge.color, True)


@pytest.mark.parametrize("vision", [*VISIONS, "tritanopia"])
def test_in_the_safe_theme_states_are_further_apart_for_every_colour_vision(vision: str) -> None:
    (safe,) = (theme for theme in TRUE if theme.name == "envwatch-safe")
    colours = [perceived(safe.variables[f"state-{state}"], vision) for state in STATES]
    assert min(math.dist(one, other) for one, other in combinations(colours, 2)) >= 2 * APART


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_theme_names_every_colour(theme: Theme) -> None:
    assert theme.variables.keys() >= STATE_COLOURS.keys()


@pytest.mark.parametrize("theme", [TRUE[0], TRUE[1], TRUE[3]], ids=lambda theme: theme.name)
def test_dark_light_and_safe_use_the_palette_of_256_colours(theme: Theme) -> None:
    steps = {0, 95, 135, 175, 215, 255}
    for colour in (*theme.variables.values(), theme.background, theme.panel):
        red, green, blue = Color.parse(str(colour)).rgb
        is_grey = red == green == blue and (red - 8) % 10 == 0
        assert is_grey or {red, green, blue} <= steps, colour


def test_the_ansi_theme_uses_only_colours_legible_on_light_and_dark() -> None:
    readable = {"ansi_default", "ansi_red", "ansi_magenta"}
    assert {ANSI.variables[name] for name in STATE_COLOURS} <= readable
    assert {ANSI.background, ANSI.panel, ANSI.surface} == {"ansi_default"}


def test_the_ansi_theme_sends_only_ansi_colours(tmp_path: Path) -> None:
    with Server(FleetSpec(30, 7), key=KEY) as server:
        environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "COLORTERM": "truecolor"}
        with Terminal.of_envwatch(home=tmp_path, environ=environ | {"ENVWATCH_THEME": "envwatch-ansi"}) as terminal:
            terminal.wait_for("[0-9] on ")
            terminal.press("y")
            terminal.wait_for("start command|command line")
            terminal.press("q")
            terminal.wait_for_no("start command|command line")
            terminal.press("?")
            terminal.wait_for("Ten keys")
            terminal.press("q", "q")
            assert terminal.wait_for_end() == 0
    assert re.findall(rb"\x1b\[[0-9;]*[34]8;[0-9;]*m", bytes(terminal.received)) == []
    assert re.search(rb"\x1b\[[0-9;]*31m", terminal.received)


async def test_the_default_theme_is_there_before_the_stylesheet_is_parsed() -> None:
    stage, parsed_again = Stage(), 0
    refresh_css = stage.app.refresh_css

    def refresh(animate: bool = True) -> None:  # noqa: FBT001, FBT002  # as Textual declares it
        nonlocal parsed_again
        parsed_again += 1
        refresh_css(animate)

    stage.app.refresh_css = refresh  # type: ignore[method-assign]  # Textual calls it for every other theme
    async with running(stage, (80, 24)):
        assert (stage.app.theme, parsed_again) == ("envwatch-dark", 0)
        stage.app.theme = "envwatch-light"
        await stage.pilot.pause()
        assert parsed_again == 1


async def test_every_theme_by_name_can_be_chosen() -> None:
    async with staged() as stage:
        assert set(theme_names()) == set(stage.app.available_themes)
        for name in theme_names():
            stage.app.theme = name
            await stage.pilot.pause()


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_theme_can_be_chosen_while_it_is_registered(no_color: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    app, first = Stage().app, THEMES[0]
    names = set(app.available_themes)
    app.register_theme(replace(first, name="other"))
    assert set(app.available_themes) == {*names, "other"}
    app.register_theme(replace(first, name="other", dark=False))
    assert [theme.dark for name, theme in app.available_themes.items() if name == "other"] == [False]
    app.unregister_theme("other")
    assert set(app.available_themes) == names


@pytest.mark.parametrize("theme", first_quick([theme.name for theme in TRUE]))
async def test_without_colours_alarms_are_bold_and_as_bright_as_the_rest(
    theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with staged((100, 24), theme=theme) as stage:

        def style_of(text: str) -> Style:
            strips = stage.app.screen._compositor.render_strips()  # noqa: SLF001  Textual has no public access to styles
            styles = [segment.style for strip in strips for segment in strip if text in segment.text]
            assert styles, text
            assert styles[0] is not None
            return styles[0]

        def assert_bold(alarms: Sequence[str], calm: str) -> None:
            assert not style_of(calm).bold
            for alerts in alarms:
                assert (style_of(alerts).bold, style_of(alerts).color) == (True, style_of(calm).color), alerts

        rows = [
            environment("env-1", lastHeartbeat=stage.at - 10_000),
            environment("env-2", lastHeartbeat=stage.at - 50_000, currentMode="unrestricted"),
            environment("env-3", lastHeartbeat=stage.at - 60_000),
        ]
        await stage.show(rows)
        await stage.tick(5)
        await stage.show([*rows[:2], environment("env-3", connectionId=None, lastHeartbeat=None)])
        assert_bold(["◐ 1", " late", "○ 1", " off", "1 unrestricted"], "● 1")
        assert_bold(["off ", "◐ late"], "unrestricted!")
        assert not style_of("● on").bold
        assert style_of("○ off").reverse
        await stage.press("e")
        assert_bold(["went offline"], "laptop of env-3")
        await stage.press("q", "E")
        assert_bold(["no number: offline"], "would say offline")
        await stage.press("q", "j", "enter")
        assert_bold(["LATE", "unrestricted · all tools"], "newest here")


def test_under_no_color_the_ansi_theme_is_not_used(tmp_path: Path) -> None:
    with Server(FleetSpec(3, 7), key=KEY) as server:
        environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "COLORTERM": "truecolor", "NO_COLOR": "1"}
        with Terminal.of_envwatch(home=tmp_path, environ=environ | {"ENVWATCH_THEME": "envwatch-ansi"}) as terminal:
            terminal.wait_for("[0-9] on ")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
    shades = set(re.findall(rb"38;2;([0-9]+);([0-9]+);([0-9]+)", bytes(terminal.received)))
    assert shades
    assert all(red == green == blue for red, green, blue in shades)


@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
async def test_tags_and_bars_are_legible_as_drawn_with_and_without_the_cursor(theme: Theme) -> None:
    async with staged((80, 24), theme=theme.name) as stage:
        alive = [environment(f"env-{n}", lastHeartbeat=stage.at - 1_000) for n in range(4)]
        down = {"connectionId": None, "lastHeartbeat": None}
        await stage.show([*alive[:3], environment("env-3", **down)])
        await stage.tick(5)
        await stage.show([alive[0], environment("env-1", **down), environment("env-2", **down), alive[3]])

        def colours(text: str) -> list[tuple[str, str]]:
            """Return the colours of all segments of a text, and of what is below them."""
            strips = stage.app.screen._compositor.render_strips()  # noqa: SLF001  Textual has no public access to styles
            styles = [segment.style for strip in strips for segment in strip if segment.text == text]
            pairs = [(style.color, style.bgcolor) for style in styles if style is not None]
            return [
                (one.get_truecolor().hex, other.get_truecolor().hex)
                for one, other in pairs
                if one is not None and other is not None
            ]

        cursor, usual = theme.variables["row-cursor"], str(theme.background)
        assert {under for _, under in colours("NEW")} == {cursor, usual}
        for key, tag, under in (("k", "BACK", usual), ("G", "BACK", cursor)):
            await stage.press(key)
            assert [each for _, each in colours(tag)] == [under]
            drawn = [*colours("NEW"), *colours(tag), *colours("▌")]
            assert len(drawn) == 6
            assert {pair: round(contrast(*pair), 1) for pair in drawn if contrast(*pair) < AA} == {}
