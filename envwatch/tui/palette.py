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

MOST = 50
"""Environments offered at once: more than fit on any screen."""


class Commands(Provider):
    """What can be done now, and where to go."""

    async def discover(self) -> Hits:
        """Offer every action."""
        for title, keys, run in self._actions():
            yield DiscoveryHit(title, run, help=keys)

    async def search(self, query: str) -> Hits:
        """Offer the actions that sound like the query, and the environments whose name contains it."""
        matcher = self.matcher(query)
        for title, keys, run in self._actions():
            if score := matcher.match(title):
                yield Hit(score, matcher.highlight(title), run, help=keys)
        if isinstance(self.screen, Dashboard):
            for hit in islice(self._environments(self.screen, query.casefold()), MOST):
                yield hit

    def _actions(self) -> Iterator[tuple[str, str, partial[Coroutine[Any, Any, bool]]]]:
        seen: set[str] = set()
        for namespace, binding, enabled, _ in self.screen.active_bindings.values():
            if binding.id and enabled and binding.id != "app.palette" and binding.id not in seen:
                seen.add(binding.id)
                key = f"key {self.app.get_key_display(binding)}"
                yield binding.description, key, partial(self.app.run_action, binding.action, namespace)
        yield "Theme", "change the colours", partial(self.app.run_action, "change_theme")

    def _environments(self, dashboard: Dashboard, wanted: str) -> Iterator[Hit]:
        """Yield the environments by whose name one can go to them; a name that begins so comes first."""
        for watch in dashboard.fleets.watches:
            name = watch.environment.name
            if wanted in name.casefold():
                yield Hit(
                    0.9 if name.casefold().startswith(wanted) else 0.6,
                    Content(name),
                    partial(dashboard.select, watch.key),
                    text=name,
                    help=" · ".join(filter(None, (watch.presence, watch.profile, "go to this environment"))),
                )
