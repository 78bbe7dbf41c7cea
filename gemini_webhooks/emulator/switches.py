"""The options that can be changed while the emulator runs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, replace
from typing import Any, get_type_hints

from gemini_webhooks.emulator.options import Options
from gemini_webhooks.exceptions import ConfigurationError

TYPES = get_type_hints(Options)


class Switches:
    """What is done on purpose to deliveries and keys, read anew each time.

    Args:
        options: their values at the start.
    """

    def __init__(self, options: Options) -> None:
        self._lock = threading.Lock()
        self._options = options
        self._turns: Counter[str] = Counter()

    @property
    def now(self) -> Options:
        """All options, as they are at this moment."""
        return self._options

    @property
    def turns(self) -> dict[str, int]:
        """How often each was asked; to be set again after a restart."""
        with self._lock:
            return dict(self._turns)

    @turns.setter
    def turns(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self._turns = Counter(counts)

    def is_hit(self, name: str) -> bool:
        """Whether it is the turn of the next one.

        A share is spread evenly, so that every run of a test hits the same ones.

        Args:
            name: of a switch whose value is a share.
        """
        share: float = getattr(self._options, name)
        with self._lock:
            self._turns[name] += 1
            number = self._turns[name]
        return int(number * share) > int((number - 1) * share)

    def change(self, values: Mapping[str, Any]) -> None:
        """Set switches by their names; if one makes no sense, none is set.

        Raises:
            ConfigurationError: there is no such switch, or it cannot have this value.
        """
        known = {option.name for option in _switches()}
        for name, value in values.items():
            if name not in known:
                raise ConfigurationError(f"{name!r} is no switch: {', '.join(sorted(known))}")
            _check_type(name, value)
        with self._lock:
            self._options = replace(self._options, **values)

    def as_json(self) -> list[dict[str, Any]]:
        """Name, value, help and, where only some are possible, the choices of each."""
        options = self._options
        return [
            {
                "name": option.name,
                "value": getattr(options, option.name),
                "help": option.metadata["help"],
                "choices": list(option.metadata.get("choices", ())),
            }
            for option in _switches()
        ]


def _switches() -> Iterator[Field[Any]]:
    return (option for option in fields(Options) if option.metadata.get("is_switch"))


def _check_type(name: str, value: Any) -> None:
    wanted = {float: (int, float), int: (int,)}.get(TYPES[name])
    if wanted is None:
        return
    if not isinstance(value, wanted) or isinstance(value, bool):
        kind = "number" if float in wanted else "whole number"
        raise ConfigurationError(f"{name} must be a {kind}")
