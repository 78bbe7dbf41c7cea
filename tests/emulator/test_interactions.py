"""Interactions and videos through the official client."""

import pytest

from tests.emulator.conftest import KEY, MODEL


def test_a_background_interaction_ends_by_itself(serve, connect):
    server = serve(job_seconds=0.1)
    client = connect(server)
    started = client.interactions.create(model=MODEL, input="hello", background=True)
    assert started.status == "in_progress"

    assert server.emulator.outbox.wait_idle()
    ended = client.interactions.get(started.id)
    assert ended.status == "completed"
    assert ended.output_text == "Echo: hello"


def test_without_background_the_answer_comes_at_once(client):
    done = client.interactions.create(model=MODEL, input="hello")
    assert (done.status, done.output_text) == ("completed", "Echo: hello")


def test_an_interaction_fails_on_request(client):
    done = client.interactions.create(model=MODEL, input="fail-row")
    assert done.status == "failed"
    assert done.errors[0].code


def test_an_interaction_can_be_cancelled(serve, connect):
    server = serve(job_seconds=60)
    client = connect(server)
    started = client.interactions.create(model=MODEL, input="hello", background=True)

    assert client.interactions.cancel(started.id).status == "cancelled"
    assert client.interactions.get(started.id).status == "cancelled"


def test_a_webhook_needs_a_background_interaction(client):
    config = {"uris": ["https://site.example"]}
    with pytest.raises(Exception, match="background"):
        client.interactions.create(model=MODEL, input="a", background=False, webhook_config=config)


def test_a_video_is_an_operation_with_a_file(wire, client, receiver):
    config = {"uris": [receiver.url]}
    _, _, started = wire.post(
        "/v1beta/models/veo-3:predictLongRunning",
        {"instances": [{"prompt": "a cat"}], "webhookConfig": config},
        key=KEY,
    )
    assert wire.server.emulator.outbox.wait_idle()
    _, _, ended = wire.get(f"/v1beta/{started['name']}", key=KEY)

    sample = ended["response"]["generateVideoResponse"]["generatedSamples"][0]
    assert ended["done"] is True
    assert client.files.download(file=sample["video"]["uri"])[4:12] == b"ftypmp42"
    assert len(receiver.got) == 1


def test_somebody_must_be_asked(wire):
    status, _, answer = wire.post("/v1/interactions", {"input": "hello"}, key=KEY)
    assert (status, "model or an agent" in answer["error"]["message"]) == (400, True)
