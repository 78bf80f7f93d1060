"""Every colour of every theme is legible on every background, and states differ for every kind of colour vision."""

from __future__ import annotations

import math
import re
from colorsys import rgb_to_hls
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import pytest
from rich.color import ColorSystem
from rich.style import Style as RichStyle
from support.app_harness import Stage, running, staged, style_in
from support.budget import first_quick
from support.builders import NOW, environment, failed
from support.pty_terminal import Terminal
from support.rewinding import BACK, DOWN, lived, press
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from envwatch.demo.server import Server
from envwatch.fleet.events import NO_PROFILE
from envwatch.model.outcome import Cause
from envwatch.model.text import clean
from envwatch.screen.screens.row_actions import RowActions
from envwatch.screen.state import ASCII, UNICODE
from envwatch.screen.terminal.frame_writer import pen_of
from envwatch.screen.themes import STATE_COLOURS, THEMES, theme_names
from envwatch.screen.widgets.detail_pane import DetailPane
from envwatch.screen.widgets.status_bar import StatusBar
from envwatch.watch.deciding import silence_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from rich.color import Color as RichColor
    from rich.style import Style
    from textual.theme import Theme

    from envwatch.model.environment import Environment
    from envwatch.screen.state import Glyphs

KEY = "sk-let-0123456789abcdefghijklmnopqrstuvwxyz"
TRUE = [theme for theme in THEMES if not theme.ansi]
(ANSI,) = (theme for theme in THEMES if theme.ansi)

AA = 4.5
"""WCAG 2's minimum contrast of text (1.4.3)."""
AAA = 7.0
"""WCAG 2's enhanced contrast (1.4.6)."""

HIGHLIGHT = 1.3
"""Minimum contrast of a highlighted row against neighbours."""

APART = 12.0
"""CIE76 distance of clearly different colours side by side; 2.3 is just noticeable."""

