"""A replay through the API really runs receivers again, and says when it cannot."""

from __future__ import annotations

import pytest

from gemini_webhooks import GiveUp, processing, receivers, signals
from gemini_webhooks.models import Attempt, ReceiverRun, Replay, WebhookDelivery
from tests.admin import rows
from tests.api.conftest import EVERYTHING, PREFIX
from tests.conftest import every_database

pytest.importorskip("rest_framework", reason="needs the extra [api]")

sqlite = pytest.mark.django_db(transaction=True)


@pytest.fixture
def handled(static):
    """Events that come and are processed by a receiver that fails as often as it is told to."""
    calls, failures = [], []

    @receivers.on("batch.succeeded", name="shop.mail")
    def mail(event, **_):
        calls.append((event.id, event.is_replay))
        if failures:
            raise failures.pop()

    def handled(*names, failing=False):
        for name in names:
            if failing:
                failures.append(GiveUp("the shop is closed"))
            static.post(static.envelope(user_metadata={"tenant": "acme"}), webhook_id=name)
            processing.drain()
        before = list(calls)
        calls.clear()
        return before

    handled.calls = calls
    return handled


def pk_of(webhook_id):
    return WebhookDelivery.objects.get(webhook_id=webhook_id).pk


@every_database
class TestOne:
    def test_everything(self, database, handled, make_asker):
        handled("msg_1")
        asker = make_asker(*EVERYTHING)
        answer = asker.send(f"deliveries/{pk_of('msg_1')}/replay/", {"reason": "mended"}, 202)
        assert answer == {"runs": [ReceiverRun.objects.get().pk]}

        processing.drain()

        assert handled.calls == [("msg_1", True)]
        assert Attempt.objects.latest("number").actor == "ada"
        [replay] = asker.read("replays/")["results"]
        assert (replay["actor"], replay["reason"], replay["state"]) == ("ada", "mended", "finished")

    def test_what_failed(self, database, handled, make_asker):
        handled("msg_1", failing=True)
        asker = make_asker(*EVERYTHING)
        address = f"deliveries/{pk_of('msg_1')}/replay/"
        asker.send(address, {"what": "failed"}, 202)
        processing.drain()

        assert handled.calls == [("msg_1", True)]
        assert asker.send(address, {"what": "failed"}, 409)["error"] == "nothing_to_replay"

    def test_some_receivers(self, database, handled, make_asker):
        handled("msg_1")
        signals.event_received.connect(lambda **_: None, dispatch_uid="other", weak=False)
        asker = make_asker(*EVERYTHING)
        address = f"deliveries/{pk_of('msg_1')}/replay/"
        named = {"what": "receivers", "receivers": ["shop.mail"]}
        assert len(asker.send(address, named, 202)["runs"]) == 1

        unknown = {"what": "receivers", "receivers": ["shop.nobody"]}
        assert asker.send(address, unknown, 409)["error"] == "nothing_to_replay"


@sqlite
class TestOneThatCannot:
    def test_body_that_was_removed(self, asker):
        came = rows.delivery(body=None, emptied_by="retention")
        found = asker.send(f"deliveries/{came.pk}/replay/", expected=409)
        assert found["error"] == "payload_removed"

    def test_body_that_is_not_json(self, asker):
        came = rows.delivery(body=b"\xff", state="unreadable")
        found = asker.send(f"deliveries/{came.pk}/replay/", expected=409)
        assert found["error"] == "nothing_to_replay"

    def test_delivery_that_is_not_there(self, asker):
        assert asker.send("deliveries/5/replay/", expected=404)["error"] == "not_found"

    @pytest.mark.parametrize(
        ("order", "wrong"),
        [
            ({"what": "nothing"}, "what"),
            ({"what": 5}, "what"),
            ({"what": "receivers"}, "receivers"),
            ({"what": "failed", "receivers": ["shop.mail"]}, "receivers"),
            ({"receivers": ["a"]}, "receivers"),
            ({"receivers": "shop.mail"}, "receivers"),
            ({"what": "receivers", "receivers": [5]}, "receivers"),
            ({"what": "receivers", "receivers": ["\0"]}, "receivers"),
            ({"reason": "x" * 501}, "reason"),
            ({"reason": "\ud800"}, "reason"),
            ({"reason": None}, "reason"),
            ({"rate": 5}, "rate"),
        ],
    )
    def test_order_that_is_wrong(self, asker, order, wrong):
        came = rows.delivery()
        found = asker.send(f"deliveries/{came.pk}/replay/", order, 400)
        assert list(found["fields"]) == [wrong]
        assert Replay.objects.count() == 0


