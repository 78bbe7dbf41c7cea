"""Breaks everything that the app runs on while events come in, then counts what is there.

``python -m chaos --help``, or ``make chaos``; docs/reliability.md says what it shows.
"""
