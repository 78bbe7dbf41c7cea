"""Each method of the official SDK that the emulator is for, with its sync and its async client.

Runs with whatever line of ``google-genai`` is installed.
"""

import asyncio
import inspect
import json
import warnings
from dataclasses import dataclass
from typing import Any

import pytest

from tests.emulator.conftest import KEY, MODEL

SERVICES = ("webhooks", "batches", "interactions", "files", "operations")
#: No calls of the API, or (``connect``) a web socket, which the documentation says is not served.
NO_CALLS = {
    *("T", "connect", "do_request", "do_request_async", "parent_ref", "vertexai"),
    *("with_raw_response", "with_streaming_response"),
}
CHUNK_BYTES = 8 * 1024 * 1024
URI = "https://site.example/hook"
ROWS = [{"contents": text, "metadata": {"key": text}} for text in ("one", "two")]
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius"]}},
    },
}


@dataclass
class World:
    """A client of either flavour, and the emulator that it talks to."""

    api: Any
    wire: Any
    tmp_path: Any

    @property
    def emulator(self):
        return self.wire.server.emulator

    async def call(self, made):
        return await made if inspect.isawaitable(made) else made

    async def collect(self, made):
        """What a pager or a stream has."""
        found = await self.call(made)
        if hasattr(found, "__aiter__"):
            return [item async for item in found]
        return list(found)

    def idle(self):
        assert self.emulator.outbox.wait_idle()


async def webhooks(world):
    api, call = world.api.webhooks, world.call
    created = await call(api.create(name="one", uri=URI, subscribed_events=["batch.succeeded"]))
    assert created.new_signing_secret.startswith("whsec_")
    other = await call(api.create(name="two", uri=URI, subscribed_events=["batch.failed"]))

    first = await call(api.list(page_size=1))
    second = await call(api.list(page_size=1, page_token=first.next_page_token))
    assert [hook.id for hook in first.webhooks + second.webhooks] == [created.id, other.id]

    updated = await call(api.update(created.id, name="new", state="disabled"))
    assert (updated.name, updated.state, updated.uri) == ("new", "disabled", URI)
    await call(api.update(created.id, state="enabled"))
    assert (await call(api.get(created.id))).state == "enabled"
    rotated = await call(api.rotate_signing_secret(created.id))
    assert rotated.secret.startswith("whsec_")
    await call(api.ping(created.id))
    await call(api.delete(created.id))
    with pytest.raises(Exception, match="was not found"):
        await call(api.get(created.id))


async def batches(world):
    api, call = world.api.batches, world.call
    job = await call(api.create(model=MODEL, src=ROWS, config={"display_name": "nightly"}))
    world.idle()
    ended = await call(api.get(name=job.name))
    assert ended.done
    assert (ended.state.name, ended.display_name) == ("JOB_STATE_SUCCEEDED", "nightly")
    assert ended.create_time <= ended.end_time <= ended.update_time
    assert ended.dest.file_name.startswith("gs://gemini-emulator/")

    other = await call(api.create(model=MODEL, src=[{"contents": "take-30s"}]))
    await call(api.cancel(name=other.name))
    assert (await call(api.get(name=other.name))).state.name == "JOB_STATE_CANCELLED"
    listed = await world.collect(api.list(config={"page_size": 1}))
    assert [one.name for one in listed] == [job.name, other.name]
    await call(api.delete(name=other.name))
    with pytest.raises(Exception, match="was not found"):
        await call(api.get(name=other.name))


async def batches_of_embeddings(world):
    source = {
        "inlined_requests": {"contents": ["one", "two"], "config": {"output_dimensionality": 4}}
    }
    job = await create_embeddings(world, source)
    world.idle()
    ended = await world.call(world.api.batches.get(name=job.name))
    assert ended.state.name == "JOB_STATE_SUCCEEDED"

    bucket, _, name = ended.dest.file_name.removeprefix("gs://").partition("/")
    rows = world.emulator.storage.get(bucket, name).data.splitlines()
    vectors = [json.loads(row)["response"]["embedding"]["values"] for row in rows]
    assert [len(vector) for vector in vectors] == [4, 4]
    assert vectors[0] != vectors[1]