@every_database
class TestMany:
    def test_preview_then_replay(self, database, handled, make_asker):
        handled("msg_1", failing=True)
        handled("msg_2", "msg_3")
        asker = make_asker(*EVERYTHING)
        order = {"selection": {"states": ["failed"]}, "what": "failed", "reason": "open again"}

        preview = asker.send("replays/", {**order, "dry_run": True})
        assert (preview["count"], preview["at_least"], preview["without_body"]) == (1, False, 0)
        assert preview["sample"] == [{"id": pk_of("msg_1"), "webhook_id": "msg_1"}]
        assert preview["oldest"] == preview["newest"]
        assert Replay.objects.count() == 0

        begun = asker.send("replays/", order, 201)
        assert (begun["state"], begun["total"], begun["actor"]) == ("running", 1, "ada")
        assert begun["selection"] == {"states": ["failed"]}
        processing.drain()

        assert handled.calls == [("msg_1", True)]
        ended = asker.read(f"replays/{begun['id']}/")
        assert (ended["state"], ended["replayed"], ended["skipped"]) == ("finished", 1, 0)
        [came_to] = asker.read(f"replays/{begun['id']}/deliveries/")["results"]
        assert (came_to["webhook_id"], came_to["runs"], came_to["problem"]) == ("msg_1", 1, "")

    @pytest.mark.parametrize(
        ("selection", "expected"),
        [
            ({"metadata": {"tenant": "acme"}}, 2),
            ({"metadata": {"tenant": "globex"}}, 0),
            ({"endpoint": "", "signing": "hmac"}, 2),
            ({"event_types": ["batch.succeeded"], "since": "2020-01-01T00:00:00+02:00"}, 2),
            ({"until": "2020-01-01T00:00:00Z"}, 0),
            ({"receiver": "shop.mail", "error_class": "gemini_webhooks.exceptions.GiveUp"}, 1),
            ({"ids": [2**63 - 1]}, 0),
            ({}, 2),
        ],
    )
    def test_conditions(self, database, handled, make_asker, selection, expected):
        handled("msg_1", failing=True)
        handled("msg_2")
        order = {"selection": selection, "dry_run": True}
        assert make_asker(*EVERYTHING).send("replays/", order)["count"] == expected

    def test_stop(self, database, handled, make_asker):
        handled("msg_1", "msg_2")
        asker = make_asker(*EVERYTHING)
        begun = asker.send("replays/", {"everything": True, "rate": 1}, 201)

        stopped = asker.send(f"replays/{begun['id']}/stop/")
        assert (stopped["state"], stopped["stopped_by"]) == ("stopped", "ada")
        found = asker.send(f"replays/{begun['id']}/stop/", expected=409)
        assert found["error"] == "already_ended"
        processing.drain()
        assert handled.calls == []


@sqlite
class TestManyThatCannot:
    @pytest.mark.parametrize(
        ("order", "wrong"),
        [
            ({}, "selection"),
            ({"selection": {}}, "selection"),
            ({"selection": {"state": ["failed"]}}, "selection"),
            ({"selection": {"states": "failed"}}, "selection"),
            ({"selection": {"states": ["done"]}}, "selection"),
            ({"selection": {"ids": ["5"]}}, "selection"),
            ({"selection": {"ids": [True]}}, "selection"),
            ({"selection": {"ids": [0]}}, "selection"),
            ({"selection": {"ids": list(range(1, 502))}}, "selection"),
            ({"selection": {"since": "now"}}, "selection"),
            ({"selection": {"since": 5}}, "selection"),
            (
                {"selection": {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}},
                "selection",
            ),
            ({"selection": {"metadata": {"a[*]": "x"}}}, "selection"),
            ({"selection": {"metadata": {"a": 5}}}, "selection"),
            ({"selection": {"metadata": {"a": "\0"}}}, "selection"),
            ({"selection": {"endpoint": "nowhere"}}, "selection"),
            ({"selection": {"receiver": ""}}, "selection"),
            ({"selection": []}, "selection"),
            ({"everything": "yes"}, "everything"),
            ({"everything": True, "what": "receivers"}, "selection"),
            ({"everything": True, "rate": 0}, "rate"),
            ({"everything": True, "rate": "5"}, "rate"),
            ({"everything": True, "rate": 1.5}, "rate"),
            ({"everything": True, "dryrun": True}, "dryrun"),
            ({"everything": True, "actor": "grace"}, "actor"),
            # What is quoted in the answer is no text that could be sent.
            ({"\ud800": 1}, "?"),
            ({"everything": True, "what": "\ud800"}, "what"),
            ({"selection": {"states": ["\ud800"]}}, "selection"),
            ({"selection": {"metadata": {"\ud800": "x"}}}, "selection"),
        ],
    )
    def test_order_that_is_wrong(self, asker, order, wrong):
        rows.delivery()
        found = asker.send("replays/", order, 400)
        assert list(found["fields"]) == [wrong]
        assert Replay.objects.count() == 0

    def test_of_many_mistakes_some_are_told(self, asker):
        order = {f"unknown-{number}": 1 for number in range(3000)}
        assert len(asker.send("replays/", order, 400)["fields"]) == 20

    def test_nothing_is_found(self, asker):
        found = asker.send("replays/", {"selection": {"ids": [7]}}, 409)
        assert found["error"] == "nothing_to_replay"

    @pytest.mark.parametrize(
        "body",
        ["", "{", "[]", '"x"', "NaN", "[" * 100_000, '{"rate": ' + "9" * 5000 + "}", "\xff"],
        ids=["empty", "open", "list", "text", "NaN", "deep", "long number", "latin"],
    )
    def test_body_that_is_no_object(self, asker, body):
        answer = asker.post(
            f"{PREFIX}replays/", body.encode("latin-1"), content_type="application/json"
        )
        assert answer.status_code == 400
        assert answer.json()["error"] in ("parse_error", "invalid")

    def test_sender_that_goes_away(self, asker):
        class Gone:
            def read(self, *_):
                raise OSError

            readline = read

        answer = asker.generic(
            "POST",
            f"{PREFIX}replays/",
            b"{}",
            content_type="application/json",
            **{"wsgi.input": Gone()},
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "parse_error")

    def test_body_that_is_too_large(self, asker):
        body = b'{"reason": "' + b"x" * 1024 * 1024 + b'"}'
        answer = asker.post(f"{PREFIX}replays/", body, content_type="application/json")
        assert (answer.status_code, answer.json()["error"]) == (413, "body_too_large")

    def test_form(self, asker):
        answer = asker.post(f"{PREFIX}replays/", {"everything": "true"})
        assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_media_type")
