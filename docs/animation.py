"""Joins pictures of one terminal into an SVG that CSS alone animates, also in a README's `<img>`.

Elements shared by pictures are stored once. Without animation or with reduced motion, readers see the last picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LAST_FRAME_S: Final = 4
"""Length of the last picture."""

_RULE: Final = re.compile(r"\.t-r(\d+) \{ (.*?) \}")
_CELLS: Final = re.compile(r"<rect [^>]*/>")
_TEXT: Final = re.compile(r'<text class="t-r(\d+)"(.*?)</text>', re.DOTALL)
_TERMINAL: Final = re.compile(r'(<g transform="[^"]*" clip-path="url\(#t-clip-terminal\)">).*</g>', re.DOTALL)
_WIDTH: Final = re.compile(r'viewBox="0 0 (\d+) ')


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture for one second."""

    picture: str
    """An SVG of `pictures.smaller`."""
    caption: str
    """At most 4 characters, in the window's title."""
    key: str = ""


def animated(frames: Sequence[Frame]) -> str:
    """Return an SVG that repeats frames of equal size, one second each."""
    styles: dict[str, str] = {}
    times = _Times(len(frames))
    width = int(_WIDTH.search(frames[0].picture)[1])  # type: ignore[index]
    cells = times.grouped(_CELLS.findall(_terminal(frame.picture)) for frame in frames)
    texts = times.grouped(_texts(frame.picture, styles) for frame in frames)
    titles = times.grouped([_title(frame, width)] for frame in frames)
    rules = [f".{name}{{{style}}}" for style, name in styles.items()]
    svg = _RULE.sub("", frames[0].picture)
    svg = _TERMINAL.sub(lambda found: f'{titles}{found[1]}\n{cells}<g class="t-matrix">\n{texts}</g></g>', svg)
    return re.sub(r"\n\s*", "\n", svg.replace("</style>", "\n".join([*rules, *times.rules(), "</style>"]), 1))


def _terminal(picture: str) -> str:
    return picture[_TERMINAL.search(picture).start() :]  # type: ignore[union-attr]


def _texts(picture: str, styles: dict[str, str]) -> Iterator[str]:
    style_of = dict(_RULE.findall(picture))
    for number, rest in _TEXT.findall(_terminal(picture)):
        yield f'<text class="{styles.setdefault(style_of[number], f"s{len(styles)}")}"{rest}</text>'


def _title(frame: Frame, width: int) -> str:
    caption = f'<text class="caption" x="{width - 24}" y="27">{escape(frame.caption)}</text>'
    if not frame.key:
        return caption
    key_width, right = 14 + 11 * len(frame.key), width - 84
    return (
        f'{caption}<rect class="key" x="{right - key_width}" y="8" width="{key_width}" height="26" rx="5"/>'
        f'<text class="pressed" x="{right - key_width / 2:g}" y="27">{escape(frame.key)}</text>'
    )


class _Times:
    """CSS classes that show elements at their times, one class for each set of frames."""

    def __init__(self, frame_count: int) -> None:
        self._frame_count = frame_count
        self._names: dict[tuple[int, ...], str] = {}

    def grouped(self, frames: Iterable[Iterable[str]]) -> str:
        seen: dict[str, list[int]] = {}
        for number, elements in enumerate(frames):
            for element in dict.fromkeys(elements):
                seen.setdefault(element, []).append(number)
        groups: dict[tuple[int, ...], list[str]] = {}
        for element, numbers in seen.items():
            groups.setdefault(tuple(numbers), []).append(element)
        return "".join(self._group(numbers, "".join(elements)) for numbers, elements in groups.items())

    def _group(self, numbers: tuple[int, ...], content: str) -> str:
        if len(numbers) == self._frame_count:
            return f"{content}\n"
        name = self._names.setdefault(numbers, f"f{len(self._names)}")
        return f'<g class="f {name}">{content}</g>\n'

    def rules(self) -> Iterator[str]:
        duration = self._frame_count - 1 + LAST_FRAME_S
        last = self._frame_count - 1
        yield f".f{{visibility:hidden;animation:{duration}s step-end infinite}}"
        yield from (f".{name}{{visibility:visible}}" for numbers, name in self._names.items() if last in numbers)
        for numbers, name in self._names.items():
            is_seen = [number in numbers for number in range(self._frame_count)]
            steps = [
                f"{number / duration:.4%}{{visibility:{'visible' if seen else 'hidden'}}}"
                for number, seen in enumerate(is_seen)
                if not number or is_seen[number - 1] != seen
            ]
            yield f".{name}{{animation-name:{name}}}@keyframes {name}{{{''.join(steps)}}}"
        yield "@media (prefers-reduced-motion:reduce){.f{animation:none}}"
        yield ".caption{fill:#a8a8a8;font:18px monospace;text-anchor:end}"
        yield ".key{fill:#87d7ff}.pressed{fill:#121212;font:bold 18px monospace;text-anchor:middle}"
