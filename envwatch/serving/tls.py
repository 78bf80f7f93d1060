"""TLS for the server: a certificate and its key, read again when they are renewed."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from envwatch.model.text import clean
from envwatch.serving.listening import ServerError

if TYPE_CHECKING:
    from pathlib import Path


class Certificate:
    """A certificate with its chain and its key, in files of PEM, which may be the same.

    Raises:
        ServerError: they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._signature: tuple[tuple[int, int, int], ...] | None = self._signed()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        """For the server."""
        self._load(self.context)

    def is_renewed(self) -> bool:
        """Whether the files have changed since the last call, and can be used.

        Raises:
            ServerError: they have changed, and cannot be used.
        """
        signature = self._signed()
        if signature == self._signature:
            return False
        self._signature = signature
        self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        return True

    def renew(self) -> None:
        """Use the files as they are for connections from now on; to be called in the server's thread.

        Raises:
            ServerError: they cannot be used, as they have changed since `is_renewed`, which looks at them again.
        """
        try:
            self._load(self.context)
        except ServerError:
            self._signature = None
            raise

    def _signed(self) -> tuple[tuple[int, int, int], ...]:
        """Return what differs after each change."""
        try:
            found = [path.stat() for path in (self._certificate, self._key)]
        except OSError:
            return ()
        return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in found)

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            for path in (self._certificate, self._key):
                with path.open("rb"):  # OpenSSL does not say which of the two it cannot read
                    pass
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            is_mismatch = "MISMATCH" in (error.reason or "")
            reason = "the key is not the certificate's" if is_mismatch else "a certificate or its key is missing"
            raise ServerError(f"{self._names()} cannot be used for TLS: {reason}") from None
        except OSError as error:
            raise ServerError(f"{clean(str(error.filename))} cannot be used for TLS: {error.strerror}") from None
        except _PasswordError:
            raise ServerError(f"{clean(str(self._key))} cannot be used for TLS: it has a password") from None

    def _names(self) -> str:
        names = dict.fromkeys(clean(str(path)) for path in (self._certificate, self._key))
        return " and ".join(names)


class _PasswordError(Exception):
    """A key has a password, which OpenSSL would ask for at the terminal."""


def _no_password() -> str:
    raise _PasswordError
