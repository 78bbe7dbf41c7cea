"""Resources of one kind by id, in the order in which they were made."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from gemini_webhooks.emulator.errors import invalid, not_found


class Resource(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str:
        """Unique among its kind."""


R = TypeVar("R", bound=Resource)


class Collection(Generic[R]):
    """Holds resources; not thread-safe, the emulator's lock is held around each use.

    Args:
        kind: for error messages, for example ``"Batch"``.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._items: dict[str, R] = {}
        self._numbers: dict[str, int] = {}
        self._next_number = itertools.count()

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._items.values()))

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: R) -> R:
        """Keep ``item`` and return it."""
        self._items[item.id] = item
        self._numbers[item.id] = next(self._next_number)
        return item

    def get(self, item_id: str) -> R:
        """The resource, or a 404."""
        if item_id not in self._items:
            raise not_found(f"{self._kind} '{item_id}'")
        return self._items[item_id]

    def remove(self, item_id: str) -> R:
        """Forget a resource and return it, or a 404."""
        item = self.get(item_id)
        del self._items[item_id], self._numbers[item_id]
        return item

    def page(
        self, size: int, token: str, only: Callable[[R], bool] = lambda _: True
    ) -> tuple[list[R], str]:
        """Up to ``size`` resources and the token of the next page, empty at the end.

        Those that ``only`` does not want are passed over. What comes and goes between two pages
        makes the others neither double nor missing.
        """
        if token and not (token.isascii() and token.isdigit()):
            raise invalid("The page token is not one of ours.")
        start = int(token or 0)
        left = [
            key for key, item in self._items.items() if self._numbers[key] >= start and only(item)
        ]
        items = [self._items[key] for key in left[:size]]
        return items, str(self._numbers[left[size]]) if len(left) > size else ""
