"""Makes apps under test quick: exact waits for an idle app, shared stylesheets, and rare collections of garbage.

Textual's pilot calls an app idle after some milliseconds of little CPU use, which is wrong on a busy machine. Here the
state of the event loop decides. When only a frame's time is missing, the loop's clock jumps ahead. While a thread
works, the clock runs normally.

A third of a test's CPU time would go into frames that no test reads. An app of `draw_when_idle` draws once it is idle.
Textual parses the stylesheet anew for every app. Most objects of a suite live on, so fewer collections are needed.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import textual._time
import textual.app
import textual.pilot
from textual.app import ScreenStackError, UnknownModeError
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.pilot import Pilot, WaitForScreenTimeout
from textual.screen import UPDATE_PERIOD, Screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from textual.app import App
    from textual.css.model import RuleSet
    from textual.css.styles import RenderStyles, RulesMap
    from textual.message_pump import MessagePump

DEFAULT_THRESHOLDS = gc.get_threshold()

FRAME_S = 2 * UPDATE_PERIOD + 0.001
"""Seconds within which a timer counts as due. A late Textual timer skips the present period and one more, so the next
frame takes up to two periods. A test waits for longer timers explicitly."""

MOST_FRAMES = 30
"""An app that still draws after this number of frames draws forever, such as a layout without room for a scrollbar."""

MOST_DRAWINGS = 3
"""A drawing may ask for a frame again. The next wait draws what is left."""

LONGEST_S = 10.0
"""Seconds after which a restless loop is given up."""

_held: set[int] = set()
"""Threads that wait for the test."""

_postponing: WeakSet[App[Any]] = WeakSet()
_undrawn: WeakSet[App[Any]] = WeakSet()
"""Apps with a postponed frame."""

_draw = Screen._compositor_refresh  # noqa: SLF001  the step from a layout to a frame has no public name


@contextmanager
def held_by_the_test() -> Iterator[None]:
    """Exclude this thread of the loop, which the test holds, from the working threads."""
    _held.add(threading.get_ident())
    try:
        yield
    finally:
        _held.discard(threading.get_ident())


def draw_when_idle(app: App[Any]) -> None:
    """Postpone the app's frames to the end of each wait. Layouts, timers and callbacks keep their time."""
    _postponing.add(app)


def _draw_or_postpone(screen: Screen[Any]) -> None:
    app: Any = screen.app
    if app not in _postponing or screen is not app.screen:
        _draw(screen)
        return
    _undrawn.add(app)
    screen._dirty_widgets.clear()  # noqa: SLF001  the compositor has noted their regions
    app._update_mouse_over(screen)  # noqa: SLF001


def _draw_postponed() -> None:
    while _undrawn:
        app: Any = _undrawn.pop()
        if app.is_running and app.screen_stack:
            with app._context():  # noqa: SLF001
                _draw(app.screen)


async def wait_for_idle(min_sleep: float = 0.0, max_sleep: float = LONGEST_S) -> None:
    """Wait until no callback is ready, no frame is due, and no thread of the loop is working.

    Args:
        min_sleep: minimum seconds of the wait.
        max_sleep: ignored.
    """
    del max_sleep
    await _wait_for_quiet(min_sleep)
    for _ in range(MOST_DRAWINGS):
        if not _undrawn:
            break
        _draw_postponed()
        await _wait_for_quiet(0.0)


async def _wait_for_quiet(min_sleep: float) -> None:
    loop: Any = asyncio.get_running_loop()
    start = loop.time()
    quiet_turns = frames = 0
    while quiet_turns < 2 and frames < MOST_FRAMES and loop.time() < start + LONGEST_S:
        await asyncio.sleep(0)
        due_at = min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=start + LONGEST_S)  # noqa: SLF001  asyncio has no public way to ask
        wait_s = max(due_at - loop.time(), 0.0)
        if loop._ready:  # noqa: SLF001
            quiet_turns = 0
        elif _has_busy_thread(loop) or loop.time() < start + min_sleep:
            quiet_turns = 0
            await asyncio.sleep(0.001)
        elif wait_s <= FRAME_S:
            quiet_turns = 0
            frames += 1
            skip(loop, wait_s)
        else:
            quiet_turns += 1


async def wait_for_screen(pilot: Pilot[Any], timeout: float = 30.0) -> bool:  # noqa: ASYNC109  Textual's name
    """Wait until the app and all widgets on the screen wait for a message.

    Textual's pilot sends every widget a message and waits for all handlers, again for every key.

    Returns:
        False if there is no screen, or after an exception, as in Textual.

    Raises:
        WaitForScreenTimeout: if a widget is busy after `timeout` seconds.
    """
    app: Any = pilot.app
    give_up_at = time.monotonic() + timeout
    while not app._exception_event.is_set():  # noqa: SLF001
        try:
            pumps = [app, *app.screen.walk_children(with_self=True)]
        except (ScreenStackError, UnknownModeError):
            return False
        if all(_is_at_rest(pump) for pump in pumps):
            return True
        if time.monotonic() > give_up_at:
            raise WaitForScreenTimeout
        await wait_for_idle(0.001)
    return False


