"""What :mod:`benchmarks.counting` counts. Imported in a process of the site only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.test import RequestFactory

from benchmarks import dynamic, traffic
from gemini_webhooks import processing
from gemini_webhooks.jobs import webhook_config
from gemini_webhooks.models import WebhookDelivery

Work = Callable[[], object]

application: Any = get_wsgi_application()
configured: dict[str, Any] = settings.GEMINI_WEBHOOKS


def works() -> Iterator[tuple[str, Callable[[], Work]]]:
    """By name, what prepares a request, or what follows, that nobody has made before."""
    for prefix, path in (("", "/ours/"), ("V ", "/v/")):
        yield f"{prefix}new", partial(_new, path)
        yield f"{prefix}duplicate", partial(_duplicate, path)
        yield f"{prefix}repeated", partial(_duplicate, path, times=2)
        yield f"{prefix}forged", partial(_new, path, traffic.new_secret())
    key, metadata = dynamic.new_key(), dict(webhook_config({"tenant": "acme"})["user_metadata"])
    with dynamic.key_set(key) as configured["JWKS_URL"]:
        yield (
            "dynamic",
            lambda: _answer("/ours/", *dynamic.tokens(key, traffic.new_ids(1), metadata)),
        )
    yield "handled", _handling


def _new(path: str, secret: str = "") -> Work:
    [own] = configured["SIGNING_SECRETS"]
    return _answer(path, *traffic.signed(secret or own, traffic.new_ids(1)))


def _duplicate(path: str, times: int = 1) -> Work:
    """What comes again, after it came so often."""
    [own] = configured["SIGNING_SECRETS"]
    [line] = traffic.signed(own, traffic.new_ids(1))
    for _ in range(times):
        _answer(path, line)()
    return _answer(path, line)


def _answer(path: str, line: str) -> Work:
    """What a server does with a request that it has read."""
    webhook_id, timestamp, signature, body = line.rstrip("\n").split("\t")
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }
    request = RequestFactory().post(
        path, data=body, content_type="application/json", headers=headers
    )

    def answer() -> None:
        response = application(request.environ, lambda *_: None)
        for _ in response:
            pass
        response.close()

    return answer


def _handling() -> Work:
    """From the message of a delivery until its one receiver has run."""
    _new("/ours/")()
    newest = WebhookDelivery.objects.order_by("-pk").values_list("pk", flat=True)[0]

    def handle() -> None:
        for handoff in processing.plan(newest):
            processing.run(handoff.id)

    return handle
