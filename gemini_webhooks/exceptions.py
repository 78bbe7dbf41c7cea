"""Every error that this package raises on purpose, under one base class."""

from __future__ import annotations


class GeminiWebhooksError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(GeminiWebhooksError):
    """A setting is missing or cannot be used; the message names it and says what to do."""


class Rejected(GeminiWebhooksError):
    """A request that is not believed; raise one of the subclasses.

    Args:
        code: stable machine-readable reason, for example ``"timestamp_out_of_tolerance"``.
            It is the only part that the sender is told.
        diagnosis: one sentence for the operator; never holds a secret, token or payload.
    """

    status = 400

    def __init__(self, code: str, diagnosis: str) -> None:
        super().__init__(f"{code}: {diagnosis}")
        self.code = code
        self.diagnosis = diagnosis


class Malformed(Rejected):
    """400: a ``webhook-*`` header is missing, malformed or outside the tolerance."""


class Unauthorised(Rejected):
    """401: signature, key, audience, token lifetime or seal does not hold."""

    status = 401


class UnknownEndpoint(Rejected):
    """404: no such endpoint, or one that this site disabled."""

    status = 404


class TooLarge(Rejected):
    """413: the body is larger than ``MAX_BODY_BYTES``."""

    status = 413


class Undecided(GeminiWebhooksError):
    """503: it cannot be decided or stored now, so the sender must try again.

    Args:
        code: stable machine-readable reason, for example ``"database_unavailable"``.
        diagnosis: one sentence for the operator.
        retry_after: seconds after which a retry makes sense.
    """

    status = 503

    def __init__(self, code: str, diagnosis: str, *, retry_after: int = 10) -> None:
        super().__init__(f"{code}: {diagnosis}")
        self.code = code
        self.diagnosis = diagnosis
        self.retry_after = retry_after


class RetryLater(GeminiWebhooksError):
    """Raised by a receiver: not an error, run me again later. Does not count as an attempt.

    Args:
        seconds: how long to wait, in seconds; a year at most.

    Raises:
        ValueError: that is no time to wait.
    """

    MAX_SECONDS = 365 * 24 * 3600.0

    def __init__(self, seconds: float) -> None:
        if not 0 <= seconds <= self.MAX_SECONDS:
            raise ValueError(f"RetryLater takes 0 to {self.MAX_SECONDS:.0f} seconds")
        super().__init__(f"again in {seconds:g} s")
        self.seconds = float(seconds)


class GiveUp(GeminiWebhooksError):
    """Raised by a receiver: do not run me again for this delivery.

    Args:
        reason: shown on the delivery's admin page.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the receiver gave up")
        self.reason = reason


class PayloadPruned(GeminiWebhooksError):
    """The body of a delivery was removed, so it cannot be parsed or replayed."""


class NothingToReplay(GeminiWebhooksError):
    """Nothing of a delivery can be run again now, or no delivery is meant; the message says why."""


class InvalidSelection(GeminiWebhooksError, ValueError):
    """Which deliveries are meant, or what is to be done with them, was not said clearly."""


class ResultRemoved(GeminiWebhooksError):
    """The file of a result was removed; a replay of its delivery fetches it again, if it can."""


class ResultError(GeminiWebhooksError):
    """A result file could not be fetched.

    Args:
        message: one sentence for the operator.
        permanent: ``True`` if trying again cannot help (gone, forbidden, not allowed).
    """

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class UnreadableRow(GeminiWebhooksError):
    """A line of a result file is not a JSON object.

    Args:
        line: its number, counted from 1.
    """

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} of the result file is not a JSON object")
        self.line = line


class GatewayError(GeminiWebhooksError):
    """The Gemini API refused a call or could not be reached.

    Args:
        message: Google's own error text where there is one.
        status: HTTP status, ``None`` when there was no answer.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def permanent(self) -> bool:
        """Whether the same call will fail again: a 4xx other than 408 and 429."""
        return (
            self.status is not None and 400 <= self.status < 500 and self.status not in (408, 429)
        )


class UnsuitableJob(GeminiWebhooksError, ValueError):
    """The SDK does not take the arguments of a job, and says why; nothing was submitted."""


class RegistrationError(GeminiWebhooksError):
    """An endpoint could not be registered, changed or removed; the message says what to do."""


class KeyRefused(RegistrationError):
    """Google cannot be told: the endpoint's API key is missing or does not hold any more.

    The message says what was done here all the same, or can be.
    """


class BrokerUnavailable(GeminiWebhooksError):
    """Celery's broker took no message. Nothing is lost: the rows are there for the sweeper."""
