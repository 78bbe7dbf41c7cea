"""Registered webhooks: kept, shown, and their secret only once."""

import json

import pytest

from tests.emulator.conftest import KEY, Wire

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


@pytest.mark.parametrize(
    ("mask", "name", "state"), [("name,state", "", "disabled"), ("*", "kept", "disabled")]
)
def test_a_mask_names_what_changes(client, mask, name, state):
    made = client.webhooks.create(name="kept", uri="https://a.example", subscribed_events=EVENTS)

    changed = client.webhooks.update(made.id, state="disabled", update_mask=mask)

    assert (changed.name, changed.state, changed.uri) == (name, state, made.uri)
    assert changed.update_time > made.update_time


@pytest.mark.parametrize("mask", ["subscribed_events", "subscribedEvents"])
def test_both_spellings_of_a_field_in_a_mask_are_known(client, mask):
    made = client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS)

    changed = client.webhooks.update(
        made.id, name="not meant", subscribed_events=["video.generated"], update_mask=mask
    )

    assert (changed.name, changed.subscribed_events) == ("", ["video.generated"])


@pytest.mark.parametrize("mask", ["signing_secrets", "uri", "name,,state"])
def test_a_mask_that_makes_no_sense_is_refused(client, mask):
    made = client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS)

    with pytest.raises(Exception) as caught:
        client.webhooks.update(made.id, name="new", update_mask=mask)

    assert caught.value.status_code == 400
    assert client.webhooks.get(made.id).name == ""


def test_a_field_that_is_not_known_is_refused_under_a_mask_too(client, wire):
    made = client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS)

    path = f"/v1/webhooks/{made.id}?update_mask=name"

    assert call(wire, "PATCH", path, {"name": "new", "naem": "x"})[0] == 400
    assert client.webhooks.get(made.id).name == ""


def test_only_google_switches_off_for_failed_deliveries(client):
    made = client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS)

    with pytest.raises(Exception, match="enabled or disabled only") as caught:
        client.webhooks.update(made.id, state="disabled_due_to_failed_deliveries")

    assert caught.value.status_code == 400


def test_a_state_in_upper_case_is_known(client, wire):
    made = client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS)

    _, answer = call(wire, "PATCH", f"/v1/webhooks/{made.id}", {"state": "DISABLED"})

    assert answer["state"] == "disabled"


@pytest.mark.parametrize("types", [["batch"], ["Batch.Succeeded"], [""], [7], [EVENTS], "a.b", {}])
def test_what_cannot_be_an_event_type_is_refused(server, wire, types):
    given = {"uri": "https://a.example", "subscribed_events": types}

    status, answer = call(wire, "POST", "/v1/webhooks", given)

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert len(server.emulator.webhooks) == 0


def test_an_event_type_that_is_not_known_yet_is_accepted(client):
    made = client.webhooks.create(uri="https://a.example", subscribed_events=["music.generated"])

    assert made.subscribed_events == ["music.generated"]


@pytest.mark.parametrize("given", [{"name": 7}, {"secret": "whsec_mine"}])
def test_a_field_that_is_not_known_or_not_text_is_refused(wire, given):
    body = {"uri": "https://a.example", "subscribed_events": EVENTS, **given}

    assert call(wire, "POST", "/v1/webhooks", body)[0] == 400


def test_pages_hold_each_webhook_once_while_others_come_and_go(client):
    made = [
        client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS).id
        for _ in range(5)
    ]

    first = client.webhooks.list(page_size=2)
    client.webhooks.delete(made[0])
    client.webhooks.delete(made[2])
    late = client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS).id
    second = client.webhooks.list(page_size=2, page_token=first.next_page_token)
    last = client.webhooks.list(page_size=2, page_token=second.next_page_token)

    assert [hook.id for page in (second, last) for hook in page.webhooks] == [*made[3:], late]


@pytest.mark.parametrize("act", ["get", "update", "delete", "ping", "rotate_signing_secret"])
def test_a_webhook_that_is_not_there_is_a_404(client, act):
    with pytest.raises(Exception, match="was not found") as caught:
        getattr(client.webhooks, act)("nobody")

    assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("key", "status", "name"), [("", 401, "UNAUTHENTICATED"), ("x", 403, "PERMISSION_DENIED")]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("PATCH", "/w"),
        ("POST", "/w:rotateSigningSecret"),
        ("POST", "/w/rotate_secret"),
    ],
)
def test_without_the_key_nothing_is_done(serve, key, status, name, method, path):
    wire = Wire(serve(api_key="the-key"))

    got, _, answer = wire.send(method, f"/v1/webhooks{path}", b"{}", key=key)

    assert (got, answer["error"]["code"], answer["error"]["status"]) == (status, status, name)


def test_a_ping_of_a_webhook_that_is_disabled_is_refused(client, wire):
    made = client.webhooks.create(uri="https://a.example", subscribed_events=EVENTS)
    client.webhooks.update(made.id, state="disabled")

    status, answer = call(wire, "POST", f"/v1/webhooks/{made.id}:ping", {})

    assert (status, answer["error"]["status"]) == (400, "FAILED_PRECONDITION")
