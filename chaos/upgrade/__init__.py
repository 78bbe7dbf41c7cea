"""Upgrades the app while events come in, old and new processes side by side, then counts.

``python -m chaos.upgrade --help``, or ``make upgrade``; docs/reliability.md says what it shows.
"""
