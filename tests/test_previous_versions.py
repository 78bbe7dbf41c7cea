"""Rows as every earlier version writes them are taken by the tables as they are now.

While a site is upgraded, processes of the version before go on beside the new ones. What they
write is in the migrations: each state of the models that there ever was stands for a version.
"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from tests.conftest import every_database

APP = "gemini_webhooks"
#: What processes write all the time; a state without one of these would be tested in vain.
WRITTEN = {
    "webhookdelivery", "receiverrun", "attempt", "resultfile", "job", "webhookendpoint",
    "signingsecret", "rejectedrequest", "tokenuse",
}  # fmt: skip
LOADER = MigrationLoader(None)
MIGRATIONS = sorted(name for app, name in LOADER.graph.nodes if app == APP)
NEWEST = LOADER.graph.leaf_nodes(APP)[0][1]
numbers = itertools.count(1)


def value(field: models.Field[Any, Any]) -> Any:
    """Something that the field takes; another one each time, unless there is a choice."""
    number = next(numbers)
    if field.choices:
        return field.choices[number % len(field.choices)][0]
    match field.get_internal_type():
        case "DateTimeField":
            return timezone.now()
        case "DurationField":
            return timedelta(seconds=number)
        case "BooleanField":
            return number % 2 == 0
        case "BinaryField":
            return b"%d" % number
        case "JSONField":
            return {"number": number}
        case "URLField":
            return f"https://site.example/{number}"
        case kind if "Integer" in kind:
            return number
        case _:
            # As long as it may be: a column that became shorter would refuse it.
            return str(number).rjust(min(field.max_length or 9, 300), "x")


class Version:
    """Writes with the models of one migration's state, in any order."""

    def __init__(self, migration: str, alias: str) -> None:
        self._apps = LOADER.project_state((APP, migration)).apps
        self._alias = alias

    def model(self, name: str) -> Any:
        return self._apps.get_model(APP, name)

    def names(self) -> list[str]:
        return [model._meta.model_name for model in self._apps.get_app_config(APP).get_models()]

    def write(self, name: str, *, everything: bool) -> Any:
        """Insert a row, with what is needed or with all that there is."""
        return self.model(name).objects.using(self._alias).create(**self.values(name, everything))

    def update(self, row: Any) -> None:
        """Write other values to every column."""
        for attribute, new in self.values(row._meta.model_name, everything=True).items():
            setattr(row, attribute, new)
        row.save(using=self._alias)

    def values(self, name: str, everything: bool) -> dict[str, Any]:
        return {
            field.name: (
                self.write(field.related_model._meta.model_name, everything=False)
                if field.is_relation
                else value(field)
            )
            for field in self.model(name)._meta.local_fields
            if not isinstance(field, models.AutoField)
            and (everything or not (field.null or field.has_default() or field.blank))
        }


def read(name: str, key: Any, alias: str) -> dict[str, Any]:
    """The row, as this version sees it."""
    row = apps.get_model(APP, name).objects.using(alias).get(pk=key)
    return {field.attname: getattr(row, field.attname) for field in row._meta.local_fields}


def written(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.local_fields}


earlier = pytest.mark.parametrize("migration", [name for name in MIGRATIONS if name != NEWEST])


@every_database
@earlier
@pytest.mark.parametrize("everything", [False, True], ids=["least", "everything"])
def test_row_of_an_earlier_version_is_taken_and_read(
    database: str, migration: str, everything: bool
) -> None:
    version = Version(migration, database)
    assert set(version.names()) >= WRITTEN

    for name in version.names():
        row = version.write(name, everything=everything)
        assert read(name, row.pk, database).items() >= written(row).items(), name


@every_database
@earlier
def test_row_of_an_earlier_version_is_changed_by_it(database: str, migration: str) -> None:
    version = Version(migration, database)

    for name in version.names():
        row = version.write(name, everything=False)
        version.update(row)
        assert read(name, row.pk, database).items() >= written(row).items(), name
