"""Finds rows by a value in their metadata, in the database's own way.

On PostgreSQL an index serves both questions; see ``0006_operations``. Elsewhere rows are read one
after another, so what else is known about them should be asked for as well.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, F, Func, Q

from gemini_webhooks import redaction
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.storable import MAX_DEPTH, storable_text

#: Nobody looks for a longer text, or for a number of more digits.
MAX_TEXT, MAX_NUMBER = 65_536, 100
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
WORDS = ("true", "false", "null")
#: As MariaDB and MySQL call the types of JSON's numbers.
NUMBERS = "'INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL'"

Step = str | int
Compiled = tuple[str, list[Any]]


def at_path(path: str, value: str) -> Q:
    """Rows whose ``user_metadata`` has a value at a path.

    Do not negate it: where the path leads nowhere, some databases know neither yes nor no.

    Args:
        path: keys and positions, as in ``tenant``, ``customer.id`` or ``ids[0]``; see
            :func:`redaction.read`.
        value: a string, or how a number, ``true``, ``false`` or ``null`` is spelled.

    Raises:
        ConfigurationError: the path cannot be read, or leads to several places.
    """
    steps = read_path(path)
    found = _Value.read(value)
    if found is None or len(steps) > MAX_DEPTH or not all(map(_can_be_stored, steps)):
        return Q(pk__in=[])
    return Q(_AtPath(steps, found))


def anywhere(value: str) -> Q:
    """Rows with a value anywhere in their ``user_metadata``, whatever the key.

    Args:
        value: as for :func:`at_path`. MariaDB and MySQL take numbers for equal that a float
            cannot tell apart.
    """
    found = _Value.read(value)
    return Q(pk__in=[]) if found is None else Q(_Anywhere(found))


def read_path(path: str) -> tuple[Step, ...]:
    """Read the path of :func:`at_path`.

    Raises:
        ConfigurationError: it cannot be read, or leads to several places.
    """
    steps = redaction.read(path)
    if not isinstance(steps, tuple) or not all(isinstance(step, str | int) for step in steps):
        raise ConfigurationError(f"{path!r} is not the path of one value")
    return steps


@dataclass(frozen=True, kw_only=True)
class _Value:
    """A text, and the number that it spells; empty if it spells none."""

    text: str
    number: str = ""

    @classmethod
    def read(cls, text: str) -> _Value | None:
        """``None``: no row has it, as it could not have been stored."""
        if len(text) > MAX_TEXT or not _can_be_stored(text):
            return None
        is_number = len(text) <= MAX_NUMBER and NUMBER.fullmatch(text) is not None
        return cls(text=text, number=text if is_number and math.isfinite(float(text)) else "")

    @property
    def spelled(self) -> list[str]:
        """As JSON: the string, and what else the text may stand for."""
        return [json.dumps(self.text), *filter(None, [self.number]), *self.words]

    @property
    def words(self) -> list[str]:
        return [self.text] if self.text in WORDS else []

    @property
    def integer(self) -> str:
        """The number without a fraction; empty if it has one, or is none."""
        if self.number.lstrip("-").isdigit():
            return str(int(self.number))
        number = float(self.number or "nan")
        return str(int(number)) if number.is_integer() else ""


class _Holds(Func):
    """Whether ``user_metadata`` holds a value; each database is asked in its own words."""

    output_field = BooleanField()

    def __init__(self, value: _Value) -> None:
        super().__init__(F("user_metadata"))
        self.value = value

    def as_sql(  # type: ignore[override]  # there is no function's name, nor a template, to give
        self, compiler: Any, connection: Any, **_: Any
    ) -> Compiled:
        """Pass the column on to the dialect."""
        column, params = compiler.compile(self.source_expressions[0])
        dialects = {"postgresql": self.postgresql, "mysql": self.mysql, "sqlite": self.sqlite}
        sql, own = dialects[connection.vendor](column)
        # The column is a name of a table's and takes no parameters, however often it is written.
        return sql, [*params, *own]

    def postgresql(self, column: str) -> Compiled:
        # What is asked for is the value of a parameter, with each text in it quoted.
        wanted = " || ".join(f"@ == {spelled}" for spelled in self.value.spelled)
        return f"{column} @? %s::jsonpath", [f"strict ${self.way} ? ({wanted})"]

    @property
    def way(self) -> str:
        """From the root to the value, as PostgreSQL and MySQL write it."""
        raise NotImplementedError

    def mysql(self, column: str) -> Compiled:
        raise NotImplementedError

    def sqlite(self, column: str) -> Compiled:
        raise NotImplementedError

    def among(self, node: str) -> Compiled:
        """Whether a row of SQLite's ``json_tree`` is the value."""
        sql, params = f"{node}.type = 'text' AND {node}.atom = %s", [self.value.text]
        if self.value.number:
            sql += f" OR {node}.type IN ('integer', 'real') AND {node}.atom = CAST(%s AS NUMERIC)"
            params.append(self.value.number)
        for word in self.value.words:
            sql += f" OR {node}.type = %s"
            params.append(word)
        return f"({sql})", params


