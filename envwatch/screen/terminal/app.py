"""The App's base, and functions over Textual's private parts.

`_fatal_error` and `_print_error_renderables` are overridden, because Textual prints local variables.
"""

from __future__ import annotations

import base64
import os
import re
import signal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

from textual._styles_cache import StylesCache
from textual.app import App, SuspendNotSupported
from textual.binding import Binding
from textual.css.query import NoMatches
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Event, InputEvent, Paste, Resize
from textual.worker import WorkerFailed

from envwatch.screen.terminal.driver import TerminalDriver
from envwatch.screen.terminal.frame_writer import FrameWriter
from envwatch.screen.terminal.input_bytes import InputQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import RenderableType
    from textual.dom import DOMNode
    from textual.driver import Driver
    from textual.screen import Screen
    from textual.theme import Theme

    from envwatch.model.text import SafeText

_MONOCHROME: Final = re.compile(r"(dumb|unknown|vt(52|[1-4]\d\d))(-.*)?|.+-m(ono)?")


LONGEST_COPY = 74_994
"""Bytes of clipboard text: 100,000 of Base64, the limit of xterm and tmux."""


ScreenT = TypeVar("ScreenT", bound="Screen[Any]")


class TerminalApp(App[int]):
    """An App that restores the terminal, sends few bytes, and keeps a crash for the caller."""

    OWN_THEMES: ClassVar[Sequence[Theme]] = ()
    crash: BaseException | None = None

    def __init__(self, *, ascii_only: bool = False, has_title: bool = False) -> None:
        is_monochrome = _MONOCHROME.fullmatch(os.environ.get("TERM", "")) is not None
        no_color = os.environ.get("NO_COLOR")  # read first: Textual removes the variable
        self.is_colourless = is_monochrome or bool(no_color)
        super().__init__()
        self.set_class(self.is_colourless, "-colourless")
        self.set_class(is_monochrome, "-monochrome")
        self.ascii_only = ascii_only
        self.has_title = has_title
        self.frame_writer = FrameWriter(self, has_colours=not is_monochrome)
        self.input_queue = InputQueue(self, super().on_event)

    def on_mount(self) -> None:
        """Redraw after a resume, which Textual omits at an unchanged size."""
        self.app_resume_signal.subscribe(self, lambda _: self.frame_writer.send_difference())
        self.run_worker(self.input_queue.run())

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if self.frame_writer.draw(renderable):
            self.post_display_hook()
        else:
            super()._display(screen, renderable)

    def fitted(self, screen: ScreenT) -> ScreenT:
        """Add the size classes, which Textual omits in a screen's first frame."""
        for length, breakpoints in zip(
            self.size, (self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS), strict=True
        ):
            screen.add_class(*[name for least, name in breakpoints or () if least <= length][-1:])
        return screen

    def on_resize(self, event: Resize) -> None:
        self.frame_writer.resize(event)

    def send(self, sequence: str) -> None:
        if self._driver is not None:
            self._driver.write(sequence)

    def copy_to_clipboard(self, text: str) -> None:
        self.send(clipboard_sequence(text, in_tmux="TMUX" in os.environ))

    def ring(self, text: SafeText, notify: Literal["off", "osc9", "osc777"]) -> None:
        self.bell()
        if notify != "off":
            self.send(notification_sequence(text, notify, in_tmux="TMUX" in os.environ))

    def show_title(self, title: SafeText) -> None:
        if self._terminal_driver is not None:
            self._terminal_driver.show_title(title)

    async def on_event(self, event: Event) -> None:
        if isinstance(event, InputEvent | Paste) and not event.is_forwarded:
            await self.input_queue.put(event)
        else:
            await super().on_event(event)

    @cached_property
    def available_themes(self) -> dict[str, Theme]:
        """All themes, but no ANSI themes on a colourless screen, where Textual draws black on black.

        The result is cached, because Textual asks twice for each line; no theme is registered later.
        """
        themes = {**{theme.name: theme for theme in self.OWN_THEMES}, **super().available_themes}
        return {name: theme for name, theme in themes.items() if not (self.is_colourless and theme.ansi)}

    def lend_mouse(self, *, is_lent: bool) -> None:
        if self._terminal_driver is not None:
            self._terminal_driver.lend_mouse(is_lent=is_lent)

    def get_driver_class(self) -> type[Driver]:
        default = super().get_driver_class()
        return TerminalDriver if default is LinuxDriver else default

    async def run_async(self, **options: Any) -> int | None:  # noqa: ANN401  Textual's own, passed through
        try:
            return await super().run_async(**options)
        finally:
            if self._terminal_driver is not None:
                self._terminal_driver.release()

    def exit(self, result: int | None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """End the app; the process ends in bounded time."""
        self._ensure_exit(return_code)
        super().exit(result, return_code, message)

    def action_suspend_process(self) -> None:
        """Stop the process group, because `uv run` and `sudo` stand between shell and process."""
        self._suspend_signal()
        os.killpg(0, signal.SIGTSTP)

    async def run_in_foreground(
        self, command: Sequence[str], environ: Mapping[str, str], waits: Callable[[int], bool]
    ) -> int:
        """Lend the terminal to a program, as the driver's method, then redraw.

        Raises:
            SuspendNotSupported: without a terminal.
        """
        with self.suspend():
            if self._terminal_driver is None:
                raise SuspendNotSupported
            try:
                return await self._terminal_driver.run_in_foreground(command, environ, waits)
            except OSError as error:
                failure = error  # `App.suspend` does not return after an exception
        raise failure

    def settings_to_choose(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the values of settings that the palette finds."""
        yield from ()

    @property
    def _terminal_driver(self) -> TerminalDriver | None:
        """None where Textual has the terminal."""
        return self._driver if isinstance(self._driver, TerminalDriver) else None

    def _ensure_exit(self, code: int) -> None:
        if self._terminal_driver is not None:
            self._terminal_driver.guard.arm(code)

    def _handle_exception(self, error: Exception) -> None:
        cause = error.error if isinstance(error, WorkerFailed) and error.error is not None else error
        if isinstance(cause, NoMatches) and self._exit:
            return  # while ending, Textual mounts nothing, and a half-built screen finds no widgets
        if self.crash is None:
            self.crash = cause
        self._ensure_exit(1)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()


def clipboard_sequence(text: str, *, in_tmux: bool) -> str:
    """Return the escape sequence for the clipboard, cut at `LONGEST_COPY` bytes between characters.

    With `in_tmux`, tmux and the outer terminal get the text.
    """
    data = text.encode()[:LONGEST_COPY].decode(errors="ignore").encode()
    sequence = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    return sequence + _pass_through(sequence) if in_tmux else sequence


def notification_sequence(text: SafeText, style: Literal["osc9", "osc777"], *, in_tmux: bool) -> str:
    """Return a notification's escape sequence, without semicolons, which would end the text.

    `osc9` is iTerm2's style, `osc777` is urxvt's. tmux has no notifications: with `in_tmux`, the outer terminal gets
    the sequence.
    """
    body = text.replace(";", ",")
    # ConEmu takes a number after OSC 9 for a command.
    sequence = f"\x1b]9;envwatch: {body}\x07" if style == "osc9" else f"\x1b]777;notify;envwatch;{body}\x07"
    return _pass_through(sequence) if in_tmux else sequence


def _pass_through(sequence: str) -> str:
    """Wrap a sequence for the outer terminal; tmux needs `allow-passthrough`."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"


def bindings_of(node: DOMNode) -> Iterator[Binding]:
    """Yield a node's bindings with the user's keys."""
    bindings = node._bindings.copy()
    bindings.apply_keymap(node.app._keymap)
    return (binding for _, binding in bindings)


def own_bindings(node: type[DOMNode]) -> Iterator[Binding]:
    """Yield the bindings of envwatch's classes, each with a single key."""
    for base in node.__mro__:
        if base.__module__.startswith("envwatch."):
            yield from Binding.make_bindings(vars(base).get("BINDINGS", ()))


def add_binding(node: DOMNode, binding: Binding) -> None:
    """Add a binding at run time."""
    node._bindings._add_binding(binding)


def declared_actions(node: type[DOMNode]) -> list[str]:
    """Return actions in declaration order, whatever the keymap."""
    return [binding.action for _, binding in node._merged_bindings or ()]


def forget_closed_widgets() -> None:
    """Drop closed widgets with drawn lines: Textual's cache of backgrounds keeps the last 1,024 widgets."""
    StylesCache.get_inner_outer.cache_clear()


def forget_detached_watchers(node: DOMNode) -> None:
    """Drop the watchers of closed screens, which hold the screens' state.

    Textual drops watchers only at a change, and some reactives never change.
    """
    for watchers in getattr(node, "__watchers", {}).values():
        watchers[:] = [(watcher, callback) for watcher, callback in watchers if watcher.is_attached]
