"""Registered webhooks: kept, shown, and their secret only once."""

import pytest

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
