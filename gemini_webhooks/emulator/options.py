"""How an emulator behaves."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from gemini_webhooks.emulator.plans import Output
from gemini_webhooks.emulator.rules import Scenario
from gemini_webhooks.exceptions import ConfigurationError

Token = Literal["event", "body", "webhook_id", "unbound"]
Outage = Literal["503", "garbage", "hang"]
OUTPUTS: tuple[str, ...] = get_args(Output)
TOKENS: tuple[str, ...] = get_args(Token)
OUTAGES: tuple[str, ...] = get_args(Outage)
MAX_GRACE_SECONDS = 365 * 86_400
SLOWEST, FASTEST = 0.001, 1_000_000
LONGEST = {"SECONDS": MAX_GRACE_SECONDS, "HOURS": 365 * 24}


BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _say_nothing(_line: str) -> None:
    pass


def _option(default: Any, help_text: str, **more: Any) -> Any:
    """A field that is an argument of the command as well, described by ``help_text``."""
    shown = not more.get("is_secret", False)
    return field(default=default, metadata={"help": help_text, **more}, repr=shown)


@dataclass(frozen=True, kw_only=True)
class Options:
    """All that can be set; a value that makes no sense raises ``ConfigurationError``.

    What each means stands beside it, for whoever reads this and for ``--help``. Those marked as
    a switch can be changed while the emulator runs. ``scenario`` says how jobs end. ``report`` is
    called with one line of text for each job and each try, from any thread.
    """

    job_seconds: float = _option(2.0, "how long a job takes", metavar="SECONDS")
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
    time_scale: float = _option(
        1.0, "seconds of Google's time that pass in a real one; 1440: a day in a minute"
    )
    retry_base: float = _option(
        1.0,
        "seconds of Google's time before the second try of a delivery, then doubling",
        metavar="SECONDS",
    )
    retry_hours: float = _option(
        24.0, "hours of Google's time before a delivery is given up", metavar="HOURS"
    )
    max_tries: int | None = _option(
        None, "tries before a delivery is given up", type=int, unset="as many as fit", metavar="N"
    )
    delivery_timeout: float = _option(
        10.0, "seconds that a receiver may take to connect, and to answer", metavar="SECONDS"
    )
    grace_seconds: float = _option(
        86_400.0,
        "seconds of Google's time that a rotated signing secret goes on to sign, unless revoked "
        "at once",
        metavar="SECONDS",
    )
    duplicates: float = _option(
        0.0,
        "share of the deliveries, 0 to 1, that are sent twice",
        metavar="SHARE",
        is_switch=True,
    )
    lost: float = _option(
        0.0,
        "share of the deliveries, 0 to 1, that are not sent, as if all tries had failed",
        metavar="SHARE",
        is_switch=True,
    )
    reorder: float = _option(
        0.0,
        "share of the deliveries, 0 to 1, that let the next one to the same address overtake",
        metavar="SHARE",
        is_switch=True,
    )
    reorder_seconds: float = _option(
        5.0, "longest wait of a delivery to be overtaken", metavar="SECONDS", is_switch=True
    )
    late: float = _option(
        0.0, "share of the deliveries, 0 to 1, that are sent late", metavar="SHARE", is_switch=True
    )
    late_seconds: float = _option(
        60.0, "seconds of Google's time by which they are late", metavar="SECONDS", is_switch=True
    )
    wrong_signature: float = _option(
        0.0,
        "share of the deliveries, 0 to 1, whose first try has a signature that does not verify",
        metavar="SHARE",
        is_switch=True,
    )
    clock_skew: float = _option(
        0.0,
        "seconds by which the timestamp of every try is ahead; negative: behind",
        metavar="OFFSET",
        is_switch=True,
    )
    poison: float = _option(
        0.0,
        "share of the deliveries, 0 to 1, beside which one comes that is signed and hard to digest",
        metavar="SHARE",
        is_switch=True,
    )
    rotate_keys: float = _option(
        0.0,
        "seconds after which another RSA key signs the tokens; 0: never",
        metavar="SECONDS",
        is_switch=True,
    )
    jwks_outage: float = _option(
        0.0,
        "share of the requests for the key set, 0 to 1, that fail",
        metavar="SHARE",
        is_switch=True,
    )
    jwks_outage_kind: Outage = _option(
        "503",
        "how they fail: an error, an answer that is no key set, or none",
        choices=OUTAGES,
        is_switch=True,
    )
    disable_after: int = _option(
        5,
        "events in a row given up that switch a webhook off; 0: never",
        metavar="N",
        is_switch=True,
    )
    state: Path | None = _option(
        None,
        "file that keeps everything, secrets as well, over a restart",
        type=Path,
        unset="none",
        metavar="FILE",
    )
    scenario: Scenario | None = _option(
        None,
        "file that says how jobs end, in YAML or JSON",
        type=Path,
        unset="none",
        metavar="FILE",
    )
    report: Callable[[str], None] = field(default=_say_nothing, repr=False)

    def __post_init__(self) -> None:
        for option in fields(self):
            _check(option, getattr(self, option.name))
        if self.disable_after < 0:
            raise ConfigurationError("disable_after must not be negative")
        if self.retry_base == 0 and self.max_tries is None:
            raise ConfigurationError("retry_base may be 0 only if max_tries is set")
        if (self.max_tries is not None and self.max_tries < 1) or self.delivery_timeout <= 0:
            raise ConfigurationError("max_tries and delivery_timeout must be positive")
        if BUCKET.fullmatch(self.bucket) is None:
            raise ConfigurationError("bucket must be a name of letters, digits, '.', '_' and '-'")
        if not SLOWEST <= self.time_scale <= FASTEST:
            raise ConfigurationError(f"time_scale must be from {SLOWEST} to {FASTEST}")
        outputs = {self.output, *(rule.output for rule in (self.scenario or Scenario()).rules)}
        if "gcs" in outputs and importlib.util.find_spec("google_crc32c") is None:
            raise ConfigurationError(
                "Cloud Storage output needs google-crc32c: install 'django-gemini-webhooks[gcs]', "
                "or choose the output 'files' or 'inline'"
            )

    def real_seconds(self, seconds: float) -> float:
        """How long so many seconds of Google's time take."""
        return seconds / self.time_scale


def _check(option: Field[Any], value: Any) -> None:
    name, choices = option.name, option.metadata.get("choices")
    measure = option.metadata.get("metavar")
    if choices and value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(choices)}")
    if measure == "SHARE" and not 0 <= value <= 1:
        raise ConfigurationError(f"{name} must be a share from 0 to 1")
    if measure in LONGEST and not 0 <= value <= LONGEST[measure]:
        raise ConfigurationError(f"{name} must be from 0 to {LONGEST[measure]}")
    if measure == "OFFSET" and not abs(value) <= MAX_GRACE_SECONDS:
        raise ConfigurationError(f"{name} must be at most {MAX_GRACE_SECONDS} either way")
