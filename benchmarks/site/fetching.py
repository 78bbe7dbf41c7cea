"""The site of :mod:`benchmarks.fetch`: it reads one bucket, and keeps files where it is told."""

from __future__ import annotations

import os

from benchmarks.site.settings import *  # noqa: F403  # all of it
from benchmarks.site.settings import GEMINI_WEBHOOKS as RECEIVING

MEDIA_ROOT = os.environ["BENCH_MEDIA"]
GEMINI_WEBHOOKS = {**RECEIVING, "ALLOWED_BUCKETS": ["bench"]}
