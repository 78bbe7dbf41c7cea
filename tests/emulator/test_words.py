"""Words in a prompt decide how its job ends."""

import json
from pathlib import Path

import pytest

from gemini_webhooks.emulator import EmulatorServer, words
from tests.emulator.conftest import KEY, MODEL

DOCS = Path(__file__).resolve().parents[2] / "docs" / "emulator.md"
TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]


@pytest.fixture(scope="module")
def server():
    """One for all of them: no test minds the jobs of another."""
    pytest.importorskip("google_crc32c", reason="needs the extra gcs")
    with EmulatorServer(job_seconds=0) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    genai = pytest.importorskip("google.genai", reason="needs google-genai (the extra genai)")
    with genai.Client(api_key=KEY, http_options={"base_url": server.url}, vertexai=False) as made:
        yield made


def events(receiver):
    return [(event["type"], event["data"]) for event in map(json.loads, bodies(receiver))]


def bodies(receiver):
    return [got.body for got in receiver.got]


def batch(client, receiver, *texts):
    config = {"webhook_config": {"uris": [receiver.url]}}
    return client.batches.create(
        model=MODEL, src=[{"contents": text} for text in texts], config=config
    )


def interaction(client, receiver, text, **more):
    config = {"uris": [receiver.url]}
    return client.interactions.create(
        model=MODEL, input=text, background=True, webhook_config=config, **more
    )


def video(wire, receiver, prompt):
    body = {"instances": [{"prompt": prompt}], "webhookConfig": {"uris": [receiver.url]}}
    _, _, started = wire.post("/v1beta/models/veo-3:predictLongRunning", body, key=KEY)
    assert wire.server.emulator.outbox.wait_idle()
    return wire.get(f"/v1beta/{started['name']}", key=KEY)[2]


@pytest.mark.parametrize(
    ("word", "state", "event", "stats"),
    [
        ("fail-job", "FAILED", "batch.failed", ("0", "2")),
        ("expire-job", "EXPIRED", "batch.expired", ("0", "2")),
        ("cancel-job", "CANCELLED", "batch.cancelled", ("0", "2")),
        ("need-action", "SUCCEEDED", "batch.succeeded", ("2", "0")),
        ("fail-row", "SUCCEEDED", "batch.succeeded", ("1", "0")),
        ("empty-output", "SUCCEEDED", "batch.succeeded", ("2", "0")),
    ],
)
def test_a_batch(wire, client, receiver, word, state, event, stats):
    job = batch(client, receiver, "one", f"Please {word}.")
    assert wire.server.emulator.outbox.wait_idle()

    assert client.batches.get(name=job.name).state.name == f"JOB_STATE_{state}"
    [(kind, data)] = events(receiver)
    assert kind == event
    assert data["id"] == job.name.removeprefix("batches/")
    _, _, shown = wire.get(f"/v1/{job.name}", key=KEY)
    counts = shown["metadata"]["batchStats"]
    assert (counts["successfulRequestCount"], counts["pendingRequestCount"]) == stats
    assert shown["done"] is True
    assert shown["metadata"]["endTime"] >= shown["metadata"]["createTime"]


def test_a_batch_that_fails_says_why(wire, client, receiver):
    job = batch(client, receiver, "fail-job")
    assert wire.server.emulator.outbox.wait_idle()

    [(_, data)] = events(receiver)
    assert (data["error_code"], "fail-job" in data["error_message"]) == ("13", True)
    _, _, shown = wire.get(f"/v1/{job.name}", key=KEY)
    assert shown["error"] == {"code": 13, "message": data["error_message"]}
    assert "output" not in shown["metadata"]


