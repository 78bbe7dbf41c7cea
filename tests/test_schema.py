"""Migrations of large tables that are in use: nobody waits long, and an interruption is no end."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, NotSupportedError, connections, migrations, models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.transaction import atomic

from gemini_webhooks import schema
from gemini_webhooks.models import WebhookDelivery
from tests.conftest import every_database

APP = "gemini_webhooks"
FIRST = "0001_initial"
TABLE = WebhookDelivery._meta.db_table


class Interrupted(Exception):
    """The process ends here."""


def migrate(alias: str, target: str | None = None) -> None:
    executor = MigrationExecutor(connections[alias])
    newest = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP]
    executor.migrate([(APP, target)] if target else newest)


@pytest.fixture
def first_version(database: str) -> Iterator[str]:
    """An alias whose tables are those of the first migration; they are brought back after it."""
    migrate(database, FIRST)
    try:
        yield database
    finally:
        migrate(database)


@contextmanager
def executed(alias: str, *, interrupt_after: int | None = None) -> Iterator[list[str]]:
    """The SQL that changes the schema; after so many statements the process ends."""
    editor: Any = connections[alias].SchemaEditorClass
    usual, seen = editor.execute, []

    def execute(self: Any, sql: Any, params: Any = ()) -> None:
        usual(self, sql, params)
        seen.append(str(sql))
        if len(seen) == interrupt_after:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editor, "execute", execute)
        yield seen


def tables(alias: str) -> dict[str, Any]:
    """Columns, constraints and indexes of all tables of the app."""
    connection, found = connections[alias], {}
    with connection.cursor() as cursor:
        for name in connection.introspection.table_names(cursor):
            if name.startswith(APP):
                found[name] = (
                    sorted(
                        column._replace(display_size=None)
                        for column in connection.introspection.get_table_description(cursor, name)
                    ),
                    connection.introspection.get_constraints(cursor, name),
                )
        if connection.vendor == "postgresql":
            cursor.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
            found["invalid"] = cursor.fetchall()
            cursor.execute(
                "SELECT conname, convalidated FROM pg_constraint"
                " WHERE conrelid::regclass::text LIKE %s ORDER BY 1",
                [f"{APP}%"],
            )
            found["constraints"] = cursor.fetchall()
    return found


def migrate_with_interruptions(alias: str, target: str | None = None) -> int:
    """Interrupt after each statement, begin again each time; returns how often."""
    interrupted, last, count = 0, "", 1
    while True:
        try:
            with executed(alias, interrupt_after=count) as seen:
                migrate(alias, target)
        except Interrupted:
            interrupted += 1
            # What belongs to one transaction is begun again as a whole.
            count = count + 1 if seen[0] == last else 1
            last = seen[0]
        else:
            return interrupted


@every_database
def test_migration_goes_on_wherever_it_was_interrupted(first_version: str) -> None:
    alias = first_version
    before = tables(alias)
    migrate(alias)
    expected = tables(alias)
    migrate(alias, FIRST)

    assert migrate_with_interruptions(alias) > 5
    assert tables(alias) == expected
    assert migrate_with_interruptions(alias, FIRST) > 5
    assert tables(alias) == before


@every_database
def test_large_tables_get_indexes_while_others_write(first_version: str) -> None:
    """Each index is built concurrently on PostgreSQL, and no table locked for a copy on MariaDB."""
    alias = first_version
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "mysql" and connections[alias].mysql_is_mariadb:
            cursor.execute("SET SESSION alter_algorithm = 'INPLACE'")
    try:
        with executed(alias) as statements:
            migrate(alias)
    finally:
        connections[alias].close()

    created = {name for sql in statements for name in re.findall(r"^CREATE TABLE \"?(\w+)", sql)}
    indexes = [sql for sql in statements if re.match("CREATE .*INDEX", sql)]
    if connections[alias].vendor == "postgresql":
        assert indexes
        assert [
            sql
            for sql in indexes
            if "CONCURRENTLY" not in sql and re.search(r'ON "(\w+)"', sql)[1] not in created
        ] == []


def test_migrations_say_what_the_models_are() -> None:
    loader = MigrationLoader(None, ignore_no_migrations=True)
    detector = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps))

    assert detector.changes(graph=loader.graph, trim_to_apps={APP}) == {}


@every_database
def test_sqlmigrate_shows_the_whole_way(database: str) -> None:
    def shown(**options: Any) -> str:
        printed = StringIO()
        arguments = (APP, "0003", *(f"--{name}" for name in options))
        call_command("sqlmigrate", *arguments, database=database, stdout=printed)
        return printed.getvalue()

    assert "gw_delivery_occasion" in shown()
    assert ("CONCURRENTLY" in shown()) == (connections[database].vendor == "postgresql")
    assert "occasion" in shown(backwards=True)


class TestOperations:
    """On a table of their own."""

    @pytest.fixture
    def states(self, database: str) -> Iterator[Any]:
        state = ProjectState()
        columns = [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=20)),
        ]
        migrations.CreateModel("Thing", columns).state_forwards("things", state)
        thing = state.apps.get_model("things", "thing")
        with connections[database].schema_editor() as editor:
            editor.create_model(thing)
        thing.objects.using(database).bulk_create(
            thing(name=name) for name in ("a", "b", "double", "double")
        )
        yield state, thing
        with connections[database].schema_editor() as editor:
            editor.delete_model(thing)

    def forwards(self, alias: str, operation: Any, state: ProjectState) -> None:
        after = state.clone()
        operation.state_forwards("things", after)
        with connections[alias].schema_editor(atomic=False) as editor:
            operation.database_forwards("things", editor, state, after)

    def backwards(self, alias: str, operation: Any, state: ProjectState) -> None:
        after = state.clone()
        operation.state_forwards("things", after)
        with connections[alias].schema_editor(atomic=False) as editor:
            operation.database_backwards("things", editor, after, state)

    def constraints(self, alias: str, model: Any) -> dict[str, Any]:
        with connections[alias].cursor() as cursor:
            return connections[alias].introspection.get_constraints(cursor, model._meta.db_table)

    unique = pytest.mark.parametrize(
        "operation",
        [
            schema.AddUniqueOnline(
                "thing", models.UniqueConstraint(fields=["name"], name="things_once")
            ),
            schema.AddUniqueOnline(
                "thing",
                models.UniqueConstraint(
                    fields=["name"], condition=models.Q(id__gt=0), name="things_once"
                ),
            ),
        ],
        ids=["constraint", "condition"],
    )

    @every_database
    @unique
    def test_build_that_failed_is_built_again(
        self, database: str, states: Any, operation: Any
    ) -> None:
        state, thing = states
        rows = thing.objects.using(database)
        if not operation.constraint.create_sql(thing, connections[database].schema_editor()):
            pytest.skip("this database has no such constraint")

        for _ in range(2):
            with pytest.raises(IntegrityError):
                self.forwards(database, operation, state)
        rows.filter(name="double").first().delete()
        for _ in range(2):
            self.forwards(database, operation, state)

        with pytest.raises(IntegrityError):
            rows.create(name="double")
        assert self.constraints(database, thing)["things_once"]["unique"]
        for _ in range(2):
            self.backwards(database, operation, state)
        rows.create(name="double")

    @every_database
    @unique
    def test_what_a_failed_build_left_is_taken_back(
        self, database: str, states: Any, operation: Any
    ) -> None:
        state, thing = states
        if not operation.constraint.create_sql(thing, connections[database].schema_editor()):
            pytest.skip("this database has no such constraint")
        with pytest.raises(IntegrityError):
            self.forwards(database, operation, state)

        self.backwards(database, operation, state)

        assert "things_once" not in self.constraints(database, thing)

    @every_database
    def test_same_table_as_of_djangos_operation(self, database: str, states: Any) -> None:
        state, thing = states
        thing.objects.using(database).filter(name="double").delete()
        index = models.Index(fields=["name", "-id"], name="things_by_name")
        constraint = models.UniqueConstraint(fields=["name"], name="things_once")
        seen = []
        for operations in (
            [migrations.AddIndex("thing", index), migrations.AddConstraint("thing", constraint)],
            [schema.AddIndexOnline("thing", index), schema.AddUniqueOnline("thing", constraint)],
        ):
            before = [state]
            for operation in operations:
                self.forwards(database, operation, before[-1])
                before.append(before[-1].clone())
                operation.state_forwards("things", before[-1])
            seen.append(self.constraints(database, thing))
            for operation, earlier in zip(operations[::-1], before[-2::-1], strict=True):
                self.backwards(database, operation, earlier)
            seen.append(self.constraints(database, thing))
            seen.append(before[-1].models)

        assert seen[:3] == seen[3:]

    @every_database
    @pytest.mark.parametrize(
        "field",
        [
            models.PositiveSmallIntegerField(db_default=0),
            models.DateTimeField(null=True, db_index=True),
            models.CharField(max_length=9, null=True, db_index=True),
            models.ForeignKey("things.thing", models.SET_NULL, null=True, related_name="+"),
        ],
        ids=["check", "index", "text", "key"],
    )
    def test_same_column_as_of_djangos_operation(
        self, database: str, states: Any, field: Any
    ) -> None:
        state, thing = states
        seen = []
        for add in (migrations.AddField, schema.AddFieldOnline):
            operation = add("thing", "more", field)
            for _ in range(1 if add is migrations.AddField else 2):
                self.forwards(database, operation, state)
            with connections[database].cursor() as cursor:
                table = thing._meta.db_table
                introspection = connections[database].introspection
                seen.append(introspection.get_constraints(cursor, table))
                seen.append(introspection.get_table_description(cursor, table))
            self.backwards(database, operation, state)

        assert seen[:2] == seen[2:]

    @every_database
    def test_index_of_postgres_alone(self, database: str, states: Any) -> None:
        state, thing = states
        operation = schema.AddPostgresIndexOnline(
            "thing", name="things_odd", definition='("name") WHERE "id" > 7'
        )
        is_postgres = connections[database].vendor == "postgresql"

        with executed(database) as statements:
            for _ in range(2):
                self.forwards(database, operation, state)
        assert ("things_odd" in self.constraints(database, thing)) == is_postgres
        assert ["CONCURRENTLY" in sql for sql in statements] == [True] * is_postgres
        after = state.clone()
        operation.state_forwards("things", after)
        assert after == state
        for _ in range(2):
            self.backwards(database, operation, state)
        assert "things_odd" not in self.constraints(database, thing)

    @every_database
    def test_transaction_of_the_migration_is_refused(self, database: str, states: Any) -> None:
        state, _ = states
        operation = schema.AddIndexOnline("thing", models.Index(fields=["name"], name="things_n"))
        editor = connections[database].schema_editor(atomic=False)

        with atomic(using=database), pytest.raises(NotSupportedError, match="atomic = False"):
            operation.database_forwards("things", editor, state, state)
        with atomic(using=database), pytest.raises(NotSupportedError, match="atomic = False"):
            operation.database_backwards("things", editor, state, state)


servers = pytest.mark.parametrize(
    "database",
    [parameter for parameter in every_database.args[1] if parameter.values != ("default",)],
    indirect=True,
)


@servers
class TestBusyTable:
    """SQLite knows no table that is busy for some and not for others."""

    def test_nobody_waits_long_behind_a_migration_that_waits(self, first_version: str) -> None:
        alias, release, held = first_version, threading.Event(), threading.Event()

        def long_receiver() -> None:
            with atomic(using=alias), connections[alias].cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {TABLE}")
                held.set()
                release.wait(60)
            connections[alias].close()

        def upgrade() -> None:
            migrate(alias)
            connections[alias].close()

        threads = [threading.Thread(target=long_receiver), threading.Thread(target=upgrade)]
        threads[0].start()
        held.wait(60)
        threads[1].start()
        longest, end = 0.0, time.monotonic() + 4
        while time.monotonic() < end:
            started = time.monotonic()
            with connections[alias].cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {TABLE} WHERE id = 0")
            longest = max(longest, time.monotonic() - started)
            time.sleep(0.02)
        assert threads[1].is_alive()
        release.set()
        for thread in threads:
            thread.join(60)

        assert not threads[1].is_alive()
        assert 0.3 < longest < 2, "it did not wait at all, or too long"

    def test_patience_ends(self, first_version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        alias, release, held = first_version, threading.Event(), threading.Event()
        monkeypatch.setattr(schema, "PATIENCE_SECONDS", 0)

        def long_receiver() -> None:
            with atomic(using=alias), connections[alias].cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {TABLE}")
                held.set()
                release.wait(60)
            connections[alias].close()

        thread = threading.Thread(target=long_receiver)
        thread.start()
        held.wait(60)
        try:
            with pytest.raises(Exception, match=r"(?i)lock"):
                migrate(alias)
        finally:
            release.set()
            thread.join()
