"""``manage.py gemini_webhooks send``: made-up events on a real way, signed and posted."""

from __future__ import annotations

import io
import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from django.core.management import CommandError, call_command
from standardwebhooks import Webhook

from gemini_webhooks import GiveUp, RetryLater, events, processing, receivers, signals
from gemini_webhooks.emulator import EmulatorServer
from gemini_webhooks.models import (
    RejectedRequest,
    ResultFile,
    SigningSecret,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.registration.secrets import store
from gemini_webhooks.sending import following, posting
from tests.extras import needs
from tests.senders import new_secret, sign_bytes
from tests.test_receivers import Recorder

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/webhooks/gemini/"


class Sent:
    """What a call printed, and its exit code."""

    def __init__(self, *words: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code = 0
        try:
            call_command("gemini_webhooks", "send", *words, stdout=out, stderr=err)
        except SystemExit as ended:
            self.code = int(ended.code or 0)
        self.out, self.err = out.getvalue(), err.getvalue()

    @property
    def json(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.out)
        return report

    @property
    def statuses(self) -> list[int]:
        return [answer["status"] for answer in self.json["answers"]]

    @property
    def body(self) -> Any:
        return json.loads(self.json["request"]["body"])


class Stranger:
    """Another server, which keeps what it gets and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status, self.answer, self.headers = 200, b"{}", {}
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                stranger.got.append((headers, body))
                self.send_response(stranger.status)
                for name, value in stranger.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(stranger.answer)

            def log_message(self, *_: object) -> None:
                """Keep the test output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer(output="inline") as server:
        yield server


@pytest.fixture
def site(settings: Any, live_server: Any) -> dict[str, Any]:
    """A running site with one secret at its root; its ``GEMINI_WEBHOOKS``."""
    settings.GEMINI_WEBHOOKS = {
        "SIGNING_SECRETS": [new_secret()],
        "PUBLIC_BASE_URL": live_server.url,
        "FETCH_RESULTS": False,
        "RETRY_BASE_SECONDS": 0,
    }
    return settings.GEMINI_WEBHOOKS


@pytest.fixture
def dynamic(site: dict[str, Any], emulator: EmulatorServer) -> dict[str, Any]:
    """That site believes the emulator's tokens."""
    site["JWKS_URL"] = f"{emulator.url}/.well-known/jwks.json"
    site["AUDIENCES"] = ["https://audience.example"]
    return site


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Works whenever ``--follow`` waits."""
    work_meanwhile(monkeypatch)


def work_meanwhile(monkeypatch: pytest.MonkeyPatch, limit: int | None = None) -> None:
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: processing.drain(limit))
    monkeypatch.setattr(following, "time", clock)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked; answered with its end."""
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "site.example"

    monkeypatch.setattr("builtins.input", answer)
    return asked


def no_one() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/"


# --- what is sent


def test_without_a_type_it_lists_the_documented_ones() -> None:
    listed = Sent("--json").json["types"]

    assert set(listed) == set(events.CATALOGUE)
    assert listed["batch.succeeded"] == ["id", "output_file_uri"]
    assert "batch.failed  id, error_code, error_message" in Sent("--list").out.splitlines()
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize("event_type", [*events.CATALOGUE, *events.ALIASES])
def test_each_type_is_accepted_and_fires_its_signal(site: dict[str, Any], event_type: str) -> None:
    recorder = Recorder()
    signals.event_received.connect(recorder)

    sent = Sent(event_type, "--json")
    processing.drain()

    assert (sent.code, sent.statuses) == (0, [200])
    event = recorder.event
    assert event.type == events.ALIASES.get(event_type, event_type)
    assert abs((datetime.now(UTC) - event.occurred_at).total_seconds()) < 60
    assert event.resource_id.startswith(event_type.partition(".")[0])
    has_failed = event_type.endswith(".failed")
    assert (event.error_code is not None, event.error_message is not None) == (has_failed,) * 2
    has_output = event_type.startswith(("batch.succeeded", "batch.completed", "video"))
    assert (event.output_uri is not None) is has_output


def test_values_are_set_as_json_or_as_text(site: dict[str, Any]) -> None:
    sent = Sent(
        "batch.succeeded",
        "--json",
        *("--set", "data.id=batch_1"),
        *("--set", "timestamp=2026-01-22T12:00:00Z"),
        *("--set", "data.items=[1,2]"),
        *("--set", "data.items[0]=true"),
        *("--set", 'data.items[2]={"a": null}'),
        *("--set", "data.items[2].b=[]"),
        *("--set", 'data["with space"].deep=a=b'),
        *("--set", "data.nan=NaN"),
        *("--set", "data.output_file_uri=null"),
        *("--metadata", "tenant=acme"),
        *("--metadata", "customer.id=7"),
    )

    assert sent.code == 0
    assert sent.body == {
        "type": "batch.succeeded",
        "version": "v1",
        "timestamp": "2026-01-22T12:00:00Z",
        "data": {
            "id": "batch_1",
            "output_file_uri": None,
            "user_metadata": {"tenant": "acme", "customer": {"id": 7}},
            "items": [True, 2, {"a": None, "b": []}],
            "with space": {"deep": "a=b"},
            "nan": "NaN",
        },
    }
    stored = WebhookDelivery.objects.get()
    assert stored.payload == sent.body
    assert stored.user_metadata == {"tenant": "acme", "customer": {"id": 7}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "data.id"], "has no value: write it as in data.id=batch_1"),
        (["--metadata", "acme"], "has no value: write it as in tenant=acme"),
        (["--set", "data.id.deeper=1"], "data.id.deeper leads nowhere"),
        (["--set", "data[0]=1"], "leads nowhere"),
        (["--set", "data.items[7].n=1"], "leads nowhere"),
        (["--set", "data.*=1"], "is not the path of one value"),
        (["--metadata", "=1"], "empty path|neither a path"),
        (["--id", ""], None),
        (["--body", "x"], "--body is the whole event: EVENT_TYPE does not go with it"),
        (["--age", "soon"], "no whole number of seconds"),
        (["--duplicate", "0"], "no whole number from 1"),
        (["--endpoint", "nobody"], "no endpoint “nobody”"),
        (["--token", "body"], "--token goes with --dynamic"),
        (["--no-seal"], "--no-seal goes with --dynamic"),
        (["--dynamic", "--secret-env", "X"], "--secret-env does not go with --dynamic"),
    ],
    ids=str,
)
def test_slips_are_refused_in_words(
    site: dict[str, Any], words: list[str], message: str | None
) -> None:
    if message is None:
        assert Sent("batch.failed", *words).code == 0
        return
    with pytest.raises(CommandError, match=message):
        Sent("batch.failed", *words)
    assert not WebhookDelivery.objects.exists()


