"""Seals: what this site put into a job comes back believed, anything else does not."""

from __future__ import annotations

import json
from decimal import Decimal
from types import MappingProxyType

import pytest
from django.core import signing
from hypothesis import example, given
from hypothesis import strategies as st

from gemini_webhooks.exceptions import Unauthorised
from gemini_webhooks.seals import SEAL_KEY, open_seal, seal_metadata, strip_seal

METADATA = {"tenant": 7, "job_group": "nightly-eval", "nested": {"ratio": 1.0, "tags": ["ä", None]}}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)  # fmt: skip


def refusal(metadata, endpoint=""):
    with pytest.raises(Unauthorised) as caught:
        open_seal(metadata, endpoint=endpoint)
    return caught.value


METADATA_OBJECTS = st.dictionaries(TEXT, JSON)


@given(METADATA_OBJECTS.filter(lambda metadata: SEAL_KEY not in metadata), st.text())
def test_any_metadata_comes_back_through_json(metadata, endpoint):
    sealed = json.loads(json.dumps(seal_metadata(metadata, endpoint=endpoint)))

    assert open_seal(sealed, endpoint=endpoint) == metadata
    assert strip_seal(sealed) == metadata


@pytest.mark.parametrize(
    "value", ["nul \x00", "lone \ud800 surrogate", [[[[[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]]]]]]
)
def test_metadata_that_no_database_could_keep_is_refused(value):
    with pytest.raises(ValueError, match="user_metadata must not hold"):
        seal_metadata({"key": value}, endpoint="")


def test_the_clear_part_is_irrelevant():
    sealed = seal_metadata(METADATA, endpoint="")

    assert open_seal(sealed | {"tenant": 8, "more": 1}, endpoint="") == METADATA
    assert open_seal({SEAL_KEY: sealed[SEAL_KEY]}, endpoint="") == METADATA


def test_sealing_leaves_the_metadata_alone():
    metadata = MappingProxyType({"tenant": 7})

    assert seal_metadata(metadata, endpoint="").keys() == {"tenant", SEAL_KEY}
    assert metadata == {"tenant": 7}


def test_without_a_seal_there_is_nothing_to_open():
    assert open_seal(METADATA, endpoint="") is None


@given(st.text(st.characters(codec=None)) | JSON)
@example("\ud800:\ud800:\ud800")
def test_a_seal_that_is_none_is_invalid(seal):
    assert refusal({SEAL_KEY: seal}).code == "seal_invalid"


def test_a_seal_that_was_altered_is_invalid():
    seal = seal_metadata(METADATA, endpoint="")[SEAL_KEY]

    assert refusal({SEAL_KEY: seal[:5] + "x" + seal[6:]}).code == "seal_invalid"


def test_a_value_that_the_site_signed_for_another_purpose_is_no_seal():
    session = signing.dumps({"endpoint": "", "metadata": {"tenant": 8}}, compress=True)

    assert refusal({SEAL_KEY: session}).code == "seal_invalid"


@pytest.mark.parametrize(
    ("made_for", "came_to", "named"),
    [("billing", "", "“billing”"), ("", "billing", "the root endpoint"), ("a", "A", "“a”")],
)
def test_a_seal_holds_for_its_endpoint_only(made_for, came_to, named):
    refused = refusal(seal_metadata(METADATA, endpoint=made_for), came_to)

    assert refused.code == "seal_wrong_endpoint"
    assert named in refused.diagnosis


def test_a_seal_outlives_a_change_of_secret_key(settings):
    settings.SECRET_KEY = "old " * 20
    sealed = seal_metadata(METADATA, endpoint="")

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new " * 20, ["old " * 20]
    assert open_seal(sealed, endpoint="") == METADATA

    settings.SECRET_KEY_FALLBACKS = []
    assert refusal(sealed).code == "seal_invalid"


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        (["tenant"], TypeError, "must be a mapping"),
        (None, TypeError, "must be a mapping"),
        ({"price": Decimal(1)}, TypeError, "cannot be written as JSON"),
        ({"ratio": float("nan")}, ValueError, "cannot be written as JSON"),
        ({7: "tenant"}, ValueError, "come back changed"),
        ({"nested": {7: "tenant"}}, ValueError, "come back changed"),
        ({"pair": (1, 2)}, ValueError, "come back changed"),
        ({SEAL_KEY: "mine"}, ValueError, "reserved"),
    ],
)
def test_metadata_that_is_no_json_object_is_refused(metadata, error, message):
    with pytest.raises(error, match=message):
        seal_metadata(metadata, endpoint="")


def test_metadata_that_holds_itself_is_refused():
    metadata = {}
    metadata["self"] = metadata

    with pytest.raises(ValueError, match="cannot be written as JSON"):
        seal_metadata(metadata, endpoint="")
