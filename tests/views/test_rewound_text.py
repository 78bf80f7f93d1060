"""The wording of going back in time."""

from __future__ import annotations

from datetime import UTC

import pytest
from support.builders import NOW

from envwatch.views.state_style import ago_text, mistake_text, moment_text, speed_text


@pytest.mark.parametrize(
    ("before_s", "text"),
    [
        (0, "(−0 s)"),
        (119, "(−119 s)"),
        (120, "(−2 m)"),
        (3_599, "(−59 m)"),
        (3_600, "(−1 h 0 m)"),
        (6_719, "(−1 h 51 m)"),
        (86_399, "(−23 h 59 m)"),
        (86_400, "(−1 d 0 h)"),
        (200_000, "(−2 d 7 h)"),
    ],
)
def test_how_far_a_moment_lies_back_has_two_units_from_an_hour_on(before_s: float, text: str) -> None:
    assert ago_text(NOW - before_s * 1000, NOW, ascii_only=False) == text
    assert ago_text(NOW - before_s * 1000, NOW, ascii_only=True) == text.replace("−", "-")


def test_a_moment_has_its_date_unless_it_is_of_today_and_its_zone_if_that_was_chosen() -> None:
    assert moment_text(NOW - 60_000, NOW, None) == "08:52:20"
    assert moment_text(NOW - 60_000, NOW, UTC) == "08:52:20Z"
    assert moment_text(NOW - 10 * 3_600_000, NOW, None) == "2025-10-08 22:53:20"
    assert moment_text(float("inf"), NOW, None) == "–"


def test_a_mistake_comes_with_examples() -> None:
    for text in ("", "nonsense"):
        assert "3m ago, 02:13, yesterday 14:00, 2026-11-25 14:00" in mistake_text(text)


@pytest.mark.parametrize(("speed", "text"), [(1.0, "1x"), (10.0, "10x"), (0.5, "0.5x")])
def test_a_speed(speed: float, text: str) -> None:
    assert speed_text(speed) == text
