"""How an emulator behaves."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gemini_webhooks.exceptions import ConfigurationError

Output = Literal["gcs", "files", "inline"]
Token = Literal["event", "body", "webhook_id", "unbound"]
OUTPUTS: tuple[str, ...] = get_args(Output)
TOKENS: tuple[str, ...] = get_args(Token)
MAX_GRACE_SECONDS = 365 * 86_400


def _say_nothing(_line: str) -> None:
    pass


def _option(default: Any, help_text: str, **more: Any) -> Any:
    """A field that is an argument of the command as well, described by ``help_text``."""
    shown = not more.get("is_secret", False)
    return field(default=default, metadata={"help": help_text, **more}, repr=shown)


@dataclass(frozen=True, kw_only=True)
class Options:
    """All that can be set; a value that makes no sense raises ``ConfigurationError``.

    What each means stands beside it, for whoever reads this and for ``--help``. ``report`` is
    called with one line of text for each job and each try, from any thread.
    """

    job_seconds: float = _option(2.0, "how long a job takes")
    output: Output = _option(
        "gcs",
        "where the answers of a batch go: a Cloud Storage object, a file of the Files API, "
        "or the batch itself",
        choices=OUTPUTS,
    )
    bucket: str = _option("gemini-emulator", "bucket for gcs output")
    token: Token = _option(
        "event", "what the token of a dynamic webhook vouches for", choices=TOKENS
    )
    audience: str | None = _option(None, "aud of that token", unset="the URI that is called")
    api_key: str | None = _option(
        None, "the only API key that is let in", unset="any", is_secret=True
    )
    separate_projects: bool = _option(
        False, "each API key has a project of its own, with its own webhooks and events"
    )
    retry_base: float = _option(1.0, "seconds before the second try of a delivery, then doubling")
    max_tries: int = _option(12, "tries before a delivery is given up")
    delivery_timeout: float = _option(
        10.0, "seconds that a receiver may take to connect, and to answer"
    )
    grace_seconds: float = _option(
        86_400.0, "how long a rotated signing secret goes on to sign, unless revoked at once"
    )
    duplicates: float = _option(
        0.0, "share of the deliveries, 0 to 1, that are sent twice", metavar="SHARE"
    )
    lost: float = _option(
        0.0,
        "share of the deliveries, 0 to 1, that are not sent, as if all tries had failed",
        metavar="SHARE",
    )
    disable_after: int = _option(
        5, "events in a row given up that switch a webhook off; 0: never", metavar="N"
    )
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
