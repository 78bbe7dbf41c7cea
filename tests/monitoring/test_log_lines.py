"""Each line that is logged about a delivery says which one."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db.backends.signals import connection_created

import gemini_webhooks
from gemini_webhooks import GiveUp, leases, logs, processing, receivers, signals
from gemini_webhooks.models import WebhookDelivery
from tests.monitoring.conftest import Lines, attributes
from tests.monitoring.pages import example
from tests.senders import StaticSender
from tests.test_docs import bare, table
from tests.test_receivers import Recorder

pytestmark = pytest.mark.django_db(transaction=True)
PACKAGE = Path(gemini_webhooks.__file__).parent
site = logging.getLogger("site")
NOTHING = ("", "", "", "")


def delivery_id() -> str:
    return str(WebhookDelivery.objects.get().pk)


def test_line_of_a_refused_request_names_what_it_claims_to_be(
    static: StaticSender, lines: Lines
) -> None:
    answer = StaticSender().post(webhook_id="msg_forged")
    StaticSender().post(webhook_id="with space", headers={"webhook-id": "with space"})

    assert answer.status_code == 401
    assert lines.about("refused: signature_mismatch") == ("msg_forged", "", "", "")
    assert lines.about("refused: malformed_header") == NOTHING


def test_line_of_a_request_that_is_put_off(
    static: StaticSender, lines: Lines, configured: dict[str, Any], settings: Any
) -> None:
    configured["SECRET_BACKEND"] = "tests.monitoring.test_log_lines.no_such_function"

    assert StaticSender().post(webhook_id="m").status_code == 503

    assert lines.about("webhook not decided: secret_unreadable") == ("m", "", "", "")


def test_line_about_a_broker_that_is_down_is_about_no_delivery(
    static: StaticSender, lines: Lines, other_broker: Callable[[str], None]
) -> None:
    other_broker("nosuch://127.0.0.1")
    assert static.post(webhook_id="m").status_code == 200

    assert lines.about("broker does not take messages") == ("", "", "", "")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_lines_of_a_receiver_through_any_logger(
    static: StaticSender, lines: Lines, kind: str
) -> None:
    def deeper() -> None:
        logging.getLogger("some.library").info("deeper")

    def sync(**_: Any) -> None:
        site.info("at work")
        deeper()

    async def asynchronous(**_: Any) -> None:
        site.info("at work")
        await sync_to_async(deeper)()

    receiver = sync if kind == "sync" else asynchronous
    receivers.on("batch.succeeded", name="r")(receiver)
    static.post(webhook_id="m")
    processing.drain()
    site.info("afterwards")

    assert lines.about("at work") == ("m", delivery_id(), "r", "1")
    assert lines.about("deeper") == ("m", delivery_id(), "r", "1")
    assert lines.about("afterwards") == NOTHING


def test_attempts_and_receivers_are_told_apart(static: StaticSender, lines: Lines) -> None:
    def twice(delivery: Any, **_: Any) -> None:
        site.info("twice")
        if not delivery.runs.get(receiver="twice").attempt_log.exists():
            raise ValueError

    receivers.on("batch.succeeded", name="twice")(twice)
    receivers.on("batch.succeeded", name="once")(lambda **_: site.info("once"))
    static.post(webhook_id="m")
    for _ in range(3):
        processing.drain()

    seen = [attributes(record) for record in lines.records if record.name == "site"]
    assert sorted(seen) == [
        ("m", delivery_id(), receiver, attempt)
        for receiver, attempt in (("once", "1"), ("twice", "1"), ("twice", "2"))
    ]


def test_lines_of_a_router_and_of_who_is_told_of_a_failure(
    static: StaticSender, lines: Lines, configured: dict[str, Any]
) -> None:
    def give_up(**_: Any) -> None:
        raise GiveUp

    def told(**_: Any) -> None:
        site.info("told")

    configured["QUEUE_ROUTER"] = "tests.monitoring.test_log_lines.no_such_function"
    receivers.on("batch.succeeded", name="r")(give_up)
    signals.delivery_failed.connect(told)
    try:
        static.post(webhook_id="m")
        processing.drain()
    finally:
        signals.delivery_failed.disconnect(told)

    assert lines.about("QUEUE_ROUTER failed") == ("m", delivery_id(), "", "")
    assert lines.about("told") == ("m", delivery_id(), "r", "1")


def test_line_of_a_result_that_cannot_be_fetched(
    static: StaticSender, lines: Lines, configured: dict[str, Any]
) -> None:
    configured["FETCH_RESULTS"] = True
    static.post(static.envelope(output_file_uri="gs://not-allowed/o"), webhook_id="m")
    processing.drain()

    assert lines.about("not fetched") == ("m", delivery_id(), "", "1")


def test_line_of_who_is_told_that_a_receiver_waits_in_vain(
    static: StaticSender, lines: Lines, configured: dict[str, Any]
) -> None:
    def told(**_: Any) -> None:
        site.info("told")

    configured["FETCH_RESULTS"] = True
    signals.result_ready.connect(waits := Recorder(), dispatch_uid="waits")
    signals.delivery_failed.connect(told)
    try:
        static.post(static.envelope(output_file_uri="gs://not-allowed/o"), webhook_id="m")
        processing.drain()
    finally:
        signals.delivery_failed.disconnect(told)

    assert waits.calls == []
    assert lines.about("told") == ("m", delivery_id(), "result_ready:waits", "0")


def test_the_thread_that_renews_the_lease_knows_it_too(
    static: StaticSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[logs.Subject] = []

    def opened(**_: Any) -> None:
        seen.append(logs.current())

    def slow(**_: Any) -> None:
        while not seen:
            pass

    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    receivers.on("batch.succeeded", name="r")(receivers.non_atomic(slow))
    static.post(webhook_id="m")
    connection_created.connect(opened)
    try:
        processing.drain()
    finally:
        connection_created.disconnect(opened)

    expected = logs.Subject(webhook_id="m", delivery_id=delivery_id(), receiver="r", attempt="1")
    assert set(seen) == {expected}


def test_lines_of_the_app_need_no_filter_on_the_handler(static: StaticSender) -> None:
    """So a format may name the attributes if the handler is for this app alone."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(webhook_id)s %(name)s"))
    ours = logging.getLogger("gemini_webhooks")
    ours.addHandler(handler)
    try:
        StaticSender().post(webhook_id="m")
    finally:
        ours.removeHandler(handler)

    assert stream.getvalue() == "m gemini_webhooks.ingest\n"