async def create_embeddings(world, source):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*experimental")
        made = world.api.batches.create_embeddings(model="gemini-embedding-001", src=source)
        return await world.call(made)


async def embeddings_from_a_file(world):
    line = {"key": "a", "request": {"content": {"parts": [{"text": "one"}]}}}
    (world.tmp_path / "in.jsonl").write_text(json.dumps(line))
    config = {"mime_type": "jsonl"}
    path = world.tmp_path / "in.jsonl"
    file = await world.call(world.api.files.upload(file=path, config=config))
    job = await create_embeddings(world, {"file_name": file.name})
    world.idle()
    assert (await world.call(world.api.batches.get(name=job.name))).state.name.endswith("SUCCEEDED")


async def interactions(world):
    api, call = world.api.interactions, world.call
    done = await call(api.create(model=MODEL, input="hello"))
    assert (done.status, done.output_text) == ("completed", "Echo: hello")
    assert done.usage.total_tokens == 3
    parts = [{"type": "text", "text": "some"}, {"type": "text", "text": "more"}]
    of_parts = await call(api.create(model=MODEL, input=parts))
    assert of_parts.output_text == "Echo: some\nmore"
    by_agent = await call(api.create(agent="deep-research-pro", input="hello", background=True))
    assert (by_agent.agent, by_agent.model) == ("deep-research-pro", None)
    next_one = await call(
        api.create(model=MODEL, input="more", previous_interaction_id=done.id, tools=[WEATHER])
    )
    assert next_one.previous_interaction_id == done.id
    assert (await call(api.get(done.id, include_input=True))).input == "hello"

    running = await call(api.create(model=MODEL, input="take-30s", background=True))
    assert (await call(api.get(running.id))).status == "in_progress"
    assert (await call(api.cancel(running.id))).status == "cancelled"
    await call(api.delete(running.id))
    with pytest.raises(Exception, match="was not found"):
        await call(api.get(running.id))


async def interactions_that_need_action(world):
    api, call = world.api.interactions, world.call
    first = await call(
        api.create(model=MODEL, input="need-action, please", tools=[WEATHER], background=True)
    )
    world.idle()
    waiting = await call(api.get(first.id))
    [step] = waiting.steps
    assert (waiting.status, step.type, step.name) == ("requires_action", "function_call", "weather")
    assert step.arguments == {"city": "example", "unit": "celsius"}

    result = {"type": "function_result", "name": step.name, "call_id": step.id, "result": "sunny"}
    second = await call(
        api.create(model=MODEL, input=[result], previous_interaction_id=first.id, background=True)
    )
    world.idle()
    ended = await call(api.get(second.id))
    assert (ended.status, ended.output_text) == ("completed", "Echo: sunny")


async def interactions_as_streams(world):
    api = world.api.interactions
    events = await world.collect(api.create(model=MODEL, input="hello there", stream=True))
    assert [event.event_type for event in events] == [
        *("interaction.created", "interaction.status_update", "step.start"),
        *("step.delta", "step.delta", "step.delta", "step.stop", "interaction.completed"),
    ]
    texts = [event.delta.text for event in events if event.event_type == "step.delta"]
    assert "".join(texts) == "Echo: hello there"

    made = events[-1].interaction
    resumed = await world.collect(api.get(made.id, stream=True, last_event_id=events[3].event_id))
    assert [event.event_id for event in resumed] == [event.event_id for event in events[4:]]


async def files(world):
    api, call = world.api.files, world.call
    content = bytes(CHUNK_BYTES) + b"the second chunk"
    path = world.tmp_path / "data.bin"
    path.write_bytes(content)
    config = {"mime_type": "application/octet-stream", "display_name": "data"}
    big = await call(api.upload(file=path, config=config))
    assert (big.size_bytes, big.display_name, big.state.name) == (len(content), "data", "ACTIVE")
    assert await call(api.download(file=big.name)) == content

    path.write_bytes(b"small")
    small = await call(api.upload(file=path, config=config))
    assert (await call(api.get(name=small.name))).name == small.name
    listed = await world.collect(await call(api.list(config={"page_size": 1})))
    assert [file.name for file in listed] == [big.name, small.name]
    await call(api.delete(name=small.name))
    with pytest.raises(Exception, match="was not found"):
        await call(api.get(name=small.name))


