"""Registered webhooks: kept, shown, and their secret only once."""

import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.emulator.conftest import KEY

EVENTS = ["batch.succeeded", "batch.failed"]


@pytest.fixture(params=["v1", "v1beta"])
def client(server, connect, request):
    return connect(server, api_version=request.param)


def test_the_secret_is_shown_when_a_webhook_is_created_and_never_again(client):
    made = client.webhooks.create(
        name="nightly", uri="https://site.example/hook", subscribed_events=EVENTS
    )
    shown = client.webhooks.get(id=made.id)

    assert made.new_signing_secret.startswith("whsec_")
    assert shown.new_signing_secret is None
    assert shown.signing_secrets[0].truncated_secret == f"whsec_...{made.new_signing_secret[-4:]}"
    assert (shown.name, shown.uri, shown.state) == (
        "nightly",
        "https://site.example/hook",
        "enabled",
    )
    assert shown.subscribed_events == EVENTS
    assert shown.create_time == made.create_time
    assert shown.create_time.utcoffset() is not None


def test_a_list_comes_in_pages(client):
    ids = [
        client.webhooks.create(uri=f"https://a.example/{n}", subscribed_events=EVENTS).id
        for n in range(6)
    ]
    first = client.webhooks.list(page_size=2)
    second = client.webhooks.list(page_size=2, page_token=first.next_page_token)
    last = client.webhooks.list(page_size=2, page_token=second.next_page_token)

    assert [hook.id for page in (first, second, last) for hook in page.webhooks] == ids
    assert last.next_page_token is None


def test_a_deleted_webhook_is_gone(client):
    made = client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS)
    client.webhooks.delete(id=made.id)

    with pytest.raises(Exception, match="was not found") as caught:
        client.webhooks.get(id=made.id)
    assert caught.value.status_code == 404
    assert not client.webhooks.list().webhooks


@pytest.mark.parametrize(
    "uri",
    [
        "site.example/hook",
        "ftp://site.example",
        "https://",
        "https://user:pw@site.example",
        "https://[bad",
        "https://site.example/a b",
    ],
)
def test_an_address_that_cannot_be_called_is_refused(client, uri):
    with pytest.raises(Exception, match="uri must be") as caught:
        client.webhooks.create(uri=uri, subscribed_events=EVENTS)
    assert caught.value.status_code == 400


def test_a_webhook_without_events_is_refused(client):
    with pytest.raises(Exception, match="at least one event"):
        client.webhooks.create(uri="https://a.example", subscribed_events=[])


def test_a_page_token_of_somebody_else_is_refused(client):
    with pytest.raises(Exception, match="page token"):
        client.webhooks.list(page_token="from elsewhere")


def call(wire, method, path, body):
    status, _, answer = wire.send(method, path, json.dumps(body).encode(), key=KEY)
    return status, answer


def rotated(wire, webhook_id, path, behaviour):
    body = {"revocation_behavior": behaviour} if behaviour else {}
    return call(wire, "POST", f"/v1/webhooks/{webhook_id}{path}", body)


@pytest.mark.parametrize("path", [":rotateSigningSecret", "/rotate_secret"])
@pytest.mark.parametrize("behaviour", ["revoke_previous_secrets_after_h24", None])
def test_after_a_rotation_both_secrets_sign(server, client, receiver, wire, path, behaviour):
    made = client.webhooks.create(uri=receiver.url, subscribed_events=["batch.succeeded"])

    status, answer = rotated(wire, made.id, path, behaviour)
    client.webhooks.ping(made.id)
    assert server.emulator.outbox.wait_idle()

    assert status == 200
    [got] = receiver.got
    assert len(got.headers["webhook-signature"].split()) == 2
    for secret in (made.new_signing_secret, answer["secret"]):
        assert Webhook(secret).verify(got.body, got.headers)
    shown = client.webhooks.get(made.id).signing_secrets
    assert [one.expire_time is None for one in shown] == [True, False]


@pytest.mark.parametrize(
    "behaviour", ["revoke_previous_secrets_immediately", "REVOKE_PREVIOUS_SECRETS_IMMEDIATELY"]
)
def test_revoked_at_once_only_the_new_secret_signs(server, client, receiver, wire, behaviour):
    made = client.webhooks.create(uri=receiver.url, subscribed_events=["batch.succeeded"])

    _, answer = rotated(wire, made.id, ":rotateSigningSecret", behaviour)
    client.webhooks.ping(made.id)
    assert server.emulator.outbox.wait_idle()

    [got] = receiver.got
    assert Webhook(answer["secret"]).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(made.new_signing_secret).verify(got.body, got.headers)


def test_update(client, receiver):
    made = client.webhooks.create(uri=receiver.url, subscribed_events=["batch.succeeded"])

    changed = client.webhooks.update(made.id, name="new", state="disabled")
    masked = client.webhooks.update(made.id, name="kept", state="enabled", update_mask="name")

    assert (changed.name, changed.state, changed.uri) == ("new", "disabled", receiver.url)
    assert (masked.name, masked.state) == ("kept", "disabled")


@pytest.mark.parametrize(
    "body", [{"uri": "x"}, {"subscribed_events": []}, {"state": "asleep"}, {"id": "other"}]
)
def test_update_that_makes_no_sense_changes_nothing(client, receiver, wire, body):
    made = client.webhooks.create(uri=receiver.url, subscribed_events=["batch.succeeded"])

    status, answer = call(wire, "PATCH", f"/v1/webhooks/{made.id}", {"name": "new", **body})

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert client.webhooks.get(made.id).name == made.name


def test_rotation_that_makes_no_sense(client, receiver, wire):
    made = client.webhooks.create(uri=receiver.url, subscribed_events=["batch.succeeded"])

    assert rotated(wire, made.id, ":rotateSigningSecret", "never")[0] == 400
    assert rotated(wire, "nobody", ":rotateSigningSecret", None)[0] == 404


def test_errors_on_demand(server, wire):
    server.emulator.faults.fail_next(path_contains="webhooks", method="POST", status=429)

    status, answer = call(wire, "POST", "/v1/webhooks", {})

    assert (status, answer["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert call(wire, "POST", "/v1/webhooks", {})[0] == 400
