"""The service of `envwatch serve`: viewers see each update, and may acknowledge for the team.

Endpoints change only in the server's thread.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from envwatch.alerts.acknowledgements import acks_of_uuid, answered, contradicts, ended_by_person
from envwatch.alerts.monitor import MonitorChanges
from envwatch.letta.poller import read_clocks
from envwatch.model.acks import Ack, AckResult
from envwatch.model.listing_api import NOT_PASSED_ON, RefusedError
from envwatch.model.outcome import Cause, SourceError
from envwatch.model.text import EMPTY, SafeText, clean, counted
from envwatch.model.times import long_age
from envwatch.serve.answers import ProfileEndpoint, SharedState
from envwatch.serve.app import ServingApp
from envwatch.serve.listening import Certificate, ServerError
from envwatch.serve.server import HttpServer
from envwatch.watch.loop import Decisions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envwatch.alerts.acknowledgements import Acks, ServerKey
    from envwatch.alerts.monitor import Monitor
    from envwatch.config.settings import Settings
    from envwatch.fleet.profile_state import ProfileState
    from envwatch.letta.poller import Team
    from envwatch.model.acks import AckAnswer, AckRequest
    from envwatch.serve.app import Act
    from envwatch.serve.exposition import Polls
    from envwatch.serve.tokens import Tokens, TokensFile
    from envwatch.watch.loop import MonitorUpdate
    from envwatch.watch.monitoring import Monitoring


_COUNTED_EVERY_S: Final = 3_600.0


_MOST_ANSWERS: Final = 1_000
_MOST_ANSWERED_ROWS: Final = 20_000
"""Limits of answers in memory; uuids on the disk recognize older acknowledgements."""


@dataclass(slots=True)
class Plan:
    """Checked settings and files, and a listening socket."""

    settings: Mapping[SafeText, Settings]
    tokens: Mapping[SafeText, TokensFile]
    listening: socket.socket
    tls: Certificate | None

    def close(self) -> None:
        """Close the socket."""
        self.listening.close()

    @property
    def base_urls(self) -> list[str]:
        """The LETTA_BASE_URL for each profile's viewers."""
        host, port = self.listening.getsockname()[:2]
        if ip_address(host).is_unspecified:
            host = socket.gethostname()
        root = f"{'http' if self.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}"
        if len(self.settings) == 1:
            return [root]
        return [f"{root}/profiles/{each.profile}" for each in self.settings.values()]

    @property
    def left_out(self) -> list[str]:
        """A line for each profile whose settings hide environments from viewers."""
        filters = {each.profile: {"source": each.source, "user": each.user} for each in self.settings.values()}
        alone = {
            profile: " and ".join(f"{name} = {value}" for name, value in values.items() if value is not None)
            for profile, values in filters.items()
        }
        return [clean(f"viewers of profile {profile} see only {what}") for profile, what in alone.items() if what]

    @property
    def tokens_are(self) -> str:
        """Number of tokens, and the files, as text."""
        files = dict.fromkeys(self.tokens.values())
        return " or ".join(f"one of {counted(len(file.tokens), 'token')} in {clean(str(file.path))}" for file in files)


