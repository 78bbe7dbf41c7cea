"""``export``, ``load`` and ``run``: a delivery goes to another machine and runs there."""

from __future__ import annotations

import base64
import io
import json
import os
import pdb  # noqa: T100  # what receivers are run under
import re
import shlex
import stat
import sys
from bdb import BdbQuit
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections, transaction
from django.urls import reverse
from django.utils import timezone

from gemini_webhooks import (
    GiveUp,
    RetryLater,
    dispatch,
    jobs,
    processing,
    receivers,
    retention,
    signals,
)
from gemini_webhooks.models import (
    Attempt,
    ReceiverRun,
    ResultFile,
    WebhookDelivery,
    WebhookEndpoint,
)
from gemini_webhooks.recordings.files import FORMAT, MAX_BYTES, MAX_RESULT_BYTES, VERSION
from gemini_webhooks.results.supplying import supply
from gemini_webhooks.trends import waiting
from tests.celery_app import app
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender
from tests.site.models import Effect
from tests.test_receivers import Recorder

sqlite = pytest.mark.django_db(transaction=True)
ROWS = (
    b'{"key": "a", "response": {"text": "Ada", "n": 3, "ok": true}}\n\n{"key": "b", "error": 1}\n'
)
SOURCE = "gs://bucket/answers.jsonl"


