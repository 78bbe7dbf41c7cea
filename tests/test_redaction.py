"""``REDACT``: what is taken out is neither stored nor shown, and all else stays as it was sent."""

from __future__ import annotations

import json
import time
from hashlib import sha256
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from gemini_webhooks import jobs, processing, redaction, signals
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.models import Job, TokenUse, WebhookDelivery
from gemini_webhooks.redaction import ANY_ITEM, ANY_KEY, CannotRedact, NotJson
from tests.admin import rows
from tests.admin.pages import MODELS, list_url, page_url, text_of
from tests.conftest import every_database
from tests.senders import DynamicSender, StaticSender
from tests.test_receivers import Recorder

PERSONAL = "ada@example.com"
MARK = redaction.MARK


def stored(settings: Any, text: str | bytes, *rules: str) -> str:
    settings.GEMINI_WEBHOOKS = {"REDACT": {"store": list(rules)}}
    body = text if isinstance(text, bytes) else text.encode()
    return redaction.body_to_store(body).decode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        ("email", ("email",)),
        ("data.user_metadata.email", ("data", "user_metadata", "email")),
        ("data.items[*].name", ("data", "items", ANY_ITEM, "name")),
        ("[0][12]", (0, 12)),
        ("data.*.name", ("data", ANY_KEY, "name")),
        ('data["a.b"]["c\\"d"].é', ("data", "a.b", 'c"d', "é")),
        ('["data"].x', ("data", "x")),
        ("e-mail_1.0", ("e-mail_1", "0")),
        ("mysite.privacy:redact", "mysite.privacy.redact"),
    ],
)
def test_rules_that_can_be_read(rule: str, steps: Any) -> None:
    assert redaction.read(rule) == steps


NO_RULES: list[Any] = [
    "", ".", ".a", "a.", "a..b", "a[", "a[]", "a[x]", "a[-1]", "a[*", "a b", "$.a", "a[0]b", "**",
    "a.*b", ":", "a:", ":b", "a:b:c", "a b:c", 'a["b]', "a.[0]", None, 7, ["a"],
]  # fmt: skip


@pytest.mark.parametrize("rule", NO_RULES)
def test_rules_that_are_none(rule: Any) -> None:
    with pytest.raises(ConfigurationError):
        redaction.read(rule)


@pytest.mark.parametrize(
    ("text", "rules", "result"),
    [
        ('{"a": 1}', ["a"], '{"a": "[redacted]"}'),
        ('{"a": 1}', ["b"], '{"a": 1}'),
        ('{"a": {"b": [1, {"c": 2}]}, "d": 3}', ["a"], '{"a": "[redacted]", "d": 3}'),
        ('{"a": {"b": 1, "c": 2}}', ["a.b"], '{"a": {"b": "[redacted]", "c": 2}}'),
        ('{"a": {"b": 1}}', ["a.b", "a"], '{"a": "[redacted]"}'),
        ('{"b": 1, "a": {"b": 1}}', ["a.b"], '{"b": 1, "a": {"b": "[redacted]"}}'),
        ('[{"n": 1}, {"n": 2}, 3]', ["[*].n"], '[{"n": "[redacted]"}, {"n": "[redacted]"}, 3]'),
        ("[1, 2, 3]", ["[1]"], '[1, "[redacted]", 3]'),
        ("[[1, 2], [3, 4]]", ["[*][1]"], '[[1, "[redacted]"], [3, "[redacted]"]]'),
        ('[[], {}, "x", 7]', ["[3]"], '[[], {}, "x", "[redacted]"]'),
        ('{"0": 1}', ["[0]"], '{"0": 1}'),
        ("[1]", ["0"], "[1]"),
        ('{"a": {"x": 1, "y": [2]}}', ["a.*"], '{"a": {"x": "[redacted]", "y": "[redacted]"}}'),
        ('{"a": [1]}', ["a.*"], '{"a": [1]}'),
        # As it was sent: spaces, digits, duplicate keys, escapes.
        ('{ "a" :1e400,"b":0.10 , "c":1}', ["c"], '{ "a" :1e400,"b":0.10 , "c":"[redacted]"}'),
        ('{"a":1,"a":2}', ["a"], '{"a":"[redacted]","a":"[redacted]"}'),
        (
            r'{"\u0061":1, "b":"\ud800\u0000"}',
            ["a"],
            r'{"\u0061":"[redacted]", "b":"\ud800\u0000"}',
        ),
        (r'{"x": "}\"],{[:", "a": "}\\"}', ["a"], r'{"x": "}\"],{[:", "a": "[redacted]"}'),
        ("7", ["a"], "7"),
    ],
)
def test_paths(settings: Any, text: str, rules: list[str], result: str) -> None:
    assert stored(settings, text, *rules) == result


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