def test_a_misspelled_type_is_noted_and_sent(site: dict[str, Any]) -> None:
    sent = Sent("batch.succeded")

    assert "did you mean batch.succeeded?" in sent.err
    assert WebhookDelivery.objects.get().event_type == "batch.succeded"
    assert Sent("agent.finished").err == Sent("batch.completed").err == ""


def test_bytes_of_a_file_are_sent_as_they_are(site: dict[str, Any], tmp_path: Path) -> None:
    body = b'{ "type": "batch.failed",\r\n"data": {"id": "\xff"}}'
    (tmp_path / "event").write_bytes(body)

    sent = Sent("--body", str(tmp_path / "event"))

    assert sent.code == 0
    assert bytes(WebhookDelivery.objects.get().body) == body
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        Sent("--body", str(tmp_path / "none"))


def test_bytes_of_standard_input(site: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"type": "t"}')))

    assert Sent("--body", "-").code == 0
    assert WebhookDelivery.objects.get().event_type == "t"


# --- how it is signed


def test_any_url_gets_what_others_can_verify(
    settings: Any, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GEMINI_WEBHOOKS = {}
    secret = new_secret()
    monkeypatch.setenv("THE_SECRET", secret)

    sent = Sent(
        "batch.succeeded",
        *("--secret-env", "THE_SECRET", "--url", f"{stranger.url}/hook?site=1", "--id", "m-1"),
    )

    [(headers, body)] = stranger.got
    Webhook(secret).verify(body, headers)
    assert headers["webhook-id"] == "m-1"
    assert headers["content-type"] == "application/json"
    assert sent.code == 0
    assert secret not in sent.out + sent.err


@pytest.mark.parametrize("value", ["", "whsec_c2hvcnQ="])
def test_a_variable_that_holds_no_secret(
    site: dict[str, Any], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("THE_SECRET", value)

    with pytest.raises(CommandError, match=r"THE_SECRET is not set|signing secret") as caught:
        Sent("batch.failed", "--secret-env", "THE_SECRET")
    assert "c2hvcnQ" not in str(caught.value)


def test_an_endpoint_s_newest_secret_signs(site: dict[str, Any]) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="acme")
    store(endpoint, new_secret())
    newest = store(endpoint, new_secret())

    assert Sent("batch.failed", "--endpoint", "acme").code == 0

    delivery = WebhookDelivery.objects.get()
    assert (delivery.endpoint, delivery.secret) == (endpoint, newest)


def test_without_a_secret_it_says_where_to_get_one(site: dict[str, Any]) -> None:
    endpoint = WebhookEndpoint.objects.create(slug="acme")
    site["SIGNING_SECRETS"] = []

    with pytest.raises(CommandError, match=r"put one into GEMINI_WEBHOOKS\['SIGNING_SECRETS'\]"):
        Sent("batch.failed")
    with pytest.raises(CommandError, match="gemini_webhooks rotate acme` makes one"):
        Sent("batch.failed", "--endpoint", "acme")
    SigningSecret.objects.create(endpoint=endpoint, ciphertext="broken", hint="whsec_…3frh")
    with pytest.raises(CommandError, match="none can be read"):
        Sent("batch.failed", "--endpoint", "acme")


def test_a_secret_of_the_backend_signs(
    site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.update(SIGNING_SECRETS=[], SECRET_BACKEND="tests.test_send.secrets_of")
    monkeypatch.setattr(sys.modules[__name__], "BACKEND", [new_secret()])

    assert Sent("batch.failed").code == 0


BACKEND: list[str] = []


def secrets_of(slug: str) -> list[str]:
    return BACKEND


@pytest.mark.parametrize("token", [None, "event", "body", "webhook_id", "unbound"])
def test_dynamic_events_carry_the_emulator_s_token_and_our_seal(
    dynamic: dict[str, Any], token: str | None
) -> None:
    words = ["--token", token] if token else []

    sent = Sent("batch.succeeded", "--dynamic", "--metadata", "tenant=acme", "--json", *words)

    assert (sent.code, sent.statuses) == (0, [200])
    delivery = WebhookDelivery.objects.get()
    assert (delivery.signing, delivery.binding) == ("jwt", token or "event")
    assert delivery.sealed
    assert delivery.user_metadata == {"tenant": "acme"}
    signature = sent.json["request"]["headers"]["webhook-signature"]
    claims = jwt.decode(signature, options={"verify_signature": False})
    assert claims["aud"] == "https://audience.example"


def test_dynamic_events_of_an_endpoint(dynamic: dict[str, Any]) -> None:
    WebhookEndpoint.objects.create(slug="acme", audiences=["acme's"])

    assert Sent("batch.failed", "--dynamic", "--endpoint", "acme").code == 0
    assert WebhookDelivery.objects.get().endpoint.slug == "acme"


def test_an_event_without_a_seal_or_with_another_audience_is_refused(
    dynamic: dict[str, Any],
) -> None:
    unsealed = Sent("batch.failed", "--dynamic", "--no-seal", "--json")
    misled = Sent("batch.failed", "--dynamic", "--audience", "https://other.example", "--json")

    assert (unsealed.code, misled.code) == (1, 1)
    assert [one.json["answers"][0]["body"] for one in (unsealed, misled)] == [
        {"error": "seal_missing"},
        {"error": "wrong_audience"},
    ]


def test_a_site_without_audiences_is_told_which_to_set(dynamic: dict[str, Any]) -> None:
    dynamic["AUDIENCES"] = []

    sent = Sent("batch.failed", "--dynamic")

    assert sent.code == 1
    assert f"Put '{dynamic['PUBLIC_BASE_URL']}{PATH}' into GEMINI_WEBHOOKS['AUDIENCES']" in sent.err


def test_without_a_secret_the_emulator_signs(dynamic: dict[str, Any]) -> None:
    signature = Sent("batch.failed", "--json").json["request"]["headers"]["webhook-signature"]
    assert signature.startswith("v1,")

    dynamic["SIGNING_SECRETS"] = []
    signature = Sent("batch.failed", "--json").json["request"]["headers"]["webhook-signature"]
    assert signature.count(".") == 2
    with pytest.raises(CommandError, match="has no signing secret"):
        Sent("batch.failed", "--static")


def test_dynamic_needs_an_emulator(dynamic: dict[str, Any], stranger: Stranger) -> None:
    start = "start `manage.py runserver --with-emulator`"
    dynamic["JWKS_URL"] = "https://generativelanguage.googleapis.com/.well-known/jwks.json"
    with pytest.raises(CommandError, match=f"JWKS_URL'] is Google's: {start}"):
        Sent("batch.failed", "--dynamic")
    dynamic["JWKS_URL"] = no_one()
    with pytest.raises(CommandError, match=f"Nothing answers at .*: {start}"):
        Sent("batch.failed", "--dynamic")
    dynamic["JWKS_URL"] = f"{stranger.url}/jwks.json"
    with pytest.raises(CommandError, match=r"is no emulator that signs \(HTTP 200\)"):
        Sent("batch.failed", "--dynamic")


def test_what_an_emulator_cannot_sign(dynamic: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "event"
    file.write_bytes(b"\xff")
    with pytest.raises(CommandError, match="not UTF-8: send it with --static"):
        Sent("--dynamic", "--body", str(file))
    file.write_bytes(b"no JSON")
    with pytest.raises(CommandError, match="The emulator does not sign this: body must be"):
        Sent("--dynamic", "--body", str(file), "--token", "event")
    with pytest.raises(CommandError, match="reserved"):
        Sent("batch.failed", "--dynamic", "--metadata", "gemini_webhooks_seal=x")


# --- where to


def test_without_a_public_address_it_goes_to_runserver(site: dict[str, Any]) -> None:
    site["PUBLIC_BASE_URL"] = None
    WebhookEndpoint.objects.create(slug="acme")
    store(WebhookEndpoint.objects.get(), new_secret())

    root, acme = (
        Sent("batch.failed", "--dry-run", "--json", *words).json["request"]["url"]
        for words in ([], ["--endpoint", "acme"])
    )

    assert root == f"http://127.0.0.1:8000{PATH}"
    assert acme == f"http://127.0.0.1:8000{PATH}acme/"


def test_a_site_without_our_urls(site: dict[str, Any], settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.urls_empty"
    site["PUBLIC_BASE_URL"] = None

    with pytest.raises(CommandError, match="say with --url where to send to"):
        Sent("batch.failed")


def test_a_public_address_is_asked_about(
    site: dict[str, Any], typed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_none(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", find_none)
    site["PUBLIC_BASE_URL"] = "https://site.example"

    Sent("batch.failed", "--dry-run")
    assert typed == []
    with pytest.raises(CommandError, match=r"There is no host for https://site\.example"):
        Sent("batch.failed")
    assert "Send a made-up event to https://site.example/webhooks/gemini/?" in typed[0]
    with pytest.raises(CommandError, match="There is no host"):
        Sent("batch.failed", "--yes")
    site["PUBLIC_BASE_URL"] = "https://other.example"
    with pytest.raises(CommandError, match=r"Nothing was sent\."):
        Sent("batch.failed")


PUBLIC = {
    "http://localhost:8000": False,
    "http://127.0.0.1": False,
    "http://[::1]:8000": False,
    "http://10.1.2.3": False,
    "http://web:8000": False,
    "http://site.test": False,
    "https://tunnel.example": True,
    "https://8.8.8.8": True,
}


def test_the_question_is_no_part_of_the_output(
    site: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site["PUBLIC_BASE_URL"] = "https://site.example"
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))

    with pytest.raises(CommandError, match=r"Nothing was sent\."):
        call_command("gemini_webhooks", "send", "batch.failed", "--json")

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("Type site.example to go on: ")


def test_which_addresses_are_public(site: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "no")
    monkeypatch.setattr("http.client.HTTPConnection.request", lambda *_, **__: 1 / 0)

    for url, is_asked in PUBLIC.items():
        site["PUBLIC_BASE_URL"] = url
        with pytest.raises(CommandError if is_asked else ZeroDivisionError):
            Sent("batch.failed")
    assert len(asked) == list(PUBLIC.values()).count(True)


def test_nobody_answers(site: dict[str, Any]) -> None:
    elsewhere = (
        r"runserver` running\? If it listens elsewhere, --url .* GEMINI_WEBHOOKS_EMULATOR_SITE"
    )
    with pytest.raises(CommandError, match=rf"Nothing answers at .* `manage.py {elsewhere}\."):
        Sent("batch.failed", "--url", no_one())


def test_what_is_no_address(site: dict[str, Any]) -> None:
    with_login = "http://user:word@localhost"
    for url in ("site.example", "ftp://a.example", "http://", with_login, "http://[", "http://ä/"):
        for words in ([], ["--dry-run"]):
            with pytest.raises(CommandError, match="is no address to post to") as caught:
                Sent("batch.failed", "--url", url, *words)
            assert "word" not in str(caught.value)


def test_headers_that_http_does_not_take(site: dict[str, Any]) -> None:
    for webhook_id in ("two\nlines", "…"):
        with pytest.raises(CommandError, match="characters that HTTP does not take"):
            Sent("batch.failed", "--id", webhook_id)
    assert Sent("batch.failed", "--id", "ü").code == 1  # goes out, and is refused there


def test_a_redirect_is_shown_not_followed(site: dict[str, Any], stranger: Stranger) -> None:
    stranger.status, stranger.headers = 301, {"Location": "https://elsewhere.example/"}
    stranger.answer = b"Moved \x1b[31mto"

    sent = Sent("batch.failed", "--url", stranger.url)

    assert (sent.code, len(stranger.got)) == (1, 1)
    assert "301 Moved \\x1b[31mto" in sent.out
    assert "A redirect loses the POST; it leads to https://elsewhere.example/." in sent.err


@pytest.mark.parametrize(
    "answer",
    [b'"\\ud800"', b"NaN", b"[" * 900 + b"]" * 900, b"\x1b[2J\xff"],
    ids=["half a character", "no number", "deep", "orders"],
)
def test_an_answer_that_nobody_could_show(
    site: dict[str, Any], stranger: Stranger, answer: bytes
) -> None:
    stranger.answer = answer
    text = answer.decode(errors="replace")

    assert Sent("batch.failed", "--url", stranger.url, "--json").json["answers"][0]["body"] == text
    told = Sent("batch.failed", "--url", stranger.url, "--set", 'data.id="\\ud800"').out
    assert told.encode()
    assert "\x1b" not in told
    assert r'"id": "\ud800"' in told


def test_a_server_without_tls(site: dict[str, Any], stranger: Stranger) -> None:
    with pytest.raises(CommandError, match="No TLS with https://127"):
        Sent("batch.failed", "--url", stranger.url.replace("http:", "https:"))


def test_a_server_that_says_nothing(site: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(CommandError, match=r"No answer from http://127.* within 0\.05 s"):
            Sent("batch.failed", "--url", url)


def test_a_server_that_comes_to_no_end(
    site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.2)
    for beginning in (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"):
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=drip, args=(server, beginning))
            thread.start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            with pytest.raises(CommandError, match=r"No answer from .* within 0\.2 s"):
                Sent("batch.failed", "--url", url)
            thread.join()


def drip(server: socket.socket, beginning: bytes) -> None:
    """Answer byte by byte, until nobody listens or this is taking too long."""
    connection, _ = server.accept()
    with connection, suppress(OSError):
        connection.recv(100_000)
        connection.sendall(beginning)
        for _ in range(100):
            connection.sendall(b"x")
            time.sleep(0.03)


def test_a_server_that_breaks_off(site: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(100_000)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(CommandError, match=r"broke off|closed connection"):
            Sent("batch.failed", "--url", url)
        thread.join()


def test_a_page_is_not_printed_and_the_right_address_is_named(site: dict[str, Any]) -> None:
    sent = Sent("batch.failed", "--url", f"{site['PUBLIC_BASE_URL']}/nowhere/")

    assert sent.code == 1
    assert "\n404 (an HTML page) (" in sent.out
    assert sent.err == f"The webhooks of this site are at {site['PUBLIC_BASE_URL']}{PATH}.\n"


def test_a_page_of_somebody_else_s(site: dict[str, Any], stranger: Stranger) -> None:
    stranger.status, stranger.answer = 502, b"<h1>Bad gateway</h1>"
    stranger.headers = {"Content-Type": "text/html; charset=utf-8"}

    sent = Sent("batch.failed", "--url", stranger.url)

    assert "\n502 (an HTML page) (" in sent.out
    assert sent.err == ""


def test_why_it_was_refused_is_said(site: dict[str, Any], stranger: Stranger) -> None:
    sent = Sent("batch.failed", "--age", "4000")
    noted = RejectedRequest.objects.get().diagnosis
    assert noted
    assert f"\nwhy: {noted}\n" in sent.out
    assert Sent("batch.failed", "--age", "4000", "--json").json["answers"][0]["diagnosis"] == noted

    stranger.status, stranger.answer = 400, b'{"error": "timestamp_out_of_tolerance"}'
    elsewhere = Sent("batch.failed", "--url", stranger.url, "--json")
    assert elsewhere.json["answers"][0]["diagnosis"] == ""


def test_why_it_was_too_large(site: dict[str, Any]) -> None:
    site["MAX_BODY_BYTES"] = 50

    assert re.search(r"\n413 .*\nwhy: .*50", Sent("batch.failed").out)


# --- variations


def test_duplicates_are_sent_again(site: dict[str, Any]) -> None:
    sent = Sent("batch.failed", "--duplicate", "3", "--json")

    assert sent.statuses == [200] * 4
    assert [answer["body"]["status"] for answer in sent.json["answers"]] == [
        "accepted",
        *["duplicate"] * 3,
    ]
    assert WebhookDelivery.objects.get().duplicate_count == 3


@pytest.mark.parametrize("mode", ["--static", "--dynamic"])
def test_what_was_tampered_with_is_refused(dynamic: dict[str, Any], mode: str) -> None:
    sent = Sent("batch.failed", mode, "--tamper")

    assert sent.code == 0
    assert sent.out.endswith("refused, as it should be\n")
    assert RejectedRequest.objects.get().reason in ("signature_mismatch", "body_mismatch")
    assert not WebhookDelivery.objects.exists()


def test_a_server_that_believes_anything_fails_the_tamper_test(
    site: dict[str, Any], stranger: Stranger, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_bytes(b"")

    sent = Sent("--body", str(tmp_path / "empty"), "--tamper", "--url", stranger.url)

    assert sent.code == 1
    assert sent.out.endswith("NOT refused with 401\n")
    assert stranger.got[0][1] != b""


def test_a_clock_that_is_off(site: dict[str, Any]) -> None:
    for age in ("290", "-290"):
        assert Sent("batch.failed", "--age", age).code == 0
    for age in ("310", "-310"):
        sent = Sent("batch.failed", "--age", age, "--json")
        assert sent.code == 1
        assert sent.json["answers"][0]["body"] == {"error": "timestamp_out_of_tolerance"}


@pytest.mark.parametrize("body", [None, b"\xff\x00'", b"two\nlines"])
def test_the_curl_line_of_a_dry_run_sends_the_same(
    site: dict[str, Any], tmp_path: Path, stranger: Stranger, body: bytes | None
) -> None:
    words = ["batch.failed", "--metadata", "name=O'Neill @ä"]
    if body is not None:
        (tmp_path / "event").write_bytes(body)
        words = ["--body", str(tmp_path / "event")]

    dry = Sent(*words, "--dry-run", "--url", f"{stranger.url}/a?b=1&c=2", "--json")

    assert (dry.code, stranger.got) == (0, [])
    report = dry.json
    assert report["dry_run"]
    # curl may be missing here, but a shell is not: it stands in for curl.
    curl = tmp_path / "curl"
    curl.write_text(f"#!{sys.executable}\n" + FAKE_CURL)
    curl.chmod(0o755)
    subprocess.run(
        ["sh", "-c", f"PATH={shlex.quote(str(tmp_path))}:$PATH; {report['curl']}"], check=True
    )
    [(headers, sent)] = stranger.got
    signed = headers["webhook-id"], int(headers["webhook-timestamp"]), sent
    assert headers["webhook-signature"] == sign_bytes(site["SIGNING_SECRETS"][0], *signed)
    assert body is None or sent == body


FAKE_CURL = """
import sys, urllib.request
words = sys.argv[1:]
url = words[1]
pairs = dict(zip(words[2::2], words[3::2])).items()
headers = [words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H"]
how, data = words[-2:]
assert words[0] == "-i" and how in ("--data-raw", "--data-binary")
body = sys.stdin.buffer.read() if how == "--data-binary" else data.encode()
urllib.request.urlopen(urllib.request.Request(url, body, dict(headers))).close()
"""


def test_what_a_person_reads(site: dict[str, Any]) -> None:
    lines = Sent("batch.failed", "--id", "m").out.splitlines()

    assert lines[0] == f"POST {site['PUBLIC_BASE_URL']}{PATH}"
    assert "webhook-id: m" in lines
    assert '  "type": "batch.failed",' in lines
    assert lines[-2].startswith('200 {"status": "accepted"} (')
    assert lines[-1] == "accepted"


def test_a_token_is_shortened_only_for_people(dynamic: dict[str, Any]) -> None:
    words = ["batch.failed", "--dynamic", "--dry-run"]
    printed = Sent(*words).out

    [shown] = re.findall(r"^webhook-signature: (.*)$", printed, re.MULTILINE)
    assert re.fullmatch(r"[\w.-]{100}…", shown)
    assert re.search(rf"'webhook-signature: {shown[:-1]}[\w.-]+'", printed)
    headers = Sent(*words, "--json").json["request"]["headers"]
    assert "…" not in headers["webhook-signature"]
    assert re.fullmatch("msg_[0-9a-f]{16}", headers["webhook-id"])


@needs("gcs")
def test_the_example_of_the_docs(
    site: dict[str, Any], worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    site |= {"FETCH_RESULTS": True, "ALLOWED_BUCKETS": ["gemini-emulator"]}
    with EmulatorServer() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        _is_printed_as_documented()


def _is_printed_as_documented() -> None:
    receivers.on("batch.succeeded", name="reports.receivers.nightly")(lambda **_: None)
    page = Path(__file__).parent.parent / "docs" / "local.md"
    [shown] = re.findall(
        r"^\$ python manage.py (.* send .*)\n((?:.*\n)+?)```$", page.read_text(), re.MULTILINE
    )
    line, output = shown

    printed = Sent(*shlex.split(line)[2:]).out

    changing = r"http://[\w.:]+/|msg_\w+|\b\d{10}\b|v1,\S+|\S+T\S+Z|/batch_\w+|\d+ ms"
    steps = (
        "delivery: (received|processing)\n|reports.receivers.nightly: pending\n"
        "|result .*: (pending|fetching)\n"
    )
    printed, output = (re.sub(changing, "…", re.sub(steps, "", text)) for text in (printed, output))
    assert printed == output


# --- follow


def test_follow_says_what_each_receiver_did(site: dict[str, Any], worker: None) -> None:
    signals.batch_succeeded.connect(good := Recorder(), dispatch_uid="good")
    signals.batch_succeeded.connect(late := Recorder(RetryLater(0)), dispatch_uid="late")

    sent = Sent("batch.succeeded", "--follow")

    assert sent.code == 0, sent.out
    assert len(good.calls) == 1
    assert len(late.calls) == 2
    lines = sent.out.splitlines()
    assert "delivery: received" in lines
    assert "late: retrying, again now" in lines
    assert lines[-4:] == [
        "good: succeeded, attempt 1",
        "late: succeeded, attempt 1",
        "delivery: processed",
        "processed: 2 of 2 receivers succeeded",
    ] or lines[-3:] == [
        "late: succeeded, attempt 1",
        "delivery: processed",
        "processed: 2 of 2 receivers succeeded",
    ]


def test_whoever_stops_watching_sees_no_traceback(
    site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=interrupted)
    monkeypatch.setattr(following, "time", clock)
    said = io.StringIO()

    with pytest.raises(SystemExit) as stopped:
        call_command("gemini_webhooks", "send", "batch.succeeded", "--follow", stderr=said)

    assert stopped.value.code == 130
    assert said.getvalue() == "No longer watched; it goes on.\n"
    assert WebhookDelivery.objects.get().state == "received"


def test_follow_fails_if_a_receiver_does(site: dict[str, Any], worker: None) -> None:
    signals.batch_failed.connect(bad := Recorder(GiveUp("no order")), dispatch_uid="bad")

    sent = Sent("batch.failed", "--follow", "--json")

    assert sent.code == 1
    assert len(bad.calls) == 1
    delivery = sent.json["delivery"]
    assert (delivery["state"], delivery["ended"]) == ("failed", True)
    [run] = delivery["runs"]
    assert (run["receiver"], run["state"]) == ("bad", "dead")
    assert "no order" in run["last_error"]


def test_follow_fails_if_nobody_listens(site: dict[str, Any], worker: None) -> None:
    sent = Sent("batch.succeded", "--follow")

    assert sent.code == 1
    assert sent.out.endswith("\nignored: no receiver is connected to batch.succeded\n")
    assert (
        sent.err.splitlines()
        == ["batch.succeded is none of the documented types: did you mean batch.succeeded?"] * 2
    )


def test_follow_says_when_the_next_attempt_is(site: dict[str, Any], worker: None) -> None:
    site["RETRY_BASE_SECONDS"] = 3000
    signals.batch_failed.connect(bad := Recorder(KeyError("tenant")), dispatch_uid="bad")

    sent = Sent("batch.failed", "--follow", "--timeout", "1.5")

    assert (sent.code, len(bad.calls)) == (1, 1)
    [line] = [line for line in sent.out.splitlines() if line.startswith("bad: retrying")]
    assert re.fullmatch(r"bad: retrying, attempt 1, again in \d+ s: KeyError: 'tenant'", line)
    assert re.fullmatch(r"Not ended after 1.5 s: the next attempt is in \d+ s\.\n", sent.err)


def test_follow_waits_for_result_files(site: dict[str, Any], worker: None) -> None:
    site["FETCH_RESULTS"] = True
    signals.result_ready.connect(Recorder(), weak=False, dispatch_uid="reader")

    sent = Sent("batch.succeeded", "--follow", "--set", "data.output_file_uri=gs://no/x.jsonl")

    assert sent.code == 1
    assert ResultFile.objects.get().state == "failed"
    assert "result gs://no/x.jsonl: failed: " in sent.out
    assert "result_ready:reader: dead: " in sent.out


def test_follow_waits_for_a_result_file_that_nobody_reads(
    site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site["FETCH_RESULTS"] = True
    work_meanwhile(monkeypatch, limit=1)

    sent = Sent("batch.succeeded", "--follow", "--json")

    assert sent.code == 1
    assert sent.json["summary"] == "ignored: no receiver is connected to batch.succeeded"
    assert sent.json["delivery"]["results"][0]["state"] == "failed"


def test_follow_without_a_worker_says_what_to_start(site: dict[str, Any]) -> None:
    signals.batch_failed.connect(recorder := Recorder())

    sent = Sent("batch.failed", "--follow", "--timeout", "0.1")

    assert (sent.code, recorder.calls) == (1, [])
    assert "Not ended after 0.1 s. If nothing moves, start a worker" in sent.err
    assert sent.out.endswith("accepted, still received\n")


def test_follow_what_is_not_in_this_database(site: dict[str, Any], stranger: Stranger) -> None:
    sent = Sent("batch.failed", "--url", stranger.url, "--follow", "--timeout", "0.1")

    assert sent.code == 1
    assert "There is no delivery with this id in this database" in sent.err


def test_follow_what_was_refused_ends_at_once(site: dict[str, Any]) -> None:
    sent = Sent("batch.failed", "--age", "4000", "--follow", "--json")

    assert sent.code == 1
    assert "delivery" not in sent.json
