"""The documentation says what the code does: examples run, tables are complete."""

from __future__ import annotations

import ast
import configparser
import inspect
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock
from urllib.error import URLError
from xml.etree import ElementTree as ET

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.management import call_command, load_command_class
from django.dispatch import Signal
from django.urls import include, path, resolve
from django.utils.module_loading import import_string

from gemini_webhooks import conf, exceptions, receivers, signals, tasks, verification, views
from gemini_webhooks.emulator import EmulatorServer
from gemini_webhooks.events import Event
from gemini_webhooks.exceptions import Rejected, Undecided
from gemini_webhooks.models import Job, Lane, ReceiverRun, WebhookDelivery, WebhookEndpoint
from tests.extras import needs
from tests.senders import StaticSender, new_secret

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "gemini_webhooks"
DOCS = PROJECT / "docs"
PAGES = {page.stem: page for page in [PROJECT / "README.md", *sorted(DOCS.glob("*.md"))]}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")

database = pytest.mark.django_db(transaction=True)
with_extras = needs("gcs", "genai")


@dataclass(frozen=True)
class Block:
    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


BLOCKS = [
    Block(name, number, language, text)
    for name, page in PAGES.items()
    for number, (language, text) in enumerate(BLOCK.findall(page.read_text()), start=1)
]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def python_of(page: str) -> list[str]:
    return [block.text for block in PYTHON if block.page == page]