def _is_at_rest(pump: MessagePump) -> bool:
    ready: Any = pump._message_queue.ready_event  # noqa: SLF001
    return pump._closing or pump._closed or (bool(ready._waiters) and not ready.is_set())  # noqa: SLF001


def _has_busy_thread(loop: Any) -> bool:
    executor = loop._default_executor  # noqa: SLF001
    if executor is None:
        return False
    at_work = len(executor._threads) - executor._idle_semaphore._value  # noqa: SLF001
    return bool(executor._work_queue.qsize() or at_work > len(_held))  # noqa: SLF001


def skip(loop: Any, seconds: float) -> None:
    loop.skipped = getattr(loop, "skipped", 0.0) + seconds


def _time_of(loop: object) -> float:
    return time.monotonic() + getattr(loop, "skipped", 0.0)


def _share_rules() -> None:
    """Cache the parsed rules of each text and set of variables: a rule set does not change after parsing."""
    parse = Stylesheet._parse_rules  # noqa: SLF001  it has a cache, but one for each stylesheet
    parsed: dict[Any, list[RuleSet]] = {}

    def parse_once(self: Stylesheet, *arguments: Any, **named: Any) -> list[RuleSet]:
        variables = tuple(self._variables.items())
        key = (arguments, tuple(named.items()), variables)
        if key not in parsed:
            parsed[key] = parse(self, *arguments, **named)
        return parsed[key]

    Stylesheet._parse_rules = parse_once  # type: ignore[method-assign]  # noqa: SLF001


class _Parts(dict[str, Any]):
    """The styles of a widget's component classes, each made when it is asked for: a test sees few of the hundreds."""

    def __init__(self, node: Any, rules: Mapping[str, RulesMap]) -> None:
        super().__init__()
        self.node, self.rules = node, rules

    def __contains__(self, name: object) -> bool:
        return name in self.rules

    def __missing__(self, name: str) -> RenderStyles:
        part = DOMNode(classes=name)
        part._attach(self.node)  # noqa: SLF001
        part.styles.base.merge_rules(self.rules[name])
        self[name] = part.styles
        return part.styles

    def clear(self) -> None:
        super().clear()
        self.rules = {}


def _share_component_styles() -> None:
    """Cache the styles of component classes by all that a selector can ask of a widget and the widget's ancestors."""
    process = Stylesheet._process_component_classes  # noqa: SLF001
    known: dict[Any, dict[str, RulesMap]] = {}
    rules: dict[tuple[RuleSet, ...], int] = {}

    def process_once(self: Any, node: Any) -> None:
        components = node._get_component_classes()  # noqa: SLF001
        if not components:
            return
        if getattr(self, "shared_rules", None) is not self.rules:
            self.shared_rules, self.rules_key = self.rules, rules.setdefault(tuple(self.rules), len(rules))
        path = tuple((type(each), each.id, each.classes, each.pseudo_classes) for each in node.css_path_nodes)
        key = (self.rules_key, path, frozenset(components))
        if key not in known:
            process(self, node)
            known[key] = {name: styles.base.get_rules() for name, styles in node._component_styles.items()}  # noqa: SLF001
        before = getattr(node._component_styles, "rules", {})  # noqa: SLF001
        if before is not known[key]:
            node._component_styles = _Parts(node, known[key])  # noqa: SLF001
            if before != known[key]:
                node.refresh()

    Stylesheet._process_component_classes = process_once  # type: ignore[method-assign]  # noqa: SLF001


def install() -> None:
    """Replace the parts of Textual and asyncio for all apps of this process."""
    gc.set_threshold(20_000, 20, 20)  # young objects; Python's default is 700 or 2,000 allocations
    _share_rules()
    _share_component_styles()
    asyncio.BaseEventLoop.time = _time_of  # type: ignore[method-assign,assignment]
    textual._time.get_time = lambda: _time_of(asyncio._get_running_loop())  # noqa: SLF001  Textual's timers ask it
    Screen._compositor_refresh = _draw_or_postpone  # type: ignore[method-assign,assignment]  # noqa: SLF001
    Pilot._wait_for_screen = wait_for_screen  # type: ignore[method-assign,assignment]  # noqa: SLF001
    for module in (textual.app, textual.pilot):
        module.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]  # a name that they import
