"""The studio's configuration."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class StudioConfig(AppConfig):
    """Connects the receivers."""

    name = "example_project.studio"
    label = "studio"

    def ready(self) -> None:
        """Importing the receivers connects them, in web processes and workers alike."""
        import_module("example_project.studio.receivers")