class _AtPath(_Holds):
    def __init__(self, steps: tuple[Step, ...], value: _Value) -> None:
        super().__init__(value)
        self.steps = steps

    @property
    def way(self) -> str:
        return "".join(self.written(step) for step in self.steps)

    @staticmethod
    def written(step: Step) -> str:
        return f"[{step}]" if isinstance(step, int) else f".{json.dumps(step)}"

    def mysql(self, column: str) -> Compiled:
        found = f"JSON_EXTRACT({column}, %s)"
        sql, params = self._is_value(found, f"${self.way}")
        way = "$"
        for step in self.steps:
            if isinstance(step, int):  # for MySQL any value is its own first item
                sql += f" AND JSON_TYPE({found}) = 'ARRAY'"
                params.append(way)
            way += self.written(step)
        return f"({sql})", params

    def _is_value(self, found: str, way: str) -> Compiled:
        """Compared as bytes: the text of a string, the digits of an integer, the rest as float."""
        text = f"CAST(JSON_UNQUOTE({found}) AS BINARY) = CAST(%s AS BINARY)"
        sql, params = f"JSON_TYPE({found}) = 'STRING' AND {text}", [way, way, self.value.text]
        if self.value.number:
            sql += f" OR JSON_TYPE({found}) IN ({NUMBERS}) AND CASE"
            sql += f" WHEN JSON_UNQUOTE({found}) REGEXP '[.eE]'"
            sql += f" THEN JSON_UNQUOTE({found}) + 0e0 = %s + 0e0 ELSE {text} END"
            params += [way, way, way, self.value.number, way, self.value.integer]
        for word in self.value.words:
            kind = "NULL" if word == "null" else "BOOLEAN"
            sql += f" OR JSON_TYPE({found}) = '{kind}' AND {text}"
            params += [way, way, word]
        return f"({sql})", params

    def sqlite(self, column: str) -> Compiled:
        # Not by a path of SQLite's, in which a key with a quotation mark cannot be written.
        last = f"s{len(self.steps)}"
        joins, params = f"json_tree({column}) AS s0", []
        for number, step in enumerate(self.steps):
            here, there = f"s{number}", f"s{number + 1}"
            kind = "array" if isinstance(step, int) else "object"
            joins += f" JOIN json_tree({column}) AS {there} ON {there}.parent = {here}.id"
            joins += f" AND {here}.type = '{kind}' AND {there}.key = %s"
            params.append(step)
        is_value, own = self.among(last)
        return _exists(joins, f"s0.parent IS NULL AND {is_value}"), [*params, *own]


class _Anywhere(_Holds):
    way = ".**"

    def mysql(self, column: str) -> Compiled:
        # All members of all objects, at every depth. What it is asked for may be a list's item.
        wanted = [f"JSON_CONTAINS(JSON_EXTRACT({column}, '$**.*'), %s)" for _ in self.value.spelled]
        return f"({' OR '.join(wanted)})", list(self.value.spelled)

    def sqlite(self, column: str) -> Compiled:
        is_value, params = self.among("node")
        return _exists(f"json_tree({column}) AS node", is_value), params


def _exists(rows: str, condition: str) -> str:
    return f"EXISTS (SELECT 1 FROM {rows} WHERE {condition})"  # noqa: S608  # values are parameters


def _can_be_stored(text: Step) -> bool:
    return isinstance(text, int) or storable_text(text, len(text)) == text