def plainly(value: Any, path: tuple[Any, ...]) -> Any:
    """The same by another way: on parsed values."""
    if not path:
        return MARK
    step, *rest = path
    if isinstance(value, dict):
        hit = {key for key in value if step in (ANY_KEY, key)}
        return {k: plainly(v, tuple(rest)) if k in hit else v for k, v in value.items()}
    if isinstance(value, list):
        return [
            plainly(v, tuple(rest)) if step in (ANY_ITEM, i) else v for i, v in enumerate(value)
        ]
    return value


@given(json_values, st.lists(st.sampled_from(["a", "b", 0, 1, ANY_KEY, ANY_ITEM]), min_size=1))
def test_paths_lead_to_the_same_values_in_text_and_in_parsed_json(
    value: Any, path: list[Any]
) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        found = redaction._follow(text, [tuple(path)])
        assert json.loads(found) == plainly(value, tuple(path))


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-32-le"),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
    ],
)
def test_encodings_of_json(settings: Any, encode: Any) -> None:
    assert stored(settings, encode('{"a": "ä", "b": 1}'), "b") == '{"a": "ä", "b": "[redacted]"}'


def test_without_rules_nothing_is_touched() -> None:
    body = b'{"a": \xff'
    assert redaction.body_to_store(body) is body
    assert redaction.shown_body(body) is body


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"a" * 1000, b"[" * 100_000])
def test_a_body_that_is_not_json_cannot_be_looked_into(settings: Any, body: bytes) -> None:
    settings.GEMINI_WEBHOOKS = {"REDACT": {"store": ["a"]}}
    with pytest.raises(NotJson):
        redaction.body_to_store(body)


METADATA_RULES = ["data.user_metadata.email", "user_metadata.email"]


@pytest.mark.parametrize("rule", METADATA_RULES)
def test_metadata_is_meant_wherever_it_stands(settings: Any, rule: str) -> None:
    metadata = {"email": PERSONAL, "tenant": "acme"}
    text = json.dumps({"data": {"user_metadata": metadata}, "user_metadata": metadata})

    assert PERSONAL not in stored(settings, text, rule)
    assert redaction.metadata_to_store(metadata) == {"email": MARK, "tenant": "acme"}
    assert redaction.shown_metadata(metadata) == {"email": MARK, "tenant": "acme"}


def test_metadata_taken_out_whole(settings: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"REDACT": {"store": ["data.user_metadata"]}}
    assert redaction.metadata_to_store({"email": PERSONAL}) == {}


# --- functions of the site


def initials(payload: Any) -> Any:
    metadata = payload.get("data", {}).get("user_metadata", {})
    if "name" in metadata:
        metadata["name"] = metadata["name"][:1]
    return payload


def failing(payload: Any) -> Any:
    raise ValueError(f"cannot read {payload}")


def no_json(payload: Any) -> Any:
    return {"found": {1, 2}}


def test_functions_come_after_paths(settings: Any) -> None:
    body = {"data": {"user_metadata": {"name": "Ada", "email": PERSONAL}}, "n": 1.5}
    rules = ["tests.test_redaction:initials", "data.user_metadata.email"]

    assert json.loads(stored(settings, json.dumps(body), *rules)) == {
        "data": {"user_metadata": {"name": "A", "email": MARK}}, "n": 1.5,
    }  # fmt: skip
    assert redaction.metadata_to_store({"name": "Ada"}) == {"name": "A"}
    assert json.loads(stored(settings, '{"n": 1e400}', rules[0])) == {"n": None}
    # How deep is too deep, each Python decides for itself.
    for deep in ("[]", "7", '{"a":' + "[" * 5000 + "]" * 5000 + "}"):
        with pytest.raises(NotJson):
            stored(settings, deep, rules[0])


