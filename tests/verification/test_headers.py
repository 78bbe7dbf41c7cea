"""The three headers: read strictly, because everything after believes their form."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemini_webhooks.exceptions import Malformed
from gemini_webhooks.verification import IncomingRequest, read_headers
from tests.verification.signers import BODY, NOW, incoming, seconds, signature, token

ANY_TEXT = st.text(st.characters(codec=None))


def read(request):
    return read_headers(request, tolerance_seconds=300)


def refusal(**headers) -> Malformed:
    with pytest.raises(Malformed) as caught:
        read(incoming(**headers))
    return caught.value


def test_well_formed_headers_are_read():
    headers = read(incoming())

    assert (headers.webhook_id, headers.timestamp) == ("msg_1", seconds())
    assert headers.signature == signature()
    assert not headers.is_token


@pytest.mark.parametrize("name", ["id", "timestamp", "signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_header_is_named(name, value):
    refused = refusal(**{name: value})

    assert refused.code == "missing_header"
    assert f"webhook-{name}" in refused.diagnosis


@pytest.mark.parametrize("webhook_id", ["x" * 256, "a b", "a\n", "\tb", "é", "\x00", "a\x7f"])
def test_an_id_is_visible_ascii_of_bounded_length(webhook_id):
    assert refusal(id=webhook_id).code == "malformed_header"


def test_the_longest_id_is_accepted():
    assert read(incoming(id="~" * 255)).webhook_id == "~" * 255


@pytest.mark.parametrize(
    "timestamp",
    [
        "1.5",
        "+1",
        "-1",
        " 1",
        "1\n",
        "٣",
        "1e9",
        "0x1",
        "1_000",
        "01",
        "NaN",
        "9" * 13,
        "9" * 10**6,
    ],
)
def test_a_timestamp_is_plain_decimal_digits(timestamp):
    assert refusal(timestamp=timestamp).code == "malformed_header"


@pytest.mark.parametrize("offset", [-300, 300])
def test_the_tolerance_is_inclusive_on_both_sides(offset):
    assert read(incoming(timestamp=str(seconds() + offset))).timestamp == seconds() + offset


@pytest.mark.parametrize(
    ("offset", "diagnosis"),
    [
        (-412, "timestamp is 412 s old"),
        (-301, "timestamp is 301 s old"),
        (400, "timestamp is 400 s ahead of this server's clock"),
        (301, "timestamp is 301 s ahead of this server's clock"),
    ],
)
def test_a_timestamp_outside_the_tolerance_says_by_how_much(offset, diagnosis):
    refused = refusal(timestamp=str(seconds() + offset))

    assert (refused.code, refused.diagnosis) == ("timestamp_out_of_tolerance", diagnosis)
    assert refused.status == 400


@pytest.mark.parametrize("text", ["garbage", "a.b", "a.b.c.d", "Bearer a.b.c", ".b.c", "a..c"])
def test_a_signature_of_neither_kind_is_malformed(text):
    assert refusal(signature=text).code == "malformed_header"


def test_a_signature_has_a_bounded_length():
    assert refusal(signature="v1," + "A" * 16 * 1024).code == "malformed_header"


@pytest.mark.parametrize("text", [token({}), "a.b.", "e-y_.b.c"])
def test_three_base64url_parts_are_a_token(text):
    assert read(incoming(signature=text)).is_token


@pytest.mark.parametrize("text", ["v1,abc", "v1,a.b.c", "v1a,x v1,y", "a.b.c,"])
def test_anything_with_a_comma_is_a_list(text):
    assert not read(incoming(signature=text)).is_token


def test_the_signature_is_not_in_the_repr():
    assert signature() not in repr(read(incoming()))


@given(st.dictionaries(st.sampled_from(["id", "timestamp", "signature"]), ANY_TEXT))
@example({"timestamp": "²"})
@example({"signature": "v1,\ud800"})
def test_arbitrary_headers_are_read_or_malformed(headers):
    try:
        headers = read(incoming(**headers))
    except Malformed:
        return
    assert str(headers.timestamp).isascii()


def test_a_naive_looking_fraction_of_a_second_does_not_matter():
    late = NOW.replace(microsecond=999_999)
    request = IncomingRequest(
        headers=incoming(timestamp=str(seconds() - 300)).headers, body=BODY, received_at=late
    )

    assert read(request).timestamp == seconds() - 300
