"""Inserts a row with a statement that is put together once, not for each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import IntegrityError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

#: How a value stands in a statement; as a parameter, or itself if few others are to be expected.
Text = Callable[[Any], str]
#: What a parameter becomes for a driver; ``None`` if it takes the value as it is.
Adapt = Callable[[Any, BaseDatabaseWrapper], Any]

_PARAMETER = "%s"
#: Of ``psycopg.IsolationLevel``, in which Django's setting is given.
READ_COMMITTED = 2


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that is written: where its values come from, and what becomes of them."""

    attribute: str
    name: str
    text: Text
    adapt: Adapt | None = None


def _as_parameter(_: Any) -> str:
    return _PARAMETER


def _as_choice(choices: Iterable[tuple[Any, Any]]) -> Text:
    words = {value: f"'{value}'" for value, _ in choices}
    return lambda value: words.get(value, _PARAMETER)


def _as_flag(value: Any) -> str:
    return "TRUE" if value else "FALSE"


def _unless_empty(empty: str) -> Text:
    return lambda value: _PARAMETER if value else empty


def _as_field(kind: type[models.Field[Any, Any]]) -> Adapt:
    return kind().get_db_prep_value


#: Django asks each field of each row, and most do nothing to the value.
_KINDS: Mapping[type[models.Field[Any, Any]], tuple[Text, Adapt | None]] = {
    models.BinaryField: (_as_parameter, _as_field(models.BinaryField)),
    models.BooleanField: (_as_flag, None),
    models.CharField: (_unless_empty("''"), None),
    models.DateTimeField: (
        _as_parameter,
        lambda value, connection: connection.ops.adapt_datetimefield_value(value),
    ),
    models.TextField: (_unless_empty("''"), None),
    models.DurationField: (_as_parameter, _as_field(models.DurationField)),
    models.ForeignKey: (_as_parameter, None),
    models.IntegerField: (_unless_empty("0"), None),
    models.JSONField: (
        lambda value: "'{}'" if value == {} else _PARAMETER,
        lambda value, _: json.dumps(value),
    ),
}

#: A model, and the values of a row by attribute.
Row = tuple[type[models.Model], Mapping[str, Any]]

#: By model, database, and what each column gets.
_statements: dict[tuple[object, ...], str] = {}


def insert(model: type[models.Model], values: Mapping[str, Any], using: str) -> int:
    """Insert a row.

    Django takes longer to put such a statement together than the database to execute it. Here no
    signal is sent, all values have to be plain ones, and what is missing or ``None`` is left to
    the database. What does not differ from row to row is part of the statement: a driver takes
    its time for each parameter.

    Args:
        model: of the row.
        values: by attribute.
        using: the database.

    Returns:
        The primary key.

    Raises:
        django.db.IntegrityError: it conflicts with another row.
        django.db.Error: it could not be stored.
    """
    connection = connections[using]
    shape, parameters = _taken_apart(model, values, connection)
    key = (model, using, *shape)
    sql = _statements.get(key) or _statements.setdefault(key, _statement(model, shape, connection))
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        if not connection.features.can_return_columns_from_insert:
            meta = model._meta
            key_column = str(meta.pk.column)
            return int(connection.ops.last_insert_id(cursor, meta.db_table, key_column))
        return _found(cursor.fetchone())


def insert_both(first: Row, second: Row, using: str, *, unless: str) -> int:
    """Insert two rows or none.

    PostgreSQL gets one statement where it may: each more takes as long as this one. No conflict
    is an error for the server, which would log the statement with all that is in it, but for
    the same first row of two requests at the same moment.

    Args:
        first: a model, and the values of a row.
        second: likewise.
        using: the database.
        unless: attribute of the first row that no other row may share.

    Returns:
        The primary key of the second.

    Raises:
        django.db.IntegrityError: one of them conflicts with another row.
        django.db.Error: they could not be stored.
    """
    connection = connections[using]
    if connection.vendor != "postgresql" or not _sees_commits(connection) or is_within(using):
        with transaction.atomic(using=using):
            insert(*first, using)
            return insert(*second, using)
    (model, values), (other, _) = first, second
    shape, parameters = _taken_apart(*first, connection)
    other_shape, other_parameters = _taken_apart(*second, connection)
    key = (using, unless, model, *shape, other, *other_shape)
    sql = _statements.get(key) or _statements.setdefault(
        key,
        _statement_of_both(
            _into(model, shape, connection, select=True),
            _into(other, other_shape, connection, select=True),
            taken=f"SELECT 1 FROM {_table(model, connection)} "  # noqa: S608  # names of our own
            f"WHERE {_quoted(model, unless, connection)} = %s",
            key=_key(other, connection),
        ),
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*other_parameters, values[unless], *parameters])
        return _found(cursor.fetchone())


