"""The command palette: every action that works now with its key, and every environment by its name."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from textual.command import DiscoveryHit, Hit, Provider
from textual.content import Content

from envwatch.tui.dashboard import Dashboard

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from textual.command import Hits

    from envwatch.watch import Watch

MOST = 50
"""Environments offered at once: more than fit on any screen."""


class ActionCommands(Provider):
    """What can be done now."""

    async def discover(self) -> Hits:
        """Offer everything."""
        for title, keys, run in self._actions():
            yield DiscoveryHit(title, run, help=keys)

    async def search(self, query: str) -> Hits:
        """Offer what sounds like the query."""
        matcher = self.matcher(query)
        for title, keys, run in self._actions():
            if score := matcher.match(title):
                yield Hit(score, matcher.highlight(title), run, help=keys)

    def _actions(self) -> Iterator[tuple[str, str, partial[Coroutine[Any, Any, bool]]]]:
        seen: set[str] = set()
        for namespace, binding, enabled, _ in self.screen.active_bindings.values():
            if binding.id and enabled and binding.id != "app.palette" and binding.id not in seen:
                seen.add(binding.id)
                key = f"key {self.app.get_key_display(binding)}"
                yield binding.description, key, partial(self.app.run_action, binding.action, namespace)
        yield "Theme", "change the colours", partial(self.app.run_action, "change_theme")


class EnvironmentCommands(Provider):
    """Where to go: environments whose name contains the query."""

    async def search(self, query: str) -> Hits:
        """Offer environments; a name that begins with the query comes first."""
        dashboard = self.screen
        if not isinstance(dashboard, Dashboard):
            return
        wanted = query.casefold()
        for watch in islice(self._named(dashboard, wanted), MOST):
            name = watch.environment.name
            score = 0.9 if name.casefold().startswith(wanted) else 0.6
            yield Hit(
                score,
                Content(name),
                partial(dashboard.select, watch.environment.id),
                text=name,
                help=f"{watch.presence} · go to this environment",
            )

    def _named(self, dashboard: Dashboard, wanted: str) -> Iterator[Watch]:
        return (watch for watch in dashboard.fleet.watches.values() if wanted in watch.environment.name.casefold())
