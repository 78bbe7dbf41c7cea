"""The studio's tables, as they came about."""