def test_every_module_of_the_app_gets_its_logger_so() -> None:
    without = [
        module.relative_to(PACKAGE).as_posix()
        for module in PACKAGE.rglob("*.py")
        if "getLogger" in module.read_text() and "emulator" not in module.parts
    ]
    # What a management command sets up is the output of a process, not a delivery's.
    assert [name for name in without if not name.startswith("management/")] == ["logs.py"], (
        "use logs.get_logger(__name__)"
    )


def test_what_a_line_says_itself_holds(lines: Lines) -> None:
    with logs.about(logs.Subject(webhook_id="m", delivery_id="1")):
        site.info("other", extra={"webhook_id": "another"})

    assert lines.about("other") == ("another", "1", "", "")


def test_the_settings_of_the_page(static: StaticSender, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {}
    exec(example("LOGGING = "), namespace)
    exec(example("class AsJSON"), namespace)
    [handler] = namespace["LOGGING"]["handlers"].values()
    plain, as_json = io.StringIO(), io.StringIO()
    receivers.on("batch.succeeded", name="r")(lambda **_: site.info("at work"))
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logging.config.dictConfig(
            {
                **namespace["LOGGING"],
                "handlers": {"plain": {**handler, "stream": plain}, "json": {
                    **handler, "stream": as_json, "formatter": "json",
                }},
                "formatters": {
                    **namespace["LOGGING"]["formatters"], "json": {"()": namespace["AsJSON"]},
                },
                "root": {"handlers": ["plain", "json"], "level": "INFO"},
            }
        )  # fmt: skip
        StaticSender().post(webhook_id="forged")
        static.post(webhook_id="m")
        processing.drain()
        site.info("afterwards")
    finally:
        root.handlers, root.level = before[0], before[1]
        root.setLevel(before[1])

    assert " WARNING gemini_webhooks.ingest [forged  ] webhook refused:" in plain.getvalue()
    assert " INFO site [m r 1] at work\n" in plain.getvalue()
    assert " INFO site [  ] afterwards\n" in plain.getvalue()
    written = {line["message"]: line for line in map(json.loads, as_json.getvalue().splitlines())}
    del written["at work"]["time"]
    assert written["at work"] == {
        "level": "INFO",
        "logger": "site",
        "webhook_id": "m",
        "delivery_id": delivery_id(),
        "receiver": "r",
        "attempt": "1",
        "message": "at work",
    }


def test_columns_of_the_page_are_the_attributes() -> None:
    assert tuple(bare(name) for name, _ in table("monitoring", "Log lines")) == logs.FIELDS


def test_nothing_is_left_behind_by_a_request(static: StaticSender) -> None:
    static.post(webhook_id="m")
    static.post(b"{", webhook_id="n")
    static.client.get("/webhooks/gemini/")

    assert logs.current() == logs.NOTHING