async def files_of_cloud_storage(world):
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415  # an extra

    line = json.dumps({"key": "a", "request": {"contents": "from a bucket"}}).encode()
    credentials = AnonymousCredentials()
    # The SDK wants one; the emulator asks for the API key only.
    credentials.token = "any"
    uri = world.emulator.storage.put("mine", "in/requests.jsonl", line, "application/jsonl")
    answer = await world.call(world.api.files.register_files(auth=credentials, uris=[uri]))
    [file] = answer.files
    assert file.source.name == "REGISTERED"
    job = await world.call(world.api.batches.create(model=MODEL, src=file.name))
    world.idle()
    assert (await world.call(world.api.batches.get(name=job.name))).state.name.endswith("SUCCEEDED")


async def videos(world):
    operation = await start_video(world, "a cat, take-0.1s")
    assert not operation.done
    world.idle()
    operation = await world.call(world.api.operations.get(operation))
    assert operation.done
    [video] = operation.response.generated_videos
    content = await world.call(world.api.files.download(file=video.video))
    assert content[4:12] == b"ftypmp42"


async def videos_that_fail(world):
    operation = await start_video(world, "fail-job")
    world.idle()
    operation = await world.call(world.api.operations.get(operation))
    assert operation.done
    assert (operation.error["code"], operation.response) == (13, None)


async def start_video(world, prompt):
    """The second line of the SDK can start videos; with the third one is left to plain HTTP."""
    from google.genai import __version__, types  # noqa: PLC0415  # an extra

    if __version__.startswith("2."):
        source = {"prompt": prompt}
        return await world.call(world.api.models.generate_videos(model="veo-3", source=source))
    body = {"instances": [{"prompt": prompt}]}
    _, _, started = world.wire.post("/v1beta/models/veo-3:predictLongRunning", body, key=KEY)
    return types.GenerateVideosOperation(name=started["name"])


SURFACE = {
    webhooks: [
        *("webhooks.create", "webhooks.list", "webhooks.get", "webhooks.update"),
        *("webhooks.rotate_signing_secret", "webhooks.ping", "webhooks.delete"),
    ],
    batches: [
        *("batches.create", "batches.get", "batches.cancel", "batches.list", "batches.delete"),
    ],
    batches_of_embeddings: ["batches.create_embeddings"],
    embeddings_from_a_file: ["batches.create_embeddings"],
    interactions: [
        *("interactions.create", "interactions.get", "interactions.cancel"),
        "interactions.delete",
    ],
    interactions_that_need_action: ["interactions.create"],
    interactions_as_streams: ["interactions.create", "interactions.get"],
    files: ["files.upload", "files.get", "files.list", "files.download", "files.delete"],
    files_of_cloud_storage: ["files.register_files"],
    videos: ["operations.get"],
    videos_that_fail: ["operations.get"],
}


@pytest.mark.parametrize("flavour", ["sync", "async"])
@pytest.mark.parametrize("walk", SURFACE, ids=lambda walk: walk.__name__)
def test_the_official_client_gets_what_it_asks_for(wire, tmp_path, walk, flavour):
    genai = pytest.importorskip("google.genai", reason="needs google-genai (the extra genai)")

    async def run():
        client = genai.Client(
            api_key=KEY, http_options={"base_url": wire.server.url}, vertexai=False
        )
        api = client if flavour == "sync" else client.aio
        try:
            await walk(World(api, wire, tmp_path))
        finally:
            await client.aio.aclose()
            client.close()

    asyncio.run(run())


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_no_method_of_these_services_is_left_out(client, flavour):
    api = client if flavour == "sync" else client.aio
    there = {
        f"{service}.{name}"
        for service in SERVICES
        for name in dir(type(getattr(api, service)))
        if not name.startswith("_") and name not in NO_CALLS
    }
    assert there == {name for names in SURFACE.values() for name in names}
