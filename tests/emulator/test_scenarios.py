"""Scenario files decide how jobs end."""

import json
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from gemini_webhooks.emulator.scenarios import load
from gemini_webhooks.exceptions import ConfigurationError
from tests.emulator.conftest import KEY, MODEL, Wire

DOCS = Path(__file__).resolve().parents[2] / "docs" / "emulator.md"
TOOLS = [{"type": "function", "name": "weather"}]


@pytest.fixture
def write(tmp_path):
    def written(content, name="scenario.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return written


@pytest.fixture
def told(serve, connect, write):
    """A client for an emulator with these rules."""

    def start(*rules, **options):
        server = serve(scenario=load(write({"jobs": rules})), output="inline", **options)
        return connect(server), server.emulator

    return start


def ask(client, text="hello", **more):
    return client.interactions.create(model=MODEL, input=text, **more)


def run(client, emulator, *texts, **config):
    src = [{"contents": text} for text in texts or ("hello",)]
    job = client.batches.create(model=MODEL, src=src, config=config or None)
    assert emulator.outbox.wait_idle()
    return client.batches.get(name=job.name)


def test_the_first_rule_that_matches_wins(told):
    client, _ = told(
        {"match": {"text": "BAD"}, "outcome": "fail", "error": {"code": 8, "message": "Quota"}},
        {"answer": "fine"},
    )
    bad = ask(client, "something bad")
    assert (bad.status, bad.errors[0].code, bad.errors[0].message) == ("failed", "8", "Quota")
    assert ask(client, "something good").output_text == "fine"


def test_an_error_may_have_a_code_only(told):
    client, _ = told({"outcome": "fail", "error": {"code": 8}})
    [error] = ask(client).errors
    assert (error.code, error.message) == ("8", "Fails on request.")


def test_what_no_rule_matches_is_echoed(told):
    client, _ = told({"match": {"kind": "batch"}, "outcome": "fail"})
    assert ask(client).output_text == "Echo: hello"


def test_a_rule_can_be_for_so_many_jobs(told):
    client, _ = told({"times": 2, "outcome": "fail"}, {"times": 1, "outcome": "cancel"})
    assert [ask(client).status for _ in range(4)] == ["failed", "failed", "cancelled", "completed"]


@pytest.mark.parametrize(
    ("match", "state"),
    [
        ({}, "FAILED"),
        ({"kind": "batch"}, "FAILED"),
        ({"kind": "interaction"}, "SUCCEEDED"),
        ({"model": "gemini-2.5-*"}, "FAILED"),
        ({"model": "gemini-2.5"}, "SUCCEEDED"),
        ({"display_name": "night*"}, "FAILED"),
        ({"display_name": "day*"}, "SUCCEEDED"),
        ({"metadata": {"tenant": "acme"}}, "FAILED"),
        ({"metadata": {"tenant": "acme", "n": 1}}, "FAILED"),
        ({"metadata": {"tenant": "other"}}, "SUCCEEDED"),
        ({"metadata": {"group": None}}, "SUCCEEDED"),
        ({"kind": "batch", "text": "missing"}, "SUCCEEDED"),
    ],
)
def test_what_a_rule_is_for(serve, write, receiver, match, state):
    rules = [{"match": match, "outcome": "fail"}]
    wire = Wire(serve(scenario=load(write({"jobs": rules}))))
    metadata = {"tenant": "acme", "n": 1, "more": True}
    batch = {
        "displayName": "nightly",
        "inputConfig": {"requests": {"requests": [{"request": {"contents": "hello"}}]}},
        "webhookConfig": {"uris": [receiver.url], "user_metadata": metadata},
    }
    path = f"/v1/models/{MODEL}:batchGenerateContent"
    _, _, started = wire.post(path, {"batch": batch}, key=KEY)
    assert wire.server.emulator.outbox.wait_idle()
    _, _, ended = wire.get(f"/v1/{started['name']}", key=KEY)
    assert ended["metadata"]["state"] == f"BATCH_STATE_{state}"


def test_a_rule_passes_over_jobs_that_cannot_end_like_that(told):
    client, emulator = told({"outcome": "requires_action"}, {"outcome": "expire"})
    assert run(client, emulator).state.name == "JOB_STATE_EXPIRED"
    assert ask(client, tools=TOOLS).status == "requires_action"


def test_a_rule_that_says_nothing_changes_nothing(told):
    client, _ = told({"match": {}}, {"outcome": "fail"})
    assert ask(client).output_text == "Echo: hello"


def test_rows_that_fail_are_spread_over_the_batch(told):
    client, emulator = told({"failing_rows": 0.5, "error": {"code": 14, "message": "Busy"}})
    rows = run(client, emulator, "a", "b", "c", "d").dest.inlined_responses
    assert [row.error and row.error.message for row in rows] == [None, "Busy", None, "Busy"]
    assert {row.error.code for row in rows if row.error} == {14}


def test_answers_row_by_row(told):
    client, emulator = told({"answer": ["one", ""]})
    rows = run(client, emulator, "a", "b", "c").dest.inlined_responses
    assert [row.response.text for row in rows] == ["one", None, "Echo: c"]


def test_one_answer_for_all_rows(told):
    client, emulator = told({"answer": "same"})
    rows = run(client, emulator, "a", "b").dest.inlined_responses
    assert [row.response.text for row in rows] == ["same", "same"]


def test_where_answers_go(told):
    client, emulator = told({"output": "files", "times": 1})
    assert run(client, emulator).dest.file_name.startswith("files/")
    assert run(client, emulator).dest.inlined_responses


def test_seconds_are_drawn_from_a_range_and_are_the_same_every_time(serve, connect, write):
    def drawn(seed):
        rules = [{"seconds": [100, 200], "match": {"kind": "interaction"}}]
        server = serve(scenario=load(write({"seed": seed, "jobs": rules})))
        client = connect(server)
        for _ in range(3):
            ask(client, background=True)
        return [job.plan.seconds for job in server.emulator.interactions]

    first = drawn(1)
    assert len(set(first)) == 3
    assert all(100 <= seconds <= 200 for seconds in first)
    assert drawn(1) == first
    assert drawn(2) != first


def test_words_in_a_prompt_win_over_a_scenario(told):
    client, emulator = told({"outcome": "fail", "seconds": 50, "error": {"message": "Mine"}})
    ask(client, "take-30s", background=True)
    [job] = emulator.interactions
    assert (job.plan.outcome, job.plan.seconds) == ("failed", 30)
    assert ask(client, "cancel-job").status == "cancelled"
    assert "fail-job" in ask(client, "fail-job").errors[0].message
    assert ask(client).errors[0].message == "Mine"


def test_a_video_fails_by_rule(serve, write):
    rule = {"match": {"kind": "video", "model": "veo-*", "text": "cat"}, "outcome": "fail"}
    wire = Wire(serve(scenario=load(write({"jobs": [rule]}))))
    body = {"instances": [{"prompt": "a cat"}]}
    _, _, started = wire.post("/v1beta/models/veo-3:predictLongRunning", body, key=KEY)
    assert wire.server.emulator.outbox.wait_idle()
    assert wire.get(f"/v1beta/{started['name']}", key=KEY)[2]["error"]["code"] == 13


YAML = """
seed: 7
options:
  duplicates: 0.5
  max-tries: 3
jobs:
  - match: {kind: interaction}
    outcome: fail
    error:
      message: Not today.
"""


def test_yaml_says_the_same_as_json(write):
    pytest.importorskip("yaml", reason="needs the extra emulator")
    scenario = load(write(YAML, "scenario.yaml"))
    same = {
        "seed": 7,
        "options": {"duplicates": 0.5, "max_tries": 3},
        "jobs": [
            {
                "match": {"kind": "interaction"},
                "outcome": "fail",
                "error": {"message": "Not today."},
            }
        ],
    }
    assert scenario == load(write(same))
    assert dict(scenario.options) == {"duplicates": 0.5, "max_tries": 3}


@pytest.mark.parametrize("content", ["", "jobs:\n", "# nothing\n"])
def test_an_empty_file_is_a_scenario_without_rules(write, content):
    assert load(write(content, "empty.yaml")).rules == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must be a mapping with seed, options, jobs"),
        ({"job": []}, "job: is not known; allowed are seed, options, jobs"),
        ({"seed": "x"}, "seed: must be a whole number, not text"),
        ({"jobs": {}}, "jobs: must be a list, not a mapping"),
        ({"jobs": [{}, 3]}, r"jobs\[1\]: must be a mapping, not a number"),
        ({"jobs": [{}, {}, {"outcome": "explode"}]}, r"jobs\[2\].outcome: 'explode' is not known"),
        ({"jobs": [{"outcome": "explode"}]}, "succeed, fail, expire, cancel, requires_action"),
        ({"jobs": [{"outcome": ["fail"]}]}, r"jobs\[0\].outcome: \['fail'\] is not known"),
        ({"jobs": [{"then": 1}]}, r"jobs\[0\].then: is not known; allowed are match, times"),
        ({"jobs": [{"times": 0}]}, r"jobs\[0\].times: must be 1 or more, not 0"),
        ({"jobs": [{"times": True}]}, "times: must be a whole number, not true or false"),
        ({"jobs": [{"seconds": "long"}]}, "seconds: must be a number, not text"),
        ({"jobs": [{"seconds": [1]}]}, "seconds: must be a number, or a list of the least"),
        ({"jobs": [{"seconds": [5, 1]}]}, "seconds: the least, 5, is more than the most, 1"),
        ({"jobs": [{"seconds": -1}]}, "seconds: must be from 0 to"),
        ({"jobs": [{"failing_rows": 2}]}, "failing_rows: must be from 0 to 1, not 2"),
        ({"jobs": [{"answer": 5}]}, "answer: must be text, not a number"),
        ({"jobs": [{"answer": ["a", None]}]}, r"answer\[1\]: must be text, not nothing"),
        ({"jobs": [{"output": "tape"}]}, "output: 'tape' is not known; allowed are gcs, files"),
        ({"jobs": [{"error": {"code": "x"}}]}, r"jobs\[0\].error.code: must be a whole number"),
        ({"jobs": [{"error": {"message": 1}}]}, r"error.message: must be text"),
        ({"jobs": [{"match": {"kind": "song"}}]}, "match.kind: 'song' is not known"),
        ({"jobs": [{"match": {"model": 3}}]}, "match.model: must be text"),
        ({"jobs": [{"match": {"metadata": []}}]}, "match.metadata: must be a mapping"),
        (
            {"jobs": [{"match": {"kind": "video"}, "outcome": "requires_action"}]},
            r"jobs\[0\].match.kind: what the rule says is for interaction only",
        ),
        (
            {"jobs": [{"failing_rows": 0.5, "outcome": "requires_action"}]},
            r"jobs\[0\]: failing_rows, output do not go with this outcome",
        ),
        ({"options": {"duplicate": 1}}, "options.duplicate: is not known; allowed are job_seconds"),
        ({"options": {"state": "x"}}, "options.state: is not known"),
        ({"options": {"report": "x"}}, "options.report: is not known"),
        ({"options": {"duplicates": "x"}}, "options.duplicates: must be a number, not text"),
        ({"options": {"max_tries": 1.5}}, "options.max_tries: must be a number"),
        ({"options": {"separate_projects": 1}}, "must be true or false, not a number"),
    ],
)
def test_a_mistake_is_told_with_its_place(write, content, message):
    with pytest.raises(ConfigurationError, match=message):
        load(write(content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "a.json cannot be used. It is not JSON: .*line 1"),
        ("a.yaml", "jobs: [\n", "(?s)a.yaml cannot be used. It is not YAML: .*line 2"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "It is not YAML"),
        ("a.yaml", "1: 2", "has the name 1, which is no text"),
    ],
)
def test_a_file_that_is_neither(write, name, content, message):
    with pytest.raises(ConfigurationError, match=message):
        load(write(content, name))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none.yaml cannot be read: No such file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xe9")
    with pytest.raises(ConfigurationError, match="it is not text in UTF-8"):
        load(tmp_path / "latin.yaml")


