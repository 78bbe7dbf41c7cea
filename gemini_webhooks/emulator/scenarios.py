"""Scenario files: how jobs end, in YAML or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

from gemini_webhooks.emulator import reading
from gemini_webhooks.emulator.options import MAX_GRACE_SECONDS, OUTPUTS, Options
from gemini_webhooks.emulator.plans import Outcome, Output
from gemini_webhooks.emulator.reading import within, wrong
from gemini_webhooks.emulator.rules import ALL_KINDS, KINDS_OF, Kind, Match, Rule, Scenario
from gemini_webhooks.exceptions import ConfigurationError

OUTCOMES: Final[Mapping[str, Outcome]] = {
    "succeed": "succeeded",
    "fail": "failed",
    "expire": "expired",
    "cancel": "cancelled",
    "requires_action": "requires_action",
}
FILE = ("seed", "options", "jobs")
RULE = ("match", "times", "outcome", "seconds", "error", "failing_rows", "answer", "output")
MATCH = ("kind", "model", "display_name", "text", "metadata")
ERROR = ("code", "message")
#: What only batches have.
OF_BATCHES = ("failing_rows", "output")
#: Options that name files of their own.
FILES = ("state", "scenario")


def load(path: str | Path) -> Scenario:
    """Read a scenario file: JSON if its name ends in ``.json``, YAML otherwise.

    Raises:
        ConfigurationError: it cannot be read, or makes no sense; the message names the place.
    """
    try:
        content = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ConfigurationError(f"The scenario {path} cannot be read: {reason}.") from error
    try:
        return parse(_json(content) if str(path).endswith(".json") else _yaml(content))
    except ConfigurationError as error:
        raise ConfigurationError(f"The scenario {path} cannot be used. {error}") from error


def parse(content: Any) -> Scenario:
    """The scenario in what a file holds.

    Raises:
        ConfigurationError: it makes no sense; the message names the place.
    """
    if content is not None and not isinstance(content, dict):
        raise wrong("", f"It must be a mapping with {reading.listed(FILE)}.")
    given = reading.mapping(content, "", FILE)
    return Scenario(
        seed=reading.whole(given.get("seed", 0), "seed"),
        options=_options(given.get("options"), "options"),
        rules=tuple(
            _rule(rule, within("jobs", position))
            for position, rule in enumerate(reading.items(given.get("jobs"), "jobs"))
        ),
    )


def _rule(value: Any, place: str) -> Rule:
    given = reading.mapping(value, place, RULE)
    read: dict[str, Any] = {"match": _match(given, place)}
    for name in given:
        if name != "match":
            read |= READERS[name](given[name], within(place, name))
    return Rule(**read)


def _match(rule: dict[str, Any], place: str) -> Match:
    kinds = _kinds_of(rule, place)
    place = within(place, "match")
    given = reading.mapping(rule.get("match"), place, MATCH)
    if "kind" in given:
        kind = reading.one_of(given["kind"], within(place, "kind"), get_args(Kind))
        if kind not in kinds:
            names = reading.listed(sorted(kinds))
            raise wrong(within(place, "kind"), f"what the rule says is for {names} only")
        kinds = frozenset((kind,))
    texts = {
        name: reading.text(given[name], within(place, name))
        for name in ("model", "display_name", "text")
        if name in given
    }
    metadata = reading.mapping(given.get("metadata"), within(place, "metadata"))
    return Match(kinds=kinds, metadata=metadata, **texts)


def _kinds_of(rule: dict[str, Any], place: str) -> frozenset[Kind]:
    """The kinds of jobs that can do what the rule says."""
    kinds = ALL_KINDS
    if "outcome" in rule:
        outcome = _outcome(rule["outcome"], within(place, "outcome"))["outcome"]
        kinds &= KINDS_OF.get(outcome, ALL_KINDS)
    if any(name in rule for name in OF_BATCHES):
        kinds &= {"batch"}
    if not kinds:
        raise wrong(place, f"{reading.listed(OF_BATCHES)} do not go with this outcome")
    return kinds


def _times(value: Any, place: str) -> dict[str, Any]:
    return {"times": reading.whole(value, place, least=1)}


def _outcome(value: Any, place: str) -> dict[str, Any]:
    return {"outcome": OUTCOMES[reading.one_of(value, place, OUTCOMES)]}


def _seconds(value: Any, place: str) -> dict[str, Any]:
    given = value if isinstance(value, list) else [value, value]
    if len(given) != 2:
        raise wrong(place, "must be a number, or a list of the least and the most")
    least, most = (reading.number(one, place, most=MAX_GRACE_SECONDS) for one in given)
    if least > most:
        raise wrong(place, f"the least, {least:g}, is more than the most, {most:g}")
    return {"seconds": (least, most)}


def _error(value: Any, place: str) -> dict[str, Any]:
    given = reading.mapping(value, place, ERROR)
    read: dict[str, Any] = {}
    if "code" in given:
        read["error_code"] = reading.whole(given["code"], within(place, "code"), least=1)
    if "message" in given:
        read["error_message"] = reading.text(given["message"], within(place, "message"))
    return read


def _failing_rows(value: Any, place: str) -> dict[str, Any]:
    return {"failing_rows": reading.number(value, place, most=1)}


def _answer(value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, list):
        rows = enumerate(value)
        return {"answers": tuple(reading.text(row, within(place, at)) for at, row in rows)}
    return {"answer": reading.text(value, place)}


def _output(value: Any, place: str) -> dict[str, Any]:
    return {"output": cast("Output", reading.one_of(value, place, OUTPUTS))}


READERS = {
    "times": _times,
    "outcome": _outcome,
    "seconds": _seconds,
    "error": _error,
    "failing_rows": _failing_rows,
    "answer": _answer,
    "output": _output,
}


def _options(value: Any, place: str) -> dict[str, Any]:
    """Options by name; whether their values make sense is seen when they are used."""
    given = {name.replace("-", "_"): entry for name, entry in reading.mapping(value, place).items()}
    types = _types_of_options()
    reading.mapping(given, place, types)
    for name, entry in given.items():
        if type(entry) not in types[name]:
            wanted = " or ".join(dict.fromkeys(reading.NAMES[one] for one in types[name]))
            raise wrong(within(place, name), f"must be {wanted}, not {reading.named(entry)}")
    return given


def _types_of_options() -> dict[str, tuple[type, ...]]:
    """What can be written for each option; the file of a state is no matter of a scenario."""
    hints = get_type_hints(Options)
    names = (option.name for option in fields(Options) if "help" in option.metadata)
    return {name: _plain(hints[name]) for name in names if name not in FILES}


def _plain(hint: Any) -> tuple[type, ...]:
    if get_origin(hint) is Literal:
        return (str,)
    given = tuple(one for one in get_args(hint) or (hint,) if one is not type(None))
    return (*given, int) if float in given else given


def _json(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"It is not JSON: {error}.") from error


def _yaml(content: str) -> Any:
    try:
        yaml = import_module("yaml")
    except ImportError as error:
        raise ConfigurationError(
            "YAML needs PyYAML: install 'django-gemini-webhooks[emulator]', or write it in JSON."
        ) from error
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"It is not YAML: {error}") from error
