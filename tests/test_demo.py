"""``manage.py demo`` as a user runs it: a process of its own, judged by what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import servers

pytest.importorskip("google.genai", reason="needs the extra [genai]")
pytest.importorskip("google.cloud.storage", reason="needs the extra [gcs]")

ROOT = Path(__file__).resolve().parent.parent
CHECKED = [
    "Events stored",
    "signed by",
    "state",
    "Duplicates answered",
    "recognised as such",
    "Receivers run, each once",
    "Jobs in the ledger",
    "Rows of the static batch",
    "Rows of the dynamic batch",
    "tenant, as sealed",
    "Result files, CRC32C right",
    "Forged request",
    "recorded with its reason",
    "Stranger's unsealed job",
    "stored of these two",
]
FROM_OUTSIDE = ("DATABASE_URL", "CELERY_", "GEMINI_", "DJANGO_SETTINGS_MODULE", "STUDIO_")


@contextmanager
def demo(tmp_path: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    kept = {name: v for name, v in os.environ.items() if not name.startswith(FROM_OUTSIDE)}
    with subprocess.Popen(
        [sys.executable, str(ROOT / "example_project" / "manage.py"), "demo", *options],
        env={**kept, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def run(tmp_path: Path, *options: str, **environment: str) -> tuple[int, str]:
    with demo(tmp_path, *options, **environment) as process:
        printed, _ = process.communicate(timeout=180)
    return process.returncode, printed


def passed_checks(printed: str) -> list[str]:
    return re.findall(r"^ *✓ +(.+?)  +", printed, re.MULTILINE)


def timeline(printed: str) -> list[tuple[str, str]]:
    """What happened and to which job, sorted."""
    return sorted(re.findall(r"^ +[\d.]+ s  (.{11})  (.{8})  ", printed, re.MULTILINE))


def assert_complete(code: int, printed: str, tmp_path: Path) -> None:
    assert code == 0, printed
    assert passed_checks(printed) == CHECKED
    assert "✗" not in printed
    assert f"All {len(CHECKED)} checks passed." in printed
    assert list(tmp_path.iterdir()) == [], "something was left behind"


def test_on_embedded_defaults_the_whole_story_is_told_and_checked(tmp_path):
    code, printed = run(tmp_path)

    assert_complete(code, printed, tmp_path)
    assert [(what.strip(), whose.strip()) for what, whose in timeline(printed)] == [
        ("delivered", "dynamic"),
        ("delivered", "static"),
        ("duplicate", "dynamic"),
        ("duplicate", "static"),
        ("fetched", "dynamic"),
        ("fetched", "static"),
        ("receiver", "dynamic"),
        ("receiver", "static"),
        ("refused", "forger"),
        ("refused", "stranger"),
        ("registered", "studio"),
        ("rows stored", "dynamic"),
        ("rows stored", "static"),
        ("submitted", "dynamic"),
        ("submitted", "static"),
        ("submitted", "stranger"),
        ("verified", "dynamic"),
        ("verified", "static"),
    ]
    assert "200 rows\n" in re.sub(" +\n", "\n", printed)
    assert "20 rows of tenant acme" in printed
    assert "\x1b" not in printed, "colours where nobody sees them"


@pytest.mark.server("postgres")
@pytest.mark.server("amqp")
def test_on_postgresql_and_rabbitmq(tmp_path):
    urls = {"DATABASE_URL": servers.URLS["postgres"], "CELERY_BROKER_URL": servers.URLS["amqp"]}

    code, printed = run(tmp_path, **urls)

    assert_complete(code, printed, tmp_path)
    assert re.search("database +PostgreSQL", printed)
    assert re.search("broker +RabbitMQ", printed)


@pytest.mark.server("mariadb")
@pytest.mark.server("redis")
def test_on_mariadb_and_redis(tmp_path):
    urls = {"DATABASE_URL": servers.URLS["mariadb"], "CELERY_BROKER_URL": servers.URLS["redis"]}

    code, printed = run(tmp_path, **urls)

    assert_complete(code, printed, tmp_path)
    assert re.search("database +MariaDB", printed)
    assert re.search("broker +Redis", printed)


def test_it_fails_and_says_what_did_not_come(tmp_path):
    # The site takes its own address for somebody else's: no dynamic delivery can be accepted.
    code, printed = run(
        tmp_path, "--deadline", "30", GEMINI_WEBHOOKS_AUDIENCES="https://elsewhere.example/"
    )

    assert code == 1
    assert "HTTP 401 wrong_audience" in printed
    assert re.search("✗ +Events stored +2 +1 ", printed)
    assert "Rows of the static batch" in passed_checks(printed), "the other half works"
    assert "Failed. Did not come in time: the event of the dynamic batch" in printed
    log = re.search("logs +(.+)", printed)
    assert log
    assert "wrong_audience" in (Path(log[1].strip()) / "site.log").read_text()


def test_it_fails_and_says_what_is_wrong_with_what_came(tmp_path):
    # Everything comes, but the result files may not be read.
    code, printed = run(tmp_path, GEMINI_WEBHOOKS_ALLOWED_BUCKETS="another-bucket")

    assert code == 1
    assert "bucket gemini-emulator may not be read" in printed
    assert re.search("✗ +Result files, CRC32C right +2 +0 ", printed)
    assert "Failed. Not as it must be: state; " in printed


def test_left_running_it_can_be_looked_at_and_ends_with_ctrl_c(tmp_path):
    with demo(tmp_path, "--serve") as process:
        assert process.stdout
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
            if found := re.search(r"Admin +(\S+)", line):
                admin = found[1]
        with urllib.request.urlopen(admin, timeout=10) as page:
            assert "Log in" in page.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0

    assert list(tmp_path.iterdir()) == [], "something was left behind"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(admin, timeout=10)
