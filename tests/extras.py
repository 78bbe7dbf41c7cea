"""Marks tests that need extras of the app."""

from __future__ import annotations

import importlib.util

import pytest

LIBRARIES = {"gcs": "google.cloud.storage", "genai": "google.genai"}


def needs(*extras: str) -> pytest.MarkDecorator:
    """Skip where one of ``extras`` is not installed."""
    absent = [f"[{extra}]" for extra in extras if not _is_there(LIBRARIES[extra])]
    return pytest.mark.skipif(bool(absent), reason=f"needs the extra {' and '.join(absent)}")


def _is_there(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:  # nor the package around it
        return False
