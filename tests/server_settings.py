"""Settings of a web server that works on the database of a running test."""

from __future__ import annotations

import os

from tests.worker_settings import *  # noqa: F403  # the same site, as a web server has it

GEMINI_WEBHOOKS = {"SIGNING_SECRETS": [os.environ["SERVER_SECRET"]], "MAX_BODY_BYTES": 10_000}