@pytest.mark.parametrize(
    ("word", "status", "event"),
    [
        ("fail-job", "failed", "interaction.failed"),
        ("fail-row", "failed", "interaction.failed"),
        ("cancel-job", "cancelled", "interaction.cancelled"),
        ("need-action", "requires_action", "interaction.requires_action"),
        ("expire-job", "completed", "interaction.completed"),
        ("empty-output", "completed", "interaction.completed"),
    ],
)
def test_an_interaction(server, client, receiver, word, status, event):
    started = interaction(client, receiver, f"Please {word}.", tools=TOOLS)
    assert server.emulator.outbox.wait_idle()

    ended = client.interactions.get(started.id)
    assert ended.status == status
    assert [kind for kind, _ in events(receiver)] == [event]
    if status == "failed":
        assert word in ended.errors[0].message
    if word == "empty-output":
        assert not ended.steps
        assert not ended.output_text


@pytest.mark.parametrize(
    ("word", "code"), [("fail-job", 13), ("fail-row", 3), ("cancel-job", 1), ("expire-job", 4)]
)
def test_a_video_has_an_error_and_no_event(wire, receiver, word, code):
    ended = video(wire, receiver, f"a cat, {word}")
    assert (ended["done"], ended["error"]["code"]) == (True, code)
    assert "response" not in ended
    assert receiver.got == []


def test_a_video_can_be_empty(wire, receiver):
    ended = video(wire, receiver, "empty-output")
    assert ended["response"] == {"generateVideoResponse": {"generatedSamples": []}}
    [(kind, data)] = events(receiver)
    assert (kind, sorted(data)) == ("video.generated", ["id"])


def test_an_answer_can_be_empty_in_one_row(serve, connect):
    server = serve(output="inline")
    client = connect(server)
    src = [{"contents": text} for text in ("empty-output", "two")]
    job = client.batches.create(model=MODEL, src=src)
    assert server.emulator.outbox.wait_idle()
    rows = client.batches.get(name=job.name).dest.inlined_responses
    assert [row.response.text for row in rows] == [None, "Echo: two"]


TIMES = {
    "take-30s": 30,
    "Take-2.5S fail-job": 2.5,
    "take-1s, no, take-7s": 7,
    "take-0s": 0,
    "take-30": 60,
    "mistake-30s": 60,
    "take-30seconds": 60,
    "take-999999s": 60,
    "take--1s": 60,
}


def test_how_long_it_takes(serve, connect):
    server = serve(job_seconds=60)
    client = connect(server)
    for text in TIMES:
        client.interactions.create(model=MODEL, input=text, background=True)
    times = [job.ends_at - job.created for job in server.emulator.interactions]
    assert [time.total_seconds() for time in times] == list(TIMES.values())


def test_a_job_waits_for_its_time(server, client):
    started = client.interactions.create(model=MODEL, input="take-0.2s", background=True)
    assert client.interactions.get(started.id).status == "in_progress"
    assert server.emulator.outbox.wait_idle()
    ended = client.interactions.get(started.id)
    assert ended.status == "completed"
    assert ended.updated > started.updated


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("FAIL-JOB", "failed"),
        ("(fail-job)", "failed"),
        ("fail-job cancel-job", "failed"),
        ("cancel-job fail-job", "cancelled"),
        ("fail-jobs", "completed"),
        ("do-not-fail-job", "completed"),
        ("fail-job-now", "completed"),
        ("fail job", "completed"),
        ("unfail-job", "completed"),
    ],
)
def test_a_word_stands_alone_and_the_first_one_counts(client, text, status):
    assert client.interactions.create(model=MODEL, input=text).status == status


def test_what_was_said_before_the_model_spoke_does_not_count(client):
    turns = [
        {"type": "user_input", "content": [{"type": "text", "text": "fail-job"}]},
        {"type": "model_output", "content": [{"type": "text", "text": "No."}]},
        {"type": "user_input", "content": [{"type": "text", "text": "thanks"}]},
    ]
    done = client.interactions.create(model=MODEL, input=turns)
    assert (done.status, done.output_text) == ("completed", "Echo: thanks")
    assert client.interactions.create(model=MODEL, input=turns[:1]).status == "failed"


def test_the_documentation_lists_the_words():
    lines = DOCS.read_text().split("### Words in a prompt")[1].split("\n\n")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    listed = {word.strip("`"): meaning.replace("`", "") for word, meaning in rows}
    assert listed == words.MEANINGS
