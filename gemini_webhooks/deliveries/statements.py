"""Queries that Django puts together once, and that are executed with other values each time.

For what every run needs: Django takes longer to put such a query together than the database takes
to answer it. See :mod:`inserting` for rows that are new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, Generic, cast

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.sql import Query, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

from gemini_webhooks.deliveries.common import ModelType, alias

#: What an UPDATE writes, by column.
Changes = Mapping[str, Any]


class Slot(Expression):
    """Stands in a query for a value that is given each time.

    Args:
        name: by which it is given.
        field: of what kind it is: that field's.
    """

    def __init__(self, name: str, field: Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, *_: object, **__: object) -> tuple[str, Any]:
        """A place for a value, and itself to mark which one."""
        return "%s", (self,)


def field_of(model: type[Model], name: str) -> Field[Any, Any]:
    """The field of ``model`` that holds a value, not a relation, under this name."""
    return model._meta.get_field(name)  # type: ignore[return-value]  # as it says


def slots(model: type[Model], *names: str) -> dict[str, Slot]:
    """A slot for each of these fields of ``model``, under its name."""
    return {name: Slot(name, field_of(model, name)) for name in names}


@dataclass(frozen=True, kw_only=True)
class _PutTogether:
    """A statement as one database understands it.

    Attributes:
        compiler: of Django, which also knows what the columns of an answer are.
        parameters: slots among them.
    """

    compiler: SQLCompiler
    sql: str
    parameters: Sequence[Any]

    def filled(self, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> list[Any]:
        """The parameters with ``values`` in the place of slots."""
        return [
            one.output_field.get_db_prep_value(values[one.name], connection, prepared=False)
            if isinstance(one, Slot)
            else one
            for one in self.parameters
        ]


class _Statement:
    """Put together once for each database."""

    def __init__(self) -> None:
        self._put_together: dict[str, _PutTogether] = {}

    def _query(self) -> Query:
        raise NotImplementedError

    def _for(self, using: str) -> _PutTogether:
        found = self._put_together.get(using)
        if found is None:
            compiler: Any = self._query().get_compiler(using)  # the stubs know of no slots
            sql, parameters = compiler.as_sql()
            compiler.connection = None  # of this thread alone
            found = _PutTogether(compiler=compiler, sql=str(sql), parameters=tuple(parameters))
            self._put_together[using] = found
        return found


class Update(_Statement):
    """An UPDATE of one table.

    Args:
        build: returns the rows to change, and what changes, with slots.
    """

    def __init__(self, build: Callable[[], tuple[QuerySet[Any], Changes]]) -> None:
        super().__init__()
        self._build = build
        self._found = Select(lambda: build()[0].only("pk"))

    def __call__(self, **values: Any) -> int:
        """Execute it; returns how many rows it has changed.

        Raises:
            django.db.Error: as ``QuerySet.update()`` does.
        """
        with self._executed(values) as cursor:
            return int(cursor.rowcount)

    def key(self, **values: Any) -> int | None:
        """Execute it on one row at most, still found with it; returns its primary key, or ``None``.

        Raises:
            django.db.Error: likewise.
        """
        using = alias()
        connection = connections[using]
        # MariaDB tells after an INSERT alone, an old SQLite never.
        if connection.vendor == "mysql" or not connection.features.can_return_columns_from_insert:
            return self._found(**values)[0].pk if self(**values) else None
        model: Any = self._for(using).compiler.query.model
        key = connection.ops.quote_name(model._meta.pk.column)
        with self._executed(values, f" RETURNING {key}") as cursor:
            row = cursor.fetchone()
            return None if row is None else int(row[0])

    @contextmanager
    def _executed(self, values: Mapping[str, Any], more: str = "") -> Iterator[CursorWrapper]:
        using = alias()
        statement, connection = self._for(using), connections[using]
        # As Django does: whoever catches an error must not commit.
        with (
            transaction.mark_for_rollback_on_error(using=using),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.sql + more, statement.filled(values, connection))
            yield cursor

    def _query(self) -> Query:
        found, changes = self._build()
        query: Any = found.order_by().query.chain(UpdateQuery)
        query.add_update_values(changes)
        query.annotations = {}
        return cast("Query", query)


class Select(_Statement, Generic[ModelType]):
    """A SELECT of rows.

    Args:
        build: returns those to find, with slots, and with what ``select_related()`` brings along.
    """

    def __init__(self, build: Callable[[], QuerySet[ModelType]]) -> None:
        super().__init__()
        self._build = build

    def __call__(self, **values: Any) -> list[ModelType]:
        """Execute it.

        Raises:
            django.db.Error: as any query.
        """
        using = alias()
        statement, connection = self._for(using), connections[using]
        # Its compiler knows which columns are which; this one has only its parameters to fill in.
        compiler: Any = copy(statement.compiler)
        compiler.connection = connection
        parameters = tuple(statement.filled(values, connection))
        compiler.as_sql = lambda *_, **__: (statement.sql, parameters)
        query: Any = copy(statement.compiler.query)
        query.get_compiler = lambda *_, **__: compiler
        return list(QuerySet(query.model, query=query, using=using))

    def _query(self) -> Query:
        return self._build().order_by().query