SAME_HUE = 35.0
"""Degrees between hues of one name: red from crimson to scarlet."""

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
    """Return a perceived colour in CIE L*a*b*."""
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
    # The usual mode is drawn in the table alone, and never under the cursor.
    poor = {
        (text, background): round(contrast(colour, under), 2)
        for text, colour in texts(theme).items()
        for background, under in backgrounds(theme).items()
        if contrast(colour, under) < least and (text != "usual" or background == "background")
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


def hue(colour: str) -> float | None:
    """Return a colour's hue in degrees; None without a hue."""
    found, _, saturation = rgb_to_hls(*Color.parse(colour).normalized)
    return found * 360 if saturation and colour != "ansi_default" else None


def hue_distance(one: float, other: float) -> float:
    return min((one - other) % 360, (other - one) % 360)


FAMILIES = {"offline": 0.0, "late": 60.0, "unrestricted": 240.0}
"""Hues that mean the same in every theme."""


@pytest.mark.parametrize(("state", "usual"), FAMILIES.items())
def test_a_loss_is_red_and_late_is_yellow_and_unrestricted_is_blue_in_every_theme(state: str, usual: float) -> None:
    looks = {name: STATE_COLOURS | theme.variables for name, theme in BUILTIN_THEMES.items()}
    looks |= {theme.name: theme.variables for theme in THEMES}
    assert looks.keys() == set(theme_names())
    hues = {found for look in looks.values() if (found := hue(look[f"state-{state}"])) is not None}
    assert {found for found in hues if hue_distance(found, usual) > SAME_HUE} == set()
    assert max(hue_distance(one, other) for one in hues for other in hues) <= SAME_HUE


@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_the_cursor_is_grey_in_every_theme(theme: Theme) -> None:
    assert hue(theme.variables["row-cursor"]) is None


# The 16 colours of a terminal.


LEGIBLE_IN_16 = 3.0
"""WCAG 2's minimum contrast of large text and of signs (1.4.11); the 16 colours cannot reach more."""

PALETTES = {
    "VGA": (
        *("#000000", "#aa0000", "#00aa00", "#aa5500", "#0000aa", "#aa00aa", "#00aaaa", "#aaaaaa"),
        *("#555555", "#ff5555", "#55ff55", "#ffff55", "#5555ff", "#ff55ff", "#55ffff", "#ffffff"),
    ),
    "xterm": (
        *("#000000", "#cd0000", "#00cd00", "#cdcd00", "#0000ee", "#cd00cd", "#00cdcd", "#e5e5e5"),
        *("#7f7f7f", "#ff0000", "#00ff00", "#ffff00", "#5c5cff", "#ff00ff", "#00ffff", "#ffffff"),
    ),
}


class Drawn(NamedTuple):
    """A text as a terminal of 16 colours shows it."""

    text: str
    ground: str

    @property
    def hue(self) -> float | None:
        return next((found for colour in self if (found := hue(colour)) is not None), None)


def drawn_in_16(palette: str, colour: str, ground: str, *, is_reverse: bool = False) -> Drawn:
    style = RichStyle(color=rich_colour(colour), bgcolor=rich_colour(ground), reverse=is_reverse)
    pen = pen_of(style, ColorSystem.STANDARD)
    text, under = (PALETTES[palette][int(code) % 10 + 8 * (int(code) >= 90)] for code in (pen.color, pen.background))
    return Drawn(under, text) if "7" in pen.attributes else Drawn(text, under)


def rich_colour(colour: str) -> RichColor:
    return Color.parse(colour).rich_color


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_in_16_colours_every_text_is_legible_also_under_the_cursor_and_reversed(theme: Theme, palette: str) -> None:
    poor = {
        (text, background, is_reverse): round(found, 2)
        for text, colour in texts(theme).items()
        for background, ground in backgrounds(theme).items()
        for is_reverse in (False, True)
        if (found := contrast(*drawn_in_16(palette, colour, ground, is_reverse=is_reverse))) < LEGIBLE_IN_16
    }
    assert poor == {}


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_in_16_colours_a_loss_and_late_and_unrestricted_keep_their_hue(theme: Theme, palette: str) -> None:
    for state, usual in FAMILIES.items():
        for background, ground in backgrounds(theme).items():
            found = drawn_in_16(palette, theme.variables[f"state-{state}"], ground).hue
            assert found is not None, (state, background)
            assert hue_distance(found, usual) <= SAME_HUE, (state, background)


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_in_16_colours_the_row_under_the_cursor_stands_out_and_is_grey(theme: Theme, palette: str) -> None:
    text = str(theme.foreground)
    below = drawn_in_16(palette, text, theme.variables["row-cursor"])
    assert below.hue is None
    greys = [colour for colour in texts(theme).values() if hue(colour) is None]
    assert {drawn_in_16(palette, colour, theme.variables["row-cursor"]) for colour in greys} == {below}
    for ground in (theme.background, theme.panel):
        assert contrast(below.ground, drawn_in_16(palette, text, str(ground)).ground) >= LEGIBLE_IN_16


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("theme", TRUE, ids=lambda theme: theme.name)
def test_in_16_colours_states_differ(theme: Theme, palette: str) -> None:
    states = ("late", "offline", "unrestricted", "online", "flapping")
    ground = str(theme.background)
    assert len({drawn_in_16(palette, theme.variables[f"state-{state}"], ground) for state in states}) == len(states)


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
    """Late is black on yellow."""
    readable = {"ansi_default", "ansi_red", "ansi_magenta", "ansi_bright_blue"}
    assert {ANSI.variables[name] for name in STATE_COLOURS if name != "state-late"} <= readable
    assert {ANSI.background, ANSI.panel, ANSI.surface} == {"ansi_default"}


async def test_the_default_theme_is_there_before_the_stylesheet_is_parsed() -> None:
    stage, parsed_again = Stage(), 0
    refresh_css = stage.app.refresh_css

    def refresh(animate: bool = True) -> None:  # noqa: FBT001, FBT002  # as Textual declares it
        nonlocal parsed_again
        parsed_again += 1
        refresh_css(animate)

    stage.app.refresh_css = refresh  # type: ignore[method-assign]  # Textual calls it for every other theme
    async with running(stage, (40, 8)):
        assert (stage.app.theme, parsed_again) == ("envwatch-dark", 0)
        stage.app.theme = "envwatch-light"
        await stage.pilot.pause()
        assert parsed_again == 1
        assert set(theme_names()) == set(stage.app.available_themes)


@pytest.mark.slow
async def test_every_theme_by_name_can_be_chosen() -> None:
    async with staged((40, 8)) as stage:
        for name in theme_names():
            stage.app.theme = name
            await stage.pilot.pause()


@pytest.mark.parametrize("theme", first_quick([theme.name for theme in TRUE]))
async def test_without_colours_alarms_are_bold_and_as_bright_as_the_rest(
    theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with staged((100, 24), theme=theme) as stage:

        def style_of(text: str, line: str = "") -> Style:
            return style_in(stage.line_of(line or text), text)

        def assert_bold(alarms: Sequence[str], calm: str, line: str = "") -> None:
            assert not style_of(calm, line).bold
            for alerts in alarms:
                assert (style_of(alerts).bold, style_of(alerts).color) == (True, style_of(calm, line).color), alerts

        rows = [
            environment("env-1", lastHeartbeat=stage.at - 10_000),
            environment("env-2", lastHeartbeat=stage.at - 50_000, currentMode="unrestricted"),
            environment("env-3", lastHeartbeat=stage.at - 60_000),
        ]
        await stage.show(rows)
        await stage.tick(5)
        await stage.show([*rows[:2], environment("env-3", connectionId=None, lastHeartbeat=None)])
        assert_bold(["◐ 1", " late", "○ 1", " off", "1 unrestricted"], "● 1")
        assert_bold(["○ off", "◐ late"], "unrestricted!")
        assert not style_of("● on").bold
        assert style_of("○ off").reverse
        await stage.press("e")
        assert_bold(["went offline"], "laptop of env-3", line="went offline")
        await stage.press("q", "E")
        assert_bold(["no heartbeat: offline"], "would say offline")
        await stage.press("q", "j", "enter")
        assert_bold(["LATE", "unrestricted · all tools"], "newest here")


@pytest.mark.parametrize("theme", first_quick(TRUE), ids=lambda theme: theme.name)
async def test_tags_and_bars_are_legible_as_drawn_with_and_without_the_cursor(theme: Theme) -> None:
    async with staged((80, 24), theme=theme.name) as stage:
        alive = [environment(f"env-{n}", lastHeartbeat=stage.at - 1_000) for n in range(3)]
        await stage.show([*alive[:2], environment("env-2", **DOWN)])
        await stage.tick(5)
        await stage.show([alive[0], environment("env-1", **DOWN), alive[2]])
        cursor, usual = theme.variables["row-cursor"], str(theme.background)
        for key, new, back in (("g", cursor, usual), ("j", usual, cursor)):
            await stage.press(key)
            for tag, under in (("NEW", new), ("BACK", back)):
                line = stage.line_of(f" {tag} ")
                assert colours(style_in(line, tag))[1] == under
                assert contrast(*colours(style_in(line, tag))) >= AA
                assert contrast(*colours(style_in(line, "▌"))) >= AA


def colours(style: Style) -> tuple[str, str]:
    assert style.color is not None
    assert style.bgcolor is not None
    return style.color.get_truecolor().hex, style.bgcolor.get_truecolor().hex


class Case(NamedTuple):
    theme: Theme
    is_colourless: bool = False
    is_ascii: bool = False

    def __str__(self) -> str:
        return f"{self.theme.name}{'-colourless' * self.is_colourless}{'-ascii' * self.is_ascii}"

    @property
    def glyphs(self) -> Glyphs:
        return ASCII if self.is_ascii else UNICODE

    @property
    def loss(self) -> RichColor:
        return Color.parse(self.theme.variables["state-offline"]).rich_color

    def is_dimmer(self, one: Style, other: Style) -> bool:
        """Whether a text is dimmer than another text on the same background."""
        if self.theme.ansi:
            return bool(one.dim) and not other.dim
        return contrast(*colours(one)) < contrast(*colours(other))

    def is_legible(self, style: Style) -> bool:
        """Whether a tag or a bar is legible; the terminal defines the contrast of the 16 colours."""
        if self.theme.ansi:
            return style.color == self.loss and bool(style.bold) and not style.dim
        return contrast(*colours(style)) >= AA


QUICK = [
    Case(TRUE[0]),
    Case(ANSI),
    Case(TRUE[1], is_colourless=True),
    Case(TRUE[0], is_colourless=True, is_ascii=True),
]
OTHERS = [*map(Case, TRUE[1:]), Case(TRUE[0], is_colourless=True), Case(ANSI, is_ascii=True)]


def off(name: str, at: float) -> Environment:
    return environment(name, connectionName=name, connectionId=None, lastHeartbeat=None, lastSeenAt=at)


def on(name: str, at: float) -> Environment:
    return environment(name, connectionName=name, lastHeartbeat=at)


def every_row(at: float, *, is_lost: bool) -> list[Environment]:
    minute = 60_000
    return [
        off("fresh-box", at - 1_000) if is_lost else on("fresh-box", at - 1_000),
        off("lasting-box", NOW - 20 * minute),
        off("acked-box", NOW - 40 * minute),
        off("silent-box", NOW - 60 * minute),
        off("old-box", NOW - 30 * 24 * 60 * minute),
        on("late-box", NOW - 50_000),
        on("well-box", at - 1_000),
    ]


async def acknowledge(stage: Stage, name: str, note: str = "") -> None:
    (line,) = (line for line in stage.app.state.block.lines if line.members[0].environment.name == name)
    stage.table.select(line.key)
    await stage.press("a")
    await stage.type(note)
    await stage.press("enter")


@asynccontextmanager
async def every_look(case: Case, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    if case.is_colourless:
        monkeypatch.setenv("NO_COLOR", "1")
    wishes = {"theme": case.theme.name, "ascii_only": case.is_ascii, "columns": ("why",)}
    async with staged((80, 24), **wishes) as stage:
        await stage.show(every_row(stage.at, is_lost=False))
        await acknowledge(stage, "acked-box", "disk swap")
        silent = [(NO_PROFILE, clean("silent-box"))]
        stage.app.dashboard.post_message(
            RowActions.Decided(partial(silence_rows, silent, timedelta(hours=1), clean("moving")))
        )
        await stage.tick(5)
        await stage.show(every_row(stage.at, is_lost=True))
        (old,) = stage.table.headers
        stage.table.select(old.key)
        await stage.press("enter", "g")
        yield stage


class Look(NamedTuple):
    bar: str
    glyph: str
    mark: str
    state: Style
    name: Style


def look_of(stage: Stage, name: str) -> Look:
    line = stage.line_of(name)
    mark = re.match("[✓⊘aM]?", line.text.partition(name)[2].lstrip())
    return Look(
        line.text[0], line.text[2], mark[0] if mark else "", style_in(line, line.text[2:6]), style_in(line, name)
    )


@pytest.mark.parametrize("case", QUICK + [pytest.param(case, marks=pytest.mark.slow) for case in OTHERS], ids=str)
async def test_a_loss_looks_as_urgent_as_the_loss_is(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    async with every_look(case, monkeypatch) as stage:
        if not (case.is_colourless or case.is_ascii):
            assert cells_of_loss(stage, case) == ["○ 2", "page", "▌", "○ off", "NEW", "○ off"]
        for key, cursor, loss in (("g", case.glyphs.cursor, "lasting-box"), ("j", " ", "fresh-box")):
            await stage.press(key)
            assert_bar_and_tag_are_visible(stage, case, cursor)
            assert case.is_dimmer(look_of(stage, "well-box").name, look_of(stage, loss).name)
        stage.table.select((NO_PROFILE, clean("well-box")))
        await stage.pilot.pause()
        assert_each_loss_has_its_look(stage, case)


def assert_bar_and_tag_are_visible(stage: Stage, case: Case, cursor: str) -> None:
    """Check the line of the fresh loss, with or without the cursor."""
    line = stage.line_of("fresh-box")
    bar, tag, name = (style_in(line, text) for text in (case.glyphs.lost, "NEW", "fresh-box"))
    assert line.text.startswith(f"{case.glyphs.lost}{cursor}")
    assert case.is_legible(bar)
    assert case.is_legible(tag)
    assert (tag.bold, tag.color, tag.reverse) != (name.bold, name.color, name.reverse)
    assert tag.reverse or not (case.theme.ansi or case.is_colourless)


def assert_each_loss_has_its_look(stage: Stage, case: Case) -> None:
    names = ("fresh", "lasting", "acked", "silent", "old", "late", "well")
    looks = {name: look_of(stage, f"{name}-box") for name in names}
    fresh, lasting, acked, silent, old, late, _ = looks.values()
    assert len(set(looks.values())) == len(looks)
    assert (fresh.state.bold, fresh.name.bold) == (True, True)
    assert [look.bar for look in looks.values()] == [case.glyphs.lost, *" " * 6]
    assert "NEW" not in stage.line_of("lasting-box").text
    assert (acked.glyph, silent.mark) == (case.glyphs.acknowledged, case.glyphs.silenced)
    for name, drawn in (("acked", ("40m", "acked: disk swap")), ("silent", ("1h ", "until "))):
        line = stage.line_of(f"{name}-box")
        assert {style_in(line, text) for text in drawn} == {looks[name].name}
    assert (lasting.name.bold, late.name.bold) == (None, None)
    for need in (fresh, lasting, late):
        for calm in (acked, silent, old):
            assert case.is_dimmer(calm.name, need.name)
            assert case.is_dimmer(calm.state, need.state) or not case.is_colourless


def cells_of_loss(stage: Stage, case: Case) -> list[str]:
    return [
        segment.text.strip()
        for strip in stage.strips[: stage.table.region.bottom]
        for segment in strip
        if segment.style is not None and case.loss in {segment.style.color, segment.style.bgcolor}
    ]


async def test_acknowledged_losses_and_trouble_with_the_server_have_no_colour_of_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case(TRUE[0])
    async with every_look(case, monkeypatch) as stage:
        await acknowledge(stage, "lasting-box")
        assert cells_of_loss(stage, case) == ["○ 1", "page", "▌", "○ off", "NEW"]
        await acknowledge(stage, "fresh-box")
        assert "○ +4 off" in stage.lines[0]
        assert cells_of_loss(stage, case) == []
        for cause, after, badge in (
            (Cause.TIMEOUT, 20, "DATA ? stale"),
            (Cause.UNAUTHORIZED, 1, "KEY REFUSED"),
            (Cause.TIMEOUT, 600, "BLIND"),
        ):
            await stage.tick(after)
            await stage.take(failed(cause, stage.at))
            await stage.tick(0)
            assert badge in stage.lines[0]
            assert cells_of_loss(stage, case) == []


async def test_in_the_ansi_theme_late_and_unrestricted_differ() -> None:
    async with staged((120, 24), theme="envwatch-ansi") as stage:
        rows = [environment("env-1", lastHeartbeat=stage.at - 60_000), environment("env-2", currentMode="unrestricted")]
        await stage.show(rows)
        late = style_in(stage.line_of("late "), "late")
        drift = style_in(stage.line_of("unrestricted!"), "unrestricted!")
        counted = style_in(stage.strips[0], "1 unrestricted")
        badge = stage.app.query_one(StatusBar).get_component_rich_style("line--blind", partial=True)
        assert drawn(late) == drawn(badge) == (rich_colour("ansi_black"), rich_colour("ansi_yellow"))
        assert drift.color == counted.color == rich_colour("ansi_bright_blue")
        assert [(style.bold, style.underline) for style in (drift, counted)] == [(True, True)] * 2
        assert stage.table.styles.scrollbar_color == Color.parse("ansi_bright_black")  # no colour of an alarm


def drawn(style: Style) -> tuple[RichColor | None, RichColor | None]:
    """Return the colours of a text and its ground, as the terminal shows both."""
    return (style.bgcolor, style.color) if style.reverse else (style.color, style.bgcolor)


@pytest.mark.parametrize("theme", first_quick(THEMES), ids=lambda theme: theme.name)
async def test_the_mark_of_the_past_stands_out(theme: Theme) -> None:
    async with lived(theme=theme.name) as stage:
        await press(stage, BACK)
        badge, day = style_in(stage.strips[0], "REWOUND"), stage.line_of("──○──")
        (here,) = (segment for segment in day if segment.style is not None and segment.style.reverse)
        assert (badge.reverse, badge.bold) == (True, True)
        warning = stage.app.query_one(StatusBar).get_component_rich_style("line--blind", partial=True)
        assert badge.color == warning.color
        assert here.style is not None
        assert (here.text, here.style.color, here.style.bold) == ("○", badge.color, True)


@pytest.mark.parametrize("theme", first_quick(TRUE), ids=lambda theme: theme.name)
async def test_the_border_of_the_pane_is_visible(theme: Theme) -> None:
    async with staged((120, 36), theme=theme.name) as stage:
        stage.app.dashboard.wants_detail = True
        await stage.show([environment("env-1")])
        for size, edge in (((120, 36), "left"), ((80, 40), "top")):
            await stage.pilot.resize_terminal(*size)
            _, colour = getattr(stage.app.dashboard.query_one(DetailPane).styles, f"border_{edge}")
            assert contrast(colour.hex, str(theme.background)) >= AA


# In a terminal.


def received(home: Path, keys: Sequence[tuple[str, str]], **environ: str) -> bytes:
    """Return the bytes of a run: each key is pressed once its pattern is visible, then `q` ends the run."""
    with Server(3, key=KEY) as server:
        environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": server.base_url, "COLORTERM": "truecolor", **environ}
        with Terminal.of_envwatch(home=home, environ=environ) as terminal:
            terminal.wait_for("[0-9] on ")
            for key, visible in keys:
                terminal.press(key)
                terminal.wait_for(visible)
            terminal.press("\x1b", "q")
            assert terminal.wait_for_end() == 0
    return bytes(terminal.received)


def test_the_ansi_theme_sends_only_ansi_colours(tmp_path: Path) -> None:
    keys = (("y", "start command|command line"), ("\x1b", "[0-9] on "), ("?", "^ Keys "))
    sent = received(tmp_path, keys, ENVWATCH_THEME="envwatch-ansi")
    assert re.findall(rb"\x1b\[[0-9;]*[34]8;[0-9;]*m", sent) == []
    assert re.search(rb"\x1b\[[0-9;]*31m", sent)


def test_a_terminal_without_colours_gets_none_and_shows_the_cursor_in_reverse(tmp_path: Path) -> None:
    sent = received(tmp_path, (("j", "[0-9] on "), (":", "Filter .*/")), TERM="vt100", COLORTERM="")
    parameters = {parameter for match in re.findall(rb"\x1b\[([0-9;]*)m", sent) for parameter in match.split(b";")}
    assert parameters <= {b"", b"0", b"1", b"2", b"3", b"4", b"7", b"22", b"23", b"24", b"27"}
    assert b"7" in parameters


def test_under_no_color_the_ansi_theme_is_not_used(tmp_path: Path) -> None:
    sent = received(tmp_path, (), ENVWATCH_THEME="envwatch-ansi", NO_COLOR="1")
    shades = set(re.findall(rb"38;2;([0-9]+);([0-9]+);([0-9]+)", sent))
    assert shades
    assert all(red == green == blue for red, green, blue in shades)