class Service:
    """The server, which answers 503 until the first listing.

    Acknowledgements of viewers are decided in the watch's loop.
    """

    def __init__(self, plan: Plan, watched: Monitoring) -> None:
        self._plan = plan
        self._log = log = watched.poll_log
        self._watch = watched.watch
        self._acks_written = watched.acks_written
        self._loop = asyncio.get_running_loop()
        self._answers: dict[tuple[str, SafeText], tuple[AckRequest, asyncio.Task[AckAnswer]]] = {}
        self._endpoints = {name: ProfileEndpoint() for name in plan.settings}
        machine = socket.gethostname().partition(".")[0]
        self._names = {name: clean(settings.serve_name or machine) for name, settings in plan.settings.items()}
        self._polls: Polls | None = None if find_spec("prometheus_client") is None else {}
        self._newest: tuple[Monitor, Polls, Mapping[SafeText, bool]] | None = None
        self._keys = {settings.profile: name for name, settings in plan.settings.items()}
        endpoints = {profile: self._endpoints[name] for profile, name in self._keys.items()}
        series = None if self._polls is None else self._series
        self._app = ServingApp(
            endpoints, self._tokens(), read_clocks, log.note, acknowledge=self._acknowledge, metrics=series
        )
        tls = None if plan.tls is None else plan.tls.context
        self._server = HttpServer(self._app.answer, plan.listening, log.warn, tls)
        self._counted_at = read_clocks().monotonic
        self._server.start()

    def take(self, update: MonitorUpdate, hooks: Mapping[SafeText, bool]) -> None:
        """Show an update to viewers, or raise the exception that ended the server.

        `hooks` tells whether each hook fails.
        """
        if self._server.error is not None:
            raise self._server.error
        changes, now = update.changes, update.changes.now
        if self._polls is not None:
            from envwatch.serve.exposition import with_poll  # noqa: PLC0415 - only with the extra `metrics`

            self._polls = with_poll(self._polls, changes.profile, changes.outcome)
            self._newest = update.monitor, self._polls, hooks
        self._show(update.monitor, changes)
        if now.monotonic - self._counted_at >= _COUNTED_EVERY_S:
            self._counted_at = now.monotonic
            self._server.call(lambda: self._log.note(self._app.take_counts()))

    def _show(self, monitor: Monitor, changes: MonitorChanges) -> None:
        ids = monitor.incidents.ids
        for name, endpoint in self._endpoints.items():
            profile_state = monitor.fleet.by_profile[name]
            policy = monitor.judge(changes.now).policy_of(name)
            incidents = {id_: incident for (profile, id_), incident in ids.items() if profile == name}
            shared = SharedState(self._names[name], monitor.acks, monitor.silences, policy, monitor.words, incidents)
            outcome = changes.outcome if changes.profile == name else None
            self._server.call(partial(endpoint.update, profile_state, outcome, changes.now, shared))

    async def renew(self) -> None:
        """Reload changed tokens and certificates."""
        for file in dict.fromkeys(self._plan.tokens.values()):
            if await self._has_changed(file.reread, "the tokens stay as they were"):
                self._log.note("the tokens were read again")
                self._app.tokens = self._tokens()
        tls = self._plan.tls
        if tls is not None and await self._has_changed(tls.reread, "the certificate stays as it was"):
            self._log.note("the certificate was read again")
            self._server.tls = tls.context

    async def _has_changed(self, reread: Callable[[], bool], consequence: str) -> bool:
        try:
            return await asyncio.to_thread(reread)
        except ServerError as error:
            self._log.warn(f"{consequence}: {error}")
            return False

    def _series(self, accept: str) -> tuple[bytes, str]:
        from envwatch.serve.exposition import TEXT, exposition  # noqa: PLC0415 - likewise

        if self._newest is None:
            return b"", TEXT
        monitor, polls, hooks = self._newest
        return exposition(monitor, polls, read_clocks(), hooks=hooks, accept=accept)

    async def aclose(self) -> None:
        """Answer 503 for a moment, then close the port."""
        for endpoint in self._endpoints.values():
            self._server.call(endpoint.end)
        await self._server.close()
        self._log.note(self._app.take_counts())

    async def _acknowledge(self, act: Act) -> AckAnswer:
        deciding = asyncio.run_coroutine_threadsafe(self._decided(act), self._loop)
        return await asyncio.shield(asyncio.wrap_future(deciding))  # the act goes on if the connection ends

    async def _decided(self, act: Act) -> AckAnswer:
        upstream = self._upstream_for(act)
        if upstream is not None and (answer := await self._passed_on(act, upstream)) is not None:
            return answer
        if act.note is not None:
            return await self._noted(act, act.note)
        if act.request is None:
            return await self._ended(act)
        key = act.profile, act.uuid
        if key not in self._answers:
            self._answers[key] = act.request, asyncio.ensure_future(self._acked(act, act.request))
            kept = list(self._answers.values())
            while len(kept) > _MOST_ANSWERS or sum(len(each.losses) for each, _ in kept) > _MOST_ANSWERED_ROWS:
                del kept[0], self._answers[next(iter(self._answers))]
        request, answering = self._answers[key]
        if request != act.request:
            raise _conflict(act.uuid)
        try:
            return await answering
        except RefusedError:
            self._answers.pop(key, None)
            raise

    def _upstream_for(self, act: Act) -> Team | None:
        """Return the upstream `envwatch serve` that keeps an act's acknowledgement, if any."""
        name = self._keys[act.profile]
        target = self._watch.targets.get(name)
        team = None if target is None else target.team
        known, profile_state, _ = self._present(name)
        is_own = bool(acks_of_uuid(known, profile_state.server, act.uuid))
        if team is None or is_own or (act.request is not None and not team.may_ack):
            return None
        return team

    async def _passed_on(self, act: Act, upstream: Team) -> AckAnswer | None:
        """Let upstream decide, so that an acknowledgement reaches everybody above and below.

        Returns None if upstream takes no acknowledgements from here: this server then acknowledges for its viewers.
        """
        answer: AckAnswer = ()
        try:
            if act.request is not None:
                answer = await upstream.acknowledge(act.uuid, act.request)
            elif act.note is not None:
                await upstream.change_note(act.uuid, act.note)
            else:
                await upstream.end(act.uuid)
        except SourceError as error:
            if act.request is not None and error.failure.cause is Cause.FORBIDDEN:
                return None
            why = str(error)
            if error.failure.cause is Cause.FORBIDDEN:
                host = self._host_above(self._keys[act.profile])
                why = f"the token of this server only reads at {host}: only a user of {host} can change it"
            raise RefusedError(HTTPStatus.BAD_GATEWAY, {"error": f"{NOT_PASSED_ON}{why}"}) from None
        self._watch.targets[self._keys[act.profile]].poller.refresh()
        self._log.note(f"{act.who} was passed on upstream, {act.uuid}")
        return answer

    async def _acked(self, act: Act, request: AckRequest) -> AckAnswer:
        name = self._keys[act.profile]
        known, profile_state, at = self._present(name)
        until = None if request.for_s is None else at + request.for_s * 1000
        new = Ack(at, request.note, by=act.by, until=until, uuid=act.uuid, address=act.address)
        if any(contradicts(ack, new) for ack in acks_of_uuid(known, profile_state.server, act.uuid).values()):
            raise _conflict(act.uuid)
        lost = self._watch.monitor.incidents.lost_of(name)
        made, answer = answered(request.losses, new, known, profile_state, self._names[name], lost=lost)
        if host := self._host_above(name):
            answer = [row._replace(still_pages=host) if row.result is AckResult.ACKED else row for row in answer]
        lasts = "until back" if request.for_s is None else f"for {long_age(timedelta(seconds=request.for_s))}"
        rows = f"{len(made):,} of {counted(len(answer), 'machine')}"
        await self._save(made, known)
        self._log.note(f"{act.who} acknowledged {rows} {lasts}, {act.uuid}{_after_colon(request.note)}")
        return answer

    def _host_above(self, name: SafeText) -> SafeText:
        """Return the host of a profile's upstream `envwatch serve`; empty for the platform."""
        target = self._watch.targets.get(name)
        return EMPTY if target is None or target.team is None else clean(target.host)

    async def _noted(self, act: Act, note: SafeText) -> AckAnswer:
        acks, known, at = self._named_by(act)
        changed = {key: replace(ack, note=note) for key, ack in acks.items() if ack.is_in_force(at)}
        await self._save(changed, known)
        if changed:
            what = f"the note about {counted(len(changed), 'machine')}"
            self._log.note(f"{act.who} changed {what}, {act.uuid}{_after_colon(note)}")
        return ()

    def _named_by(self, act: Act) -> tuple[Acks, Acks, float]:
        """Return the acknowledgements of an act's uuid, all acknowledgements, and the server's time in ms."""
        known, profile_state, at = self._present(self._keys[act.profile])
        acks = acks_of_uuid(known, profile_state.server, act.uuid)
        # Profiles of a server share acknowledgements, but a token sees the rows of its own profile alone.
        acks = {key: ack for key, ack in acks.items() if key[1] in profile_state.environments}
        if not acks:
            raise RefusedError(HTTPStatus.NOT_FOUND, {"error": f"there is no acknowledgement {act.uuid}"})
        return acks, known, at

    async def _ended(self, act: Act) -> AckAnswer:
        acks, known, at = self._named_by(act)
        ended = {key: ended_by_person(ack, at, act.by) for key, ack in acks.items() if ack.is_in_force(at)}
        await self._save(ended, known)
        if ended:
            note = _after_colon(next(iter(ended.values())).note)
            self._log.note(f"{act.who} ended the acknowledgement of {counted(len(ended), 'machine')}, {act.uuid}{note}")
        return ()

    def _present(self, name: SafeText) -> tuple[Acks, ProfileState, float]:
        monitor = self._watch.monitor
        profile_state = monitor.fleet.by_profile[name]
        acks = {**monitor.ended_acks, **monitor.acks}
        return acks, profile_state, float(round(profile_state.clock.server_time(self._watch.clocks().wall)))

    async def _save(self, changes: Acks, before: Acks) -> None:
        """Apply changed acknowledgements, and return once saved.

        Raises:
            RefusedError: the disk takes no changes (503); the changes are undone.
        """
        if changes:
            self._decide(changes)
        try:
            await self._acks_written()
        except OSError as error:
            if not changes:
                return  # the failure of another act
            self._decide({key: before.get(key) for key in changes})
            body = {"error": f"acknowledgements cannot be saved: {error.strerror}", "errorCode": "envwatch_unsaved"}
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, body) from None

    def _decide(self, changes: Mapping[ServerKey, Ack | None]) -> None:
        self._watch.decide(Decisions(acks=changes))
        self._show(self._watch.monitor, MonitorChanges(self._watch.clocks()))

    def _tokens(self) -> dict[str, Tokens]:
        return {settings.profile: self._plan.tokens[name].tokens for name, settings in self._plan.settings.items()}


def _after_colon(note: SafeText) -> str:
    return f": {note}" if note else ""


def _conflict(uuid: SafeText) -> RefusedError:
    return RefusedError(HTTPStatus.CONFLICT, {"error": f"another request has the uuid {uuid}: take a new uuid"})
