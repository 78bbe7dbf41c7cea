"""The page about the API says what it does: examples run, tables are complete."""

from __future__ import annotations

import importlib
import re
import shlex
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from django.core.files.base import ContentFile

from tests.admin import rows
from tests.api.conftest import EVERYTHING, PREFIX
from tests.api.test_permissions import NEEDED, SCHEMA
from tests.test_docs import BLOCKS, CODE, PACKAGE, bare, run_example, table

pytest.importorskip("rest_framework", reason="needs the extra [api]")

CURLS = [
    line.removeprefix("$ ")
    for block in BLOCKS
    if block.page == "api"
    for line in block.text.splitlines()
    if line.startswith("$ curl")
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("line", CURLS)
def test_examples(line, make_asker):
    words = shlex.split(line)
    url = urlsplit(words[-1])
    options = dict(pairwise(words))
    came = rows.delivery(1, pk=1, state="failed", user_metadata={"tenant": "acme"})
    rows.run(came, state="dead")
    rows.result(came, pk=1, file=ContentFile(b"x" * 2000, name="out.jsonl"))
    asker = make_asker(*EVERYTHING)
    assert options["-u"] == "ada:secret"

    headers = {}
    if "-H" in options and "-d" not in options:
        headers = dict([options["-H"].split(": ")])
    address = f"{url.path}?{url.query}"
    if "-d" in options:
        answer = asker.post(address, options["-d"], content_type="application/json")
        # No receiver of that name is connected here, so nothing of it can run.
        assert answer.status_code in (200, 201, 202, 409), answer.content
    else:
        answer = asker.get(address, headers=headers)
        assert answer.status_code == (206 if "Range" in headers else 200)
        if answer.streaming:
            assert len(b"".join(answer)) == (1024 if "Range" in headers else 2000)
        elif "result" in address:
            assert answer.json()["results"]


def test_addresses_and_permissions():
    listed = {
        (method.lower(), f"/{address}"): set(CODE.findall(permissions))
        for addresses, method, permissions in table("api", "Addresses")
        for address in CODE.findall(addresses)
    }
    assert listed == {**NEEDED, SCHEMA: {"view_webhookdelivery"}}


def test_parameters(asker):
    paths = asker.read("schema/")["paths"]
    real = {
        name: {one["name"] for one in paths[f"/{name}/"]["get"]["parameters"]}
        - {"cursor", "page_size"}
        for name in ("deliveries", "runs", "attempts", "results", "rejections", "endpoints")
    }
    real["replays"] = {"state", "delivery"}
    listed = {bare(name): set(CODE.findall(words)) for name, words in table("api", "Conditions")}
    assert listed == real


def test_urls_and_rates(settings):
    blocks = [block.text for block in BLOCKS if block.page == "api" and block.language == "python"]
    urls, rates = run_example(blocks[1]), run_example(blocks[2])
    throttling = importlib.import_module("gemini_webhooks.api.throttling")

    assert f"/{urls['urlpatterns'][0].pattern}" == PREFIX
    assert rates["REST_FRAMEWORK"]["DEFAULT_THROTTLE_RATES"] == {
        one.scope: one.usual for one in throttling.Throttle.__subclasses__()
    }


def test_errors_are_those_in_the_source():
    listed = {code for _, codes, _ in table("api", "Errors") for code in CODE.findall(codes)}
    found = re.findall(
        r'code="(\w+)"|"error": "(\w+)"',
        "".join(module.read_text() for module in (PACKAGE / "api").glob("*.py")),
    )
    own = {one or other for one, other in found}
    of_rest_framework = {
        "parse_error",
        "not_authenticated",
        "authentication_failed",
        "permission_denied",
        "not_found",
        "method_not_allowed",
        "not_acceptable",
        "unsupported_media_type",
        "throttled",
        "body_too_large",
    }
    assert listed == own | of_rest_framework