def _statement_of_both(first: str, second: str, *, taken: str, key: str) -> str:
    """The second row, unless the first is ``taken`` or it conflicts, and the first with it."""
    return (
        f"WITH second AS ({second} WHERE NOT EXISTS ({taken}) ON CONFLICT DO NOTHING "  # noqa: S608  # names of our own
        f"RETURNING {key}), first AS ({first} FROM second) SELECT {key} FROM second"
    )


def is_within(using: str) -> bool:
    """Whether a statement is part of a transaction that somebody else ends."""
    connection = connections[using]
    return bool(connection.in_atomic_block or not connection.get_autocommit())


def _found(row: tuple[Any, ...] | None) -> int:
    if row is None:
        raise IntegrityError("it conflicts with another row")
    return int(row[0])


def _taken_apart(
    model: type[models.Model], values: Mapping[str, Any], connection: BaseDatabaseWrapper
) -> tuple[list[str | None], list[Any]]:
    """How each column stands in the statement, and the parameters."""
    shape, parameters = [], []
    for column in _columns(model):
        value = values.get(column.attribute)
        text = None if value is None else column.text(value)
        shape.append(text)
        if text is _PARAMETER:
            parameters.append(value if column.adapt is None else column.adapt(value, connection))
    return shape, parameters


@lru_cache
def _columns(model: type[models.Model]) -> list[Column]:
    return [_column(field) for field in model._meta.local_concrete_fields if not field.primary_key]


def _column(field: models.Field[Any, Any]) -> Column:
    text, adapt = next(_KINDS[kind] for kind in _KINDS if isinstance(field, kind))
    if field.choices:
        text = _as_choice(field.flatchoices)
    return Column(attribute=field.attname, name=str(field.column), text=text, adapt=adapt)


def _statement(
    model: type[models.Model], shape: Sequence[str | None], connection: BaseDatabaseWrapper
) -> str:
    sql = _into(model, shape, connection)
    if not connection.features.can_return_columns_from_insert:
        return sql
    if connection.features.supports_update_conflicts_with_target and _sees_commits(connection):
        # No error, which costs a server more than the row and ends a transaction; and no target:
        # with one, conflicts of two rows at two constraints are a deadlock in PostgreSQL.
        sql += " ON CONFLICT DO NOTHING"
    return f"{sql} RETURNING {_key(model, connection)}"


def _into(
    model: type[models.Model],
    shape: Sequence[str | None],
    connection: BaseDatabaseWrapper,
    *,
    select: bool = False,
) -> str:
    """``INSERT`` with its values, or with a ``SELECT`` of them that goes on."""
    texts = {
        connection.ops.quote_name(column.name): text
        for column, text in zip(_columns(model), shape, strict=True)
        if text is not None
    }
    columns, values = ", ".join(texts), ", ".join(texts.values())
    values = f"SELECT {values}" if select else f"VALUES ({values})"
    return f"INSERT INTO {_table(model, connection)} ({columns}) {values}"


def _table(model: type[models.Model], connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _quoted(model: type[models.Model], name: str, connection: BaseDatabaseWrapper) -> str:
    field: Any = model._meta.get_field(name)
    return connection.ops.quote_name(field.column)


def _key(model: type[models.Model], connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(str(model._meta.pk.column))


def _sees_commits(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement sees what others have committed meanwhile, as PostgreSQL has it.

    Otherwise it fails where it would have to do nothing about a row that it cannot see.
    """
    level = connection.settings_dict["OPTIONS"].get("isolation_level")
    return connection.vendor != "postgresql" or level is None or level <= READ_COMMITTED
