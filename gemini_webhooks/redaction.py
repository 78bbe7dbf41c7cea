"""Takes out of payloads what must not be stored, or not be shown: ``REDACT``.

A path is followed through the text, not through parsed values: what is not taken out stays byte
for byte as it was sent, the digits of a number and duplicate keys included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from django.utils.module_loading import import_string

from gemini_webhooks import logs
from gemini_webhooks.conf import SETTING, settings
from gemini_webhooks.exceptions import ConfigurationError
from gemini_webhooks.seals import SEAL_KEY

logger = logs.get_logger(__name__)

#: Stands where something was.
MARK = "[redacted]"

#: ``store``: before anything is written; ``display``: before it is shown; ``rows``: before a row of
#: a result file is shown.
KINDS = ("store", "display", "rows")

ANY_KEY, ANY_ITEM = object(), object()
STEP = re.compile(
    r"""\[(?:(?P<any_item>\*)|(?P<item>\d{1,9})|(?P<quoted>"(?:[^"\\]|\\.)*"))\]"""
    r"""|\.?(?:(?P<any_key>\*)|(?P<key>[^\s.:*$"\[\]]+))"""
)
TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)

Path = tuple[Any, ...]
Function = Callable[[Any], Any]

#: Google's guide has the metadata below ``data``; the samples around it, at the top as well.
METADATA: tuple[Path, ...] = (("data", "user_metadata"), ("user_metadata",))


class CannotRedact(ConfigurationError):
    """A rule of ``REDACT`` could not be applied; what it was for is neither stored nor shown."""


class NotJson(CannotRedact):
    """The rules cannot look into it: not JSON, nested too deeply, or, for a function, no object."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is taken out: by paths first, then by functions, in their order."""

    paths: tuple[Path, ...] = ()
    functions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.paths or self.functions)


def read(rule: object) -> Path | str:
    """Read one rule.

    Args:
        rule: a path such as ``data.items[*].name``, or a function as ``module:name``.

    Returns:
        The steps of a path, or the dotted path of a function.

    Raises:
        ConfigurationError: it is neither.
    """
    if not isinstance(rule, str):
        raise ConfigurationError(f"{rule!r} is neither a path nor a function")
    module, colon, name = rule.partition(":")
    if colon and re.fullmatch(r"[\w.]+", module) and re.fullmatch(r"\w+", name):
        return f"{module}.{name}"
    steps: list[Any] = []
    rest = rule
    while rest:
        found = STEP.match(rest)
        is_first = not steps
        if found is None or (is_first and rest[0] == ".") or not (is_first or rest[0] in ".["):
            raise ConfigurationError(f"{rule!r} is neither a path nor a function")
        try:
            steps.append(_step(found))
        except ValueError:  # a quoted key that is no JSON
            raise ConfigurationError(f"{rule!r} is neither a path nor a function") from None
        rest = rest[found.end() :]
    if not steps:
        raise ConfigurationError("an empty path leads nowhere")
    return tuple(steps)


def is_asked_to_store_less() -> bool:
    """Whether anything is to be taken out before it is stored.

    Raises:
        CannotRedact: that cannot be read from the setting.
    """
    return bool(_rules("store"))


def body_to_store(body: bytes) -> bytes:
    """What is stored of a body; ``body`` itself if nothing has to be taken out.

    Raises:
        NotJson: the rules cannot look into it.
        CannotRedact: a function of the site failed.
    """
    return _redact_bytes(body, _rules("store"))


