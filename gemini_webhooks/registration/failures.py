"""Why Google switched an endpoint off, as far as our own records tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from django.db.models import Count, F, Max, Min
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gemini_webhooks import clock
from gemini_webhooks.deliveries import rows
from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint

#: Google repeats an event for 24 hours, and gives several up before it switches off.
LOOK_BACK = timedelta(days=3)
#: Google's clock and ours may differ by so much.
CLOCK_DIFFERENCE = timedelta(minutes=5)

_BY_CLOCK = _("Set the clock of this machine, or find the proxy that holds requests back.")
_BY_PROXY = _("Find the proxy or middleware that changes requests, unless strangers sent these.")
_BY_KEYS = _("Check JWKS_URL: it has to name Google’s key set.")

#: What to mend, by the code of the answer.
ADVICE: Mapping[str, Promise] = MappingProxyType(
    {
        "missing_header": _BY_PROXY,
        "malformed_header": _BY_PROXY,
        "timestamp_out_of_tolerance": _BY_CLOCK,
        "body_unreadable": _("Raise the time-outs of the web server or proxy that cut the body."),
        "signature_mismatch": _(
            "Rotate the secret: Google signs with another one. If that does not help, something "
            "in front of the app changes the body."
        ),
        "dynamic_not_enabled": _("Edit the endpoint and add the audience of its dynamic webhooks."),
        "malformed_token": _BY_PROXY,
        "unknown_key": _BY_KEYS,
        "wrong_audience": _("Edit the endpoint and add the audience that the diagnosis names."),
        "wrong_issuer": _("Add the issuer to ISSUERS, or leave that setting empty."),
        "token_without_lifetime": _BY_KEYS,
        "token_expired": _BY_CLOCK,
        "token_too_old": _("Set the clock of this machine, or raise MAX_TOKEN_AGE_SECONDS."),
        "token_not_yet_valid": _BY_CLOCK,
        "webhook_id_mismatch": _BY_PROXY,
        "body_mismatch": _BY_PROXY,
        "token_reused": _BY_PROXY,
        "seal_missing": _("Start jobs with gemini_webhooks.jobs.webhook_config()."),
        "seal_invalid": _("Keep the former SECRET_KEY in SECRET_KEY_FALLBACKS while jobs run."),
        "seal_wrong_endpoint": _("Name this endpoint in gemini_webhooks.jobs.webhook_config()."),
        "unknown_endpoint": _("The endpoint was not there yet; now it is."),
        "endpoint_disabled": _("The endpoint was disabled here; enable it."),
        "body_too_large": _("Raise MAX_BODY_BYTES."),
        "key_set_unavailable": _("Let this site reach JWKS_URL: firewall, DNS, certificates."),
        "secret_unreadable": _("Put the former key back into ENCRYPTION_KEYS, or rotate."),
        "misconfigured": _("Run “manage.py check”; the diagnosis names the setting."),
        "body_consumed": _("Take out the middleware that reads the body, or move it behind."),
    }
)
NOTHING_REFUSED = _(
    "This site recorded no refusal, so either nothing arrived or it could not be stored: look at "
    "DNS, firewall, certificate and proxy, and at the log for times when the database was down."
)


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """Requests that were answered with one code.

    Attributes:
        code: of the answer, for example ``signature_mismatch``.
        status: HTTP status of the answer.
        count: how many were recorded; a flood is not recorded whole.
        first: when the first of them came, as a model field holds it.
        last: when the last came.
    """

    code: str
    status: int
    count: int
    first: datetime
    last: datetime

    @property
    def advice(self) -> str:
        """What to mend, in one sentence for people; may be empty."""
        return str(ADVICE.get(self.code, ""))


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Since when an endpoint is switched off, and what was recorded about it before that.

    Attributes:
        slug: of the endpoint.
        since: when Google switched it off, or when we noticed; ``None`` if that is not known.
        last_accepted_at: when the last delivery before that was accepted.
        refused: how many requests were refused in the three days before.
        by_code: the same by code, the most frequent first.
        diagnosis: of the newest of them.
    """

    slug: str
    since: datetime | None
    last_accepted_at: datetime | None
    refused: int
    by_code: Sequence[Refusals] = field(default=())
    diagnosis: str = ""

    @property
    def in_words(self) -> str:
        """One line for logs and terminals, in English; times in UTC."""
        answers = ", ".join(f"{one.status} {one.code} ×{one.count}" for one in self.by_code)
        parts = [
            f"since {_time(self.since)}",
            f"refused here before: {answers}" if answers else "nothing was refused here before",
            f"newest: {self.diagnosis}" if self.diagnosis else "",
            f"last accepted {_time(self.last_accepted_at, never='never')}",
        ]
        return "; ".join(filter(None, parts))


def failures(endpoint: WebhookEndpoint, *, since: datetime | None = None) -> Failures:
    """What our records say about the time before ``endpoint`` was switched off.

    Args:
        endpoint: which.
        since: when it was, as a model field holds it; by default what the endpoint says.
    """
    since = since or endpoint.state_changed_at
    until = (since or clock.now()) + CLOCK_DIFFERENCE
    refused = rows(RejectedRequest).filter(
        endpoint_slug=endpoint.slug,
        received_at__gt=until - LOOK_BACK - CLOCK_DIFFERENCE,
        received_at__lte=until,
    )
    accepted = rows(WebhookDelivery).filter(
        endpoint__slug=endpoint.slug,
        source=WebhookDelivery.Source.WEBHOOK,
        received_at__lte=until,
    )
    by_code = [
        Refusals(**counted)
        for counted in refused.order_by()
        .values("status", code=F("reason"))
        .annotate(count=Count("pk"), first=Min("received_at"), last=Max("received_at"))
        .order_by("-count", "code")
    ]
    newest = refused.values_list("diagnosis", flat=True).first()
    return Failures(
        slug=endpoint.slug,
        since=since,
        last_accepted_at=accepted.order_by("-received_at")
        .values_list("received_at", flat=True)
        .first(),
        refused=sum(one.count for one in by_code),
        by_code=by_code,
        diagnosis=newest or "",
    )


def _time(moment: datetime | None, never: str = "a time that is not known") -> str:
    return never if moment is None else f"{clock.aware(moment):%Y-%m-%d %H:%M} UTC"
