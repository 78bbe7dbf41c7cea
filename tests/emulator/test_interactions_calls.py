"""Function calls, continuations and streams of interactions."""

import json

import pytest

from tests.emulator.conftest import KEY, MODEL

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 3},
            "unit": {"enum": ["celsius", "kelvin"]},
            "exact": {"type": ["boolean", "null"]},
            "where": {"anyOf": [{"type": "object", "properties": {"x": {"type": "NUMBER"}}}]},
            "tags": {"type": "array", "items": {"default": "sunny"}},
            "odd": {"$ref": "#/$defs/odd"},
        },
    },
}
OTHER = {"type": "google_search"}


@pytest.fixture
def ask(client):
    def asked(given, **more):
        return client.interactions.create(model=MODEL, input=given, **more)

    return asked


@pytest.fixture
def waiting(ask):
    return ask("need-action", tools=[OTHER, WEATHER])


def result(call_id, value="sunny"):
    return {"type": "function_result", "name": "weather", "call_id": call_id, "result": value}


def test_the_first_function_is_called_with_arguments_that_suit_its_schema(waiting):
    [step] = waiting.steps
    assert (waiting.status, step.name) == ("requires_action", "weather")
    assert step.arguments == {
        "city": "example",
        "days": 3,
        "unit": "celsius",
        "exact": True,
        "where": {"x": 1.5},
        "tags": ["sunny"],
        "odd": {},
    }


@pytest.mark.parametrize("tools", [None, [], [OTHER]])
def test_without_a_function_nothing_can_be_called(server, ask, tools):
    with pytest.raises(Exception, match="give it a tool of the type 'function'"):
        ask("need-action", tools=tools)
    assert len(server.emulator.interactions) == 0


def test_the_events_of_both_legs(server, client, receiver):
    config = {"uris": [receiver.url], "user_metadata": {"n": 1}}
    create = client.interactions.create
    more = {"model": MODEL, "background": True, "webhook_config": config}
    first = create(input="need-action", tools=[WEATHER], **more)
    assert server.emulator.outbox.wait_idle()
    call = client.interactions.get(first.id).steps[0]
    second = create(input=[result(call.id)], previous_interaction_id=first.id, **more)
    assert server.emulator.outbox.wait_idle()

    events = [json.loads(got.body) for got in receiver.got]
    assert [(event["type"], event["data"]["id"]) for event in events] == [
        ("interaction.requires_action", first.id),
        ("interaction.completed", second.id),
    ]
    assert client.interactions.get(first.id).status == "requires_action"


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("sunny", "sunny"),
        ({"sky": "blue"}, '{"sky": "blue"}'),
        ([{"type": "text", "text": "blue"}], "blue"),
    ],
)
def test_a_continuation_echoes_the_result(waiting, ask, value, answer):
    given = [result(waiting.steps[0].id, value)]
    done = ask(given, previous_interaction_id=waiting.id)
    assert (done.status, done.output_text) == ("completed", f"Echo: {answer}")
    assert done.previous_interaction_id == waiting.id


def test_a_conversation_can_be_sent_as_a_whole(waiting, ask):
    step = waiting.steps[0]
    turns = [
        {"type": "user_input", "content": [{"type": "text", "text": "need-action"}]},
        {"type": "function_call", "id": step.id, "name": step.name, "arguments": step.arguments},
        result(step.id),
    ]
    done = ask(turns, tools=[WEATHER])
    assert (done.status, done.output_text) == ("completed", "Echo: sunny")


def test_a_result_for_no_call_is_refused(waiting, ask):
    with pytest.raises(Exception, match="no function call 'call_x' that waits") as caught:
        ask([result("call_x")], previous_interaction_id=waiting.id)
    assert caught.value.status_code == 400
    with pytest.raises(Exception, match="no function call"):
        ask([result(waiting.steps[0].id)])


def test_a_call_that_waits_must_get_its_result(waiting, ask):
    with pytest.raises(Exception, match=f"waits for the result .*{waiting.steps[0].id}"):
        ask("never mind", previous_interaction_id=waiting.id)


def test_only_what_is_there_and_over_can_be_continued(server, ask):
    with pytest.raises(Exception, match="'gone' was not found"):
        ask("more", previous_interaction_id="gone")
    running = ask("take-30s", background=True)
    with pytest.raises(Exception, match="has not ended"):
        ask("more", previous_interaction_id=running.id)


def test_what_is_not_stored_cannot_be_found_again(client, ask):
    done = ask("hello", store=False)
    with pytest.raises(Exception, match="was not found"):
        client.interactions.get(done.id)
    with pytest.raises(Exception, match="store=true"):
        ask("hello", store=False, background=True)


def test_the_input_is_shown_on_demand(wire, ask):
    done = ask("hello", labels={"team": "a"})
    _, _, short = wire.get(f"/v1/interactions/{done.id}", key=KEY)
    _, _, long = wire.get(f"/v1/interactions/{done.id}?include_input=true", key=KEY)
    assert long == {**short, "input": "hello"}
    assert short["labels"] == {"team": "a"}


def stream(client, given, **more):
    return client.interactions.create(model=MODEL, input=given, stream=True, **more)


def test_a_stream_goes_on_while_the_interaction_runs(server, client):
    events = iter(stream(client, "take-30s", background=True))
    begun = next(events).interaction
    assert (begun.status, next(events).status) == ("in_progress", "in_progress")
    client.interactions.cancel(begun.id)
    rest = list(events)
    assert [event.event_type for event in rest] == [
        "interaction.status_update",
        "interaction.completed",
    ]
    assert rest[-1].interaction.status == "cancelled"


def test_a_stream_that_is_waited_for_does_not_hinder_the_end(serve, connect):
    server = serve()
    events = iter(stream(connect(server), "take-30s", background=True))
    next(events)
    server.emulator.closing.set()
    assert [event.event_type for event in events] == ["interaction.status_update"]


def test_the_stream_of_a_function_call(client):
    events = list(stream(client, "need-action", tools=[WEATHER]))
    deltas = [event.delta for event in events if event.event_type == "step.delta"]
    assert [delta.type for delta in deltas] == ["arguments_delta"]
    assert json.loads(deltas[0].arguments)["city"] == "example"
    assert events[2].step.name == "weather"
    assert events[-1].interaction.status == "requires_action"


def test_the_stream_of_a_failure(client):
    events = list(stream(client, "fail-job"))
    [error] = [event.error for event in events if event.event_type == "error"]
    assert (error.code, "fail-job" in error.message) == ("13", True)
    assert events[-1].interaction.status == "failed"
