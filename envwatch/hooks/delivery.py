"""What delivers a message, and how that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from envwatch.model.text import SafeText, clean

if TYPE_CHECKING:
    from datetime import timedelta

    from envwatch.hooks.message import Message


class DeliveryError(Exception):
    """A message was not delivered; the text is one line that says why.

    Args:
        why: continues a sentence that begins with the hook's name.
        is_final: whether no later try can succeed.
        wait: how long the receiver asks to wait.
        output: what a command has printed.
    """

    def __init__(
        self, why: str, *, is_final: bool = False, wait: timedelta | None = None, output: SafeText | None = None
    ) -> None:
        super().__init__(clean(why))
        self.is_final = is_final
        self.wait = wait
        self.output = output


class Delivery(Protocol):
    """A program or a web service that takes messages."""

    async def send(self, message: Message) -> SafeText:
        """Deliver a message; return what there is to log of it, empty for nothing. Cancelling ends it at once.

        Raises:
            DeliveryError: if that fails.
        """
