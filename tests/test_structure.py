"""Views and tasks hold no logic: they are shells around use-cases."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gemini_webhooks

APP = Path(gemini_webhooks.__file__).parent
MOST_LINES = 15


def statements(function: ast.FunctionDef) -> list[ast.stmt]:
    return function.body[1:] if ast.get_docstring(function) else function.body


@pytest.mark.parametrize("module", ["views", "tasks"])
def test_views_and_tasks_are_short(module: str) -> None:
    tree = ast.parse((APP / f"{module}.py").read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    lines = {
        function.name: (function.end_lineno or 0) - body[0].lineno + 1
        for function in functions
        if (body := statements(function))
    }

    assert lines
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
