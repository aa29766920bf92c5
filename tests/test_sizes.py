"""The size of modules and functions: a reader takes in one at a time."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "schema", "scim_filter", "set_delivery", "storage", "telemetry")
MODULE_LINES = 300
FUNCTION_LINES = 40
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def too_long(text: str) -> Iterator[str]:
    """Yield each part of a module that has too many lines; decorators are no lines of a function."""
    if len(text.splitlines()) > MODULE_LINES:
        yield f"the module: {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.name}: {lines} lines"


def test_a_module_and_a_function_are_found_one_line_above_the_limit() -> None:
    function = "@decorated\ndef long():\n" + "    pass\n" * FUNCTION_LINES
    module = function + "\n" * (MODULE_LINES + 1 - len(function.splitlines()))

    assert list(too_long(module)) == ["the module: 301 lines", "long: 41 lines"]
    assert list(too_long(module.replace("    pass\n", "", 1))) == []


@pytest.mark.parametrize("module", MODULES, ids=short)
def test_no_module_and_no_function_is_too_long(module: Path) -> None:
    assert list(too_long(module.read_text())) == []
