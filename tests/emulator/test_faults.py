"""Errors on demand, in Google's form."""

from http.client import RemoteDisconnected

import pytest

from tests.emulator.conftest import KEY

CREATE = {"uri": "https://a.example", "subscribed_events": ["batch.succeeded"]}


def create(wire):
    return wire.post("/v1/webhooks", CREATE, key=KEY)


@pytest.mark.parametrize(
    ("status", "name", "retry_after"),
    [
        (409, "ALREADY_EXISTS", None),
        (429, "RESOURCE_EXHAUSTED", "7"),
        (500, "INTERNAL", None),
        (503, "UNAVAILABLE", "7"),
    ],
)
def test_a_call_fails_as_told_and_has_done_nothing(emulator, wire, status, name, retry_after):
    emulator.faults.fail_next(status=status, retry_after=7)

    got, headers, answer = create(wire)

    assert (got, headers["retry-after"]) == (status, retry_after)
    assert (answer["error"]["code"], answer["error"]["status"]) == (status, name)
    assert len(emulator.webhooks) == 0
    assert create(wire)[0] == 200


def test_only_calls_that_match_fail(emulator, wire):
    emulator.faults.fail_next(method="POST", path_contains="webhooks", status=500)

    assert wire.get("/v1/webhooks", key=KEY)[0] == 200
    assert wire.post("/v1/interactions", {"model": "m", "input": "a"}, key=KEY)[0] == 200
    assert len(emulator.faults) == 1
    assert create(wire)[0] == 500
    assert len(emulator.faults) == 0


def test_faults_are_met_in_their_order_and_number(emulator, wire):
    emulator.faults.fail_next(status=503, times=2)
    emulator.faults.fail_next(status=429)

    assert [create(wire)[0] for _ in range(4)] == [503, 503, 429, 200]


def test_without_a_key_no_fault_is_used_up(emulator, wire):
    emulator.faults.fail_next(status=503)

    assert wire.post("/v1/webhooks", CREATE)[0] == 401
    assert create(wire)[0] == 503


def test_the_official_client_comes_back_after_a_passing_fault(emulator, client):
    emulator.faults.fail_next(path_contains="webhooks", status=429, retry_after=0)

    assert client.webhooks.list().webhooks == []
    assert len(emulator.faults) == 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_work_can_be_done_and_denied(emulator, wire, status):
    emulator.faults.fail_next(method="POST", status=status, done=True)

    assert create(wire)[0] == status
    assert len(emulator.webhooks) == 1
    assert create(wire)[0] == 200


def test_answer_can_be_lost_though_the_work_is_done(emulator, wire, caplog):
    emulator.faults.drop_answer(method="POST", path_contains="webhooks")

    assert wire.get("/v1/webhooks", key=KEY)[0] == 200
    with pytest.raises(RemoteDisconnected):
        create(wire)

    assert len(emulator.webhooks) == 1
    assert len(emulator.faults) == 0
    assert create(wire)[0] == 200
    assert caplog.text == ""


def test_faults_can_be_forgotten(emulator, wire):
    emulator.faults.fail_next(status=503, times=3)
    emulator.faults.drop_answer()

    emulator.faults.clear()

    assert create(wire)[0] == 200
