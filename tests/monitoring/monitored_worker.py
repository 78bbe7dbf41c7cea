"""The test site's worker, monitored as the page says: its examples are what runs here."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from gemini_webhooks import receivers
from tests.monitoring.pages import example
from tests.worker_app import app

__all__ = ["app"]


def run_example(words: str) -> dict[str, Any]:
    """In a module that is kept: Celery's signals hold their receivers by weak references."""
    module = ModuleType(f"example {words}")
    sys.modules[module.__name__] = module
    exec(example(words), module.__dict__)
    return module.__dict__


@receivers.on("video.generated", name="telling")
def telling(**_: Any) -> None:
    logging.getLogger("site").info("at work")


if os.environ.get("MONITORING_LINES"):
    run_example("setup_logging.connect")

if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    run_example("worker_process_shutdown.connect")

if spans := os.environ.get("MONITORING_SPANS"):
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    if os.environ.get("MONITORING_INSTRUMENTED"):
        from opentelemetry.instrumentation.celery import CeleryInstrumentor

        CeleryInstrumentor().instrument()

    traces = run_example("worker_process_init.connect")
    traces["ConsoleSpanExporter"] = lambda: ConsoleSpanExporter(
        out=Path(spans).open("a"),  # noqa: SIM115  # as long as the process lives
        formatter=lambda span: span.to_json(indent=None) + "\n",
    )
