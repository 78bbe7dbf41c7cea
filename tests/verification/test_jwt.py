"""Dynamic webhooks: which tokens are believed, and for what."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gemini_webhooks.exceptions import Rejected, Unauthorised, Undecided
from gemini_webhooks.verification import TokenRules, jwt
from tests.verification.signers import BODY, NOW, RSA_KEY, jwk, seconds, signed, token

AUDIENCE = "https://app.example.com/webhooks/gemini/"
RULES = TokenRules(audiences=(AUDIENCE, "client-id"))
EVENT = json.loads(BODY)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def claims(**changes):
    plain = {"aud": AUDIENCE, "iss": "https://accounts.google.com", "iat": seconds()}
    merged = plain | {"exp": seconds() + 3600} | changes
    return {name: value for name, value in merged.items() if value is not None}


def part(content) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.fixture
def verify(key_set):
    def verify(sent, body=BODY, *, rules=RULES, webhook_id="msg_1"):
        text = sent if isinstance(sent, str) else token(sent)
        return jwt.verify(signed(text, webhook_id=webhook_id), body, key_set, rules, NOW)

    return verify


@pytest.fixture
def refusal(verify):
    def refusal(*args, **kwargs) -> Unauthorised:
        with pytest.raises(Unauthorised) as caught:
            verify(*args, **kwargs)
        return caught.value

    return refusal


def test_a_plain_identity_token_proves_the_sender_only(verify):
    sent = token(claims(sub="1234", email="push@google.example", jti="another-id"))

    verified = verify(sent)

    assert (verified.signing, verified.binding) == ("jwt", "unbound")
    assert (verified.webhook_id, verified.body) == ("msg_1", BODY)
    assert verified.key_hint == "key-1"
    assert verified.token_digest == hashlib.sha256(sent.encode()).hexdigest()
    assert verified.sealed_metadata is None


class TestSignature:
    def test_another_key_of_the_same_name_does_not_verify(self, refusal):
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

        assert refusal(token(claims(), private_key=stranger)).code == "signature_mismatch"

    def test_a_key_that_google_does_not_publish(self, refusal):
        assert refusal(token(claims(), kid="key-9")).code == "unknown_key"

    def test_claims_that_were_exchanged(self, refusal):
        head, _, tail = token(claims()).split(".")
        forged = token(claims(aud="client-id")).split(".")[1]

        assert refusal(f"{head}.{forged}.{tail}").code == "signature_mismatch"

    def test_one_token_has_one_spelling(self, refusal):
        """Else changing spare bits would make a used token look new."""
        sent = token(claims())
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        respelled = sent[:-1] + alphabet[alphabet.index(sent[-1]) ^ 1]

        assert refusal(respelled).code == "malformed_token"

    def test_an_unsigned_token(self, refusal, server):
        unsigned = pyjwt.encode(claims(), None, algorithm="none", headers={"kid": "key-1"})

        assert refusal(unsigned).code == "malformed_token"
        assert server.fetches == 0

    def test_the_public_key_is_no_shared_secret(self, refusal):
        published = RSA_KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        content = f"{part({'alg': 'HS256', 'kid': 'key-1'})}.{part(claims())}"
        code = hmac.digest(published, content.encode(), "sha256")

        forged = f"{content}.{base64.urlsafe_b64encode(code).decode().rstrip('=')}"

        assert refusal(forged).code == "malformed_token"

    def test_another_rsa_algorithm(self, refusal):
        sent = pyjwt.encode(claims(), RSA_KEY, algorithm="RS512", headers={"kid": "key-1"})

        assert refusal(sent).code == "malformed_token"

    @pytest.mark.parametrize(
        "header",
        [
            {"alg": "RS256"},
            {"alg": "RS256", "kid": ""},
            {"alg": "RS256", "kid": 5},
            {"alg": "RS256", "kid": "k" * 256},
            {"alg": ["RS256"], "kid": "key-1"},
            {"alg": "RS256", "kid": "key-1", "crit": ["exp"]},
            {"alg": "RS256", "kid": "key-1", "crit": ["b64"], "b64": True},
            {"alg": "RS256", "kid": "key-1", "b64": False},
            {"kid": "key-1"},
            [],
            "RS256",
            None,
        ],
    )
    def test_other_token_headers_are_malformed(self, refusal, server, header):
        _, payload, tail = token(claims()).split(".")

        assert refusal(f"{part(header)}.{payload}.{tail}").code == "malformed_token"
        assert server.fetches <= 1

    @pytest.mark.parametrize(
        "payload",
        [b"", b"[]", b"5", b"\xff", b'{"iat": ' + b"9" * 5000 + b"}", b"[" * 10**5, b'{"a":"'],
    )
    def test_a_signed_payload_that_is_no_json_object(self, refusal, payload):
        assert refusal(token(payload)).code == "malformed_token"


class TestAudienceAndIssuer:
    @pytest.mark.parametrize("audience", [AUDIENCE, "client-id", ["else", "client-id"]])
    def test_any_configured_audience_will_do(self, verify, audience):
        assert verify(claims(aud=audience)).binding == "unbound"

    def test_without_a_configured_audience_dynamic_webhooks_are_off(self, refusal, server):
        refused = refusal(claims(), rules=TokenRules(audiences=()))

        assert refused.code == "dynamic_not_enabled"
        assert server.fetches == 0

    @pytest.mark.parametrize(
        "audience", [AUDIENCE + "x", AUDIENCE[:-1], [], {AUDIENCE: 1}, 5, None]
    )
    def test_any_other_audience_is_refused(self, refusal, audience):
        assert refusal(claims(aud=audience)).code == "wrong_audience"

    def test_the_operator_is_told_the_audience_in_clean_text(self, refusal):
        refused = refusal(claims(aud=["https://else.example/\n\x1b[31m\ud800", "b" * 300]))

        assert "“https://else.example/??[31m?, bbb" in refused.diagnosis
        assert len(refused.diagnosis) < 300
        assert refused.diagnosis.isprintable()

    def test_the_audience_of_a_forged_token_is_not_repeated(self, refusal):
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

        refused = refusal(token(claims(aud="buy-gold.example"), private_key=stranger))

        assert "buy-gold" not in refused.diagnosis

    def test_issuers_count_only_if_configured(self, verify, refusal):
        rules = TokenRules(audiences=(AUDIENCE,), issuers=("https://accounts.google.com",))

        assert verify(claims(), rules=rules)
        assert verify(claims(iss="anyone"))
        refused = refusal(claims(iss="anyone"), rules=rules)
        assert (refused.code, "“anyone”" in refused.diagnosis) == ("wrong_issuer", True)
        assert refusal(claims(iss=None), rules=rules).code == "wrong_issuer"


class TestLifetime:
    @pytest.mark.parametrize(
        "changes",
        [
            {"iat": None},
            {"exp": None},
            {"exp": seconds() - 299},
            {"iat": seconds() + 300},
            {"nbf": seconds() + 300},
            {"iat": seconds() - 3600},
            {"iat": seconds() + 0.5},
        ],
    )
    def test_within_the_rules(self, verify, changes):
        assert verify(claims(**changes)).binding == "unbound"

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"iat": None, "exp": None}, "token_without_lifetime"),
            ({"iat": None, "exp": None, "nbf": seconds()}, "token_without_lifetime"),
            ({"exp": seconds() - 300}, "token_expired"),
            ({"iat": seconds() - 3601}, "token_too_old"),
            ({"iat": seconds() - 3601, "exp": None}, "token_too_old"),
            ({"iat": seconds() + 301}, "token_not_yet_valid"),
            ({"nbf": seconds() + 301}, "token_not_yet_valid"),
        ],
    )
    def test_outside_of_them(self, refusal, changes, code):
        assert refusal(claims(**changes)).code == code

    @pytest.mark.parametrize("name", ["iat", "exp", "nbf"])
    @pytest.mark.parametrize(
        "value", ["1788264000", True, [], {}, float("nan"), float("inf"), -1, 10**12, 10**400]
    )
    def test_times_that_are_none(self, refusal, name, value):
        assert refusal(claims(**{name: value})).code == "malformed_token"

    def test_null_is_no_time_either(self, refusal):
        assert refusal(claims() | {"exp": None}).code == "malformed_token"


class TestEventBinding:
    @pytest.fixture(params=["top level", "event claim"])
    def with_event(self, request):
        return lambda **event: (
            claims(**event) if request.param == "top level" else claims(event=event)
        )

    def test_the_same_event_in_other_spelling_is_bound(self, verify, with_event):
        body = json.dumps(dict(reversed(EVENT.items())), indent=3).encode()

        verified = verify(with_event(**EVENT), body)

        assert (verified.binding, verified.body) == ("event", body)

    def test_the_body_may_add_version_and_timestamp(self, verify, with_event):
        bare = with_event(type="a", data={"n": 1})

        sent = b'{"type":"a","data":{"n":1.0},"version":"v2","timestamp":"2026-01-01T00:00:00Z"}'

        assert verify(bare, sent).binding == "event"

    @pytest.mark.parametrize(
        "body",
        [
            b'{"type":"a","data":{"n":2}}',
            b'{"type":"b","data":{"n":1}}',
            b'{"type":"a","data":{"n":true}}',
            b'{"type":"a","data":{"n":"1"}}',
            b'{"type":"a","data":{"n":1,"m":1}}',
            b'{"type":"a","data":{"n":[1]}}',
            b'{"type":"a","data":{}}',
            b'{"type":"a"}',
            b'{"type":"a","data":{"n":1},"user_metadata":{"tenant":"stranger"}}',
            b'[{"type":"a","data":{"n":1}}]',
            b"{}",
            b"null",
            b"not json",
            b"\xff",
            '{"type":"a","data":{"n":1}}'.encode("utf-16"),
            b'{"type":"a","data":' + b"[" * 10**5,
        ],
    )
    def test_a_body_that_disagrees_is_a_forgery(self, refusal, with_event, body):
        refused = refusal(with_event(type="a", data={"n": 1}), body)

        assert (refused.code, refused.status) == ("body_mismatch", 401)

    def test_what_the_token_says_must_be_in_the_body(self, refusal, with_event):
        sent = with_event(**EVENT, user_metadata={"tenant": 7})

        assert refusal(sent, BODY).code == "body_mismatch"

    def test_the_event_of_the_token_stands_in_for_an_empty_body(self, verify, with_event):
        verified = verify(with_event(**EVENT), b"")

        assert (verified.binding, json.loads(verified.body)) == ("event", EVENT)

    def test_a_deep_event_cannot_exhaust_the_stack(self, refusal):
        deep = "[" * 900 + "]" * 900
        signed_claims = json.dumps(claims())[:-1] + f', "type": "a", "data": {deep}}}'
        other = deep.replace("[]", "[1]")

        refused = refusal(token(signed_claims.encode()), f'{{"type":"a","data":{other}}}'.encode())

        assert refused.code in ("body_mismatch", "malformed_token")

    def test_events_in_both_places_must_both_agree(self, verify, refusal):
        assert verify(claims(**EVENT, event=EVENT)).binding == "event"
        assert refusal(claims(**EVENT, event=EVENT | {"data": {}})).code == "body_mismatch"

    @pytest.mark.parametrize(
        "changes", [{"event": "batch.succeeded"}, {"type": "JWT"}, {"data": {}}]
    )
    def test_claims_that_only_look_like_an_event_bind_nothing(self, verify, changes):
        assert verify(claims(**changes)).binding == "unbound"


DIGEST = hashlib.sha256(BODY).digest()
BASE64 = base64.b64encode(DIGEST).decode()
BASE64URL = base64.urlsafe_b64encode(DIGEST).decode()


class TestBodyBinding:
    @pytest.mark.parametrize(
        "name",
        [
            "body_sha256",
            "body_hash",
            "body-digest",
            "payload_sha256",
            "payloadHash",
            "payload_digest",
        ],
    )
    @pytest.mark.parametrize(
        "written",
        [
            DIGEST.hex(),
            DIGEST.hex().upper(),
            BASE64,
            BASE64.rstrip("="),
            BASE64URL,
            BASE64URL.rstrip("="),
            "sha256=" + DIGEST.hex(),
            "SHA-256=" + BASE64,
            "sha256:" + BASE64URL.rstrip("="),
        ],
    )
    def test_a_digest_binds_the_body(self, verify, refusal, name, written):
        assert verify(claims(**{name: written})).binding == "body"
        assert refusal(claims(**{name: written}), BODY + b" ").code == "body_mismatch"

    @pytest.mark.parametrize("written", ["", "md5=abc", DIGEST.hex()[:-1], BASE64 + "=", 5, [], {}])
    def test_a_digest_that_cannot_be_read_is_not_passed_over(self, refusal, written):
        assert refusal(claims(body_sha256=written)).code == "malformed_token"

    def test_null_is_no_digest(self, refusal):
        assert refusal(claims() | {"body_sha256": None}).code == "malformed_token"


class TestWebhookIdBinding:
    @pytest.mark.parametrize("name", ["webhook_id", "webhook-id"])
    def test_the_id_binds_the_delivery(self, verify, refusal, name):
        assert verify(claims(**{name: "msg_1"})).binding == "webhook_id"
        assert refusal(claims(**{name: "msg_2"})).code == "webhook_id_mismatch"
        assert refusal(claims(**{name: ["msg_1"]})).code == "webhook_id_mismatch"


def test_all_bindings_are_checked_and_the_strongest_is_reported(verify, refusal):
    good = {"webhook_id": "msg_1", "body_hash": BASE64}

    assert verify(claims(**good)).binding == "body"
    assert verify(claims(**dict(reversed(good.items())))).binding == "body"
    assert verify(claims(**good, **EVENT)).binding == "event"
    assert refusal(claims(**good | {"webhook_id": "msg_2"}, **EVENT)).code == "webhook_id_mismatch"
    assert refusal(claims(**good | {"body_hash": "0" * 64}, **EVENT)).code == "body_mismatch"
    assert refusal(claims(**good, **EVENT), b"").code == "body_mismatch"


any_fixture = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_fixture
@given(st.text(st.characters(codec=None)) | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]*"), st.binary())
def test_arbitrary_tokens_are_refused_and_nothing_else(verify, sent, body):
    with pytest.raises(Unauthorised):
        verify(sent, body)


@any_fixture
@given(
    st.dictionaries(
        st.sampled_from(
            ["aud", "iss", "iat", "exp", "nbf", "type", "data", "event", "body_hash", "webhook_id"]
        )
        | st.text(),
        JSON_VALUES,
    ),
    st.binary(),
)
def test_arbitrary_claims_are_believed_or_refused_and_nothing_else(verify, odd, body):
    try:
        verified = verify(claims() | odd, body)
    except Unauthorised:
        return
    assert verified.webhook_id == "msg_1"


@any_fixture
@given(st.data())
def test_a_flipped_bit_in_what_is_bound_never_verifies(verify, refusal, data):
    body = bytearray(BODY)
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    body[bit // 8] ^= 1 << bit % 8

    assert refusal(claims(payload_sha256=BASE64), bytes(body)).code == "body_mismatch"


def test_without_a_key_set_it_is_undecided(verify, server):
    server.status = 500

    with pytest.raises(Undecided) as caught:
        verify(claims())

    assert not isinstance(caught.value, Rejected)


def test_a_rotated_key_is_found(verify, server):
    verify(claims())
    fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    server.serve(jwk(), jwk(fresh, kid="key-2"))

    assert verify(token(claims(), private_key=fresh, kid="key-2")).key_hint == "key-2"
