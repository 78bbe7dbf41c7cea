"""How an emulator behaves."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from gemini_webhooks.exceptions import ConfigurationError

Output = Literal["gcs", "files", "inline"]
Token = Literal["event", "body", "webhook_id", "unbound"]
OUTPUTS: tuple[str, ...] = get_args(Output)
TOKENS: tuple[str, ...] = get_args(Token)
MAX_GRACE_SECONDS = 365 * 86_400


def _say_nothing(_line: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Options:
    """All that can be set; a value that makes no sense raises ``ConfigurationError``.

    Attributes:
        job_seconds: how long a job takes.
        output: where the answers of a batch go: a Cloud Storage object, a file of the
            Files API, or the batch resource itself.
        bucket: name of the bucket for ``gcs`` output.
        token: what the token of a dynamic webhook vouches for.
        audience: ``aud`` of that token; ``None`` means the URI that is called.
        api_key: the only key that is let in; ``None`` lets in any non-empty one.
        separate_projects: each API key has a project of its own, whose webhooks and events no
            other key gets; otherwise all keys are of one project.
        retry_base: seconds before the second try of a delivery; doubles with each try.
        max_tries: tries after which a delivery is given up.
        duplicates: share of the deliveries, from 0 to 1, that are sent once more.
        lost: share of the deliveries, from 0 to 1, that are not sent, as if all tries had failed.
        delivery_timeout: seconds that a receiver may take to connect and to answer.
        disable_after: so many events in a row that failed all their tries switch a registered
            webhook off; 0 means never.
        grace_seconds: how long a rotated secret goes on to sign, unless it is revoked at once.
        report: called with one line of text for each job and each try, from any thread.
    """

    job_seconds: float = 2.0
    output: Output = "gcs"
    bucket: str = "gemini-emulator"
    token: Token = "event"  # noqa: S105 - the kind of token, not a token
    audience: str | None = None
    api_key: str | None = field(default=None, repr=False)
    separate_projects: bool = False
    retry_base: float = 1.0
    max_tries: int = 12
    duplicates: float = 0.0
    lost: float = 0.0
    delivery_timeout: float = 10.0
    disable_after: int = 5
    grace_seconds: float = 86_400.0
    report: Callable[[str], None] = field(default=_say_nothing, repr=False)

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise ConfigurationError(f"output must be one of {', '.join(OUTPUTS)}")
        if self.token not in TOKENS:
            raise ConfigurationError(f"token must be one of {', '.join(TOKENS)}")
        if not 0 <= self.duplicates <= 1:
            raise ConfigurationError("duplicates must be a share from 0 to 1")
        if not 0 <= self.lost <= 1:
            raise ConfigurationError("lost must be a share from 0 to 1")
        if min(self.job_seconds, self.retry_base, self.disable_after) < 0:
            raise ConfigurationError(
                "job_seconds, retry_base and disable_after must not be negative"
            )
        if not 0 <= self.grace_seconds <= MAX_GRACE_SECONDS:
            raise ConfigurationError(f"grace_seconds must be from 0 to {MAX_GRACE_SECONDS}")
        if self.max_tries < 1 or self.delivery_timeout <= 0:
            raise ConfigurationError("max_tries and delivery_timeout must be positive")
        if self.output == "gcs" and importlib.util.find_spec("google_crc32c") is None:
            raise ConfigurationError(
                "Cloud Storage output needs google-crc32c: install 'django-gemini-webhooks[gcs]', "
                "or choose the output 'files' or 'inline'"
            )