def test_yaml_needs_its_extra_and_json_does_not(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigurationError, match=r"install 'django-gemini-webhooks\[emulator\]'"):
        load(write(YAML, "scenario.yml"))
    assert load(write({"seed": 1})).seed == 1


def test_the_command_says_what_is_wrong_with_a_scenario(write):
    path = write({"jobs": [{"outcome": "explode"}]})
    with pytest.raises(CommandError, match=r"jobs\[0\].outcome: 'explode' is not known"):
        call_command("gemini_emulator", "--scenario", str(path), "--port", "0")


def block_of(heading, language, number=0):
    section = DOCS.read_text().split(f"### {heading}\n")[1]
    return section.split(f"```{language}\n")[number + 1].split("```")[0]


def test_the_example_of_the_documentation_does_what_it_says(serve, connect, write, receiver):
    pytest.importorskip("yaml", reason="needs the extra emulator")
    scenario = load(write(block_of("Scenarios", "yaml"), "scenario.yaml"))
    server = serve(scenario=scenario, output="inline", **scenario.options)
    client = connect(server)

    config = {"uris": [receiver.url], "user_metadata": {"tenant": "acme", "n": 1}}
    nightly = {"display_name": "nightly-1", "webhook_config": config}
    failed, done = (run(client, server.emulator, *"abcd", **nightly) for _ in range(2))
    assert (failed.state.name, done.state.name) == ("JOB_STATE_FAILED", "JOB_STATE_SUCCEEDED")
    event = json.loads(receiver.got[0].body)
    assert (event["type"], event["data"]["error_code"]) == ("batch.failed", "8")
    rows = done.dest.inlined_responses
    assert rows[0].response.text == "The first row says this."
    assert [bool(row.error) for row in rows] == [False, False, False, True]
    assert ask(client, "the weather", tools=TOOLS).status == "requires_action"


def test_the_example_of_a_continuation_works(server, client):
    namespace = {}
    exec(block_of("Function calls", "python"), namespace)
    waiting = ask(client, "need-action", tools=TOOLS)
    made = namespace["continue_interaction"](client, waiting)
    assert server.emulator.outbox.wait_idle()
    assert client.interactions.get(made.id).output_text == "Echo: sunny"


def test_the_example_of_a_test_works():
    namespace = {}
    exec(block_of("Scenarios", "python"), namespace)
    assert namespace["server"].emulator.options.scenario.rules[0].times == 1
