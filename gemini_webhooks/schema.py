"""Migration operations for tables that are large and in use, and that may be interrupted.

Each does to the models what Django's operation of that name does. What differs is the way there:

* Whoever needs a table for itself waits a second for it at most, then lets the others pass and
  tries again: all that come after one who waits for a table wait as well.
* Indexes are built while others write: ``CONCURRENTLY`` on PostgreSQL. MariaDB and MySQL do that
  by themselves.
* What is there is left as it is, so that ``migrate`` goes on where it was interrupted.

They take no transaction of the migration's: ``atomic = False`` belongs to it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import NotSupportedError, OperationalError, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement, Table
from django.db.backends.utils import truncate_name
from django.db.migrations import AddConstraint, AddField, AddIndex, CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

#: How long others may have to wait behind us, and for how long we try.
WAIT_SECONDS, PATIENCE_SECONDS = 1, 600
#: PostgreSQL: lock_not_available, deadlock_detected. MariaDB and MySQL: the same two.
BUSY = {"55P03", "40P01", 1205, 1213}


class _Online(Operation):
    atomic = False

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Apply it, unless that was done before."""
        _refuse_transaction(self, schema_editor)
        model = to_state.apps.get_model(app_label, self._model)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            change = super().database_forwards
            self._do(
                schema_editor, model, lambda: change(app_label, schema_editor, from_state, to_state)
            )

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Take it back, unless that was done before."""
        _refuse_transaction(self, schema_editor)
        model = from_state.apps.get_model(app_label, self._model)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            change = super().database_backwards
            self._undo(
                schema_editor, model, lambda: change(app_label, schema_editor, from_state, to_state)
            )

    @property
    def _model(self) -> str:
        name: str = vars(self)["model_name"]
        return name

    def _do(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        raise NotImplementedError

    def _undo(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        raise NotImplementedError


class AddIndexOnline(_Online, AddIndex):
    """``AddIndex``, while others write."""

    def _do(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:  # noqa: ARG002  # one rule for all
        _build(editor, model, self.index.create_sql(model, editor), self.index.name)

    def _undo(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        if _has(editor, model, _indexes, self.index.name):
            if _is_postgres(editor):
                _drop_index(editor, self.index.name)
            else:
                _briefly(editor, plainly)


class AddPostgresIndexOnline(_Online, Operation):
    """An index of a kind that only PostgreSQL has, while others write; elsewhere nothing.

    The models do not know of it.

    Args:
        model_name: the model.
        name: of the index.
        definition: what follows the table in ``CREATE INDEX``, without a percent sign.
    """

    def __init__(self, model_name: str, *, name: str, definition: str) -> None:
        self.model_name = model_name
        self.name = name
        self.definition = definition

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models stay as they are."""

    def describe(self) -> str:
        """As ``migrate`` and ``sqlmigrate`` say it."""
        return f"Create index {self.name} on model {self.model_name}, on PostgreSQL"

    def _do(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:  # noqa: ARG002  # one rule for all
        if _is_postgres(editor):
            table, name = Table(model._meta.db_table, editor.quote_name), self.name
            sql = f"CREATE INDEX %(name)s ON %(table)s {self.definition}"
            statement = Statement(sql, name=editor.quote_name(name), table=table)
            _build(editor, model, statement, name)

    def _undo(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:  # noqa: ARG002  # one rule for all
        if _is_postgres(editor) and _has(editor, model, _indexes, self.name):
            _drop_index(editor, self.name)


class AddUniqueOnline(_Online, AddConstraint):
    """``AddConstraint`` with a ``UniqueConstraint``, while others write."""

    def _do(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        name = self.constraint.name
        if not _is_postgres(editor):
            if _lacks(editor, model, _indexes, name):
                _briefly(editor, plainly)
        elif _lacks(editor, model, _constraints, name):
            statement: Any = self.constraint.create_sql(model, editor)
            if statement is None:
                return  # this PostgreSQL cannot do what it asks for, of which a check warns
            # With a condition it is an index and nothing else, as in Django.
            becomes_constraint = statement.template == editor.sql_create_unique
            statement.template = editor.sql_create_unique_index
            _build(editor, model, statement, name)
            if becomes_constraint:
                _promote(editor, statement)

    def _undo(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        name = self.constraint.name
        if not _has(editor, model, _indexes, name):
            return
        if _is_postgres(editor) and not _has(editor, model, _constraints, name):
            _drop_index(editor, name)
        else:
            _briefly(editor, plainly)


class AddFieldOnline(_Online, AddField):
    """``AddField`` with a column that is null or has a ``db_default``.

    The version before knows nothing of it and goes on writing rows. No row holds a value yet, so
    there is nothing that a foreign key or a check could find: MariaDB and MySQL would copy the
    table for the one, PostgreSQL would read all of it for the other, and meanwhile nobody writes.
    """

    def _do(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        field: Any = model._meta.get_field(self.name)

        def add() -> None:
            with _unchecked(editor):
                # Its index follows below, not at the end: there an interruption would forget it.
                _taking_deferred(editor, plainly)

        if _lacks(editor, model, _columns, field.column):
            _briefly(editor, add)
        if _is_postgres(editor):
            _add_check(editor, model, field)
        for statement in editor._field_indexes_sql(model, field):
            name = str(statement.parts["name"]).strip(editor.quote_name("")[0])
            _build(editor, model, statement, name)

    def _undo(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        field: Any = model._meta.get_field(self.name)
        if _has(editor, model, _columns, field.column):
            _briefly(editor, plainly)


class CreateModelOnline(_Online, CreateModel):
    """``CreateModel``, unless the table is there; for models without relations."""

    @property
    def _model(self) -> str:
        return self.name

    def _do(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        def create() -> None:
            for sql in _taking_deferred(editor, plainly):
                editor.execute(sql, None)

        if _lacks(editor, model, _columns, _key_column(model)):
            _briefly(editor, create)

    def _undo(self, editor: Any, model: type[models.Model], plainly: Callable[[], None]) -> None:
        if _has(editor, model, _columns, _key_column(model)):
            _briefly(editor, plainly)


def has_column(editor: Any, model: type[models.Model], name: str) -> bool:
    """Whether the table of ``model`` has a column: a migration may have been interrupted."""
    return name in _columns(editor, model)


def _refuse_transaction(operation: Operation, editor: Any) -> None:
    if editor.connection.in_atomic_block:
        raise NotSupportedError(
            f"{type(operation).__name__} works outside transactions: set atomic = False on the"
            " migration."
        )


def _build(editor: Any, model: type[models.Model], statement: Statement, name: str) -> None:
    """Create an index, unless it is there; what an interruption left of it is none."""
    if not _is_postgres(editor):
        if _lacks(editor, model, _indexes, name):
            _briefly(editor, lambda: editor.execute(statement, None))
    elif _lacks(editor, model, _valid_indexes, name):
        if not editor.collect_sql and name in _indexes(editor, model):
            _drop_index(editor, name)
        statement.template = statement.template.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
        with _unhurried(editor):
            editor.execute(statement, None)


def _promote(editor: Any, built: Statement) -> None:
    """Make a unique index of PostgreSQL a constraint, which takes no time."""
    sql = (
        f"ALTER TABLE {built.parts['table']} ADD CONSTRAINT {built.parts['name']}"
        f" UNIQUE USING INDEX {built.parts['name']}{built.parts['deferrable']}"
    )
    _briefly(editor, lambda: editor.execute(sql, None))


def _taking_deferred(editor: Any, change: Callable[[], None]) -> list[Any]:
    """Make a change; return what it would have the editor do at the end of the migration."""
    before = len(editor.deferred_sql)
    change()
    deferred = editor.deferred_sql[before:]
    del editor.deferred_sql[before:]
    return list(deferred)


def _drop_index(editor: Any, name: str) -> None:
    with _unhurried(editor):
        editor.execute(f"DROP INDEX CONCURRENTLY {editor.quote_name(name)}", None)


def _briefly(editor: Any, change: Callable[[], None]) -> None:
    """Make a change that needs the table for itself for a moment, when that moment is there."""
    if editor.collect_sql:
        change()
        return
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with _not_waiting_long(editor):
                change()
        except OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(random.uniform(0.5, 1.5) * WAIT_SECONDS)  # noqa: S311  # no secret


@contextmanager
def _not_waiting_long(editor: Any) -> Iterator[None]:
    connection = editor.connection
    if connection.vendor != "mysql":
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            if _is_postgres(editor):
                cursor.execute(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.lock_wait_timeout")
        usual = cursor.fetchone()[0]
        cursor.execute("SET SESSION lock_wait_timeout = %s", [WAIT_SECONDS])
        try:
            yield
        finally:
            cursor.execute("SET SESSION lock_wait_timeout = %s", [usual])


@contextmanager
def _unhurried(editor: Any) -> Iterator[None]:
    """Nobody waits behind what is built or checked while others write: it may take its time."""
    if editor.collect_sql:
        yield
        return
    with editor.connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
        cursor.execute("SET statement_timeout = 0")
        try:
            yield
        finally:
            cursor.execute("RESET lock_timeout")
            cursor.execute("RESET statement_timeout")


@contextmanager
def _unchecked(editor: Any) -> Iterator[None]:
    """Look at no row when a column is added."""
    if editor.connection.vendor == "mysql":
        with editor.connection.constraint_checks_disabled():
            yield
    elif _is_postgres(editor):
        editor.sql_check_constraint = ""  # follows in _add_check
        try:
            yield
        finally:
            del editor.sql_check_constraint
    else:
        yield


def _add_check(editor: Any, model: type[models.Model], field: Any) -> None:
    """Add the check that a positive number has, in PostgreSQL's two steps."""
    check = field.db_parameters(editor.connection)["check"]
    if not check:
        return
    table = editor.quote_name(model._meta.db_table)
    # The name that PostgreSQL would have given it.
    name = truncate_name(f"{model._meta.db_table}_{field.column}_check", 63)
    quoted = editor.quote_name(name)
    if _lacks(editor, model, _constraints, name):
        sql = f"ALTER TABLE {table} ADD CONSTRAINT {quoted} CHECK ({check}) NOT VALID"
        _briefly(editor, lambda: editor.execute(sql, None))
    with _unhurried(editor):
        editor.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {quoted}", None)


def _is_busy(error: OperationalError) -> bool:
    """By the database's own number, as psycopg 3, psycopg 2 or a driver of MySQL has it."""
    cause: Any = error.__cause__
    numbers = {getattr(cause, name, None) for name in ("sqlstate", "pgcode")}
    return not BUSY.isdisjoint(numbers | set(error.args[:1]))


def _is_postgres(editor: Any) -> bool:
    return bool(editor.connection.vendor == "postgresql")


Finder = Callable[[Any, type[models.Model]], set[str]]


def _lacks(editor: Any, model: type[models.Model], find: Finder, name: str) -> bool:
    """Whether it has to be added; ``sqlmigrate`` shows all that a migration may do."""
    return bool(editor.collect_sql) or name not in find(editor, model)


def _has(editor: Any, model: type[models.Model], find: Finder, name: str) -> bool:
    """Whether it has to be removed; likewise."""
    return bool(editor.collect_sql) or name in find(editor, model)


def _columns(editor: Any, model: type[models.Model]) -> set[str]:
    introspection, table = editor.connection.introspection, model._meta.db_table
    with editor.connection.cursor() as cursor:
        if table not in introspection.table_names(cursor):
            return set()
        return {column.name for column in introspection.get_table_description(cursor, table)}


def _indexes(editor: Any, model: type[models.Model]) -> set[str]:
    """Of every kind, those of constraints among them."""
    introspection, table = editor.connection.introspection, model._meta.db_table
    with editor.connection.cursor() as cursor:
        if table not in introspection.table_names(cursor):
            return set()  # going back was interrupted after it was dropped
        return set(introspection.get_constraints(cursor, table))


def _valid_indexes(editor: Any, model: type[models.Model]) -> set[str]:
    return _named(
        editor,
        model,
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indisvalid AND i.indrelid = to_regclass(%s)",
    )


def _constraints(editor: Any, model: type[models.Model]) -> set[str]:
    """Of PostgreSQL, where a unique index alone is none."""
    return _named(
        editor, model, "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(%s)"
    )


def _named(editor: Any, model: type[models.Model], sql: str) -> set[str]:
    with editor.connection.cursor() as cursor:
        cursor.execute(sql, [editor.quote_name(model._meta.db_table)])
        return {name for (name,) in cursor.fetchall()}


def _key_column(model: type[models.Model]) -> str:
    return str(model._meta.pk.column)
