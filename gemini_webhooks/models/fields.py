"""The fields that Django does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.core.files.storage import Storage, storages
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from gemini_webhooks import jsonl
from gemini_webhooks.conf import settings
from gemini_webhooks.exceptions import ResultRemoved, UnreadableRow

if TYPE_CHECKING:
    CharField = models.CharField[str, str]
    OptionalCharField = models.CharField[str | None, str | None]
    BigIntegerField = models.BigIntegerField[Any, Any]
else:  # generic only in the stubs
    CharField = OptionalCharField = models.CharField
    BigIntegerField = models.BigIntegerField


class ExactCharField(CharField):
    """A ``CharField`` for identifiers.

    MariaDB and MySQL compare text without regard to case by default: two webhook ids that
    differ only in case would be one, and the second event would be lost as a duplicate.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """Ask MariaDB and MySQL for a binary collation."""
        return _exactly(connection, self.max_length) or super().db_type(connection)


class OptionalExactCharField(OptionalCharField):
    """An :class:`ExactCharField` that may be ``None``, which only the stubs tell apart."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """As :class:`ExactCharField`."""
        return _exactly(connection, self.max_length) or super().db_type(connection)


def _exactly(connection: BaseDatabaseWrapper, length: int | None) -> str | None:
    if connection.vendor == "mysql":
        return f"varchar({length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    return None


class ResultFileField(models.FileField):
    """A ``FileField`` in the storage that ``RESULT_STORAGE`` names at the time of use."""

    @property
    def storage(self) -> Storage:
        """The storage that ``RESULT_STORAGE`` names now."""
        return storages[settings.RESULT_STORAGE]

    @storage.setter
    def storage(self, value: Storage) -> None:
        """Django's own constructor sets it; the setting decides."""

    def deconstruct(self) -> Any:
        """Keep the storage out of migrations: it is a setting."""
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("storage", None)
        return name, path, args, kwargs


class RowCount(int):
    """The number of rows of a result file; called, it iterates over the parsed rows.

    Attributes:
        result: the :class:`~gemini_webhooks.models.ResultFile`, which is made of such fields.
    """

    result: Any

    def __call__(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict, reading a block of the file at a time.

        Raises:
            ResultRemoved: the file was removed by retention, or on request.
            UnreadableRow: a line is not a JSON object.
        """
        if self.result.state == self.result.State.REMOVED:
            raise ResultRemoved(
                "the result file was removed; a replay of its delivery fetches it again, as long "
                "as Google has it"
            )
        with self.result.file.open("rb") as file:
            for number, line in enumerate(jsonl.lines(file), start=1):
                if not line or line.isspace():
                    continue
                try:
                    row = jsonl.loads(line)
                except (ValueError, RecursionError):
                    raise UnreadableRow(number) from None
                if not isinstance(row, dict):
                    raise UnreadableRow(number)
                yield row


class RowsDescriptor:
    """Lets ``result.rows`` be a number and ``result.rows()`` the rows, as the contract has it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, result: models.Model | None, owner: type) -> Any:
        if result is None:
            return self
        if self.name not in result.__dict__:
            result.refresh_from_db(fields=[self.name])
        value = result.__dict__[self.name]
        if not isinstance(value, int):
            return value
        count = RowCount(value)
        count.result = result
        return count

    def __set__(self, result: models.Model, value: Any) -> None:
        result.__dict__[self.name] = value


class RowsField(BigIntegerField):
    """A count of rows that can be called; see :class:`RowCount`."""

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = False
    ) -> None:
        """Put the descriptor in the place of the plain attribute."""
        super().contribute_to_class(cls, name, private_only)
        setattr(cls, name, RowsDescriptor(name))
