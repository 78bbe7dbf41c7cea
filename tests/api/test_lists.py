"""Lists: pages that miss nothing and repeat nothing, and conditions that are read strictly."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from gemini_webhooks import clock
from gemini_webhooks.models import Attempt, ReceiverRun, ResultFile, WebhookDelivery
from tests.admin import rows
from tests.api.conftest import EVERYTHING, PREFIX
from tests.conftest import every_database

pytest.importorskip("rest_framework", reason="needs the extra [api]")

LISTS = ["deliveries", "runs", "attempts", "results", "rejections", "endpoints", "replays"]


def ids(answer):
    return [row["id"] for row in answer["results"]]


def walk(asker, answer, way):
    """The ids of all pages from ``answer`` on."""
    found = [ids(answer)]
    while answer[way]:
        response = asker.get(answer[way])
        assert response.status_code == 200
        answer = response.json()
        found.append(ids(answer))
    return found, answer


class TestPages:
    @every_database
    def test_every_row_once_there_and_back(self, database, make_asker):
        asker = make_asker(*EVERYTHING)
        moment = clock.now()
        # Many at the same moment, and ids that do not follow the times.
        times = [moment - timedelta(seconds=n % 3) for n in range(11)]
        came = [rows.delivery(n, received_at=time) for n, time in enumerate(times)]
        expected = sorted(came, key=lambda one: (one.received_at, one.pk), reverse=True)

        there, last = walk(asker, asker.read("deliveries/", page_size=3), "next")
        back, first = walk(asker, last, "previous")

        assert [pk for page in there for pk in page] == [one.pk for one in expected]
        assert back == there[::-1]
        assert first["previous"] is None

    @every_database
    def test_by_id(self, database, make_asker):
        asker = make_asker(*EVERYTHING)
        came = rows.delivery()
        runs = [rows.run(came, f"receiver-{n}").pk for n in range(5)]

        there, last = walk(asker, asker.read("runs/", page_size=2), "next")

        assert there == [runs[4:2:-1], runs[2:0:-1], runs[:1]]
        assert walk(asker, last, "previous")[0] == there[::-1]

    def test_what_comes_meanwhile_shifts_nothing(self, asker):
        for number in range(4):
            rows.delivery(number)
        first = asker.read("deliveries/", page_size=2)
        newest = rows.delivery(9)
        [_, second], last = walk(asker, first, "next")
        pages, _ = walk(asker, last, "previous")

        assert set(second).isdisjoint(ids(first))
        assert pages == [second, ids(first), [newest.pk]]

    def test_conditions_go_along(self, asker):
        for number in range(6):
            rows.delivery(number, state="failed" if number % 2 else "processed")
        pages, _ = walk(asker, asker.read("deliveries/", page_size=2, state="failed"), "next")

        assert [len(page) for page in pages] == [2, 1]

    def test_size(self, asker):
        for number in range(51):
            rows.rejection(reason=str(number))
        assert len(ids(asker.read("rejections/"))) == 50
        assert len(ids(asker.read("rejections/", page_size=200))) == 51

    def test_beyond_the_last_row(self, asker):
        rows.delivery()
        empty = {"next": None, "previous": None, "results": []}
        assert asker.read("deliveries/", cursor="n0.1") == empty
        assert asker.read("deliveries/", cursor=f"p{9 * 10**16}.1") == empty
        assert asker.read("runs/", cursor="p" + "9" * 18) == empty


@pytest.mark.parametrize("name", LISTS)
def test_a_page_costs_the_same_however_long_it_is(asker, name):
    def cost():
        with CaptureQueriesContext(connections["default"]) as queries:
            asker.read(f"{name}/")
        assert not [query for query in queries if "COUNT(" in query["sql"]]
        assert not [query for query in queries if '"body"' in query["sql"]]
        return len(queries)

    def add(number):
        came = rows.family(number)[1]
        asker.send(f"deliveries/{came.pk}/replay/", expected=202)

    add(1)
    few = cost()
    for number in range(2, 6):
        add(number)
    assert cost() == few


@every_database
class TestConditions:
    @pytest.fixture
    def found(self, database, make_asker):
        asker = make_asker(*EVERYTHING)

        def found(name, **parameters):
            return {row["webhook_id"] for row in asker.read(f"{name}/", **parameters)["results"]}

        return found

    def test_deliveries(self, found):
        orders = rows.endpoint("orders")
        old = clock.after(-7200)
        rows.delivery(1, endpoint=orders, signing="jwt", event_type="", received_at=old)
        second = rows.delivery(2, state="failed", duplicate_count=2, resource_id="b2")
        rows.delivery(3, state="received", source="reconciler", event_type="video.generated")
        rows.delivery(4, user_metadata={"tenant": "acme", "order": {"id": 7}, "a=b c": ["x=y"]})
        rows.run(second, state="dead")
        since = (clock.aware(clock.now()) - timedelta(hours=1)).isoformat()

        assert found("deliveries") == {"evt_0001", "evt_0002", "evt_0003", "evt_0004"}
        for expected, parameters in [
            ({"evt_0002", "evt_0003"}, {"state": ["failed", "received"]}),
            ({"evt_0001", "evt_0003"}, {"event_type": ["", "video.generated"]}),
            ({"evt_0001"}, {"endpoint": "orders"}),
            ({"evt_0002", "evt_0003", "evt_0004"}, {"endpoint": ""}),
            (set(), {"endpoint": "nowhere"}),
            ({"evt_0001"}, {"signing": "jwt"}),
            ({"evt_0003"}, {"source": "reconciler"}),
            ({"evt_0001"}, {"until": since}),
            ({"evt_0002", "evt_0003", "evt_0004"}, {"since": since}),
            (set(), {"since": since, "until": since}),
            ({"evt_0002"}, {"webhook_id": "evt_0002"}),
            (set(), {"webhook_id": "EVT_0002"}),
            ({"evt_0002"}, {"resource_id": "b2"}),
            ({"evt_0002"}, {"is_duplicate": "true"}),
            ({"evt_0001", "evt_0003", "evt_0004"}, {"is_duplicate": "false"}),
            ({"evt_0002"}, {"has_failures": "true"}),
            ({"evt_0001", "evt_0003", "evt_0004"}, {"has_failures": "false"}),
            ({"evt_0004"}, {"metadata": ["tenant=acme", "order.id=7"]}),
            ({"evt_0004"}, {"metadata": ["tenant=acme", "tenant=acme"]}),
            (set(), {"metadata": ["tenant=acme", "tenant=globex"]}),
            ({"evt_0004"}, {"metadata": '["a=b c"][0]=x=y'}),
            ({"evt_0002"}, {"state": "failed", "has_failures": "true"}),
            (set(), {"state": "received", "has_failures": "true"}),
        ]:
            assert found("deliveries", **parameters) == expected, parameters

    def test_far_times(self, found):
        rows.delivery(1)
        for parameters in (
            {"since": "0001-01-01T00:00:00+14:00"},
            {"until": "9999-12-31T23:59:60.123456789-12:00"},
        ):
            assert found("deliveries", **parameters) == {"evt_0001"}
        for parameters in (
            {"until": "0001-01-01T00:00:00Z"},
            {"since": "9999-12-31T23:59:59Z"},
        ):
            assert found("deliveries", **parameters) == set()

    def test_runs_attempts_and_results(self, found):
        first, second = rows.delivery(1), rows.delivery(2)
        dead = rows.run(first, "shop.mail", state="dead", error_class="OSError")
        rows.run(second, "shop.mail")
        rows.attempt(dead, outcome="gave_up", trigger="retry")
        rows.result(first, state="failed")
        rows.result(second)

        for name, expected, parameters in [
            ("runs", {"evt_0001", "evt_0002"}, {"receiver": "shop.mail"}),
            ("runs", {"evt_0001"}, {"delivery": first.pk}),
            ("runs", {"evt_0002"}, {"webhook_id": "evt_0002"}),
            ("runs", {"evt_0001"}, {"state": ["dead", "running"]}),
            ("runs", {"evt_0001"}, {"error_class": "OSError"}),
            ("results", {"evt_0001"}, {"state": "failed"}),
            ("results", {"evt_0002"}, {"delivery": second.pk}),
            ("results", {"evt_0002"}, {"webhook_id": "evt_0002"}),
            ("results", {"evt_0001"}, {"resource_id": "batch-1"}),
        ]:
            assert found(name, **parameters) == expected, (name, parameters)

    def test_the_others(self, database, make_asker):
        asker = make_asker(*EVERYTHING)
        first = rows.family(1)[1]
        rows.family(2)
        rows.rejection(reason="token_reused", status=401, endpoint_slug="orders-1")
        replay = asker.send("replays/", {"selection": {"ids": [first.pk]}}, 201)
        asker.send(f"deliveries/{first.pk}/replay/", expected=202)
        attempt = Attempt.objects.earliest("pk")
        moment = clock.aware(clock.after(60)).isoformat()

        for name, expected, parameters in [
            ("attempts", 1, {"run": attempt.run_id}),
            ("attempts", 1, {"delivery": first.pk}),
            ("attempts", 2, {"outcome": "succeeded", "trigger": "delivery"}),
            ("attempts", 0, {"outcome": "lost"}),
            ("rejections", 1, {"reason": "token_reused"}),
            ("rejections", 1, {"status": 401}),
            ("rejections", 2, {"endpoint_slug": ""}),
            ("rejections", 1, {"endpoint_slug": "orders-1"}),
            ("rejections", 3, {"until": moment}),
            ("rejections", 0, {"since": moment}),
            ("endpoints", 1, {"slug": "orders-2"}),
            ("endpoints", 2, {"state": "enabled"}),
            ("replays", 1, {"delivery": first.pk, "cursor": f"p{replay['id']}"}),
            ("replays", 0, {"state": "stopped"}),
        ]:
            answer = asker.read(f"{name}/", **parameters)
            assert len(answer["results"]) == expected, (name, parameters)
        assert replay["id"] in ids(asker.read("replays/", state="running"))


WRONG = [
    ("deliveries", {"stat": "failed"}, "stat"),
    ("deliveries", {"state": "done"}, "state"),
    ("deliveries", {"state": ""}, "state"),
    ("deliveries", {"signing": ["hmac", "jwt"]}, "signing"),
    ("deliveries", {"webhook_id": ""}, "webhook_id"),
    ("deliveries", {"webhook_id": "a\0b"}, "webhook_id"),
    ("deliveries", {"webhook_id": "x" * 256}, "webhook_id"),
    ("deliveries", {"resource_id": "\0"}, "resource_id"),
    ("deliveries", {"event_type": "\0"}, "event_type"),
    ("deliveries", {"endpoint": "\0"}, "endpoint"),
    ("deliveries", {"since": "yesterday"}, "since"),
    ("deliveries", {"since": ""}, "since"),
    ("deliveries", {"since": "2026-01-01T00:00:00"}, "since"),
    ("deliveries", {"since": "2026-13-01T00:00:00Z"}, "since"),
    ("deliveries", {"until": "2026-01-01T00:00:00 02:00"}, "until"),
    ("deliveries", {"is_duplicate": "yes"}, "is_duplicate"),
    ("deliveries", {"has_failures": "1"}, "has_failures"),
    ("deliveries", {"metadata": "tenant"}, "metadata"),
    ("deliveries", {"metadata": "=acme"}, "metadata"),
    ("deliveries", {"metadata": "owners[*].id=x"}, "metadata"),
    ("deliveries", {"metadata": "module:function=x"}, "metadata"),
    ("deliveries", {"metadata": [f"k{n}=v" for n in range(11)]}, "metadata"),
    ("deliveries", {"metadata": "a=\0"}, "metadata"),
    ("deliveries", {"metadata": "a b=c"}, "metadata"),
    ("deliveries", {"metadata": "a\x85=c"}, "metadata"),
    ("deliveries", {"metadata": "a\u2003=c"}, "metadata"),
    ("deliveries", {"page_size": "0"}, "page_size"),
    ("deliveries", {"page_size": "201"}, "page_size"),
    ("deliveries", {"page_size": "1_0"}, "page_size"),
    ("deliveries", {"page_size": "١"}, "page_size"),
    ("deliveries", {"page_size": "9" * 5000}, "page_size"),
    ("deliveries", {"page_size": "1.0"}, "page_size"),
    ("deliveries", {"cursor": "n5"}, "cursor"),
    ("deliveries", {"cursor": "n" + "9" * 18 + ".1"}, "cursor"),
    ("runs", {"cursor": "n1.5"}, "cursor"),
    ("runs", {"cursor": "x"}, "cursor"),
    ("runs", {"cursor": ""}, "cursor"),
    ("runs", {"delivery": "0"}, "delivery"),
    ("runs", {"delivery": str(2**63)}, "delivery"),
    ("runs", {"delivery": "1 OR 1=1"}, "delivery"),
    ("runs", {"receiver": "\0"}, "receiver"),
    ("attempts", {"outcome": "fine"}, "outcome"),
    ("rejections", {"status": "200"}, "status"),
    ("rejections", {"ordering": "diagnosis"}, "ordering"),
    ("endpoints", {"search": "x"}, "search"),
    ("replays", {"state": "failed"}, "state"),
    ("stats", {"period": "1y"}, "period"),
    ("backlog", {"max_seconds": "5"}, "max_seconds"),
]


@pytest.mark.parametrize(("name", "parameters", "wrong"), WRONG)
def test_what_is_wrong_is_named(asker, name, parameters, wrong):
    answer = asker.read(f"{name}/", 400, **parameters)

    assert answer["error"] == "invalid"
    assert list(answer["fields"]) == [wrong]
    assert answer["detail"].startswith(f"{wrong}: ")


@pytest.mark.parametrize(
    "query",
    ["webhook_id=%ED%A0%80", "webhook_id=%FF", "metadata=a%3D%F0%9F%92%A9", "state=failed&&"],
)
def test_odd_but_clear(asker, query):
    rows.delivery()
    answer = asker.get(f"{PREFIX}deliveries/?{query}")
    assert (answer.status_code, answer.json()["results"]) == (200, [])


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("pk", ["0", "-1", "x", "1%00", "%00", "1_0", "١", "9" * 19, "9" * 5000])
def test_rows_that_are_not_there(asker, name, pk):
    rows.family(1)
    answer = asker.get(f"{PREFIX}{name}/{pk}/")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_a_detail_takes_no_parameter(asker):
    came = rows.delivery()
    assert asker.read(f"deliveries/{came.pk}/", 400, fields="id")["fields"].keys() == {"fields"}


@every_database
def test_times_are_in_utc(database, make_asker):
    moment = clock.now()
    rows.delivery(1, received_at=moment, took=timedelta(seconds=1.5))
    [shown] = make_asker(*EVERYTHING).read("deliveries/")["results"]
    expected = clock.aware(WebhookDelivery.objects.get().received_at)

    assert shown["received_at"] == expected.isoformat().replace("+00:00", "Z")
    assert (shown["took"], shown["settled_at"]) == (1.5, None)


def test_keys_are_those_of_the_columns(asker):
    rows.family(1)
    of_columns = {
        "deliveries": WebhookDelivery,
        "runs": ReceiverRun,
        "results": ResultFile,
    }
    for name, model in of_columns.items():
        [shown] = asker.read(f"{name}/")["results"]
        columns = {field.name for field in model._meta.fields} | {"webhook_id"}
        assert set(shown) <= columns
