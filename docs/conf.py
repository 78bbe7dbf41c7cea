"""Sphinx's configuration."""

from importlib.metadata import version as installed

project = "django-gemini-webhooks"
author = "The django-gemini-webhooks authors"
copyright = "The django-gemini-webhooks authors"
version = release = installed("django-gemini-webhooks")

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "django-gemini-webhooks"
