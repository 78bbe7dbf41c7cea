"""Views for machines: without login, without secrets, cheap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module

from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseTrouble
from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.common import no_append_slash
from django.views.decorators.http import require_safe

from gemini_webhooks import deliveries, logs, observe, trends

logger = logs.get_logger(__name__)

View = Callable[[HttpRequest], HttpResponse]

# Figures are counted from the first request on, not from when they are looked at first.
observe.start("prometheus_client")


def _for_machines(view: View) -> View:
    """Outside of logins, caches and ``ATOMIC_REQUESTS``, which needs the database beforehand."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return login_not_required(no_append_slash(never_cache(require_safe(view))))


@_for_machines
def health(request: HttpRequest) -> HttpResponse:
    """200 if this process is up and its database answers, else 503."""
    del request
    try:
        _ask_database()
    except DatabaseTrouble as error:
        return _unavailable("health", error)
    return JsonResponse({"status": "ok"})


@_for_machines
def backlog(request: HttpRequest) -> HttpResponse:
    """How far behind processing is; 503 if that is more than ``max_seconds``."""
    try:
        most = _seconds(request.GET.get("max_seconds"))
    except ValueError:
        return JsonResponse({"error": "max_seconds is not a number of seconds"}, status=400)
    try:
        found = trends.backlog()
    except DatabaseTrouble as error:
        return _unavailable("backlog", error)
    is_behind = found.oldest_seconds > most
    status = {"status": "behind" if is_behind else "ok"}
    return JsonResponse(status | asdict(found), status=503 if is_behind else 200)


@_for_machines
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures for Prometheus."""
    try:
        exposition = import_module("gemini_webhooks.monitoring.exposition")
    except ModuleNotFoundError:
        wanted = "Not installed here: pip install 'django-gemini-webhooks[prometheus]'\n"
        return HttpResponse(wanted, status=501, content_type="text/plain; charset=utf-8")
    body, content_type = exposition.render(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type=content_type)


def _ask_database() -> None:
    """Send the shortest query to the database of the deliveries.

    A connection that was kept from an earlier request may have died since: the second one is new.
    """
    connection = connections[deliveries.alias()]
    try:
        _select(connection)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        _select(connection)


def _select(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def _unavailable(what: str, error: Exception) -> HttpResponse:
    logger.error("%s: the database does not answer: %s", what, type(error).__name__)
    return JsonResponse({"status": "unavailable"}, status=503)


def _seconds(text: str | None) -> float:
    """A limit; none is infinite.

    Raises:
        ValueError: it is no number of seconds.
    """
    if text is None:
        return math.inf
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError
    return seconds
