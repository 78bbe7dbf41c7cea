"""What observing costs for one delivery with one receiver: nobody, Prometheus, OpenTelemetry.

    python -m benchmarks.observing

Everything that is observed on its way is gone through, and nothing else is done.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import timeit
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import django

ROUNDS = 2000
REPEATS = 7


def main() -> None:
    """Measure and print."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    observers = importlib.import_module("gemini_webhooks.observe.observers")
    installed = list(observers._observers)
    go = _one_delivery()
    say = _one_line()
    rows: list[tuple[str, list[Any]]] = [("nobody", [])]
    rows += [(type(one).__module__.rpartition(".")[2], [one]) for one in installed]
    for name, active in rows:
        observers._observers[:] = active
        _print(f"{name}, no SDK" if name == "tracing" else name, _microseconds(go))
    if find_spec("opentelemetry.sdk"):
        _set_up_sdk()
        _print("tracing, SDK that keeps nothing", _microseconds(go))
    observers._observers[:] = []
    _print("a line of the log, without the attributes", _microseconds(say("plain")))
    _print("a line of the log, with them", _microseconds(say("ours")))


def _one_delivery() -> Callable[[], None]:
    http: Any = importlib.import_module("django.http")
    models: Any = importlib.import_module("gemini_webhooks.models")
    observe: Any = importlib.import_module("gemini_webhooks.observe")
    delivery = models.WebhookDelivery(pk=1, webhook_id="m", event_type="batch.succeeded")
    run = models.ReceiverRun(pk=1, delivery=delivery, receiver="reports.note", attempts=1)
    asked, answer = http.HttpRequest(), http.HttpResponse()
    asked.method = "POST"

    def bare(request: Any) -> Any:
        del request
        observe.identified("m")
        observe.received("batch.succeeded", "hmac", created=True, delivery_id=1)
        with observe.sending("dispatch", "celery", detached=False):
            pass
        return answer

    view = observe.request(bare)

    def go() -> None:
        view(asked)
        with observe.message("dispatch", "celery", "1", {}):
            with observe.planning(delivery):
                pass
            with observe.sending("run_receiver", "celery", detached=False):
                pass
        with observe.message("run_receiver", "celery", "2", {}), observe.about(run):
            with observe.attempt(run, {}):
                pass
            observe.processed(delivery)

    return go


def _one_line() -> Callable[[str], Callable[[], None]]:
    logs: Any = importlib.import_module("gemini_webhooks.logs")
    for name in ("plain", "ours"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
    logs.get_logger("ours")
    return lambda name: lambda: logging.getLogger(name).warning("a line")


def _set_up_sdk() -> None:
    trace: Any = importlib.import_module("opentelemetry.trace")
    sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
    trace.set_tracer_provider(sdk.TracerProvider())


def _microseconds(work: Callable[[], None]) -> float:
    work()
    return min(timeit.repeat(work, number=ROUNDS, repeat=REPEATS)) / ROUNDS * 1e6


def _print(name: str, value: float) -> None:
    sys.stdout.write(f"{name:45} {value:8.1f} µs\n")


if __name__ == "__main__":
    main()