class Done:
    """What a call printed, and its exit code."""

    def __init__(self, *words: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code = 0
        try:
            call_command("gemini_webhooks", *words, stdout=out, stderr=err)
        except SystemExit as ended:
            self.code = int(ended.code or 0)
        self.out, self.err = out.getvalue(), err.getvalue()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _laptop(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DEBUG = True
    settings.MEDIA_ROOT = tmp_path / "media"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def elsewhere(configured: dict[str, Any], settings: Any) -> Callable[[], None]:
    """Call it to be on another machine: other keys, an empty database."""

    def move() -> None:
        WebhookDelivery.objects.all().delete()
        WebhookEndpoint.objects.all().delete()
        Effect.objects.all().delete()
        settings.SECRET_KEY = "another-" + "k" * 50
        configured["SIGNING_SECRETS"] = []

    return move


def the_delivery() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def exported(*words: str) -> dict[str, Any]:
    recording: dict[str, Any] = Done("export", "m", "--output", "-", *words).json
    return recording


def effects() -> list[str]:
    return list(Effect.objects.values_list("receiver", flat=True))


def stored_files() -> list[str]:
    root = Path(storages["default"].location)
    return [str(path) for path in root.rglob("*") if path.is_file()]


def messages_sent() -> int:
    dispatch.flush()
    with app.connection_for_read() as connection:
        return int(connection.default_channel.queue_purge("celery") or 0)


# --- the whole way


@every_database
@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_a_failure_of_production_is_seen_on_a_laptop(
    database: str,
    mode: str,
    request: pytest.FixtureRequest,
    elsewhere: Callable[[], None],
) -> None:
    sender = request.getfixturevalue(mode)
    acme = {"tenant": "acme", "order": 1.0}
    payload = sender.envelope(**({"user_metadata": acme} if mode == "static" else {}))
    if mode == "dynamic":
        sender.user_metadata = acme
        payload = sender.envelope()
    recorder = Recorder(ValueError("no order"), ValueError("no order"))
    receivers.on("batch.succeeded", metadata={"tenant": "acme"}, name="note")(recorder)
    assert sender.post(payload, webhook_id="m").status_code == 200
    processing.drain(limit=2)
    was = recorder.event
    Done("export", "m")
    elsewhere()

    tried = Done("run", "m.json", "--receiver", "note")

    assert (tried.code, tried.out.splitlines()[-1]) == (1, "database: rolled back")
    assert "ValueError: no order" in tried.err
    assert not WebhookDelivery.objects.exists()
    assert effects() == []
    assert Done("load", "m.json").code == 0
    again = Done("run", "m", "--commit", "--actor", "ada")
    assert (again.code, again.err) == (0, "")
    event = recorder.event
    assert (event.id, event.type, event.occurred_at) == ("m", was.type, was.occurred_at)
    assert event.user_metadata == was.user_metadata == acme
    assert event.resource_id == was.resource_id
    assert the_delivery().state == "processed"
    assert effects() == ["recorder"]


@sqlite
def test_the_examples_of_the_docs(static: StaticSender) -> None:
    receivers.on("batch.succeeded", name="reports.receivers.nightly")(Recorder())
    static.post(webhook_id="msg_2f6c1d")
    processing.drain()
    page = (Path(__file__).parent.parent / "docs" / "local.md").read_text()

    for line, output in re.findall(
        r"^\$ python manage.py gemini_webhooks ((?:export|run) .*)\n((?:.*\n)+?)```$",
        page,
        re.MULTILINE,
    ):
        assert Done(*shlex.split(line)).out == output
        WebhookDelivery.objects.all().delete()


# --- export


@sqlite
def test_a_recording_holds_what_it_takes_and_no_secret(
    dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    signals.batch_succeeded.connect(Recorder(GiveUp("no order")), weak=False, dispatch_uid="note")
    dynamic.post(webhook_id="m")
    processing.drain()

    made = Done("export", "m")
    text = Path("m.json").read_text()
    recording = json.loads(text)

    assert made.out.splitlines() == ["exported: m", "file: m.json", "redacted: False"]
    assert stat.S_IMODE(Path("m.json").stat().st_mode) == 0o600
    assert (recording["format"], recording["version"]) == (FORMAT, VERSION)
    assert recording["user_metadata"] == {"tenant": "acme"}
    assert recording["headers"]["webhook-id"] == "m"
    assert recording["about"]["state"] == "failed"
    [run] = recording["about"]["runs"]
    assert (run["receiver"], run["state"]) == ("note", "dead")
    assert "no order" in run["last_error"]
    assert "signature" not in text
    assert "eyJ" not in text  # how every token begins
    body = json.loads(recording["body"]["text"])
    assert body["data"]["user_metadata"] == {
        "tenant": "acme",
        "gemini_webhooks_seal": "[redacted]",
    }


@sqlite
def test_bytes_come_back_as_they_were(static: StaticSender) -> None:
    bodies = {
        "m1": b'{ "type" : "t",\r\n "big": 12345678901234567890.10, "a": 1, "a": 2 }',
        "m2": b'{"type": "\\u0000\\ud800 \x7f"}',
        "m3": b"\xff\x00 no JSON",
    }
    for webhook_id, body in bodies.items():
        static.post(body, webhook_id=webhook_id)
        Done("export", webhook_id)
    Path("m2.json").write_text(Done("export", "m2", "--output", "-").out)
    WebhookDelivery.objects.all().delete()

    assert Done("load", *(f"{webhook_id}.json" for webhook_id in bodies)).code == 0

    stored = WebhookDelivery.objects.values_list("webhook_id", "body")
    assert {webhook_id: bytes(body) for webhook_id, body in stored} == bodies
    assert WebhookDelivery.objects.get(webhook_id="m3").state == "unreadable"


@sqlite
def test_redacted(static: StaticSender, configured: dict[str, Any]) -> None:
    configured["REDACT"] = {"display": ["data.owner"], "rows": ["response.text"]}
    signals.event_received.connect(Recorder(GiveUp("Ada")), weak=False, dispatch_uid="note")
    metadata = {"email": "ada@site.example", "tenant": "acme", "n": 7, "list": [True, None, "x"]}
    static.post(static.envelope(owner="Ada", user_metadata=metadata), webhook_id="m")
    processing.drain()
    supply(the_delivery(), position=0, source=SOURCE, content=ROWS)

    recording = exported("--redact", "--results")
    kept = exported("--redact", "--keep", "tenant")

    blank = {
        "email": "[redacted]",
        "tenant": "[redacted]",
        "n": 0,
        "list": [False, None, "[redacted]"],
    }
    assert recording["redacted"]
    assert recording["user_metadata"] == blank
    body = json.loads(recording["body"]["text"])
    assert body["data"] == {
        "id": "batch_123456",
        "owner": "[redacted]",
        "user_metadata": blank,
    }
    rows = recording["results"][0]["content"]["text"].splitlines()
    assert list(map(json.loads, rows)) == [
        {"key": "row-1", "response": {"text": "[redacted]", "n": 0, "ok": False}},
        {"key": "row-2", "error": 0},
    ]
    for secret in ("Ada", "ada@", "acme"):
        assert secret not in json.dumps(recording)
    assert kept["user_metadata"] == {**blank, "tenant": "acme"}
    assert json.loads(kept["body"]["text"])["data"]["user_metadata"]["tenant"] == "acme"


@sqlite
def test_what_redact_names_is_nowhere_else_either(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["REDACT"] = {"display": ["data.id", "data.output_file_uri", "timestamp"]}
    static.post(static.envelope(output_file_uri=SOURCE), webhook_id="m")
    supply(the_delivery(), position=0, source=SOURCE, content=ROWS)

    recording = exported("--redact", "--results")

    about = recording["about"]
    assert (about["resource_id"], about["occurred_at"]) == ("[redacted]", None)
    assert recording["results"][0]["source"] == "[redacted].jsonl"
    for secret in ("batch_123456", "answers", "2026-01-22"):
        assert secret not in json.dumps(recording)
    configured["REDACT"] = {}
    plain = exported("--redact", "--results")
    assert plain["about"]["resource_id"] == "batch_123456"
    assert plain["about"]["occurred_at"] == "2026-01-22T12:00:00+00:00"
    assert plain["results"][0]["source"] == SOURCE


@sqlite
def test_redacted_whatever_its_shape(static: StaticSender) -> None:
    payload = {"type": "t", "user_metadata": ["ada"], "data": None}
    static.post(payload, webhook_id="m")
    supply(the_delivery(), position=0, source=SOURCE, content=b'["ada"]\n{"response": "ada"}\n')

    recording = exported("--redact", "--results")

    assert json.loads(recording["body"]["text"])["user_metadata"] == ["[redacted]"]
    rows = recording["results"][0]["content"]["text"].splitlines()
    assert list(map(json.loads, rows)) == [["[redacted]"], {"response": "[redacted]"}]


@sqlite
def test_redacting_what_cannot_be_looked_into(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    static.post(b"no JSON", webhook_id="m")
    with pytest.raises(CommandError, match=r"m cannot be exported: the body is not JSON"):
        Done("export", "m", "--redact")

    static.post(static.envelope(), webhook_id="rows")
    delivery = WebhookDelivery.objects.get(webhook_id="rows")
    supply(
        delivery, position=0, source="files/video", content=b"\x00\x01", content_type="video/mp4"
    )
    with pytest.raises(CommandError, match=r"row 1 of a result file is not JSON"):
        Done("export", "rows", "--redact", "--results")
    configured["REDACT"] = {"display": ["tests.test_recordings:fail"]}
    with pytest.raises(CommandError, match=r"REDACT'\]: tests.test_recordings.fail failed"):
        Done("export", "rows", "--redact")
    with pytest.raises(CommandError, match="--keep goes with --redact"):
        Done("export", "rows", "--keep", "tenant")
    assert list(Path().iterdir()) == []


def fail(_payload: Any) -> Any:
    raise ValueError


@sqlite
def test_a_file_is_not_replaced_by_accident(static: StaticSender, tmp_path: Path) -> None:
    static.post(webhook_id="a/b:c")
    file = Path("a_b_c.json")
    file.write_text("mine")
    file.chmod(0o644)

    with pytest.raises(CommandError, match=r"a_b_c.json is there already: --force replaces it"):
        Done("export", "a/b:c")
    assert file.read_text() == "mine"
    assert Done("export", "a/b:c", "--force").code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        Done("export", "a/b:c", "--output", "nowhere/file")


@sqlite
def test_what_cannot_be_exported(static: StaticSender) -> None:
    with pytest.raises(CommandError, match="no delivery with the webhook id m"):
        Done("export", "m")
    static.post(webhook_id="m")
    processing.drain()
    retention.erase(retention.about_resource("batch_123456"), actor="ada")
    with pytest.raises(CommandError, match="the body of m was erased on request"):
        Done("export", "m")


@sqlite
def test_results_that_are_too_large_or_gone(static: StaticSender) -> None:
    static.post(webhook_id="m")
    result = supply(the_delivery(), position=0, source=SOURCE, content=ROWS)
    ResultFile.objects.update(size=MAX_RESULT_BYTES + 1)
    with pytest.raises(CommandError, match=r"leave out --results"):
        Done("export", "m", "--results")
    ResultFile.objects.update(size=10)
    result.file.storage.delete(result.file.name)
    with pytest.raises(
        CommandError, match=r"cannot be read from the storage \(FileNotFoundError\)"
    ):
        Done("export", "m", "--results")
    assert Done("export", "m").code == 0


# --- load


def recording(**changes: Any) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "webhook_id": "m",
        "endpoint": "",
        "body": {"text": json.dumps(StaticSender().envelope())},
        "user_metadata": {},
        "sealed": False,
        **changes,
    }


def written(name: str = "m.json", **changes: Any) -> str:
    Path(name).write_text(json.dumps(recording(**changes)))
    return name


@sqlite
def test_loading_stores_and_runs_nothing(configured: dict[str, Any]) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())

    loaded = Done("load", written(headers={"user-agent": "Google"}))

    delivery = the_delivery()
    assert (delivery.state, delivery.source, delivery.signing) == ("received", "recording", "none")
    assert (delivery.headers, delivery.occasion) == ({"user-agent": "Google"}, None)
    assert loaded.out.splitlines() == ["loaded: m", "next: manage.py gemini_webhooks run m"]
    assert loaded.err == ""
    processing.sweep(100)
    processing.drain()
    assert (recorder.calls, messages_sent()) == ([], 0)
    assert Done("load", "m.json", "--process").out.splitlines()[-1] == "left to workers: m"
    assert messages_sent() == 1
    processing.drain()
    assert len(recorder.calls) == 1
    assert Done("load", "m.json", "--process", "--json").json["started"] == []


@sqlite
def test_the_admin_says_where_it_comes_from(configured: dict[str, Any], admin_client: Any) -> None:
    Done("load", written())

    address = reverse("admin:gemini_webhooks_webhookdelivery_change", args=[the_delivery().pk])
    page = admin_client.get(address).content.decode()

    assert "somebody with access to this site, from a recording" in page
    assert "nothing: a recording is not signed" in page
    assert "It was loaded from a recording, and nobody has asked for its receivers." in page
    assert json.loads(Done("load", written(), "--process", "--json").out)["started"] == ["m"]
    assert "waits to be processed" in admin_client.get(address).content.decode()


@sqlite
def test_what_is_only_stored_is_no_backlog(configured: dict[str, Any]) -> None:
    Done("load", written())
    WebhookDelivery.objects.update(received_at=timezone.now() - timedelta(days=1))

    assert waiting.read().oldest_seconds == 0
    Done("load", written(), "--process")
    assert waiting.read().oldest_seconds > 80_000


@sqlite
def test_a_seal_that_was_taken_out_is_no_metadata(configured: dict[str, Any]) -> None:
    sealed = {"tenant": "acme", "gemini_webhooks_seal": "[redacted]"}
    Done("load", written(body={"text": json.dumps(StaticSender().envelope(user_metadata=sealed))}))
    assert the_delivery().user_metadata == {"tenant": "acme"}


@sqlite
def test_a_seal_beside_what_it_sealed_is_no_metadata(configured: dict[str, Any]) -> None:
    metadata = {"tenant": "acme", "gemini_webhooks_seal": "[redacted]"}
    Done("load", written(sealed=True, user_metadata=metadata))
    assert (the_delivery().user_metadata, the_delivery().sealed) == ({"tenant": "acme"}, True)


@sqlite
def test_loading_again(configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    file = written()
    assert Done("load", file, "--json").json["loaded"] == ["m"]

    same = Done("load", file)
    assert same.code == 0
    assert same.out == "already there: m (--again loads it under another id)\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(file).read_bytes())))
    [other] = Done("load", "-", "--again", "--json").json["loaded"]
    assert other.startswith("m-again-")
    assert set(WebhookDelivery.objects.values_list("webhook_id", flat=True)) == {"m", other}


@sqlite
def test_an_event_of_google_s_is_not_taken_for_the_recording_of_it(static: StaticSender) -> None:
    Done("load", written("x.json", webhook_id="x"))

    assert static.post(webhook_id="m").json() == {"status": "accepted"}
    assert WebhookDelivery.objects.get(webhook_id="m").occasion


@every_database
def test_an_event_with_the_id_of_a_recording_is_taken_all_the_same(
    database: str, static: StaticSender
) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    Done("load", written(webhook_id="m"))
    loaded = the_delivery()

    assert static.post(webhook_id="m").json() == {"status": "accepted"}

    processing.drain()
    assert [call["delivery"].source for call in recorder.calls] == ["webhook"]
    loaded.refresh_from_db()
    assert (loaded.webhook_id.partition("-")[0], loaded.state) == ("m", "received")
    assert static.post(webhook_id="m").json() == {"status": "duplicate"}


@sqlite
def test_a_recording_says_nothing_of_jobs_and_endpoints(
    static: StaticSender, configured: dict[str, Any]
) -> None:
    latest: list[str] = []

    @receivers.on("batch.succeeded", latest_only=True)
    def newest(event: Any, **_: Any) -> None:
        latest.append(event.id)

    WebhookEndpoint.objects.create(slug="acme", name="acme", uri="https://site.example/acme")
    job = jobs.track("batches/batch_123456")
    later = StaticSender().envelope() | {"timestamp": "2030-01-01T00:00:00Z"}
    Done("load", written(endpoint="acme", body={"text": json.dumps(later)}), "--process")
    processing.drain()

    job.refresh_from_db()
    assert job.state == "submitted"
    assert WebhookEndpoint.objects.get().last_delivery_at is None
    job.delete()
    assert jobs.track("batches/batch_123456").state == "submitted"
    static.post(webhook_id="google")
    processing.drain()
    assert latest == ["m", "google"]


@sqlite
def test_retention_takes_what_nobody_asks_for(configured: dict[str, Any]) -> None:
    configured["RETENTION_DAYS"] = {"payloads": 30, "deliveries": 365, "results": 30}
    result = {"source": SOURCE, "content_type": "", "content": {"text": ROWS.decode()}}
    Done("load", written("old.json", webhook_id="old", results=[result]))
    ResultFile.objects.update(finished_at=timezone.now() - timedelta(days=40))
    WebhookDelivery.objects.update(received_at=timezone.now() - timedelta(days=40))
    Done("load", written("new.json", webhook_id="new"))

    Done("prune")

    old = WebhookDelivery.objects.get(webhook_id="old")
    assert (old.body, stored_files()) == (None, [])
    assert WebhookDelivery.objects.get(webhook_id="new").body is not None
    with pytest.raises(CommandError, match="the body of old was removed by retention"):
        Done("run", "old")
    WebhookDelivery.objects.filter(pk=old.pk).update(
        received_at=timezone.now() - timedelta(days=400)
    )
    Done("prune")
    assert WebhookDelivery.objects.values_list("webhook_id", flat=True).get() == "new"


@sqlite
def test_processing_what_was_loaded(configured: dict[str, Any]) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    configured["FETCH_RESULTS"] = True
    signals.result_ready.connect(reader := Reader(), dispatch_uid="reader")
    results = [{"source": SOURCE, "content_type": "", "content": {"text": ROWS.decode()}}]

    loaded = Done("load", written(results=results), "--process")

    assert loaded.out.splitlines() == ["loaded: m", "left to workers: m"]
    assert messages_sent() == 1
    processing.drain()
    assert len(recorder.calls) == 1
    assert reader.keys == ["a", "b"]
    result = ResultFile.objects.get()
    assert (result.state, int(result.rows), result.failed_rows) == ("complete", 2, 1)
    assert the_delivery().state == "processed"


class Reader:
    """A receiver of ``result_ready``."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, *, result: Any, **_: Any) -> None:
        self.keys += [row["key"] for row in result.rows()]


@sqlite
def test_the_endpoint_is_found_or_said_to_be_missing(configured: dict[str, Any]) -> None:
    missing = Done("load", written(endpoint="acme\x1b[2J"))
    assert missing.err == (
        r"There is no endpoint “acme\x1b[2J” here: m is at the root endpoint." + "\n"
    )
    WebhookEndpoint.objects.create(slug="acme")
    assert Done("load", written(endpoint="acme"), "--again").err == ""
    assert WebhookDelivery.objects.get(endpoint__slug="acme")


@sqlite
def test_production_is_asked_for_yes(configured: dict[str, Any], settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match=r"DEBUG is off here.*Nothing was loaded; --yes does it"):
        Done("load", written())
    assert not WebhookDelivery.objects.exists()
    assert Done("load", written(), "--yes").code == 0


@sqlite
def test_redact_holds_for_what_is_loaded(configured: dict[str, Any]) -> None:
    configured["REDACT"] = {"store": ["data.id"]}
    Done("load", written())
    assert the_delivery().payload["data"]["id"] == "[redacted]"


BROKEN: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "it is no JSON, or not whole"),
    "no recording": ({"format": "other"}, "it was not made by `manage.py gemini_webhooks export`"),
    "list": ([], "it was not made by"),
    "later version": ({**recording(), "version": 99}, "it has version 99 and this one reads 1"),
    "no id": (
        {k: v for k, v in recording().items() if k != "webhook_id"},
        "missing, of: webhook_id",
    ),
    "bad id": (recording(webhook_id="a b"), "webhook_id is not"),
    "number for id": (recording(webhook_id=7), "webhook_id is not"),
    "no body": (recording(body=None), "body is neither text nor base64"),
    "bad base64": (recording(body={"base64": "?"}), "body is neither text nor base64"),
    "metadata": (recording(user_metadata=[]), "user_metadata is no object"),
    "poison": (recording(user_metadata={"a": "\0"}), "user_metadata is no object"),
    "headers": (recording(headers=[]), "headers is no object"),
    "endpoint": (recording(endpoint=None), "endpoint, source and content_type are texts"),
    "sealed": (recording(sealed="yes"), "sealed is neither true nor false"),
    "results": (recording(results={}), "results is no list"),
    "result": (recording(results=[1]), "a result is no object"),
    "half a result": (recording(results=[{"content": {"text": ""}}]), "missing, of: source"),
}


@sqlite
@pytest.mark.parametrize("name", BROKEN)
def test_files_that_are_no_recordings(configured: dict[str, Any], name: str) -> None:
    content, message = BROKEN[name]
    Path("bad.json").write_bytes(
        content if isinstance(content, bytes) else json.dumps(content).encode()
    )

    with pytest.raises(CommandError) as caught:
        Done("load", written(), "bad.json")
    assert str(caught.value).startswith("bad.json cannot be loaded: ")
    assert message in str(caught.value)
    assert not WebhookDelivery.objects.exists()


@sqlite
def test_files_that_cannot_be_read(configured: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match=r"none\.json cannot be read: No such file"):
        Done("load", "none.json")
    with Path("huge.json").open("wb") as file:
        os.truncate(file.fileno(), MAX_BYTES + 1)
    with pytest.raises(CommandError, match=f"larger than {MAX_BYTES} bytes"):
        Done("load", "huge.json")


@sqlite
def test_a_storage_that_refuses_leaves_nothing_behind(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"source": SOURCE, "content_type": "", "content": {"text": ""}}
    whole = storages["default"].__class__.save
    saved: list[str] = []

    def save(storage: Any, name: str, *rest: Any, **more: Any) -> str:
        if saved:
            raise OSError("full")
        saved.append(name)
        return str(whole(storage, name, *rest, **more))

    monkeypatch.setattr(storages["default"].__class__, "save", save)
    with pytest.raises(CommandError, match="did not take it: OSError"):
        Done("load", written(results=[result, result]))
    assert len(saved) == 1
    assert stored_files() == []
    assert not WebhookDelivery.objects.exists()


@sqlite
def test_a_database_that_refuses_leaves_no_file_behind(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: Any, **__: Any) -> None:
        raise DatabaseError("no room")

    monkeypatch.setattr(ResultFile, "save", save)
    result = {"source": SOURCE, "content_type": "", "content": {"text": ""}}
    with pytest.raises(DatabaseError):
        Done("load", written(results=[result]))
    assert stored_files() == []


# --- run


@pytest.fixture
def stored(static: StaticSender) -> Iterator[WebhookDelivery]:
    """A delivery that came while nobody was connected."""
    static.post(webhook_id="m")
    processing.drain()
    return the_delivery()


@sqlite
def test_nothing_stays_of_a_run(stored: WebhookDelivery) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    called: list[str] = []

    def hook(**_: Any) -> None:
        transaction.on_commit(lambda: called.append("committed"))

    signals.batch_succeeded.connect(hook, dispatch_uid="hook")
    before = WebhookDelivery.objects.values().get()

    name = "tests.test_receivers.Recorder"
    ran = Done("run", "m", "--receiver", name)
    Done("run", "m", "--receiver", "hook")

    assert ran.code == 0
    assert ran.out.splitlines() == [
        f"receiver: {name}",
        "delivery: m",
        "outcome: succeeded",
        "database: rolled back",
    ]
    assert recorder.event.is_replay
    assert recorder.calls[0]["delivery"] == stored
    assert (effects(), called) == ([], [])
    assert WebhookDelivery.objects.values().get() == before
    assert not ReceiverRun.objects.exists()
    assert not Attempt.objects.exists()


@sqlite
def test_a_receiver_that_opts_out_of_transactions_is_rolled_back_too(
    stored: WebhookDelivery,
) -> None:
    @receivers.non_atomic
    def receiver(event: Any, **_: Any) -> None:
        Effect.objects.create(receiver="non-atomic", webhook_id=event.id)

    signals.batch_succeeded.connect(receiver)
    assert Done("run", "m").code == 0
    assert effects() == []


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.server("postgres")
def test_a_database_that_no_router_leads_to_is_rolled_back_too(stored: WebhookDelivery) -> None:
    def receiver(event: Any, **_: Any) -> None:
        Effect.objects.using("postgres").create(receiver="elsewhere", webhook_id=event.id)

    signals.batch_succeeded.connect(receiver)
    assert Done("run", "m").code == 0
    assert not Effect.objects.using("postgres").exists()


@sqlite
def test_async_receivers_run(stored: WebhookDelivery) -> None:
    seen: list[str] = []

    async def receiver(event: Any, **_: Any) -> None:
        await sync_to_async(Effect.objects.create)(receiver="async", webhook_id=event.id)
        seen.append(event.id)

    signals.batch_succeeded.connect(receiver, dispatch_uid="async")

    assert Done("run", "m").code == 0
    assert (seen, effects()) == (["m"], [])
    assert Done("run", "m", "--commit").code == 0
    assert (seen, effects()) == (["m", "m"], ["async"])


@every_database
def test_a_database_error_of_a_receiver_is_shown(database: str, static: StaticSender) -> None:
    static.post(webhook_id="m")
    processing.drain()

    def receiver(**_: Any) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT nonsense")

    signals.batch_succeeded.connect(receiver)

    Done("export", "m")
    for what in ("m", "m.json"):
        ran = Done("run", what)
        assert (ran.code, "SELECT nonsense" in ran.err) == (1, True)
    assert WebhookDelivery.objects.count() == 1


@sqlite
@pytest.mark.parametrize(
    ("error", "outcome", "says"),
    [
        (RetryLater(30), "postponed", "again in 30 s"),
        (GiveUp("no order"), "gave_up", "no order"),
        (SystemExit(3), "failed", "SystemExit"),
        (BdbQuit(), "failed", "the debugger was left"),
        (KeyError("order \x1b[31m"), "failed", "KeyError"),
    ],
    ids=str,
)
def test_how_a_receiver_ends(
    stored: WebhookDelivery, error: BaseException, outcome: str, says: str
) -> None:
    signals.batch_succeeded.connect(Recorder(error), weak=False, dispatch_uid="note")

    ran = Done("run", "m", "--json")

    assert ran.code == 1
    assert (ran.json["outcome"], ran.json["says"]) == (outcome, says)
    is_shown = outcome == "failed" and not isinstance(error, BdbQuit)
    assert ("Traceback (most recent call last)" in ran.err) is is_shown
    assert "\x1b" not in ran.err


@sqlite
def test_which_receiver(stored: WebhookDelivery) -> None:
    with pytest.raises(CommandError, match=r"No receiver is connected .* there are: none\."):
        Done("run", "m")
    signals.batch_succeeded.connect(one := Recorder(), dispatch_uid="one")
    receivers.on("batch.succeeded", metadata={"tenant": "acme"}, name="acme")(Recorder())
    signals.event_received.connect(two := Recorder(), dispatch_uid="two")

    with pytest.raises(
        CommandError, match=r"with --receiver; for this event there are: one, two\."
    ):
        Done("run", "m")
    with pytest.raises(CommandError, match=r"acme is connected, but not for this event: its type"):
        Done("run", "m", "--receiver", "acme")
    with pytest.raises(CommandError, match=r"three is not connected in this process\."):
        Done("run", "m", "--receiver", "three")
    for name in ("x", "x" * 5000):
        with pytest.raises(
            CommandError, match=r"neither a delivery with the webhook id x+ nor a f"
        ):
            Done("run", name)
    assert (one.calls, two.calls) == ([], [])
    assert Done("run", "m", "--receiver", "two").code == 0
    assert len(two.calls) == 1


@sqlite
def test_the_last_part_of_a_name_is_enough(stored: WebhookDelivery) -> None:
    names = ["reports.receivers.note", "reports.receivers.other", "sales.receivers.other", "sales"]
    for name in names:
        receivers.on("batch.succeeded", name=name)(Recorder())

    assert "receiver: reports.receivers.note\n" in Done("run", "m", "--receiver", "note").out
    with pytest.raises(
        CommandError, match=r"called other .*: reports\.receivers\.other, sales\.receivers\.other\."
    ):
        Done("run", "m", "--receiver", "other")
    assert "receiver: sales\n" in Done("run", "m", "--receiver", "sales").out
    with pytest.raises(CommandError, match="receivers is not connected in this process"):
        Done("run", "m", "--receiver", "receivers")


@sqlite
@pytest.mark.parametrize("words", [[], ["--commit"]], ids=str)
def test_what_a_receiver_prints_is_not_in_the_json(
    stored: WebhookDelivery, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    receivers.on("batch.succeeded", name="note")(lambda **_: sys.stdout.write("I was here\n"))
    call_command("gemini_webhooks", "run", "m", "--json", *words)
    printed = capsys.readouterr()

    assert json.loads(printed.out)["receiver"] == "note"
    assert printed.err == "I was here\n"
    call_command("gemini_webhooks", "run", "m")
    assert "I was here\n" in capsys.readouterr().out


@pytest.fixture
def _traced() -> Iterator[None]:
    """The debugger takes the place of what measures coverage."""
    trace = sys.gettrace()
    yield
    sys.settrace(trace)


@sqlite
@pytest.mark.usefixtures("_traced")
def test_the_debugger_opens_where_it_failed(
    stored: WebhookDelivery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def receiver(event: Any, **_: Any) -> None:
        Effect.objects.create(receiver="note", webhook_id=event.id)
        order = 6 * 7
        raise ValueError(order)

    signals.batch_succeeded.connect(receiver)
    monkeypatch.setattr("sys.stdin", io.StringIO("p order + 1\np Effect.objects.count()\nq\n"))

    ran = Done("run", "m", "--pdb")

    seen = capsys.readouterr().out
    assert ran.code == 1
    assert "43" in seen
    assert "(Pdb) 1\n" in seen  # what it wrote is still there, and then gone
    assert effects() == []


@sqlite
@pytest.mark.usefixtures("_traced")
def test_a_breakpoint_has_the_terminal(
    stored: WebhookDelivery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def receiver(event: Any, **_: Any) -> None:
        breakpoint()  # noqa: T100  # what it is about

    # Not pytest's, which has a terminal of its own.
    monkeypatch.setattr("sys.breakpointhook", lambda: pdb.Pdb().set_trace(sys._getframe(1)))
    signals.batch_succeeded.connect(receiver)
    monkeypatch.setattr("sys.stdin", io.StringIO("p event.id + '!'\nq\n"))

    ran = Done("run", "m", "--json")

    assert "'m!'" in capsys.readouterr().err
    assert (ran.code, ran.json["says"]) == (1, "the debugger was left")


@sqlite
def test_results_are_there_for_who_reads_them(configured: dict[str, Any]) -> None:
    signals.result_ready.connect(reader := Reader(), dispatch_uid="reader")
    result = {"source": SOURCE, "content_type": "", "content": {"text": ROWS.decode()}}
    whole = written("whole.json", results=[result])
    thin = written("thin.json", webhook_id="thin")

    assert Done("run", whole, "--receiver", "result_ready:reader").code == 0
    assert reader.keys == ["a", "b"]
    assert stored_files() == []
    assert not WebhookDelivery.objects.exists()
    Done("load", whole, thin)
    with pytest.raises(CommandError, match=r"takes a result file, and none is here \(none was rec"):
        Done("run", "thin")
    with pytest.raises(CommandError, match=r"takes a result file, and none is here"):
        Done("run", "thin", "--commit")
    assert WebhookDelivery.objects.get(webhook_id="thin").state == "received"
    assert Done("run", "m").code == 0
    assert Done("run", "m", "--commit").code == 0
    assert reader.keys == ["a", "b"] * 3
    assert len(stored_files()) == 1


@sqlite
def test_a_result_that_was_not_fetched_is_named(static: StaticSender) -> None:
    signals.result_ready.connect(Reader(), weak=False, dispatch_uid="reader")
    static.post(webhook_id="m")
    ResultFile.objects.create(delivery=the_delivery(), source_uri=SOURCE, state="failed")

    with pytest.raises(CommandError, match=r"none is here \(failed\)\. Export the delivery with"):
        Done("run", "m")


@sqlite
def test_an_event_without_output(configured: dict[str, Any]) -> None:
    signals.result_ready.connect(Reader(), weak=False, dispatch_uid="reader")
    signals.batch_failed.connect(recorder := Recorder(), dispatch_uid="note")
    body = {"text": json.dumps(StaticSender().envelope("batch.failed"))}

    assert Done("run", written(body=body)).code == 0
    assert len(recorder.calls) == 1


@sqlite
def test_a_file_runs_beside_the_delivery_that_it_was(stored: WebhookDelivery) -> None:
    signals.batch_succeeded.connect(recorder := Recorder())
    changed = {"text": json.dumps({"type": "batch.succeeded", "data": {"id": "changed"}})}

    assert Done("run", written(body=changed)).code == 0

    assert recorder.event.resource_id == "changed"
    assert the_delivery() == stored


# --- for good


@sqlite
def test_a_run_for_good_is_a_replay_with_an_actor(stored: WebhookDelivery) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(), dispatch_uid="note")
    signals.batch_succeeded.connect(other := Recorder(), dispatch_uid="other")

    ran = Done("run", "m", "--receiver", "note", "--commit", "--actor", "ada")

    assert ran.code == 0
    assert ran.out.splitlines()[-3:] == [
        "outcome: succeeded",
        "run: succeeded",
        "database: committed",
    ]
    attempt = Attempt.objects.get()
    assert (attempt.trigger, attempt.actor, attempt.outcome) == ("replay", "ada", "succeeded")
    assert recorder.event.is_replay
    assert other.calls == []
    assert effects() == ["recorder"]
    assert the_delivery().state == "processed"


@sqlite
def test_a_run_for_good_that_fails_is_in_the_log(stored: WebhookDelivery) -> None:
    recorder = Recorder(ValueError("no order"), GiveUp("never"))
    signals.batch_succeeded.connect(recorder, dispatch_uid="note")

    failed, gave_up = (Done("run", "m", "--commit", "--json") for _ in range(2))

    assert (failed.code, gave_up.code) == (1, 1)
    assert "ValueError: no order" in failed.err
    assert (failed.json["outcome"], failed.json["run"]) == ("failed", "retrying")
    assert failed.json["next_attempt"].endswith("Z")
    assert (gave_up.json["outcome"], gave_up.json["run"]) == ("gave_up", "dead")
    assert Attempt.objects.count() == 2
    assert effects() == []
    assert the_delivery().state == "failed"


@sqlite
def test_a_recording_that_was_only_stored_gets_this_one_run(configured: dict[str, Any]) -> None:
    signals.batch_succeeded.connect(Recorder(), weak=False, dispatch_uid="note")
    signals.batch_succeeded.connect(Recorder(), weak=False, dispatch_uid="other")
    Done("load", written())

    assert Done("run", "m", "--receiver", "note", "--commit").code == 0

    assert [run.receiver for run in ReceiverRun.objects.all()] == ["note"]
    assert the_delivery().state == "processed"


@sqlite
def test_what_waits_for_a_worker_is_left_to_it(static: StaticSender) -> None:
    signals.batch_succeeded.connect(recorder := Recorder(), dispatch_uid="note")
    static.post(webhook_id="m")
    Done("load", written(webhook_id="m2"), "--process")

    for webhook_id in ("m", "m2"):
        assert Done("run", webhook_id).code == 0
        with pytest.raises(CommandError, match=f"{webhook_id} was not processed for the first"):
            Done("run", webhook_id, "--commit")
    assert len(recorder.calls) == 2
    assert not ReceiverRun.objects.exists()


@sqlite
def test_a_limit_does_not_hold_it_and_a_pause_does(stored: WebhookDelivery) -> None:
    signals.batch_succeeded.connect(
        receivers.limited(1)(recorder := Recorder()), dispatch_uid="note"
    )
    Done("run", "m", "--commit")
    assert (len(recorder.calls), ReceiverRun.objects.get().lane) == (1, "")
    Done("pause", "--receiver", "note")
    with pytest.raises(CommandError, match=r"note did not run: a pause holds it\."):
        Done("run", "m", "--commit")
    assert len(recorder.calls) == 1


@sqlite
def test_a_run_for_good_that_another_worker_has(stored: WebhookDelivery) -> None:
    def receiver(**_: Any) -> None:
        with pytest.raises(CommandError, match="note is being run at this moment"):
            Done("run", "m", "--commit")

    signals.batch_succeeded.connect(receiver, dispatch_uid="note")

    assert Done("run", "m", "--commit").code == 0
    assert Attempt.objects.count() == 1


@sqlite
def test_a_file_is_not_run_for_good(configured: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="`load` the file before"):
        Done("run", written(), "--commit")
    with pytest.raises(CommandError, match="not allowed with"):
        Done("run", "m", "--commit", "--pdb")


@sqlite
def test_what_is_unreadable_or_gone_cannot_run(static: StaticSender) -> None:
    static.post(b"no JSON", webhook_id="bad")
    with pytest.raises(CommandError, match="bad is unreadable"):
        Done("run", "bad")
    WebhookDelivery.objects.update(body=None, emptied_by="retention")
    with pytest.raises(CommandError, match="the body of bad was removed by retention"):
        Done("run", "bad")


@sqlite
def test_content_of_every_kind_comes_back(configured: dict[str, Any]) -> None:
    video = b"\x00\xff"
    result = {
        "source": "files/v",
        "content_type": "video/mp4",
        "content": {"base64": base64.b64encode(video).decode()},
    }
    Done("load", written(results=[result]))
    assert exported("--results")["results"] == [result]
