"""The server: who is let in, how errors look, how it ends."""

import http.client
import sys
import threading

import pytest
from django.db import connections
from django.test import Client, override_settings

from gemini_webhooks.emulator import EmulatorServer
from gemini_webhooks.exceptions import ConfigurationError
from tests.emulator.conftest import KEY, MODEL, Wire


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_without_an_api_key_nobody_is_let_in(wire, version):
    status, _, answer = wire.get(f"/{version}/batches")
    assert status == 401
    assert answer["error"]["status"] == "UNAUTHENTICATED"
    assert wire.get(f"/{version}/batches", key=KEY)[0] == 200
    assert wire.get(f"/{version}/batches?key={KEY}")[0] == 200


def test_an_upload_needs_the_key_to_start(wire):
    assert wire.post("/upload/v1/files", {"file": {}})[0] == 401


def test_one_key_can_be_the_only_one(serve, connect):
    server = serve(api_key="the-one")
    assert not connect(server, "the-one").webhooks.list().webhooks
    with pytest.raises(Exception, match="not valid") as caught:
        connect(server, "another").webhooks.list()
    assert caught.value.status_code == 403


def test_errors_have_googles_form(wire):
    status, _, answer = wire.get("/v1/batches/none", key=KEY)
    message = "Batch 'none' was not found."
    assert (status, answer) == (
        404,
        {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}},
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/v1/webhooks/", None, 404),
        ("PUT", "/v1/batches", None, 405),
        ("POST", "/v1/webhooks", b"{", 400),
        ("POST", "/v1/webhooks", b"\xff", 400),
        ("POST", "/v1/webhooks", b"[" * 100_000, 400),
        ("POST", "/v1/webhooks", b"[]", 400),
        ("POST", "/v1/interactions", b"{}", 400),
        ("GET", "/v1/batches?pageSize=-1", None, 400),
        ("GET", "/v1/batches?pageToken=x", None, 400),
    ],
)
def test_what_makes_no_sense_is_refused(wire, method, path, body, status):
    got, headers, answer = wire.send(method, path, body, key=KEY)
    assert (got, answer["error"]["code"]) == (status, status)
    assert headers["content-type"] == "application/json"


def test_a_connection_serves_many_requests_even_if_a_body_was_not_read(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    connection.connect()
    first_socket = connection.sock
    for status, headers in [(401, {}), (405, {"x-goog-api-key": KEY}), (401, {})]:
        method = "PUT" if headers else "POST"
        connection.request(method, "/v1/webhooks", b"x" * 200_000, headers)
        with connection.getresponse() as response:
            response.read()
        assert response.status == status
    assert connection.sock is first_socket
    connection.close()


def test_a_summary_of_the_state_can_be_read(client, wire):
    job = client.batches.create(model=MODEL, src=[{"contents": "a"}])
    hook = client.webhooks.create(uri="https://a.example", subscribed_events=["batch.failed"])
    assert wire.server.emulator.outbox.wait_idle()
    _, _, state = wire.get("/emulator/state")

    assert state["batches"] == [{"id": job.name.removeprefix("batches/"), "state": "succeeded"}]
    assert state["webhooks"] == [{"id": hook.id, "state": "enabled"}]
    assert (state["objects"], state["files"], state["tries"]) == (1, 0, 0)


def test_it_ends_at_once_with_jobs_running_and_clients_connected():
    before = set(threading.enumerate())
    with EmulatorServer(job_seconds=600) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        body = b'{"model": "m", "input": "a", "background": true}'
        connection.request("POST", "/v1/interactions", body, {"x-goog-api-key": KEY})
        with connection.getresponse() as response:
            response.read()
    connection.close()

    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_one_that_listens_everywhere_is_called_on_this_machine(serve, host):
    wire = Wire(serve(host=host))
    assert wire.server.url.startswith("http://127.0.0.1:")
    assert wire.get("/v1/batches", key=KEY)[0] == 200


def test_emulators_know_nothing_of_each_other(serve, connect):
    one, other = serve(), serve()
    connect(one).webhooks.create(uri="https://a.example", subscribed_events=["batch.failed"])
    assert not connect(other).webhooks.list().webhooks


@override_settings(ROOT_URLCONF="gemini_webhooks.emulator.urls")
def test_a_site_can_have_the_urls_in_its_own_urlconf(monkeypatch):
    # This test may not touch the database, and no transaction begins.
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    client = Client(enforce_csrf_checks=True)
    answer = client.post(
        "/v1/interactions",
        '{"model": "m", "input": "hi"}',
        content_type="application/json",
        headers={"x-goog-api-key": KEY},
    )
    assert answer.json()["steps"][0]["content"][0]["text"] == "Echo: hi"
    assert client.get("/v1/batches").status_code == 401


@pytest.mark.parametrize(
    "options",
    [
        {"output": "paper"},
        {"token": "none"},
        {"duplicates": 1.5},
        {"job_seconds": -1},
        {"retry_base": -1},
        {"max_tries": 0},
        {"delivery_timeout": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        EmulatorServer(**options)


def test_cloud_storage_output_names_the_extra_that_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(ConfigurationError, match=r"django-gemini-webhooks\[gcs\]"):
        EmulatorServer()
    with EmulatorServer(output="inline") as server:
        assert server.url
