"""Requests that are answered 503: put off, recorded all the same, and never worse than that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connections
from django.http import HttpRequest, HttpResponse

from gemini_webhooks.models import RejectedRequest, WebhookDelivery, WebhookEndpoint
from gemini_webhooks.signals import request_rejected
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender

pytestmark = [every_database]
ACME = "/webhooks/gemini/acme/"
CODES = ["key_set_unavailable", "misconfigured", "secret_unreadable", "body_consumed"]


@pytest.fixture(autouse=True)
def _on_each_database(database: str) -> None:
    """Every test of this module runs once per database."""


class BodyReader:
    """A middleware that reads the body from the stream before anybody else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.read()
        return self.get_response(request)


@pytest.fixture
def put_off(
    request: pytest.FixtureRequest, configured: dict[str, Any], settings: LazySettings
) -> Callable[[str], HttpResponse]:
    """Posts to the endpoint “acme” what is answered with a certain code."""

    def post(code: str) -> HttpResponse:
        endpoint, _ = WebhookEndpoint.objects.get_or_create(
            slug="acme", audiences=[DynamicSender.audience]
        )
        dynamic = request.getfixturevalue("dynamic")
        dynamic.sealed_for = "acme"
        if code == "key_set_unavailable":
            configured["JWKS_URL"] = "http://127.0.0.1:9/jwks.json"
        elif code == "misconfigured":
            configured["JWKS_URL"] = "file:///etc/passwd"
        elif code == "secret_unreadable":
            endpoint.signing_secrets.create(ciphertext="gAAAAAbroken", hint="whsec_…dead")
            return StaticSender().post(path=ACME)
        else:
            settings.MIDDLEWARE = [f"{__name__}.BodyReader", *settings.MIDDLEWARE]
            return StaticSender().post(path=ACME)
        return dynamic.post(path=ACME)

    return post


@pytest.mark.parametrize("code", CODES)
def test_request_that_is_put_off_is_recorded_and_told(
    put_off: Callable[[str], HttpResponse], code: str
) -> None:
    told: list[Any] = []
    request_rejected.connect(lambda **words: told.append(words), weak=False, dispatch_uid="t")
    try:
        answer = put_off(code)
    finally:
        request_rejected.disconnect(dispatch_uid="t")

    assert (answer.status_code, answer.json()) == (503, {"error": code})
    assert int(answer["Retry-After"]) > 0
    row = RejectedRequest.objects.get()
    assert (row.reason, row.status, row.endpoint_slug) == (code, 503, "acme")
    assert row.diagnosis
    [call] = told
    assert (call["code"], call["rejection"], call["delivery"]) == (code, row, None)
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize("code", CODES)
def test_record_that_fails_does_not_make_it_worse(
    put_off: Callable[[str], HttpResponse], database: str, code: str
) -> None:
    def run(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT") and "rejectedrequest" in sql:
            raise OperationalError("row was (payload)")
        return execute(sql, *rest)

    with connections[database].execute_wrapper(run):
        answer = put_off(code)

    assert (answer.status_code, answer.json()) == (503, {"error": code})
    assert not RejectedRequest.objects.exists()


def test_receiver_of_the_signal_that_fails_does_not_make_it_worse(
    put_off: Callable[[str], HttpResponse],
) -> None:
    def fail(**_: Any) -> None:
        raise ZeroDivisionError

    request_rejected.connect(fail, dispatch_uid="t")
    try:
        assert put_off("misconfigured").status_code == 503
    finally:
        request_rejected.disconnect(dispatch_uid="t")


def test_flood_of_them_does_not_fill_the_table(put_off: Callable[[str], HttpResponse]) -> None:
    statuses = {put_off("misconfigured").status_code for _ in range(80)}

    assert statuses == {503}
    assert RejectedRequest.objects.count() == 60


def test_database_that_is_down_is_not_asked_to_record_it(
    static: StaticSender, database: str
) -> None:
    def run(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT") and "webhookdelivery" in sql:
            raise OperationalError("row was (payload)")
        return execute(sql, *rest)

    with connections[database].execute_wrapper(run):
        assert static.post().json() == {"error": "database_unavailable"}

    assert not RejectedRequest.objects.exists()
