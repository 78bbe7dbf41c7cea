"""Feeds bytes to everything that reads what a stranger sent.

Each target takes bytes and holds what comes out against an oracle. `make fuzz` drives them with
atheris, which looks for new paths through the code; the test suite runs them over the corpus.
"""
