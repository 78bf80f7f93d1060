"""The base of the App: overrides that delegate to the driver, `FrameWriter` and `InputQueue`.

Private parts of Textual's `App` in use, and what happens if they are missing:

* `_display`, which paints a frame: Textual paints, with more bytes.
* `_handle_exception`, which gets every exception: `crash` stays None, and Textual reports the crash.
* `_fatal_error`, `_print_error_renderables`, which print tracebacks with local variables: Textual prints them.
* `_driver`, `_exit_renderables`, `_suspend_signal`, `_close_messages_no_wait`: AttributeError; mypy checks them.
"""

from __future__ import annotations

import os
import signal
from inspect import signature
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import InputEvent, Paste
from textual.worker import WorkerFailed

from envwatch.tui.terminal.driver import TerminalDriver
from envwatch.tui.terminal.frame_writer import FrameWriter
from envwatch.tui.terminal.input_queue import InputQueue
from envwatch.tui.terminal.job_control import has_shell

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.driver import Driver
    from textual.events import Event, Resize
    from textual.screen import Screen
    from textual.theme import Theme


class TerminalApp(App[int]):
    """An App that restores the terminal, sends few bytes, and keeps a crash for the caller to report.

    Args:
        ascii_only: replace every character that is not ASCII on its way to the terminal.
    """

    crash: BaseException | None = None
    """The exception that ended the app."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        self.is_colourless = bool(os.environ.get("NO_COLOR"))  # read first: Textual removes the variable
        super().__init__()
        self.set_class(self.is_colourless, "-colourless")
        self.ascii_only = ascii_only
        self.frame_writer = FrameWriter(self)
        self.input_queue = InputQueue(self, super().on_event)

    def on_mount(self) -> None:
        """Redraw when the process is resumed, which Textual omits if the size is the same; start the queue."""
        self.app_resume_signal.subscribe(self, lambda _: self.frame_writer.send_difference())
        self.run_worker(self.input_queue.run())

    if list(signature(getattr(App, "_display", lambda: None)).parameters) == ["self", "screen", "renderable"]:

        def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
            """Paint an update of Textual's compositor."""
            if self.frame_writer.draw(renderable):
                self.post_display_hook()
            else:
                super()._display(screen, renderable)

    def on_resize(self, event: Resize) -> None:
        """Forget what the terminal shows."""
        self.frame_writer.resize(event)

    def send(self, sequence: str) -> None:
        """Send the terminal something that is no frame."""
        if self._driver is not None:
            self._driver.write(sequence)

    async def on_event(self, event: Event) -> None:
        """Queue input; handle everything else at once."""
        if isinstance(event, InputEvent | Paste) and not event.is_forwarded:
            await self.input_queue.put(event)
        else:
            await super().on_event(event)

    @property
    def available_themes(self) -> dict[str, Theme]:
        """The themes to choose from; not ANSI ones under NO_COLOR, where Textual draws them black on black."""
        themes = super().available_themes
        return {name: theme for name, theme in themes.items() if not theme.ansi} if self.is_colourless else themes

    def lend_mouse(self, *, is_lent: bool) -> None:
        """Leave the mouse to the terminal, or take it back."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.lend_mouse(is_lent=is_lent)

    def get_driver_class(self) -> type[Driver]:
        """Return the driver for real terminals."""
        default = super().get_driver_class()
        return TerminalDriver if default is LinuxDriver else default

    async def run_async(self, **options: Any) -> int | None:  # noqa: ANN401  Textual's own, passed through
        """Run, and restore the terminal in any case."""
        try:
            return await super().run_async(**options)
        finally:
            if isinstance(self._driver, TerminalDriver):
                self._driver.release()

    def exit(self, result: int | None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """End the app; the process ends in bounded time even if something blocks."""
        self._ensure_exit(return_code)
        super().exit(result, return_code, message)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the suspend key where no shell could resume the process."""
        if action == "suspend_process" and not has_shell():
            return False
        return super().check_action(action, parameters)

    def action_suspend_process(self) -> None:
        """Stop the whole process group: `uv run` and `sudo` stand between the shell and us."""
        self._suspend_signal()
        os.killpg(0, signal.SIGTSTP)

    def _ensure_exit(self, code: int) -> None:
        if isinstance(self._driver, TerminalDriver):
            self._driver.guard.arm(code)

    def _handle_exception(self, error: Exception) -> None:
        if self.crash is None:
            self.crash = error.error if isinstance(error, WorkerFailed) and error.error is not None else error
        self._ensure_exit(1)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()
