"""Nothing imports upwards: the folders of the package stand on one another, each on those before it."""

import ast
from pathlib import Path

import rrft_jax

PACKAGE = Path(rrft_jax.__file__).parent
ROOMS = (
    "parallel", "models", "losses", "data", "rewards", "processing", "tasks", "rollout", "training", "evaluation",
    "serving",
)  # fmt: skip


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "rrft_jax":
            names |= {f"rrft_jax.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("rrft_jax.")}


def test_no_room_imports_one_above_it():
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {above}"
        for floor, room in enumerate(ROOMS)
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for above in imported_rooms(path) & set(ROOMS[floor + 1 :])
    ]
    assert not upwards
    assert imported_rooms(PACKAGE / "training" / "loop.py") >= {"models", "parallel", "rewards", "tasks"}