def section(page: str, heading: str) -> str:
    return PAGES[page].read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    lines = [line for line in section(page, heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def bare(cell: str) -> str:
    return cell.strip("`")


def run_example(code: str, **names: Any) -> dict[str, Any]:
    namespace = {"__name__": "docs", **names}
    exec(code, namespace)
    return namespace


# --- examples


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


SETTINGS = [
    block for block in PYTHON if re.search(r"^GEMINI_WEBHOOKS = ", block.text, re.MULTILINE)
]


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_settings_pass_the_system_checks(
    block: Block, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_WEBHOOK_SECRET", new_secret())
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:8090")
    given = {"INSTALLED_APPS": [], "urlpatterns": [], "os": os, "path": path, "include": include}
    given["BASE_DIR"] = PROJECT

    settings.GEMINI_WEBHOOKS = run_example(block.text, **given)["GEMINI_WEBHOOKS"]

    assert run_checks(tags=["gemini_webhooks"]) == []


@database
def test_the_readme_s_receiver_runs(static: StaticSender) -> None:
    report = Mock()
    example = run_example(python_of("README")[1], Report=report)

    static.post(static.envelope(output_file_uri="gs://bucket/answers.jsonl"))
    call_command("gemini_webhooks", "drain", stdout=io.StringIO())

    assert "note" in example
    report.objects.create.assert_called_once_with(
        batch="batch_123456", output="gs://bucket/answers.jsonl"
    )


@database
def test_the_receivers_page(static: StaticSender, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[urllib.request.Request] = []
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda request, timeout: asked.append(request) or io.BytesIO()
    )
    examples = [run_example(code) for code in python_of("receivers")]
    job_group = {"job_group": "nightly"}

    static.post(static.envelope(user_metadata=job_group), webhook_id="no-order")
    static.post(static.envelope(user_metadata={"order": 7}), webhook_id="no-job")
    acme = {"tenant": "acme"}
    static.post(static.envelope("interaction.completed", user_metadata=acme), webhook_id="crm")
    static.post(static.envelope("video.generated", video_uri="files/v"), webhook_id="video")
    call_command("gemini_webhooks", "drain", stdout=io.StringIO())

    assert len(examples) == 8
    runs = ReceiverRun.objects.values_list("delivery__webhook_id", "receiver", "state", "queue")
    assert set(runs) == {
        ("no-order", "docs.note", "succeeded", ""),
        ("no-order", "docs.nightly", "succeeded", "nightly"),
        ("no-order", "docs.import_answers", "succeeded", ""),
        ("no-order", "order-answers", "dead", ""),
        ("no-job", "docs.note", "succeeded", ""),
        ("no-job", "docs.import_answers", "succeeded", ""),
        ("no-job", "order-answers", "retrying", ""),
        ("crm", "tell-crm", "succeeded", ""),
        ("crm", "docs.notify", "succeeded", ""),
        ("crm", "docs.show_state", "succeeded", ""),
        ("video", "docs.video", "succeeded", ""),
    }
    assert [request.get_header("Idempotency-key") for request in asked] == ["crm:tell-crm"]
    lanes = {"docs.import_answers": 8, 'docs.notify tenant="acme"': 2}
    assert dict(Lane.objects.values_list("name", "limit")) == lanes
    event = Event(id="m", type="batch.succeeded", user_metadata=acme)
    assert examples[3]["by_tenant"](event, "any") == receivers.Lane(name="tenant acme", limit=4)


@with_extras
@database
def test_the_results_and_operations_pages(
    static: StaticSender,
    configured: dict[str, Any],
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.MEDIA_ROOT = tmp_path
    configured.update(FETCH_RESULTS=True, ALLOWED_BUCKETS=["gemini-emulator"], MAX_ATTEMPTS=1)
    reading = run_example(python_of("results")[0])
    alarming = run_example(python_of("operations")[1])
    with EmulatorServer("127.0.0.1", 0) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        rows = b'{"key": "a", "response": "yes"}\n{"key": "b", "error": "no"}\n{}\n'
        uri = server.emulator.storage.put("gemini-emulator", "answers", rows, "text/plain")
        static.post(static.envelope(output_file_uri=uri), webhook_id="m")
        call_command("gemini_webhooks", "drain", stdout=io.StringIO())

    assert "read" in reading
    assert "alarm" in alarming
    assert capsys.readouterr().out.splitlines() == [
        "a yes",
        "b no",
        "result_ready:docs.read gave up on m: KeyError: 'key'",
    ]


@database
def test_the_secret_backend(
    configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe, setting = (code for code in python_of("security") if "secret_files" in code)
    mysite, secret_files = ModuleType("mysite"), ModuleType("mysite.secret_files")
    monkeypatch.setitem(sys.modules, "mysite", mysite)
    monkeypatch.setitem(sys.modules, "mysite.secret_files", secret_files)
    exec(recipe, secret_files.__dict__)
    monkeypatch.setattr(secret_files, "FOLDER", tmp_path)
    run_example(setting, GEMINI_WEBHOOKS=configured)
    endpoint = WebhookEndpoint.objects.create(slug="reports")
    own, root = new_secret(), new_secret()
    (tmp_path / endpoint.slug).write_text(f"{new_secret()}\n{own}\n")
    (tmp_path / ".root").write_text(root)
    reports = StaticSender(path="/webhooks/gemini/reports", secret=own)

    assert run_checks(tags=["gemini_webhooks"]) == []
    assert reports.post().status_code == 200
    assert StaticSender(secret=root).post().status_code == 200
    assert StaticSender(secret=own).post().status_code == 401

    (tmp_path / endpoint.slug).unlink()
    assert reports.post().status_code == 200  # kept for a minute, as the page says
    monkeypatch.setattr(secret_files, "_kept", {})
    assert reports.post().status_code == 401


@database
def test_redaction(
    static: StaticSender, configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, setting = (code for code in python_of("security") if "privacy" in code)
    monkeypatch.setitem(sys.modules, "mysite", ModuleType("mysite"))
    monkeypatch.setitem(sys.modules, "mysite.privacy", ModuleType("mysite.privacy"))
    exec(recipe, sys.modules["mysite.privacy"].__dict__)
    run_example(setting, GEMINI_WEBHOOKS=configured)
    metadata = {"email": "ada@example.com", "name": "Ada"}

    assert run_checks(tags=["gemini_webhooks"]) == []
    assert static.post(static.envelope(user_metadata=metadata)).status_code == 200
    stored = WebhookDelivery.objects.get().user_metadata
    assert stored == {"email": "[redacted]", "name": "A"}
    assert static.post({"type": "t", "data": [1]}).status_code == 200


def test_the_root_address_without_its_slash() -> None:
    urlconf = ModuleType("docs_urls")
    [example] = [code for code in python_of("receiving") if "urlpatterns" in code]
    urlconf.urlpatterns = run_example(example)["urlpatterns"]

    for address in ("/webhooks/gemini", "/webhooks/gemini/", "/webhooks/gemini/acme"):
        assert resolve(address, urlconf=urlconf).func is views.receive


@with_extras
@database
def test_a_dynamic_job(configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    configured["PUBLIC_BASE_URL"] = "http://127.0.0.1:1"
    [example] = [code for code in python_of("receiving") if "webhook_config" in code]
    with EmulatorServer("127.0.0.1", 0, job_seconds=3600) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("GEMINI_API_KEY", "emulator")
        batch = run_example(example)["batch"]

    job = Job.objects.get()
    assert f"batches/{job.resource_id}" == batch.name
    assert job.user_metadata == {"tenant": "acme", "job_group": "nightly"}


# --- the quickstart, as it is written


@dataclass
class Site:
    """A project made by following the page."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except URLError:
            assert process.poll() is None, "the site ended"
            assert time.monotonic() < deadline, "the site does not answer"
            time.sleep(0.05)
        else:
            return


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    inherited = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    environment = {**inherited, "CELERY_BROKER_URL": "memory://"}
    site = Site(folder=tmp_path, environment=environment)
    site.run("-m", "django", "startproject", "mysite", ".")
    site.run("-m", "django", "startapp", "reports")
    for code in python_of("quickstart")[:-1]:
        written = tmp_path / code.partition("\n")[0].removeprefix("# ")
        old = written.read_text() if written.name == "settings.py" else ""
        written.write_text(old + code)
    return site


@with_extras
def test_the_quickstart(site: Site) -> None:
    *_, submit = python_of("quickstart")
    documented = next(
        block.text for block in BLOCKS if block.page == "quickstart" and "drain" in block.text
    )
    port = free_port()
    with EmulatorServer("127.0.0.1", 0, job_seconds=0.1) as server:
        site.environment |= {
            "GOOGLE_GEMINI_BASE_URL": server.url,
            "STORAGE_EMULATOR_HOST": server.url,
            "GEMINI_API_KEY": "emulator",
            "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        }
        site.run("manage.py", "migrate")
        serving = site.start("manage.py", "runserver", "--noreload", str(port))
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/admin/login/", serving)
            site.run("manage.py", "gemini_webhooks", "create", "reports")
            site.run("manage.py", "shell", "-c", submit)
            assert server.emulator.outbox.wait_idle(30)
            drained = site.run("manage.py", "gemini_webhooks", "drain")
        finally:
            serving.terminate()
            serving.wait(timeout=30)

    assert drained == documented.partition("\n")[2]


def servers_of_the_deployment_page() -> list[str]:
    return re.findall(
        r"^\$ ((?:gunicorn|uvicorn) .*)$", PAGES["deployment"].read_text(), re.MULTILINE
    )


@with_extras
@pytest.mark.parametrize("line", servers_of_the_deployment_page(), ids=lambda line: line.split()[0])
def test_the_deployment_page_s_servers(site: Site, line: str) -> None:
    port = free_port()
    site.run("manage.py", "migrate")
    serving = site.start("-m", *line.replace("8000", str(port)).split())
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/admin/login/", serving)
    finally:
        serving.terminate()
        assert serving.wait(timeout=30) in (0, -signal.SIGTERM)


@with_extras
def test_the_quickstart_s_one_command(site: Site) -> None:
    *_, submit = python_of("quickstart")
    [command] = re.findall(
        r"^\$ python (.* --with-emulator .*)$", PAGES["quickstart"].read_text(), re.MULTILINE
    )
    [logged] = [
        block.text for block in BLOCKS if block.page == "quickstart" and block.language == "text"
    ]
    ports = [str(free_port()), f"--emulator-port={free_port()}", "--emulator-job-seconds=0.1"]
    printed = site.folder / "printed"
    site.run("manage.py", "migrate")
    with printed.open("w") as output:
        serving = subprocess.Popen(
            [sys.executable, *command.split(), *ports],
            cwd=site.folder,
            env={**site.environment, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_text("Quit the server", printed)
        exports = re.findall(r"^  export (\w+)=(.*)$", printed.read_text(), re.MULTILINE)
        site.environment.update(exports)
        site.run("manage.py", "gemini_webhooks", "create", "reports")
        site.run("manage.py", "shell", "-c", submit)
        wait_for_text(logged, printed)
    finally:
        os.killpg(serving.pid, signal.SIGINT)
        serving.wait(timeout=30)


def wait_for_text(words: str, printed: Path) -> None:
    deadline = time.monotonic() + 60
    while words not in printed.read_text():
        assert time.monotonic() < deadline, printed.read_text()
        time.sleep(0.05)


# --- commands

COMMANDS = ("gemini_webhooks", "gemini_emulator")
DJANGO_COMMANDS = (
    *("check", "createsuperuser", "makemigrations", "migrate", "runserver", "shell", "startapp"),
    "test",
)


def command_lines() -> Iterator[str]:
    for block in BLOCKS:
        if block.language == "console":
            yield from re.findall(r"^\$ python (manage\.py .*)$", block.text, re.MULTILINE)
    for page in PAGES.values():
        prose = BLOCK.sub("", page.read_text())
        yield from (code for code in CODE.findall(prose) if code.startswith("manage.py "))


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_command_line_parses(line: str) -> None:
    prog, name, *arguments = shlex.split(line)
    if name not in COMMANDS or "SUBCOMMAND" in arguments:
        assert name in (*COMMANDS, *DJANGO_COMMANDS)
        return
    command = load_command_class("gemini_webhooks", name)
    command.create_parser(prog, name).parse_args(arguments)


def parser_of(name: str) -> Any:
    return load_command_class("gemini_webhooks", name).create_parser("manage.py", name)


def subcommands() -> dict[str, Any]:
    [choices] = [
        action.choices
        for action in parser_of("gemini_webhooks")._actions
        if isinstance(action.choices, dict)
    ]
    return dict(choices)


def test_subcommands_are_listed_with_their_arguments() -> None:
    listed = {bare(name): CODE.findall(words) for name, words, _ in table("reference", "Commands")}
    real = {
        name: [
            action.option_strings[0] if action.option_strings else action.dest.upper()
            for action in parser._actions
            if action.dest not in ("help", "json")
        ]
        for name, parser in subcommands().items()
    }
    assert listed == real


def test_the_emulator_s_options_are_listed_with_their_defaults() -> None:
    listed = {bare(name): bare(default) for name, default, _ in table("emulator", "Options")}
    own = parser_of("gemini_emulator")
    usual = {
        option
        for action in parser_of("gemini_webhooks")._actions
        for option in action.option_strings
    }
    real = {
        action.option_strings[0]: "" if action.default is None else str(action.default)
        for action in own._actions
        if action.option_strings and not usual.intersection(action.option_strings)
    }
    assert listed == real


@database
def test_outputs_of_commands_are_real(static: StaticSender) -> None:
    shown = [block.text for block in BLOCKS if block.page == "operations"]
    examples = {
        name: next(text for text in shown if f"gemini_webhooks {name}" in text).partition("\n")
        for name in ("sweep", "drain", "replay")
    }
    receivers.on("batch.succeeded", name="reports.receivers.nightly")(lambda **_: None)
    static.post(webhook_id="msg_2f6c1d")

    printed = {}
    for name, (line, _, _) in examples.items():
        call_command(*shlex.split(line)[3:], stdout=(out := io.StringIO()))
        printed[name] = out.getvalue()

    assert printed["sweep"] == examples["sweep"][2]
    assert printed["replay"] == examples["replay"][2]
    assert json.loads(printed["drain"]).keys() == json.loads(examples["drain"][2]).keys()


@database
def test_prune_and_erase_print_what_their_examples_show(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(question: str) -> str:
        sys.stdout.write(f"{question}\n")
        return "tenant=acme"

    monkeypatch.setattr("builtins.input", answer)
    for name in ("prune", "erase"):
        [block] = [
            block.text
            for block in BLOCKS
            if block.page == "operations" and f"gemini_webhooks {name}" in block.text
        ]
        line, _, shown = block.partition("\n")
        call_command(*shlex.split(line)[3:])

        told = capsys.readouterr()
        printed = re.sub(r"\d+", "", told.err + told.out)
        assert printed == re.sub(r"\d+|(?<=go on: ).*", "", shown)


# --- tables


def shown_default(key: str) -> str:
    default = getattr(conf.Settings, key)
    if key == "API_KEYS":
        return '{"default": os.environ.get("GEMINI_API_KEY")}'
    return json.dumps(default) if isinstance(default, str | dict | tuple) else str(default)


def test_settings_are_listed_with_their_defaults() -> None:
    listed = {bare(key): bare(default) for key, default, _ in table("reference", "Settings")}
    assert listed == {key: shown_default(key) for key in conf.KEYS}


def test_the_default_of_api_keys(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GEMINI_WEBHOOKS = {}
    monkeypatch.setenv("GEMINI_API_KEY", "from-the-environment")

    assert eval(shown_default("API_KEYS"), {"os": os}) == conf.settings.API_KEYS


def calls(tree: ast.AST, *names: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        if name in names:
            yield name, node


def test_system_checks_are_listed() -> None:
    tree = ast.parse((PACKAGE / "checks.py").read_text())
    numbered = {f"gemini_webhooks.E{call.args[0].value:03}" for _, call in calls(tree, "_error")}
    named = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and re.fullmatch(r"gemini_webhooks\.[EW]\d{3}", str(node.value))
    }
    listed = [bare(name) for name, _ in table("reference", "System checks")]

    assert listed == sorted(numbered | named)


ANSWERS = {
    error.__name__: error.status
    for error in vars(exceptions).values()
    if isinstance(error, type) and issubclass(error, Rejected | Undecided) and error is not Rejected
}


def codes_in_the_source() -> set[tuple[str, str]]:
    found = {("405", "method_not_allowed")}
    for module in PACKAGE.rglob("*.py"):
        for name, call in calls(ast.parse(module.read_text()), *ANSWERS):
            code = call.args[0]
            assert isinstance(code, ast.Constant), f"{module.name}:{call.lineno}: no literal code"
            found.add((str(ANSWERS[name]), code.value))
    return found


def test_http_answers_are_listed() -> None:
    listed = [(status, bare(code)) for status, code, _ in table("reference", "HTTP answers")]

    assert len(listed) == len(set(listed))
    assert set(listed) == codes_in_the_source()


@database
def test_a_get_is_answered_as_listed(client: Any) -> None:
    answer = client.get("/webhooks/gemini/")

    assert (answer.status_code, answer.json()) == (405, {"error": "method_not_allowed"})


def test_signals_are_listed() -> None:
    listed = [bare(name) for name, *_ in table("reference", "Signals")]

    assert set(listed) == {
        name for name, value in vars(signals).items() if isinstance(value, Signal)
    }


def said_of(thing: Any) -> str:
    """The first line of its docstring, as a page has it."""
    first = (thing.__doc__ or "").strip().partition("\n")[0]
    return re.sub(r":\w+:`", "`", first.replace("``", "`"))


def test_errors_are_listed() -> None:
    errors = [
        one
        for one in vars(exceptions).values()
        if isinstance(one, type) and issubclass(one, exceptions.GeminiWebhooksError)
    ]

    assert table("reference", "Errors") == [[f"`{e.__name__}`", said_of(e)] for e in errors]


def test_models_are_listed() -> None:
    models = sorted(
        apps.get_app_config("gemini_webhooks").get_models(), key=lambda model: model.__name__
    )

    assert table("reference", "Models") == [[f"`{m.__name__}`", said_of(m)] for m in models]


def test_tasks_are_listed() -> None:
    [line] = re.findall(r"^Celery tasks: (.*)$", PAGES["reference"].read_text(), re.MULTILINE)
    names = [str(getattr(one, "name", "")) for one in vars(tasks).values()]
    ours = [name for name in names if name.startswith("gemini_webhooks.tasks.")]

    assert [name.rpartition(".")[2] for name in CODE.findall(line)] == [
        name.rpartition(".")[2] for name in ours
    ]


def test_arguments_of_functions_are_listed() -> None:
    named = [
        call
        for names, _ in table("reference", "Python")
        for call in re.findall(r"`(gemini_webhooks\.[\w.]+\([^)…]*\))`", names)
    ]

    assert len(named) > 5
    for call in named:
        path, _, arguments = call.removesuffix(")").partition("(")
        found = inspect.signature(import_string(path)).parameters.values()
        listed = [one.strip() for one in arguments.split(",") if one.strip() not in ("", "*")]
        assert listed == [one.name for one in found], call


def test_layers_are_those_that_are_checked() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(PROJECT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"].split("\n")
    checked = {
        module.strip()
        for layer in layers
        for module in layer.split("|")
        if module.strip() and "(" not in module
    }
    listed = {name for names, _ in table("architecture", "Layers") for name in CODE.findall(names)}

    assert listed == checked


def test_recorded_headers_are_listed() -> None:
    [row] = [
        how for what, how in table("security", "What is stored, and how") if "rejected" in what
    ]
    assert tuple(CODE.findall(row)) == verification.SAFE_HEADERS


# --- files


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (PROJECT / page).read_text())

    assert links
    assert [link for link in links if not (PROJECT / link).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_have_a_text(page: str) -> None:
    """Sphinx would put one in, but people read the pages in the repository as well."""
    assert "[](" not in PAGES[page].read_text()


@pytest.mark.parametrize("name", ["flow", "sequence", "states"])
def test_the_picture_needs_nothing_from_elsewhere(name: str) -> None:
    picture = (DOCS / f"{name}.svg").read_text()

    assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert re.findall(r"(?:href|src)=|url\((?!#)|@import|<script", picture) == []


def test_the_picture_of_states_has_all_of_them() -> None:
    picture = ET.fromstring((DOCS / "states.svg").read_text())
    shown = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}

    assert {*WebhookDelivery.State.values, *ReceiverRun.State.values} <= shown


def test_tests_that_the_threat_model_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGES["threat-model"].read_text())
    assert len(named) > 30
    for file, name in named:
        assert f"\ndef {name}(" in (PROJECT / file).read_text(), f"{file}::{name}"


def test_every_attempt_in_the_threat_model_names_a_test() -> None:
    rows = re.findall(
        r"^\| (?!attempt|---)(.*) \|$", PAGES["threat-model"].read_text(), re.MULTILINE
    )
    assert [row for row in rows if "::test_" not in row] == []
