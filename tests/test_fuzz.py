"""The short form of ``make fuzz``: every target over its corpus, and over what is near to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS

CORPUS = Path(__file__).parent.parent / "fuzz" / "corpus"
SEEDS = {
    name: [file.read_bytes() for file in sorted((CORPUS / name).iterdir())] for name in TARGETS
}


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_has_input_for_every_target(name: str) -> None:
    assert SEEDS[name]
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_near_to_it_does_no_harm_either(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS[name]))
    at = data.draw(st.integers(0, len(seed)))
    cut = data.draw(st.integers(0, 8))
    TARGETS[name](seed[:at] + data.draw(st.binary(max_size=8)) + seed[at + cut :])
