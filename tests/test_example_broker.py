"""The example's broker of files: a reader finds whole messages or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Queue

from example_project.config.files import Transport


@pytest.fixture
def connection(tmp_path: Path) -> Any:
    options = {"data_folder_in": tmp_path, "data_folder_out": tmp_path, "control_folder": tmp_path}
    with Connection(transport=Transport, transport_options=options) as made:
        yield made


def test_message_is_whole_before_a_reader_sees_it(
    connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    queue = Queue("jobs", channel=connection.default_channel)
    queue.declare()
    replace = Path.replace

    def watched(aside: Path, target: Path) -> Path:
        seen.append(queue.get(no_ack=True))
        assert aside.read_text().endswith("}")
        return replace(aside, target)

    monkeypatch.setattr(Path, "replace", watched)
    connection.Producer().publish({"id": 1}, routing_key="jobs")

    assert seen == [None]
    assert queue.get(no_ack=True).payload == {"id": 1}
    assert list(tmp_path.glob("*.part")) == []
