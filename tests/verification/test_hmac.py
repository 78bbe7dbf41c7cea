"""Static webhooks: what the specification's vectors and an independent signer say holds."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac as stdlib_hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_webhooks.exceptions import ConfigurationError, Unauthorised
from gemini_webhooks.verification import SigningKey, hmac, parse_secret, secret_hint
from tests.verification.signers import BODY, OTHER_SECRET, SECRET, key, signature, signed

RAW_KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def accepted(headers, body=BODY, keys=None) -> bool:
    try:
        hmac.verify(headers, body, [key()] if keys is None else keys)
    except Unauthorised:
        return False
    return True


def test_the_vector_of_the_reference_implementations_verifies():
    headers = signed(
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
    )

    assert hmac.verify(headers, b'{"test": 2432232314}', [key()]) == key()


@given(body=st.text(), webhook_id=st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_what_an_independent_signer_signs_verifies(body, webhook_id):
    sent = signature(body.encode(), webhook_id=webhook_id)

    assert accepted(signed(sent, webhook_id=webhook_id), body.encode())


@given(st.binary())
def test_a_body_need_not_be_text(body):
    code = stdlib_hmac.new(RAW_KEY, b"msg_1.5." + body, hashlib.sha256).digest()

    assert accepted(signed("v1," + base64.b64encode(code).decode(), timestamp=5), body)


@given(st.data())
def test_a_flipped_bit_never_verifies(data):
    part = data.draw(st.sampled_from(["body", "id", "timestamp", "secret"]))
    content = {"body": BODY, "id": b"msg_1", "secret": RAW_KEY}.get(part, b"")
    bit = data.draw(st.integers(0, max(len(content) * 8 - 1, 30)))
    flipped = bytearray(content)
    if part != "timestamp":
        flipped[bit // 8] ^= 1 << bit % 8
    headers = signed(signature())
    if part == "timestamp":
        headers = signed(signature(), timestamp=headers.timestamp ^ 1 << bit)
    if part == "id":
        headers = signed(signature(), webhook_id=flipped.decode("latin-1"))
    body = bytes(flipped) if part == "body" else BODY
    used = SigningKey(key=bytes(flipped), hint="") if part == "secret" else key()

    assert accepted(signed(signature()))
    assert not accepted(headers, body, [used])


@pytest.mark.parametrize("order", [(SECRET, OTHER_SECRET), (OTHER_SECRET, SECRET)])
def test_during_a_rotation_any_pair_will_do_and_the_key_that_matched_is_named(order):
    keys = [key(secret, hint=secret[-4:]) for secret in order]
    unknown = signature(secret="whsec_" + "QUJD" * 8)

    matched = hmac.verify(signed(f"{unknown} {signature()}"), BODY, keys)

    assert matched.hint == SECRET[-4:]


@pytest.mark.parametrize(
    "noise", ["v1a,AAAA", "v2", "v1,", "v1,!!", "v1,é", "v1,\ud800", ",", "v1"]
)
def test_entries_of_other_versions_and_malformed_ones_are_skipped(noise):
    assert accepted(signed(f"{noise} {signature()} {noise}"))
    assert not accepted(signed(noise))


def test_the_signature_of_another_version_does_not_count():
    assert not accepted(signed(signature().replace("v1,", "v2,")))


def test_the_number_of_signatures_that_count_is_bounded():
    assert accepted(signed("v1,x " * 31 + signature()))
    assert not accepted(signed("v1,x " * 32 + signature()))


@pytest.mark.parametrize(
    ("sent", "keys", "diagnosis"),
    [
        (signature(), [], "no signing secret is configured"),
        ("v9,x", [key()], "no signature of version v1"),
        (signature(), [key(OTHER_SECRET)], "any of the 1 signing secret"),
    ],
)
def test_the_diagnosis_tells_what_is_amiss(sent, keys, diagnosis):
    with pytest.raises(Unauthorised, match=diagnosis) as caught:
        hmac.verify(signed(sent), BODY, keys)

    assert (caught.value.code, caught.value.status) == ("signature_mismatch", 401)


@given(st.text(st.characters(codec=None)), st.binary())
def test_arbitrary_signatures_never_verify_nor_break(sent, body):
    assert not accepted(signed(sent), body)


@pytest.mark.parametrize(
    "written",
    [SECRET, SECRET.removeprefix("whsec_"), f" {SECRET}\n", SECRET + "==", f"{SECRET}="],
)
def test_a_secret_is_read_leniently(written):
    assert parse_secret(written) == RAW_KEY


@given(st.binary(min_size=16, max_size=128), st.booleans(), st.booleans())
def test_both_alphabets_with_and_without_padding_are_read(raw, urlsafe, padded):
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    text = encode(raw).decode()

    assert parse_secret("whsec_" + (text if padded else text.rstrip("="))) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_…3frh",
        "whsec_...3frh",
        "whsec_" + "A" * 20,  # 15 bytes
        "whsec_" + "A" * 172,  # 129 bytes
        "whsec_" + "A" * 29,  # no base64 has this length
        "whsec_" + "A" * 30 + "+_",  # two alphabets
        "whsec_" + "AAAA AAAA" * 8,
        "whsec_" + "é" * 32,
        "\ud800" * 32,
        None,
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ],
)
def test_what_is_no_secret_is_refused_without_being_quoted(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_secret(text)

    encoded = str(text).removeprefix("whsec_")
    assert not encoded or encoded not in str(caught.value)


@given(st.text(st.characters(codec=None)))
def test_an_arbitrary_secret_is_read_or_refused(text):
    with contextlib.suppress(ConfigurationError):
        assert 16 <= len(parse_secret(text)) <= 128


def test_a_hint_shows_the_last_four_characters_of_a_real_secret_only():
    assert secret_hint(SECRET) == secret_hint(f" {SECRET[6:]} ") == "whsec_…LaSw"
    assert secret_hint("whsec_password") == secret_hint("") == "whsec_…"


class TestExplanation:
    """For the operator: which of the usual mistakes it was."""

    def test_a_secret_of_another_endpoint(self):
        others = [("endpoint A", key("whsec_" + "QUJD" * 8)), ("endpoint B", key())]

        said = hmac.explain_mismatch(signed(signature()), BODY, own=[], others=others)

        assert said.startswith("signature matches endpoint B")

    @pytest.mark.parametrize(
        "original",
        [
            '{"b":1,"a":"é"}',
            '{"b": 1, "a": "é"}',
            '{"b":1,"a":"\\u00e9"}',
            '{"a": "é", "b": 1}',
            json.dumps({"b": 1, "a": "é"}, indent=2, ensure_ascii=False),
        ],
    )
    def test_a_body_that_was_parsed_and_written_again(self, original):
        written_again = json.dumps(json.loads(original), indent=7).encode()
        headers = signed(signature(original.encode()))

        said = hmac.explain_mismatch(headers, written_again, own=[key()])

        assert said.startswith("body looks re-encoded")

    @pytest.mark.parametrize(("sent", "arrived"), [("{}", b"{}\r\n"), ("not json\n", b"not json")])
    def test_a_line_end_that_was_added_or_lost(self, sent, arrived):
        said = hmac.explain_mismatch(signed(signature(sent.encode())), arrived, own=[key()])

        assert said.startswith("body looks re-encoded")

    def test_no_signature_of_a_known_version(self):
        said = hmac.explain_mismatch(signed("v2,x"), BODY, own=[key()])

        assert "no signature of version v1" in said

    @pytest.mark.parametrize(
        "body", [b"{}", b"\xff", b"[" * 10**5, b'"\\ud800"', b"1" * 5000, b"1" * 70_000]
    )
    def test_anything_else_gets_the_general_hint(self, body):
        said = hmac.explain_mismatch(signed(signature()), body, own=[key()], others=[])

        assert said.startswith("signature matches no known secret")

    def test_the_search_among_other_endpoints_is_bounded(self):
        others = [("endpoint A", key(OTHER_SECRET))] * 200 + [("endpoint B", key())]

        said = hmac.explain_mismatch(signed(signature()), BODY, own=[], others=others)

        assert "endpoint" not in said
