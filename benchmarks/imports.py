"""What the app adds to the start of a process that has Django and Celery anyway.

    python -m benchmarks.imports

Starts new interpreters in turn, without the app and with it: both import Celery, make an app of it
and call ``django.setup()`` with the same settings. Compiled modules are on the disk before. Prints
which optional libraries were imported on the way; there should be none.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.comparing import say

APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
OPTIONAL = ("google", "rest_framework", "drf_spectacular", "opentelemetry", "prometheus_client")
PROGRAM = """
import json, sys
import django
from celery import Celery
from django.conf import settings
settings.configure(
    SECRET_KEY="benchmarks-only",
    INSTALLED_APPS={apps!r},
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
app = Celery("benchmarks", broker="memory://")
django.setup()
print(json.dumps(sorted(sys.modules)))
"""
SIDES = {"bare": APPS, "ours": [*APPS, "gemini_webhooks"]}


def main() -> None:
    """Start, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, too")
    options = parser.parse_args()
    wall: dict[str, list[float]] = {side: [] for side in SIDES}
    cpu: dict[str, list[float]] = {side: [] for side in SIDES}
    modules: dict[str, list[str]] = {}
    for number in range(options.rounds + 1):
        for side, apps in SIDES.items():
            seconds, computing, modules[side] = started(PROGRAM.format(apps=apps))
            if number:  # the first round compiles
                wall[side].append(seconds)
                cpu[side].append(computing)
    say(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, Django {version('Django')}, "
        f"celery {version('celery')}"
    )
    figures: dict[str, object] = {}
    for name, spent in (("wall", wall), ("CPU", cpu)):
        bare, ours = (statistics.median(spent[side]) * 1000 for side in SIDES)
        pairs = zip(spent["ours"], spent["bare"], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        say(f"{name:4} bare {bare:4.0f} ms, ours {ours:4.0f} ms, ratio {ratio:.2f}")
        figures[name] = {"bare_ms": round(bare), "ours_ms": round(ours), "ratio": round(ratio, 3)}
    added = sorted(set(modules["ours"]) - set(modules["bare"]))
    figures["optional"] = [name for name in added if name.partition(".")[0] in OPTIONAL]
    figures["modules"] = len(added)
    say(f"{len(added)} modules more; of optional libraries: {figures['optional'] or 'none'}")
    if options.json:
        say(json.dumps(figures))


def started(program: str) -> tuple[float, float, list[str]]:
    """Run a program; its seconds by the clock and of the processor, and the list it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parent.parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    modules: list[str] = json.loads(done.stdout)
    return seconds, spent, modules


if __name__ == "__main__":
    main()