@pytest.mark.parametrize("name", ["failing", "no_json", "missing"])
def test_function_that_fails_lets_nothing_through(
    settings: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CannotRedact) as caught:
        stored(settings, json.dumps({"email": PERSONAL}), f"tests.test_redaction:{name}")
    assert PERSONAL not in str(caught.value) + caplog.text
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("broken", [5, "data.x", {"store": "data.x"}, {"store": ["a..b"]}])
def test_setting_that_cannot_be_read_lets_nothing_through(settings: Any, broken: Any) -> None:
    settings.GEMINI_WEBHOOKS = {"REDACT": broken}
    with pytest.raises(ConfigurationError):
        redaction.body_to_store(b"{}")


# --- the way of an event


@every_database
def test_what_is_taken_out_is_neither_stored_nor_received(
    database: str, static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["REDACT"] = {"store": ["data.user_metadata.email", "data.items[*].name"]}
    signals.batch_succeeded.connect(recorder := Recorder())
    sent = static.envelope(
        user_metadata={"email": PERSONAL, "tenant": "acme"}, items=[{"name": PERSONAL, "n": 1}]
    )
    assert static.post(sent, webhook_id="m").json() == {"status": "accepted"}
    processing.drain()

    came = WebhookDelivery.objects.get()
    assert PERSONAL.encode() not in bytes(came.body)
    assert came.user_metadata == {"email": MARK, "tenant": "acme"}
    assert (came.redacted, came.size, came.state) == (True, len(static.encode(sent)), "processed")
    [call] = recorder.calls
    assert call["event"].user_metadata == {"email": MARK, "tenant": "acme"}
    assert call["event"].data["items"] == [{"name": MARK, "n": 1}]
    assert static.post(sent, webhook_id="m").json() == {"status": "duplicate"}


@every_database
def test_the_seal_s_copy_of_the_metadata_is_not_stored(
    database: str, dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    configured["REDACT"] = {"store": ["data.user_metadata.email"]}
    dynamic.user_metadata = {"email": PERSONAL, "tenant": "acme"}
    signals.batch_succeeded.connect(recorder := Recorder())
    sent = dynamic.envelope()
    dynamic.post(sent)
    processing.drain()

    came = WebhookDelivery.objects.get()
    seal = sent["data"]["user_metadata"]["gemini_webhooks_seal"]
    assert seal.encode() not in bytes(came.body)
    assert came.sealed
    assert recorder.calls[0]["event"].user_metadata == {"email": MARK, "tenant": "acme"}


@every_database
def test_a_retry_with_its_token_is_known_whatever_was_taken_out(
    database: str, dynamic: DynamicSender, configured: dict[str, Any]
) -> None:
    """The token is bound to the body that was sent, not to the one that is stored."""
    configured["REDACT"] = {"store": ["data.user_metadata.tenant"]}
    dynamic.binding = "body"
    dynamic.claims = {"jti": "same"}
    sent, now = dynamic.envelope(), int(time.time())
    assert dynamic.post(sent, webhook_id="m", timestamp=now).json() == {"status": "accepted"}
    configured["REDACT"] = {}
    assert dynamic.post(sent, webhook_id="m", timestamp=now).json() == {"status": "duplicate"}
    other = {**sent, "data": {**sent["data"], "more": 1}}
    assert dynamic.post(other, webhook_id="m", timestamp=now).status_code == 200
    digests = set(TokenUse.objects.values_list("body_digest", flat=True))
    assert digests == {sha256(dynamic.encode(one)).hexdigest() for one in (sent, other)}


@every_database
def test_a_body_that_cannot_be_looked_into_is_not_stored(
    database: str, static: StaticSender, configured: dict[str, Any]
) -> None:
    configured["REDACT"] = {"store": ["data.user_metadata.email"]}
    assert static.post(f"email: {PERSONAL}".encode()).json() == {"status": "accepted"}

    came = WebhookDelivery.objects.get()
    assert (came.body, came.state, came.emptied_by) == (None, "unreadable", "redaction")
    assert came.size == len(f"email: {PERSONAL}")


@every_database
def test_function_that_fails_has_google_send_it_again(
    database: str, static: StaticSender, configured: dict[str, Any], caplog: Any
) -> None:
    configured["REDACT"] = {"store": ["tests.test_redaction:failing"]}
    sent = static.envelope(email=PERSONAL)
    answer = static.post(sent, webhook_id="m")

    assert (answer.status_code, answer.json()) == (503, {"error": "misconfigured"})
    assert answer.headers["Retry-After"]
    assert not WebhookDelivery.objects.exists()
    assert PERSONAL not in caplog.text
    configured["REDACT"] = {"store": ["data.email"]}
    assert static.post(sent, webhook_id="m").json() == {"status": "accepted"}


@every_database
def test_the_ledger_keeps_no_more_than_the_deliveries(
    database: str, configured: dict[str, Any]
) -> None:
    configured["REDACT"] = {"store": ["data.user_metadata.email"]}
    jobs.track("batches/b1", user_metadata={"email": PERSONAL, "tenant": "acme"})

    assert Job.objects.get().user_metadata == {"email": MARK, "tenant": "acme"}


# --- display


@pytest.fixture
def family(settings: Any, tmp_path: Any, db: None) -> list[Any]:
    settings.MEDIA_ROOT = tmp_path
    metadata = {"email": PERSONAL, "tenant": "acme", "gemini_webhooks_seal": f"seal{PERSONAL}"}
    body = {"type": "t", "data": {"id": "b1", "user_metadata": metadata, "name": PERSONAL}}
    members = rows.family(user_metadata=metadata, body=json.dumps(body).encode())
    Job.objects.update(user_metadata=metadata)
    return members


def pages(browser: Client, members: list[Any]) -> list[str]:
    return [text_of(browser.get(url)) for url in [*map(list_url, MODELS), *map(page_url, members)]]


@pytest.mark.parametrize("kind", ["store", "display"])
def test_what_is_taken_out_is_shown_on_no_page(
    settings: Any, admin_client: Client, family: list[Any], kind: str
) -> None:
    """What was stored before the rule was made is hidden as well."""
    assert sum(PERSONAL in text for text in pages(admin_client, family)) == 2
    settings.GEMINI_WEBHOOKS = {"REDACT": {kind: ["data.user_metadata.email", "data.name"]}}

    texts = pages(admin_client, family)
    assert not [text for text in texts if PERSONAL in text]
    assert sum("&quot;acme&quot;" in text for text in texts) == 2
    assert any("REDACT took something out of it." in text for text in texts)


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        ("tests.test_redaction:failing", "Not shown: REDACT failed; the log says why."),
        ("a..b", "Not shown: REDACT failed; the log says why."),
        ("data.name", "Not shown: REDACT cannot look into it."),
    ],
)
def test_what_cannot_be_redacted_is_not_shown(
    settings: Any, admin_client: Client, family: list[Any], rule: str, note: str
) -> None:
    settings.GEMINI_WEBHOOKS = {"REDACT": {"display": [rule]}}
    if rule == "data.name":
        WebhookDelivery.objects.update(body=f"email: {PERSONAL}".encode(), user_metadata={})
        Job.objects.update(user_metadata={})

    texts = pages(admin_client, family)
    assert not [text for text in texts if PERSONAL in text]
    assert any(note in text for text in texts)


def test_rows_of_results(settings: Any) -> None:
    row = {"key": "a", "response": {"text": PERSONAL, "n": 1}}
    assert redaction.shown_row(row) is row
    settings.GEMINI_WEBHOOKS = {"REDACT": {"rows": ["response.text"]}}

    assert redaction.shown_row(row) == {"key": "a", "response": {"text": MARK, "n": 1}}
