"""What can go wrong in serving, as one small tree: a person reads the message, a client reads the code."""

from __future__ import annotations

from typing import Final

from atelier import AtelierError


class ServingError(AtelierError):
    """Serving cannot start or go on: the message says what to change."""


class QueueFull(ServingError):  # noqa: N818 - a state of the queue, named after it
    """The engine holds as many requests as it may; ``retry_seconds`` is a fair time to come back."""

    def __init__(self, retry_seconds: int) -> None:
        super().__init__(f"the queue is full: ask again in {retry_seconds} s")
        self.retry_seconds: Final = retry_seconds


class EngineStopped(ServingError):  # noqa: N818
    """The server is shutting down and draws nothing more."""


class RequestRefused(ServingError):  # noqa: N818
    """A request that is answered with an error in OpenAI's shape instead of a picture.

    ``status`` is the HTTP status, ``param`` the field at fault and ``code`` a word that programs can compare.
    """

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = "invalid_value", status: int = 400
    ) -> None:
        super().__init__(message)
        self.message: Final = message
        self.param: Final = param
        self.code: Final = code
        self.status: Final = status
