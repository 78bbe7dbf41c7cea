"""The baselines: what a careful engineer writes by hand, and what is written more often."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from benchmarks.site.celery import arrived, handle
from benchmarks.site.tables import INSERT

IGNORE = {
    "postgresql": f"{INSERT} ON CONFLICT DO NOTHING",
    "sqlite": f"{INSERT} ON CONFLICT DO NOTHING",
    "mysql": INSERT.replace("INSERT", "INSERT IGNORE"),
}
KEY = base64.b64decode(settings.GEMINI_WEBHOOKS["SIGNING_SECRETS"][0].removeprefix("whsec_"))


def _verified(request: HttpRequest) -> bool:
    webhook_id = request.headers.get("webhook-id", "")
    timestamp = request.headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 300:
        return False
    signed = b"%s.%s." % (webhook_id.encode(), timestamp.encode()) + request.body
    ours = "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    given = request.headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(ours, one) for one in given)


def _stored(request: HttpRequest) -> bool:
    event = json.loads(request.body)
    with connection.cursor() as cursor:
        cursor.execute(
            IGNORE[connection.vendor],
            [request.headers["webhook-id"], event["type"], request.body],
        )
        return bool(cursor.rowcount > 0)


@csrf_exempt
def verify(request: HttpRequest) -> HttpResponse:
    """Verify only."""
    return JsonResponse({"status": "accepted"}, status=200 if _verified(request) else 401)


@csrf_exempt
def store(request: HttpRequest) -> HttpResponse:
    """V: verify by hand, one raw INSERT."""
    if not _verified(request):
        return JsonResponse({"error": "signature"}, status=401)
    return JsonResponse({"status": "accepted" if _stored(request) else "duplicate"})


@csrf_exempt
def store_and_publish(request: HttpRequest) -> HttpResponse:
    """N: the same, and a task for each request."""
    if not _verified(request):
        return JsonResponse({"error": "signature"}, status=401)
    is_new = _stored(request)
    if is_new:
        handle.delay(request.headers["webhook-id"])
    return JsonResponse({"status": "accepted" if is_new else "duplicate"})


@csrf_exempt
def store_and_time(request: HttpRequest) -> HttpResponse:
    """N, with a task that notes how long it took to come."""
    came_at = time.time()
    if not _verified(request):
        return JsonResponse({"error": "signature"}, status=401)
    if is_new := _stored(request):
        arrived.delay(request.headers["webhook-id"] + " arrived", came_at)
    return JsonResponse({"status": "accepted" if is_new else "duplicate"})