def metadata_to_store(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of metadata that stands alone.

    Raises:
        CannotRedact: a function of the site failed.
    """
    found: dict[str, Any] = _redact_metadata(dict(metadata), _rules("store"))
    return found


def shown_body(body: bytes) -> bytes:
    """What is shown of a stored body. What must not be stored any more is not shown, either.

    Raises:
        NotJson: the rules cannot look into it.
        CannotRedact: a function of the site failed.
    """
    return _redact_bytes(body, _rules("store", "display"))


def shown_metadata(metadata: Any) -> Any:
    """What is shown of stored metadata; likewise.

    Raises:
        CannotRedact: a function of the site failed.
    """
    return _redact_metadata(metadata, _rules("store", "display"))


def shown_row(row: Any) -> Any:
    """What is shown of a row of a result file.

    Raises:
        CannotRedact: a function of the site failed.
    """
    rules = _rules("rows")
    return json.loads(_redact_text(_dump(row), rules)) if rules else row


def without_seal(body: bytes) -> bytes:
    """``body`` with a mark for the seal of this site; as it is if it has none, or is no JSON."""
    try:
        return _redact_bytes(body, Rules(paths=tuple((*path, SEAL_KEY) for path in METADATA)))
    except NotJson:
        return body


def touching(rules: Iterable[str], payload: Any) -> list[str]:
    """Those paths among ``rules`` that would take something out of ``payload``.

    Raises:
        ConfigurationError: one is neither a path nor a function.
    """
    text = json.dumps(payload)
    paths = {rule: read(rule) for rule in rules}
    return [
        rule
        for rule, path in paths.items()
        if isinstance(path, tuple) and _follow(text, [path]) != text
    ]


def _step(found: re.Match[str]) -> Any:
    if found["any_item"]:
        return ANY_ITEM
    if found["any_key"]:
        return ANY_KEY
    if found["item"]:
        return int(found["item"])
    return json.loads(found["quoted"]) if found["quoted"] else found["key"]


def _rules(*kinds: Literal["store", "display", "rows"]) -> Rules:
    configured: object = settings.REDACT
    lists: list[Any] = [configured]
    if isinstance(configured, Mapping):
        lists = [configured.get(kind, ()) for kind in kinds]
    if not all(isinstance(rules, list | tuple) for rules in lists):
        raise CannotRedact(f"{SETTING}['REDACT'] must be a dict of lists")
    try:
        return _compiled(tuple(rule for rules in lists for rule in rules))
    except (ConfigurationError, TypeError):
        raise CannotRedact(f"{SETTING}['REDACT'] has a rule that cannot be read") from None


@lru_cache(maxsize=16)
def _compiled(rules: tuple[str, ...]) -> Rules:
    read_rules = [read(rule) for rule in rules]
    paths = [rule for rule in read_rules if isinstance(rule, tuple)]
    for own in METADATA:  # whichever spelling is used, both are meant
        for other in METADATA:
            paths += [other + path[len(own) :] for path in paths if path[: len(own)] == own]
    return Rules(
        paths=tuple(dict.fromkeys(paths)),
        functions=tuple(rule for rule in read_rules if isinstance(rule, str)),
    )


def _redact_bytes(body: bytes, rules: Rules) -> bytes:
    if not rules:
        return body
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        json.loads(text)
    except (ValueError, RecursionError):
        raise NotJson("it is not JSON, so REDACT cannot look into it") from None
    redacted = _redact_text(text, rules)
    return body if redacted == text else redacted.encode("utf-8", "surrogatepass")


def _redact_metadata(metadata: Any, rules: Rules) -> Any:
    """As it stands in a payload, so that the same rules fit."""
    if not rules or not metadata:
        return metadata
    text = _redact_text(_dump({"data": {"user_metadata": metadata}}), rules)
    data = json.loads(text)
    for key in METADATA[0]:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _redact_text(text: str, rules: Rules) -> str:
    """Valid JSON, redacted. The seal goes as well: it holds a copy of the metadata."""
    text = _follow(text, [*rules.paths, *((*path, SEAL_KEY) for path in METADATA)])
    if rules.functions:
        payload = json.loads(text)
        if not isinstance(payload, dict):
            raise NotJson("it is no JSON object, so REDACT cannot look into it")
        text = _dump(_call(payload, rules.functions))
    return text


def _call(payload: Any, functions: Sequence[str]) -> Any:
    for path in functions:
        try:
            function: Function = import_string(path)
            payload = function(payload)
        except Exception as error:  # noqa: BLE001  # the site's own code
            # Not the error itself: its text may quote the payload.
            logger.error("REDACT: %s failed: %s", path, type(error).__name__)  # noqa: TRY400
            raise CannotRedact(f"{SETTING}['REDACT']: {path} failed") from None
    return payload


def _dump(value: Any) -> str:
    try:
        return json.dumps(_finite(value), allow_nan=False)
    except RecursionError:
        raise NotJson("it is nested too deeply for REDACT") from None
    except (TypeError, ValueError):
        raise CannotRedact(f"{SETTING}['REDACT']: what a function returned is not JSON") from None


def _finite(value: Any) -> Any:
    """A number too large for a float was read as infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value


@dataclass
class _Container:
    """An object or a list that the walk is inside of.

    Attributes:
        ahead: what is left of the paths that lead through it.
        key: of the member that comes; ``None`` before it, and in lists.
        index: of the item that comes.
        start: where it begins, if it is to be taken out.
    """

    is_object: bool
    ahead: list[Path]
    key: str | None = None
    index: int = 0
    start: int | None = field(default=None)

    def following(self) -> list[Path]:
        """What is left of the paths after the step to the coming member."""
        if self.is_object:
            return [path[1:] for path in self.ahead if path[0] in (ANY_KEY, self.key)]
        return [path[1:] for path in self.ahead if path[0] in (ANY_ITEM, self.index)]


def _follow(text: str, paths: Sequence[Path]) -> str:
    """Put the mark in the place of all values that ``paths`` lead to, in one pass."""
    kept: list[str] = []
    end = 0
    #: The whole is the only item of a list around it.
    root = _Container(is_object=False, ahead=[(ANY_ITEM, *path) for path in paths])
    inside: list[_Container] = []

    def take_out(start: int, stop: int) -> None:
        nonlocal end
        kept.extend((text[end:start], f'"{MARK}"'))
        end = stop

    for found in TOKEN.finditer(text):
        part = found[0]
        around = inside[-1] if inside else root
        if part in ("]", "}"):
            closed = inside.pop()
            if closed.start is not None:
                take_out(closed.start, found.end())
        elif part == ",":
            around.key, around.index = None, around.index + 1
        elif part == ":":
            pass
        elif around.is_object and around.key is None:
            around.key = json.loads(part)
        else:
            ahead = around.following()
            is_out = () in ahead
            if part in ("[", "{"):
                start = found.start() if is_out else None
                ahead = [] if is_out else ahead
                inside.append(_Container(is_object=part == "{", ahead=ahead, start=start))
            elif is_out:
                take_out(found.start(), found.end())
    return "".join((*kept, text[end:]))
