"""The last proof: a test event, sent by Google, that has to arrive."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Model

from gemini_webhooks import registration
from gemini_webhooks.deliveries import arrivals, rows
from gemini_webhooks.doctor.findings import Finding, failure, ok, skipped
from gemini_webhooks.doctor.site import Site
from gemini_webhooks.exceptions import ConfigurationError, RegistrationError
from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint

POLL_SECONDS = 0.1
#: Once a request was refused, how much longer one is waited for that is not.
AFTER_REFUSAL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A ping that is under way.

    Attributes:
        endpoint: where it should arrive.
        at: monotonic time of its sending.
        last_delivery: newest row before.
        last_rejection: newest row before.
    """

    endpoint: WebhookEndpoint
    at: float
    last_delivery: int
    last_rejection: int

    @property
    def name(self) -> str:
        """For people."""
        return f"ping, endpoint “{self.endpoint.slug}”"

    def arrived(self) -> WebhookDelivery | None:
        """What Google sent to the endpoint since, and was accepted."""
        return arrivals.arrived(self.endpoint, since=self.last_delivery)

    def refused(self) -> RejectedRequest | None:
        """The newest request to the endpoint that was refused since."""
        here = rows(RejectedRequest).filter(endpoint_slug=self.endpoint.slug)
        return here.filter(pk__gt=self.last_rejection).order_by("-pk").first()


def pings(site: Site) -> Iterator[Finding]:
    """Have Google ping each enabled endpoint, and wait for all of them together."""
    if not site.scope.ping:
        yield skipped("ping", "Not sent, as asked for (--no-ping).")
        return
    if not site.endpoints:
        yield skipped("ping", "There is no registered endpoint to ping.")
    waiting: list[Sent] = []
    for endpoint in site.endpoints:
        outcome = _send(endpoint)
        if isinstance(outcome, Sent):
            waiting.append(outcome)
        else:
            yield outcome
    end = time.monotonic() + site.scope.timeout
    refused_at: dict[int, float] = {}
    while waiting:
        for sent in list(waiting):
            if found := _outcome(sent, end, refused_at):
                waiting.remove(sent)
                yield found
        time.sleep(POLL_SECONDS if waiting else 0)


def _send(endpoint: WebhookEndpoint) -> Sent | Finding:
    name = f"ping, endpoint “{endpoint.slug}”"
    if endpoint.state != WebhookEndpoint.State.ENABLED:
        return skipped(name, f"Not sent: it is {endpoint.state}.")
    sent = Sent(
        endpoint=endpoint,
        at=time.monotonic(),
        last_delivery=_newest(WebhookDelivery),
        last_rejection=_newest(RejectedRequest),
    )
    try:
        registration.ping(endpoint)
    except (RegistrationError, ConfigurationError) as error:
        return failure(name, str(error), "See “API key” and “drift”.")
    return sent


def _newest(model: type[Model]) -> int:
    newest: int | None = rows(model).order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0


def _outcome(sent: Sent, end: float, refused_at: dict[int, float]) -> Finding | None:
    now = time.monotonic()
    if came := sent.arrived():
        what = (
            "It arrived, and was accepted,"
            if arrivals.may_be_ping(came)
            else f"An event of type {came.event_type} arrived and was accepted"
        )
        return ok(sent.name, f"{what} after {now - sent.at:.1f} s.")
    refused = sent.refused()
    if refused is not None:
        first = refused_at.setdefault(sent.endpoint.pk, now)
        if now >= min(end, first + AFTER_REFUSAL_SECONDS):
            return failure(
                sent.name,
                f"A request arrived and was refused: {refused.reason}, {refused.diagnosis}.",
                "“Rejected requests” in the admin show it; a wrong signature is mended by "
                f"`manage.py gemini_webhooks rotate {sent.endpoint.slug}`.",
            )
    elif now >= end:
        return failure(
            sent.name,
            f"It did not arrive at {sent.endpoint.uri} in time.",
            "Mend what “inside” and “outside” show. Else: is the name known to public DNS, does a "
            "firewall, proxy or tunnel let a POST from the internet through, does this command use "
            "the database of the web servers? Their access log tells whether they were called.",
        )
    return None
