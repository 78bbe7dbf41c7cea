"""Connects the receivers."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    """The site of the benchmarks."""

    name = "benchmarks.site"
    label = "benchmarks_site"

    def ready(self) -> None:
        """Connect the receivers."""
        import_module("benchmarks.site.receivers")
