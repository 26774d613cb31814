"""Every import of the project's own modules names something that is there, inside functions and test programs too."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [p for folder in ("rrft_jax", "tests", "benchmarks", "scripts", "launch", "configs", "examples")
         for p in sorted((ROOT / folder).rglob("*.py"))]  # fmt: skip
_LINE = re.compile(r"\s*from (?:rrft_jax|tests)[\w.]* import [\w, ]+$")


@cache
def names_of(module: str) -> set[str]:
    """What can be imported from a module; empty where there is no such file."""
    path = ROOT / module.replace(".", "/")
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    if not file.exists():
        return set()
    names = {p.stem for p in path.iterdir()} if path.is_dir() else set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def imports(file: Path) -> list[tuple[int, str, str]]:
    """(line, module, name) of a file's imports, and of those in the programs that it holds as text."""
    trees = [ast.parse(file.read_text(encoding="utf-8"))]
    for node in ast.walk(trees[0]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " import " in node.value:
            trees += [ast.parse(line.strip()) for line in node.value.splitlines() if _LINE.match(line)]
    return [
        (node.lineno, node.module, alias.name)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.split(".")[0] in ("rrft_jax", "tests")
        for alias in node.names
    ]


@pytest.mark.parametrize("folder", sorted({p.relative_to(ROOT).parts[0] for p in FILES}))
def test_nothing_is_imported_that_is_not_there(folder):
    missing = [
        f"{file.relative_to(ROOT)}:{line}: from {module} import {name}"
        for file in FILES
        if file.relative_to(ROOT).parts[0] == folder
        for line, module, name in imports(file)
        if name not in names_of(module)
    ]
    assert not missing
