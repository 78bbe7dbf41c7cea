"""Tests of the example site, with its own settings: see the Makefile."""
