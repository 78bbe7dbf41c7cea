"""What ``--state`` keeps, and what happens when it cannot be kept."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from gemini_webhooks.emulator import EmulatorServer
from gemini_webhooks.exceptions import ConfigurationError
from tests.emulator.conftest import KEY, MODEL, Receiver, Wire
from tests.emulator.delivering import ask, claims_of, idle, ids, register, switch, verifies


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.json"


@pytest.fixture
def running(path):
    @contextmanager
    def run(**options):
        given = {"job_seconds": 0, "retry_base": 0.01, "output": "inline", "state": path}
        with EmulatorServer(**{**given, **options}) as server:
            yield Wire(server)

    return run


def until(condition, what):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def batch(wire, text="one"):
    config = {
        "inputConfig": {
            "requests": {"requests": [{"request": {"contents": [{"parts": [{"text": text}]}]}}]}
        }
    }
    path = f"/v1/models/{MODEL}:batchGenerateContent"
    status, _, made = wire.post(path, {"batch": config}, key=KEY)
    assert status == 200, made
    return made["name"]


# What is kept -------------------------------------------------------------------------------


def test_jobs_files_objects_and_the_log_are_there_again(running, receiver, connect):
    with running(output="gcs") as wire:
        client = connect(wire.server)
        name = batch(wire)
        interaction = ask(wire, receiver.url, tenant="acme")
        file = client.files.upload(file=__file__, config={"mime_type": "text/plain"})
        idle(wire)
        before = {
            path: wire.get(path, key=KEY)[2]
            for path in (
                f"/v1/{name}",
                f"/v1/interactions/{interaction}",
                f"/v1/{file.name}",
                f"/v1/{file.name}:download",
                "/emulator/state",
                "/emulator/deliveries",
            )
        }
        uri = before[f"/v1/{name}"]["metadata"]["output"]["responsesFile"]
        bucket, _, key = uri.removeprefix("gs://").partition("/")
        stored = f"/storage/v1/b/{bucket}/o/{key}?alt=media"
        before[stored] = wire.get(stored)[2]

    with running(output="gcs") as wire:
        after = {path: wire.get(path, key=KEY)[2] for path in before}
        [message] = wire.server.emulator.outbox.messages

    assert after == before
    assert "Echo: one" in json.dumps(before[stored])
    assert (message.state, message.resource_id, message.target) == (
        "delivered",
        interaction,
        receiver.url,
    )
    assert (message.body, message.tries[0].request_headers["webhook-id"]) == (
        receiver.got[0].body,
        message.webhook_id,
    )


def test_webhooks_sign_with_the_same_secrets(running, receiver):
    with running() as wire:
        hook, old = register(wire, receiver.url)
        new = wire.post(f"/v1/webhooks/{hook}:rotateSigningSecret", {}, key=KEY)[2]["secret"]
        before = wire.get(f"/v1/webhooks/{hook}", key=KEY)[2]

    with running() as wire:
        assert wire.get(f"/v1/webhooks/{hook}", key=KEY)[2] == before
        ask(wire)
        idle(wire)

    [received] = receiver.got
    assert verifies(old, received)
    assert verifies(new, received)


def test_tokens_of_before_verify_with_the_key_set_of_after(running, receiver):
    with running() as wire:
        ask(wire, receiver.url)
        idle(wire)
        keys = wire.get("/.well-known/jwks.json")[2]

    with running() as wire:
        assert wire.get("/.well-known/jwks.json")[2] == keys
        assert claims_of(wire, receiver.got[0], receiver.url)
        ask(wire, receiver.url)
        idle(wire)
        assert claims_of(wire, receiver.got[1], receiver.url)


def test_switches_go_on_with_their_turns(running, receiver):
    for share in (1, 0):
        with running(lost=0.5) as wire:
            ask(wire, receiver.url)
            idle(wire)
        assert len(receiver.got) == 1, share


def test_a_webhook_that_was_switched_off_stays_so(running, receiver):
    receiver.judge = lambda _: 500
    with running(max_tries=1, disable_after=2) as wire:
        hook, _ = register(wire, receiver.url)
        ask(wire)
        idle(wire)

    with running(max_tries=1, disable_after=2) as wire:
        ask(wire)
        idle(wire)
        shown = wire.get(f"/v1/webhooks/{hook}", key=KEY)[2]

    assert shown["state"] == "disabled_due_to_failed_deliveries"
    with running() as wire:
        ask(wire)
        idle(wire)
    assert len(receiver.got) == 2


def test_an_object_that_is_a_file_stays_where_it_is(running, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(b"0123456789")
    with running() as wire:
        wire.server.emulator.storage.put("results", "big", big)
    big.write_bytes(b"9876543210")

    with running() as wire:
        assert wire.get("/download/storage/v1/b/results/o/big?alt=media")[2] == b"9876543210"


# What goes on -------------------------------------------------------------------------------


def test_a_job_that_runs_ends_after_the_restart(running, receiver):
    with running(job_seconds=0.4) as wire:
        register(wire, receiver.url)
        job = ask(wire)
        started = time.monotonic()

    with running(job_seconds=600) as wire:
        assert wire.get(f"/v1/interactions/{job}", key=KEY)[2]["status"] == "in_progress"
        idle(wire)
        assert time.monotonic() - started > 0.3
        assert wire.get(f"/v1/interactions/{job}", key=KEY)[2]["status"] == "completed"
    assert json.loads(receiver.got[0].body)["data"]["id"] == job


def test_a_job_that_ends_once_more_after_a_crash_sends_the_same_event(running, path, receiver):
    with running(job_seconds=0.3) as wire:
        register(wire, receiver.url)
        ask(wire)
        ask(wire, receiver.url, receiver.url)
    before = path.read_bytes()
    for _ in range(2):
        with running() as wire:
            idle(wire)
        path.write_bytes(before)  # as if it had been killed before it was written again

    sent = ids(receiver.got)
    assert len(set(sent[:3])) == 3
    assert sorted(sent[:3]) == sorted(sent[3:])


def test_a_delivery_that_waits_is_tried_again(running, receiver):
    receiver.judge = lambda _: 503
    with running(retry_base=0.5) as wire:
        _, secret = register(wire, receiver.url)
        ask(wire)
        until(lambda: wire.server.emulator.outbox.tries, "nothing is tried")
    receiver.judge = lambda _: 200
    before = len(receiver.got)

    with running() as wire:
        idle(wire)
        [message] = wire.server.emulator.outbox.messages

    assert len(receiver.got) == before + 1
    assert len(set(ids(receiver.got))) == 1
    assert verifies(secret, receiver.got[-1])
    assert [made.number for made in message.tries] == list(range(1, before + 2))
    assert message.state == "delivered"


def test_a_delivery_that_waits_knows_the_webhook_as_it_is_now(running, receiver):
    with Receiver() as broken:
        broken.judge = lambda _: 503
        with running(retry_base=0.4) as wire:
            hook, _ = register(wire, broken.url)
            ask(wire)
            until(lambda: wire.server.emulator.outbox.tries, "nothing is tried")
        with running() as wire:
            change = json.dumps({"uri": receiver.url}).encode()
            assert wire.send("PATCH", f"/v1/webhooks/{hook}", change, key=KEY)[0] == 200
            idle(wire)

    assert ids(receiver.got) == ids(broken.got)


@pytest.mark.parametrize("act", ["before", "after"])
def test_a_delivery_for_a_webhook_that_was_deleted_is_dropped(running, receiver, act):
    receiver.judge = lambda _: 503
    with running(retry_base=0.3) as wire:
        hook, _ = register(wire, receiver.url)
        ask(wire)
        until(lambda: wire.server.emulator.outbox.tries, "nothing is tried")
        if act == "before":
            wire.send("DELETE", f"/v1/webhooks/{hook}", key=KEY)

    with running() as wire:
        if act == "after":
            wire.send("DELETE", f"/v1/webhooks/{hook}", key=KEY)
        idle(wire)
        assert wire.server.emulator.outbox.messages[0].state == "dropped"
    assert len(receiver.got) == 1


def test_what_was_lost_can_still_be_sent(running, receiver):
    with running(lost=1) as wire:
        ask(wire, receiver.url)
        idle(wire)

    with running() as wire:
        idle(wire)
        assert receiver.got == []
        wire.server.emulator.outbox.send_lost()
        idle(wire)
    assert len(receiver.got) == 1


def test_a_try_that_the_end_breaks_off_does_not_count(running, receiver):
    stopped = []
    with running(max_tries=1) as wire:
        receiver.meanwhile = lambda: until(lambda: stopped, "the emulator does not end")
        ask(wire, receiver.url)
        until(lambda: receiver.got, "nothing comes")
    stopped.append(True)

    with running(max_tries=1) as wire:
        idle(wire)
        [made] = wire.server.emulator.outbox.tries

    assert (made.number, made.status) == (1, 200)
    assert len(set(ids(receiver.got))) == 1
    assert len(receiver.got) == 2


# The file -----------------------------------------------------------------------------------


@contextmanager
def command(*arguments):
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "django",
            "gemini_emulator",
            "--port",
            "0",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    try:
        url = re.search(r"http://\S+", process.stdout.readline())
        yield process, url and url[0]
    finally:
        process.kill()
        process.communicate()


def test_nothing_but_the_last_moment_is_lost_when_it_is_killed(path, receiver):
    given = {"uri": receiver.url, "subscribed_events": ["interaction.completed"]}
    with command("--state", str(path)) as (process, url):
        request = urllib.request.Request(
            f"{url}/v1/webhooks", json.dumps(given).encode(), {"x-goog-api-key": KEY}
        )
        with urllib.request.urlopen(request) as answer:
            made = json.load(answer)
        until(lambda: made["id"] in path.read_text(), "the webhook is not kept")
        process.send_signal(signal.SIGKILL)
        process.wait()

    with EmulatorServer(output="inline", job_seconds=0, state=path) as server:
        wire = Wire(server)
        ask(wire)
        idle(wire)
    assert verifies(made["new_signing_secret"], receiver.got[0])


def test_only_the_owner_may_read_it_and_nothing_else_is_left(running, path, tmp_path):
    path.touch(0o644)
    (tmp_path / "state.json.new").write_text("left by a process that was killed")
    with running() as wire:
        register(wire, "https://a.example")

    assert {file.name for file in tmp_path.iterdir()} == {"state.json", "state.json.lock"}
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_link_stays_a_link(running, path, tmp_path):
    target = tmp_path / "elsewhere.json"
    path.symlink_to(target)
    with running():
        pass

    assert path.is_symlink()
    assert target.stat().st_size


def good(number=1, **changes):
    jobs, others = ("batches", "interactions", "videos"), ("webhooks", "files", "objects")
    empty = {kind: [] for kind in (*jobs, *others, "messages", "keys")}
    state = {**empty, "turns": {}, "rules": {}, **changes}
    return {"gemini_emulator_format": number, "state": state}


def test_a_file_like_these_is_read(path, running):
    path.write_text(json.dumps(good()))
    with running():
        pass


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{", "is damaged, or no state file"),
        (b"\xff\xfe", "is damaged, or no state file"),
        (b"[" * 100_000, "is damaged, or no state file"),
        (b"null", "is no state file"),
        (b'{"name": "package"}', "is no state file"),
        (json.dumps(good(2)).encode(), "written by another version"),
        (b'{"gemini_emulator_format": 1}', "damaged, or was written by another version"),
        (b'{"gemini_emulator_format": 1, "state": {}}', "damaged, or was written by another"),
        (json.dumps(good(webhooks=[{"id": 7}])).encode(), "damaged, or was written by"),
        (json.dumps(good(files={})).encode(), "damaged, or was written by"),
        (json.dumps(good(keys=[{"id": "a", "pem": "none"}])).encode(), "damaged, or was written"),
        (json.dumps(good(webhooks=[{"name": "", "created": "now"}])).encode(), "damaged"),
        (json.dumps(good(turns={"late": "x"})).encode(), "damaged, or was written by"),
        (json.dumps(good(rules={"late": 1})).encode(), "damaged, or was written by"),
        (json.dumps(good(messages=[{"state": "asleep"}])).encode(), "damaged, or was written"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_as_it_is(running, path, content, complaint):
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=complaint) as caught, running():
        pass

    assert str(path) in str(caught.value)
    assert path.read_bytes() == content
    path.unlink()
    with running():
        """It is not in use any more."""


def test_command_says_what_is_wrong_with_the_file(path):
    path.write_text("{")
    with command("--state", str(path)) as (process, _):
        _, said = process.communicate(timeout=20)

    assert process.returncode == 1
    assert said == (
        f"CommandError: The state file {path} is damaged, or no state file at all: "
        "move it away to start anew, or choose another file\n"
    )


@pytest.mark.parametrize("name", ["gone/state.json", "file/state.json", "folder"])
def test_a_file_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    with pytest.raises(ConfigurationError, match=r"cannot be (written|read)"):
        EmulatorServer(output="inline", state=tmp_path / name)


def test_two_emulators_cannot_have_the_same_file(running, path):
    taken = pytest.raises(ConfigurationError, match="Another emulator uses the state file")
    with running(), taken:
        EmulatorServer(output="inline", state=path)
    with running():
        """It is free again."""


def test_a_port_that_cannot_be_had_leaves_the_file_free(running, path):
    with running(state=None) as wire:
        port = int(wire.server.url.rpartition(":")[2])
        with pytest.raises(OSError):
            EmulatorServer(port=port, output="inline", state=path)
    with running():
        """It is free."""


def test_it_goes_on_while_the_file_cannot_be_written(running, tmp_path, receiver):
    folder = tmp_path / "volume"
    folder.mkdir()
    lines = []
    with running(state=folder / "state.json", report=lines.append) as wire:
        folder.rename(tmp_path / "away")
        hook, _ = register(wire, receiver.url)
        until(lambda: lines, "nothing is said")
        ask(wire)
        idle(wire)
        (tmp_path / "away").rename(folder)
    assert [line for line in lines if "state" in line] == [
        "The state is not kept: No such file or directory"
    ]
    with running(state=folder / "state.json") as wire:
        assert wire.get(f"/v1/webhooks/{hook}", key=KEY)[0] == 200


def test_switches_set_while_it_runs_are_as_the_options_say_after_a_restart(running):
    with running() as wire:
        switch(wire, lost=1)
    with running() as wire:
        assert wire.server.emulator.switches.now.lost == 0
