"""Imported by a worker that shall run receivers for ``BENCH_BUDGET`` seconds at once, or never."""

from __future__ import annotations

import os

from gemini_webhooks.processing import passing

passing.BUDGET_SECONDS = float(os.environ["BENCH_BUDGET"])
