"""A worker in processes of its own, monitored, on a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.test_celery import PROJECT, Site


class MonitoredSite(Site):
    """As :class:`Site`, with children in its worker and something that watches them."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.monitoring.process_settings",
            "WORKER_DATABASE": json.dumps(self.database, default=str),
            "WORKER_BROKER": self.broker,
            "WORKER_QUEUE": self.queue,
            "WORKER_OTHER_QUEUE": self.other_queue,
        }

    @contextmanager
    def monitored_worker(self, **variables: Path | str) -> Iterator[None]:
        command = "celery -A tests.monitoring.monitored_worker worker --concurrency 2"
        options = f"--pool prefork --loglevel ERROR --queues {self.queue}"
        given = {name: str(value) for name, value in variables.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split(), *options.split()],
            cwd=PROJECT,
            env={**self.environment, **given},
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def json_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
