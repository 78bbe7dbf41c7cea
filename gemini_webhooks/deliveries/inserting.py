"""Inserts a row with a statement that is put together once, not for each row."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.db import connections
from django.db.models import Model
from django.db.models.sql import InsertQuery

#: By model, database, and the fields that have a value.
_statements: dict[tuple[type[Model], str, tuple[Any, ...]], str] = {}


def insert(row: Model, using: str) -> None:
    """Insert ``row`` and set its primary key, as ``row.save(force_insert=True)`` does.

    Django takes longer to put the statement together than to execute it. Here no signal is sent,
    all fields have to be values, not expressions, and what is ``None`` is left to the database.

    Raises:
        django.db.IntegrityError: it conflicts with another row.
        django.db.Error: it could not be stored.
    """
    connection = connections[using]
    model, present = type(row), vars(row)
    fields = tuple([field for field in _fields(model) if present[field.attname] is not None])
    values = [field.get_db_prep_save(present[field.attname], connection) for field in fields]
    key = (model, using, fields)
    sql = _statements.get(key) or _statements.setdefault(key, _statement(row, fields, using))
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        if connection.features.can_return_columns_from_insert:
            row.pk = cursor.fetchone()[0]
        else:
            table, column = model._meta.db_table, str(model._meta.pk.column)
            row.pk = connection.ops.last_insert_id(cursor, table, column)
    row._state.adding, row._state.db = False, using


@lru_cache
def _fields(model: type[Model]) -> list[Any]:
    return [field for field in model._meta.local_concrete_fields if not field.primary_key]


def _statement(row: Model, fields: tuple[Any, ...], using: str) -> str:
    """What Django would execute."""
    query = InsertQuery(type(row))
    query.insert_values(list(fields), [row])
    compiler: Any = query.get_compiler(using=using)
    compiler.returning_fields = [row._meta.pk]
    [(sql, _)] = compiler.as_sql()
    return str(sql)
