"""Deliveries stop: after failures, on request, and for good."""

import pytest

from tests.emulator.conftest import MODEL, Receiver

OFF = "disabled_due_to_failed_deliveries"
REQUEST = [{"contents": "a"}]


def register(client, receiver):
    return client.webhooks.create(uri=receiver.url, subscribed_events=["batch.succeeded"])


def submit(server, client, *, times=1):
    for _ in range(times):
        client.batches.create(model=MODEL, src=REQUEST)
        assert server.emulator.outbox.wait_idle()


def state(client, made):
    return client.webhooks.get(made.id).state


def test_events_that_fail_all_their_tries_switch_the_webhook_off(serve, connect, receiver):
    lines = []
    server = serve(max_tries=2, disable_after=2, report=lines.append)
    client = connect(server)
    made = register(client, receiver)
    receiver.statuses = [500] * 99

    submit(server, client)
    assert state(client, made) == "enabled"
    submit(server, client)
    assert state(client, made) == OFF
    assert lines[-1] == f"webhook {made.id} {OFF}"
    assert client.webhooks.get(made.id).update_time > made.update_time

    submit(server, client)
    assert len(receiver.got) == 4  # two events, two tries each; nothing of the third


def test_an_event_that_is_accepted_starts_the_count_anew(serve, connect, receiver):
    server = serve(max_tries=1, disable_after=2)
    client = connect(server)
    made = register(client, receiver)
    receiver.statuses = [500, 200, 500]

    submit(server, client, times=3)

    assert state(client, made) == "enabled"


def test_a_try_that_fails_before_one_that_is_accepted_counts_for_nothing(serve, connect, receiver):
    server = serve(max_tries=3, disable_after=1)
    client = connect(server)
    made = register(client, receiver)
    receiver.statuses = [500, 500]

    submit(server, client)

    assert state(client, made) == "enabled"


def test_a_duplicate_that_fails_counts_for_nothing(serve, connect, receiver):
    server = serve(max_tries=1, disable_after=1, duplicates=1)
    client = connect(server)
    made = register(client, receiver)
    receiver.statuses = [200, 500]

    submit(server, client)

    assert len(receiver.got) == 2
    assert state(client, made) == "enabled"


def test_switched_on_again_it_receives_and_starts_without_failures(serve, connect, receiver):
    server = serve(max_tries=1, disable_after=2)
    client = connect(server)
    made = register(client, receiver)
    receiver.statuses = [500] * 3
    submit(server, client, times=2)

    assert state(client, made) == OFF
    assert client.webhooks.update(made.id, state="enabled").state == "enabled"
    submit(server, client, times=2)

    assert len(receiver.got) == 4
    assert state(client, made) == "enabled"


@pytest.mark.parametrize(("disable_after", "expected"), [(0, "enabled"), (5, OFF)])
def test_zero_means_never(serve, connect, receiver, disable_after, expected):
    server = serve(max_tries=1, disable_after=disable_after)
    client = connect(server)
    made = register(client, receiver)
    receiver.statuses = [500] * 99

    submit(server, client, times=6)

    assert state(client, made) == expected


def test_dynamic_webhooks_are_not_counted(serve, connect, receiver):
    server = serve(max_tries=1, disable_after=1)
    client = connect(server)
    made = register(client, receiver)
    receiver.statuses = [500]

    config = {"webhook_config": {"uris": [receiver.url]}}
    client.batches.create(model=MODEL, src=REQUEST, config=config)
    assert server.emulator.outbox.wait_idle()

    assert len(receiver.got) == 1
    assert state(client, made) == "enabled"


@pytest.mark.parametrize("stop", ["disable", "delete"])
def test_tries_that_wait_are_dropped(serve, connect, receiver, stop):
    lines = []
    server = serve(report=lines.append)
    client = connect(server)
    made = register(client, receiver)
    receiver.statuses = [500] * 99
    receiver.meanwhile = {
        "disable": lambda: client.webhooks.update(made.id, state="disabled"),
        "delete": lambda: client.webhooks.delete(made.id),
    }[stop]

    client.webhooks.ping(made.id)
    assert server.emulator.outbox.wait_idle()

    assert len(receiver.got) == 1
    assert lines[-1].endswith("try 2: dropped, its webhook is disabled or deleted")


def test_a_try_that_waits_goes_to_the_new_uri(server, client, receiver):
    with Receiver() as broken:
        made = register(client, broken)
        broken.statuses = [500] * 99
        broken.meanwhile = lambda: client.webhooks.update(made.id, uri=receiver.url)
        client.webhooks.ping(made.id)
        assert server.emulator.outbox.wait_idle()

    [first], [second] = broken.got, receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert [made.target for made in server.emulator.outbox.tries] == [broken.url, receiver.url]


def test_no_event_goes_to_a_webhook_that_was_deleted(server, client, receiver):
    made = register(client, receiver)
    client.webhooks.delete(made.id)

    submit(server, client)

    assert receiver.got == []
