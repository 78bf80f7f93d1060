"""Viewers' tokens: file, authentication, and a limit on guessing.

Tokens never open the platform. Only digests are kept; no message contains a token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from envwatch.files import append, file_signature, locked, read_secret
from envwatch.model.text import clean
from envwatch.serve.listening import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envwatch.model.clock import MonotonicS

FILE_BYTES: Final = 1 << 17
MOST_TOKENS: Final = 200
"""Each request is compared with all tokens."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,39}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{16,512}")
_SCHEME: Final = re.compile(r"bearer +", re.IGNORECASE)
"""RFC 9110 11.1: scheme names are case-insensitive."""

ACK: Final = "ack"
"""Third word of a line: the right to acknowledge."""


class Viewer(NamedTuple):
    """The owner of a token."""

    name: str
    may_ack: bool = False


Tokens: TypeAlias = tuple[tuple[Viewer, bytes], ...]


def find_viewer(authorization: str, tokens: Tokens) -> Viewer | None:
    """Return the viewer of an `Authorization` header, in equal time for right and wrong tokens."""
    scheme = _SCHEME.match(authorization)
    sent = _digest(authorization[scheme.end() :].strip() if scheme else "")
    found = None
    for viewer, digest in tokens:
        if hmac.compare_digest(digest, sent):
            found = viewer
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def tokens_in(path: Path, learn: Callable[[str], None]) -> Tokens:
    """Return the tokens in a file that only this user can read; links are followed.

    A line has a name, a token, and perhaps `ack`; `#` begins a comment. `learn` gets tokens for redaction.

    Raises:
        ServerError: the file is unusable or has no token.
    """
    name = clean(str(path))
    tokens = _parse_tokens(_content(path), name, learn)
    if not tokens:
        raise ServerError(f"the file of tokens {name} has none: `envwatch serve --new-token NAME` adds one")
    return tokens


class TokensFile:
    """A token file, reread after changes."""

    def __init__(self, path: Path, learn: Callable[[str], None]) -> None:
        self.path = path
        self._learn = learn
        self._signature = file_signature(path)
        self.tokens = tokens_in(path, learn)

    def reread(self) -> bool:
        """Reread a changed file; return whether the file changed.

        Raises:
            ServerError: the changed file is unusable; the old tokens stay valid.
        """
        signature = file_signature(self.path)
        if signature == self._signature:
            return False
        self._signature = signature
        self.tokens = tokens_in(self.path, self._learn)
        return True


def _content(path: Path) -> bytes:
    name = clean(str(path))
    try:
        content, exposure = read_secret(path, FILE_BYTES, "one", limit=FILE_BYTES)
    except FileNotFoundError:
        raise ServerError(f"there is no file of tokens {name}: `envwatch serve --new-token NAME` makes one") from None
    except OSError as error:
        raise ServerError(f"the file of tokens {name} cannot be read: {error.strerror}") from None
    if exposure is not None:
        raise ServerError(f"the file of tokens {name} {': '.join(exposure)}")
    return content


def _parse_tokens(content: bytes, name: str, learn: Callable[[str], None]) -> Tokens:
    # A typing error must not silently remove a viewer.
    found: dict[Viewer, bytes] = {}
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1):
        words = re.sub(r"(?:^|\s)#.*", "", line).split()
        if not words:
            continue
        place = f"{name}:{number}"
        if len(words) not in {2, 3}:
            raise ServerError(f"{place}: must be a name and a token, with a blank between them")
        user, token, *rights = words
        if rights not in ([], [ACK]):
            raise ServerError(f"{place}: the third word must be `{ACK}`, the right to acknowledge")
        if not _NAME.fullmatch(user):
            raise ServerError(f"{place}: the name must be letters, digits, and - _ . @ between them, 40 at most")
        if not _TOKEN.fullmatch(token):
            raise ServerError(f"{place}: the token must be 16 to 512 printable characters without blanks")
        if user in {viewer.name for viewer in found}:
            raise ServerError(f"{place}: there is a token of that name already; two may not share one")
        if (digest := _digest(token)) in found.values():
            raise ServerError(f"{place}: another name has the same token")
        found[Viewer(user, may_ack=bool(rights))] = digest
        learn(token)
    if len(found) > MOST_TOKENS:
        raise ServerError(f"{name}: has more than {MOST_TOKENS} tokens")
    return tuple(found.items())


def add_token(path: Path, user: str, *, may_ack: bool = False) -> str:
    """Add a token to a file, perhaps missing, and return the token; raise `ServerError` on failure."""
    if not _NAME.fullmatch(user):
        raise ServerError("the name of a token must be letters, digits, and - _ . @ between them, 40 at most")
    name = clean(str(path))
    if file_signature(path):
        _content(path)  # an exposed file is refused before its mode changes
    try:
        with locked(path, follows_link=True) as descriptor:
            content = _content(path)
            viewers = [viewer.name for viewer, _ in _parse_tokens(content, name, lambda _: None)]
            if user in viewers:
                raise ServerError(f"{name} has a token of {user} already: remove its line first")
            token = f"ew-{secrets.token_urlsafe(32)}"
            line = f"{user} {token}{f' {ACK}' if may_ack else ''}\n".encode()
            if content and not content.endswith(b"\n"):
                line = b"\n" + line
            if len(viewers) == MOST_TOKENS or len(content + line) > FILE_BYTES:
                raise ServerError(f"{name} has no room for another token: remove a line first")
            append(descriptor, line)
    except OSError as error:
        problem = f"no token was added, as {name} cannot be written ({error.strerror})"
        raise ServerError(f"{problem}: make room or correct the rights, and try again") from None
    return token


GUESSES: Final = 10
"""Wrong tokens allowed per network within `LIMITED_WITHIN_S`."""
ACKS: Final = 30
"""Acknowledgement requests allowed per token within `LIMITED_WITHIN_S`."""
LIMITED_WITHIN_S: Final = 60.0
_MOST_NAMES: Final = 4_096


@dataclass(slots=True)
class _Counted:
    at: deque[MonotonicS] = field(default_factory=deque)
    is_known: bool = False


@dataclass(slots=True)
class RateLimit:
    """Counts acts by name: at most `most` within `LIMITED_WITHIN_S`."""

    most: int
    _by_name: OrderedDict[str, _Counted] = field(default_factory=OrderedDict)

    def count(self, name: str, now: MonotonicS) -> tuple[int, bool]:
        """Count an act, unless the name must wait.

        Return the seconds to wait, or 0, and whether this wait is the first since the count was empty.
        """
        counted = self._by_name.setdefault(name, _Counted())
        self._by_name.move_to_end(name)
        while len(self._by_name) > _MOST_NAMES:
            self._by_name.popitem(last=False)
        while counted.at and now - counted.at[0] >= LIMITED_WITHIN_S:
            counted.at.popleft()
        counted.is_known = counted.is_known and bool(counted.at)
        if len(counted.at) < self.most:
            counted.at.append(now)
            return 0, False
        is_news, counted.is_known = not counted.is_known, True
        return max(ceil(counted.at[0] + LIMITED_WITHIN_S - now), 1), is_news


def network_of(address: str) -> str:
    """Return a client's network: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(int(parsed) >> 64)
