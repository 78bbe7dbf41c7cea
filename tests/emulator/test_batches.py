"""Batches through the official client: input, output, cancelling, failing."""

import json

import pytest

from tests.emulator.conftest import KEY, MODEL


def inline(*texts):
    return [{"contents": text, "metadata": {"key": f"row-{n}"}} for n, text in enumerate(texts, 1)]


def run(server, client, src, **config):
    job = client.batches.create(model=MODEL, src=src, config=config or None)
    assert server.emulator.outbox.wait_idle()
    return client.batches.get(name=job.name)


def lines(data: bytes):
    return [json.loads(line) for line in data.splitlines()]


def test_a_batch_runs_and_then_has_succeeded(serve, connect):
    server = serve(job_seconds=0.1)
    client = connect(server)
    job = client.batches.create(model=MODEL, src=inline("a"), config={"display_name": "nightly"})
    assert job.state.name == "JOB_STATE_RUNNING"
    assert job.end_time is None

    assert server.emulator.outbox.wait_idle()
    ended = client.batches.get(name=job.name)
    assert ended.state.name == "JOB_STATE_SUCCEEDED"
    assert ended.end_time > job.create_time
    assert (ended.display_name, ended.model) == ("nightly", f"models/{MODEL}")


def test_by_default_the_answers_are_an_object_in_cloud_storage(server, client):
    job = run(server, client, inline("one", "please fail-row", "three"))

    bucket, _, name = job.dest.file_name.removeprefix("gs://").partition("/")
    rows = lines(server.emulator.storage.get(bucket, name).data)
    assert [row["key"] for row in rows] == ["row-1", "row-2", "row-3"]
    assert rows[0]["response"]["candidates"][0]["content"]["parts"][0]["text"] == "Echo: one"
    assert rows[1]["error"]["code"] == 3
    assert "response" not in rows[1]


def test_answers_can_be_a_file(serve, connect):
    server = serve(output="files")
    client = connect(server)
    job = run(server, client, inline("one", "two"))

    assert job.dest.file_name.startswith("files/")
    rows = lines(client.files.download(file=job.dest.file_name))
    assert [row["key"] for row in rows] == ["row-1", "row-2"]
    generated = client.files.get(name=job.dest.file_name)
    assert client.files.download(file=generated) == client.files.download(file=generated.name)


def test_answers_can_be_in_the_batch_itself(serve, connect):
    server = serve(output="inline")
    job = run(server, connect(server), inline("one", "fail-row"))

    good, bad = job.dest.inlined_responses
    assert good.response.text == "Echo: one"
    assert good.response.usage_metadata.prompt_token_count == 1
    assert good.metadata == {"key": "row-1"}
    assert (bad.error.code, bad.response) == (3, None)
    assert job.dest.file_name is None


def test_the_same_input_has_the_same_output(serve, connect):
    outputs = []
    for _ in range(2):
        server = serve(output="inline")
        job = run(server, connect(server), inline("same", "text"))
        outputs.append(job.dest.model_dump())
    assert outputs[0] == outputs[1]


def test_the_input_can_be_an_uploaded_file(server, client, tmp_path):
    source = tmp_path / "input.jsonl"
    requests = [
        {"key": key, "request": {"contents": [{"parts": [{"text": key}]}]}} for key in ("x", "é")
    ]
    source.write_text("\n".join(json.dumps(item) for item in requests))
    uploaded = client.files.upload(file=source, config={"mime_type": "jsonl"})
    job = run(server, client, uploaded.name)

    bucket, _, name = job.dest.file_name.removeprefix("gs://").partition("/")
    rows = lines(server.emulator.storage.get(bucket, name).data)
    texts = [row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in rows]
    assert texts == ["Echo: x", "Echo: é"]


@pytest.mark.parametrize("text", ["not json", "[1]", '{"key": "a"}', '{"request": {}}', ""])
def test_an_input_file_that_is_not_jsonl_fails_the_batch(server, client, tmp_path, text):
    source = tmp_path / "input.jsonl"
    source.write_text(text)
    uploaded = client.files.upload(file=source, config={"mime_type": "jsonl"})

    assert run(server, client, uploaded.name).state.name == "JOB_STATE_FAILED"


def test_an_input_file_that_is_not_there_is_refused(client):
    with pytest.raises(Exception, match="File 'gone' was not found") as caught:
        client.batches.create(model=MODEL, src="files/gone")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_a_cancelled_batch_stays_cancelled(serve, connect):
    server = serve(job_seconds=60)
    client = connect(server)
    job = client.batches.create(model=MODEL, src=inline("a"))
    client.batches.cancel(name=job.name)

    assert server.emulator.outbox.wait_idle(1), "its end is still waited for"
    assert client.batches.get(name=job.name).state.name == "JOB_STATE_CANCELLED"


def test_a_batch_that_has_ended_cannot_be_cancelled_any_more(server, client):
    job = run(server, client, inline("a"))
    client.batches.cancel(name=job.name)
    assert client.batches.get(name=job.name).state.name == "JOB_STATE_SUCCEEDED"


def test_a_list_goes_on_over_pages(server, client):
    names = [client.batches.create(model=MODEL, src=inline("a")).name for _ in range(5)]
    assert [job.name for job in client.batches.list(config={"page_size": 2})] == names


def test_a_deleted_batch_is_gone(server, client):
    job = run(server, client, inline("a"))
    client.batches.delete(name=job.name)
    with pytest.raises(Exception, match="was not found"):
        client.batches.get(name=job.name)


@pytest.mark.parametrize(
    ("batch", "complaint"),
    [
        ({}, "inputConfig"),
        ({"inputConfig": {"gcsUri": "gs://a/b"}}, "name a file or hold requests"),
        ({"inputConfig": {"requests": {"requests": [{}]}}}, "Each request"),
        (
            {
                "inputConfig": {"requests": {"requests": [{"request": {}}]}},
                "webhookConfig": {"uris": ["nowhere"]},
            },
            "webhook_config.uris",
        ),
        (
            {
                "inputConfig": {"requests": {"requests": [{"request": {}}]}},
                "webhookConfig": {"user_metadata": 1},
            },
            "user_metadata",
        ),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(wire, batch, complaint):
    status, _, answer = wire.post(
        f"/v1/models/{MODEL}:batchGenerateContent", {"batch": batch}, key=KEY
    )
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert complaint in answer["error"]["message"]
