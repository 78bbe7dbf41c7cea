"""What :mod:`benchmarks.ingest` compares: each makes its databases and sites."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from benchmarks import dynamic, traffic
from benchmarks.comparing import Comparison, say
from benchmarks.harness import asked, count, database, python
from benchmarks.paced import paced
from benchmarks.sending import CONNECTIONS, PER_SECOND, Measured, load
from benchmarks.serving import Served, served

VIEWS = {"ours": "/ours/", "V": "/v/", "N": "/n/", "verify": "/verify/"}
#: How many events come again and again.
REPEATED = 500
#: For storing them once. wrk waits for the end of it, however early it has nothing left to send.
STORING_SECONDS = 5
#: Tokens take long to make; no server here verifies more.
TOKENS_PER_SECOND = 1500


@contextmanager
def views(options: argparse.Namespace) -> Iterator[Comparison]:
    """New events to each view."""
    secret = traffic.new_secret()
    with _site(options, secret) as (url, site):
        names = options.view or ["ours", "V", "N"]
        yield Comparison(
            measures={name: partial(_new, options, site, secret, VIEWS[name]) for name in names},
            pairs=[("ours", name) for name in names if name != "ours"],
            url=url,
        )


@contextmanager
def duplicates(options: argparse.Namespace) -> Iterator[Comparison]:
    """The same few events, and new ones; and V, which only ignores them."""
    secret = traffic.new_secret()
    ids = list(traffic.new_ids(REPEATED))
    with _site(options, secret) as (url, site):

        def again(path: str) -> Measured:
            lines = list(traffic.signed(secret, ids))
            times = int(options.seconds * PER_SECOND / REPEATED) + 1
            return load(site, path, lines * times, options.seconds)

        for path in (VIEWS["ours"], VIEWS["V"]):
            stored = load(site, path, traffic.signed(secret, ids), STORING_SECONDS)
            # Those that are on their way when nothing is left to send are not counted.
            if stored.requests < REPEATED - CONNECTIONS:
                raise SystemExit(f"{path} stored only {stored.requests} in {STORING_SECONDS} s")
        yield Comparison(
            measures={
                "duplicates": partial(again, VIEWS["ours"]),
                "new": partial(_new, options, site, secret, VIEWS["ours"]),
                "V duplicates": partial(again, VIEWS["V"]),
                "V new": partial(_new, options, site, secret, VIEWS["V"]),
            },
            pairs=[
                ("duplicates", "new"),
                ("V duplicates", "V new"),
                ("duplicates", "V duplicates"),
            ],
            url=url,
        )


@contextmanager
def forged(options: argparse.Namespace) -> Iterator[Comparison]:
    """Requests of somebody who does not have the secret."""
    secret, another = traffic.new_secret(), traffic.new_secret()
    with _site(options, secret) as (url, site):
        table = "gemini_webhooks_rejectedrequest"
        yield Comparison(
            measures={
                name: partial(_new, options, site, another, VIEWS[name]) for name in ("ours", "V")
            },
            pairs=[("ours", "V")],
            url=url,
            after=lambda: f"rows of refused requests: {count(table, url)}",
        )


@contextmanager
def dynamic_webhooks(options: argparse.Namespace) -> Iterator[Comparison]:
    """Tokens, and static webhooks of the same events."""
    secret, key = traffic.new_secret(), dynamic.new_key()
    with (
        dynamic.key_set(key) as address,
        _site(options, secret, BENCH_JWKS_URL=address) as (url, site),
    ):
        metadata = dynamic.seal(url)
        number = int(options.seconds * TOKENS_PER_SECOND)

        def with_tokens() -> Measured:
            lines = dynamic.tokens(key, traffic.new_ids(number), metadata)
            return load(site, VIEWS["ours"], lines, options.seconds)

        yield Comparison(
            measures={
                "dynamic": with_tokens,
                "static": partial(_new, options, site, secret, VIEWS["ours"]),
            },
            pairs=[("dynamic", "static")],
            url=url,
        )


@contextmanager
def endpoints(options: argparse.Namespace) -> Iterator[Comparison]:
    """A site for each number of endpoints; requests go to all of them in turn."""
    measures: dict[str, Callable[[], Measured]] = {}
    names = [str(number) for number in options.endpoints]
    with ExitStack() as stack:
        for number in options.endpoints:
            url, site = stack.enter_context(_site(options, traffic.new_secret()))
            given = _registered(url, number)

            def spread(site: Served = site, given: list[tuple[str, str]] = given) -> Measured:
                lines = traffic.spread(given, int(options.seconds * PER_SECOND))
                return load(site, "/", lines, options.seconds)

            measures[str(number)] = spread
        pairs = [(name, names[0]) for name in names[1:]]
        yield Comparison(measures=measures, pairs=pairs, url=url)


@contextmanager
def rows(options: argparse.Namespace) -> Iterator[Comparison]:
    """A site whose table has many deliveries, and one whose table has none."""
    secret = traffic.new_secret()
    name = f"{options.rows:,} rows"
    with (
        _site(options, secret) as (_, empty),
        database(options.database) as url,
    ):
        started = time.monotonic()
        python(
            f"from benchmarks.prune import fill_deliveries; fill_deliveries({options.rows})", url
        )
        say(f"filled with {options.rows:,} deliveries in {time.monotonic() - started:.0f} s")
        with served(url, options.broker, secret, options.server) as full:
            yield Comparison(
                measures={
                    name: partial(_new, options, full, secret, VIEWS["ours"]),
                    "none": partial(_new, options, empty, secret, VIEWS["ours"]),
                },
                pairs=[(name, "none")],
                url=url,
            )


@contextmanager
def tail(options: argparse.Namespace) -> Iterator[Comparison]:
    """Latency of each view at half of the highest rate that it reaches."""
    secret = traffic.new_secret()
    names = options.view or ["ours", "V"]
    with _site(options, secret) as (url, site):
        reached: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(4):
            for name in names:
                reached[name].append(_new(options, site, secret, VIEWS[name]).rate)
        halves = {name: statistics.median(found[1:]) / 2 for name, found in reached.items()}

        def at_half(name: str) -> Measured:
            lines = traffic.signed(secret, traffic.new_ids(int(halves[name] * options.seconds)))
            return paced(site, VIEWS[name], lines, rate=halves[name], seconds=options.seconds)

        yield Comparison(
            measures={name: partial(at_half, name) for name in names},
            pairs=[("ours", name) for name in names if name != "ours"],
            url=url,
        )


@contextmanager
def _site(
    options: argparse.Namespace, secret: str, **variables: str
) -> Iterator[tuple[str, Served]]:
    with (
        database(options.database) as url,
        served(url, options.broker, secret, options.server, **variables) as site,
    ):
        yield url, site


def _new(options: argparse.Namespace, site: Served, secret: str, path: str) -> Measured:
    ids = traffic.new_ids(int(options.seconds * PER_SECOND))
    return load(site, path, traffic.signed(secret, ids), options.seconds)


def _registered(url: str, number: int) -> list[tuple[str, str]]:
    """Register endpoints; returns path and secret of each."""
    secrets = {f"endpoint-{one}": traffic.new_secret() for one in range(number)}
    code = (
        "from gemini_webhooks import ciphers\n"
        "from gemini_webhooks.models import WebhookEndpoint\n"
        f"for slug, secret in {json.dumps(secrets)}.items():\n"
        "    endpoint = WebhookEndpoint.objects.create(slug=slug)\n"
        "    endpoint.signing_secrets.create(ciphertext=ciphers.encrypt(secret), hint='x')\n"
        "print(WebhookEndpoint.objects.count())\n"
    )
    asked(code, url)
    return [(f"{VIEWS['ours']}{slug}/", secret) for slug, secret in secrets.items()]


VARIANTS: dict[str, Callable[[argparse.Namespace], AbstractContextManager[Comparison]]] = {
    "views": views,
    "duplicates": duplicates,
    "forged": forged,
    "dynamic": dynamic_webhooks,
    "endpoints": endpoints,
    "rows": rows,
    "tail": tail,
}
