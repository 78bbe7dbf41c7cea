"""Queries that Django puts together once, and that are executed with other values each time.

For what every run needs: Django takes longer to put such a query together than the database takes
to answer it. See :mod:`inserting` for rows that are new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic

from django.db import connections, transaction
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

from gemini_webhooks.deliveries.common import ModelType, alias, rows

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


class _Statement(Generic[ModelType]):
    """Put together once for each database."""

    def __init__(self) -> None:
        self._put_together: dict[str, tuple[str, list[Any]]] = {}

    def _compiler(self, using: str) -> SQLCompiler:
        raise NotImplementedError

    def _with(self, values: Mapping[str, Any], using: str) -> tuple[str, list[Any]]:
        """The statement and its parameters."""
        found = self._put_together.get(using)
        if found is None:
            compiler: Any = self._compiler(using)  # the stubs know of no slots
            text, parameters = compiler.as_sql()
            found = self._put_together[using] = str(text), list(parameters)
        sql, marked = found
        connection = connections[using]
        return sql, [
            one.output_field.get_db_prep_value(values[one.name], connection, prepared=False)
            if isinstance(one, Slot)
            else one
            for one in marked
        ]


class Update(_Statement[ModelType]):
    """An UPDATE of one table.

    Args:
        build: returns the rows to change, and what changes, with slots.
    """

    def __init__(self, build: Callable[[], tuple[QuerySet[ModelType], Changes]]) -> None:
        super().__init__()
        self._build = build

    def __call__(self, **values: Any) -> int:
        """Execute it; returns how many rows it has changed.

        Raises:
            django.db.Error: as ``QuerySet.update()`` does.
        """
        using = alias()
        sql, parameters = self._with(values, using)
        # As Django does: whoever catches an error must not commit.
        with (
            transaction.mark_for_rollback_on_error(using=using),
            connections[using].cursor() as cursor,
        ):
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)

    def _compiler(self, using: str) -> SQLCompiler:
        found, changes = self._build()
        query: Any = found.order_by().query.chain(UpdateQuery)
        query.add_update_values(changes)
        query.annotations = {}
        compiler: SQLCompiler = query.get_compiler(using)
        return compiler


class Select(_Statement[ModelType]):
    """A SELECT of rows with all their fields, of no relation.

    Args:
        model: of the rows.
        build: returns those to find, with slots. Annotations become attributes.
    """

    def __init__(self, model: type[ModelType], build: Callable[[], QuerySet[ModelType]]) -> None:
        super().__init__()
        self._model = model
        self._build = build

    def __call__(self, **values: Any) -> list[ModelType]:
        """Execute it.

        Raises:
            django.db.Error: as any query.
        """
        sql, parameters = self._with(values, alias())
        return list(rows(self._model).raw(sql, parameters))

    def _compiler(self, using: str) -> SQLCompiler:
        compiler: SQLCompiler = self._build().order_by().query.get_compiler(using)
        return compiler
