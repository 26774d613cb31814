"""Nothing imports upwards: the rooms of the package stand on one another, each on those before it."""

import ast
from functools import cache
from pathlib import Path

import rrft_jax

PACKAGE = Path(rrft_jax.__file__).parent
# A room and what it may import besides itself: everything in front of it, but for the exceptions below.
ROOMS = (
    "remote", "arrays", "files", "programs", "fields", "compilation", "doors", "parallel", "models", "losses",
    "answers", "data", "rewards", "processing", "tasks", "rollout", "run", "report", "config", "pretrained", "training",
    "planning", "evaluation", "serving",
)  # fmt: skip
ONLY = {
    "remote": set(), "parallel": set(), "answers": set(), "losses": {"arrays", "doors"},
    "models": {"arrays", "files", "fields", "doors", "parallel"},
    "run": {"files", "fields", "doors", "data", "parallel"},
}  # fmt: skip
NEVER = {"evaluation": {"planning"}, "serving": {"planning"}}


@cache
def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, as dotted paths without the package's name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name.removeprefix("rrft_jax.") for name in names if name.startswith("rrft_jax.")}


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]


def test_no_room_imports_one_above_it():
    wrong = []
    for floor, room in enumerate(ROOMS):
        allowed = (ONLY.get(room, set(ROOMS[:floor])) - NEVER.get(room, set())) | {room}
        for path in files(room):
            found = {name.partition(".")[0] for name in imported(path)} & set(ROOMS)
            wrong += [f"{path.relative_to(PACKAGE)} imports {other}" for other in sorted(found - allowed)]
    assert not wrong
    assert "rewards" in {name.partition(".")[0] for name in imported(PACKAGE / "training" / "loop.py")}


def test_no_file_outside_a_family_imports_from_it():
    """The registry names families by text, and loads one when a config.json asks for it."""
    families = {path.parent for path in (PACKAGE / "models").glob("*/__init__.py")}
    assert PACKAGE / "models" / "qwen2_vl" in families
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in PACKAGE.rglob("*.py")
        for name in imported(path)
        if any(name.startswith(f"models.{family.name}") for family in families - set(path.parents))
    ]
    assert not wrong


def test_every_file_of_the_package_belongs_to_a_room():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__"} <= set(ROOMS)


def test_no_two_files_import_each_other():
    modules = {".".join(p.relative_to(PACKAGE).with_suffix("").parts): p for p in PACKAGE.rglob("*.py")}
    imports = {name: imported(path) & set(modules) - {name} for name, path in modules.items()}
    circles = []
    for start in imports:
        seen, todo = set(), list(imports[start])
        while todo:
            name = todo.pop()
            if name == start:
                circles.append(start)
                break
            if name not in seen:
                seen.add(name)
                todo += imports[name]
    assert not circles
