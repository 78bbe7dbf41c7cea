"""Several API keys: one project for all of them, or one for each."""

import pytest

from tests.emulator.conftest import MODEL

EVENTS = ["interaction.completed"]


@pytest.fixture
def both(serve, connect):
    """The clients of two keys, each in its project."""
    server = serve(separate_projects=True)
    return server, connect(server, "first"), connect(server, "second")


def made(client, uri="https://a.example/hook"):
    return client.webhooks.create(uri=uri, subscribed_events=EVENTS)


def ids(client):
    return [hook.id for hook in client.webhooks.list().webhooks]


def test_all_keys_are_of_one_project_unless_told(server, connect):
    hook = made(connect(server, "first"))

    assert ids(connect(server, "second")) == [hook.id]


def test_each_project_lists_its_own(both):
    _, first, second = both
    mine = [made(first).id, made(first).id]
    theirs = made(second).id

    assert (ids(first), ids(second)) == (mine, [theirs])
    page = first.webhooks.list(page_size=1)
    assert [hook.id for hook in page.webhooks] == mine[:1]
    rest = first.webhooks.list(page_size=1, page_token=page.next_page_token)
    assert [hook.id for hook in rest.webhooks] == mine[1:]
    assert rest.next_page_token is None


@pytest.mark.parametrize("call", ["get", "update", "delete", "ping", "rotate_signing_secret"])
def test_what_is_another_s_is_not_found(both, call):
    server, first, second = both
    hook = made(first)
    [kept] = server.emulator.webhooks
    before = (kept.as_json(), kept.secrets)

    with pytest.raises(Exception, match="was not found") as caught:
        getattr(second.webhooks, call)(id=hook.id, **({"name": "x"} if call == "update" else {}))

    assert caught.value.status_code == 404
    assert (kept.as_json(), kept.secrets) == before
    assert ids(first) == [hook.id]
    assert server.emulator.outbox.tries == []


def test_events_go_to_the_project_of_the_job(both, receiver):
    server, first, second = both
    made(first, f"{receiver.url}&of=first")
    made(second, f"{receiver.url}&of=second")

    second.interactions.create(model=MODEL, input="hello", background=True)

    assert server.emulator.outbox.wait_idle(20)
    [made_try] = server.emulator.outbox.tries
    assert made_try.target.endswith("of=second")
