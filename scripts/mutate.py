"""Mutation testing: changes one thing at a time in a file, and lists the changes that its tests do not notice.

    python scripts/mutate.py rrft_jax/losses/gae.py                      its tests: tests/losses, or those after =
    python scripts/mutate.py rrft_jax/rewards/boxes.py=tests/rewards/test_geometry.py --most=60

Needs cosmic-ray (pip install cosmic-ray), whose operators make the changes. They are made in a copy of the checkout,
never in the checkout itself. A process that has imported the libraries is forked for each change, which saves their
seconds. --most draws so many of the changes of a file, by seed 0; --part=2/5 takes the second fifth of them. `make
mutate FILES=...` does the same.
"""

import argparse
import ast
import compileall
import difflib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRELOADED = ("numpy", "jaxtyping", "beartype", "hypothesis", "pytest", "PIL.Image")  # no device is started by these
WITH_JAX = ("jax", "jax.numpy", "optax")
BINARY = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul", "BitAnd_BitOr",
          "BitOr_BitAnd")  # fmt: skip
COMPARISONS = ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "Gt_LtE", "Is_IsNot",
               "IsNot_Is")  # fmt: skip
OPERATORS = (
    *(f"core/ReplaceBinaryOperator_{name}" for name in BINARY),
    *(f"core/ReplaceComparisonOperator_{name}" for name in COMPARISONS),
    "core/ReplaceUnaryOperator_Delete_USub", "core/ReplaceUnaryOperator_Delete_Not", "core/NumberReplacer",
    "core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue", "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd",
    "core/AddNot", "core/ZeroIterationForLoop", "core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak",
)  # fmt: skip
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"


def mutants(code: str) -> Iterator[str]:
    """The text of a file with one thing changed, each once."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    seen = {code}
    for name in OPERATORS:
        operator, number = get_operator(name)(), 0
        while (changed := mutate_code(code, operator, number)) is not None:
            number += 1
            if changed not in seen and _runs(changed):
                seen.add(changed)
                yield changed


def _runs(code: str) -> bool:
    """Whether the text is Python, and its signatures have no / that was the * before keywords, which nobody notices."""
    try:
        functions = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    except SyntaxError:
        return False
    return not any(function.args.posonlyargs for function in functions)


def run_tests(tests: list[str], limit: float) -> str:
    """What becomes of the tests in a process forked from this one."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
        os._exit(int(pytest.main([*options, "-m", "not slow and not parity", *tests])))
    deadline = time.monotonic() + limit
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return SURVIVED if status == 0 else KILLED
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return TIMEOUT
        time.sleep(0.02)


def difference(before: str, after: str) -> str:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))
    return "\n".join(f"    {line}" for line in lines[2:])


def mutate(copy: Path, target: str, most: int, part: tuple[int, int]) -> tuple[int, int]:
    """(changes tried, changes that survived) of a file with its tests, FILE or FILE=TEST,TEST."""
    name, _, named = target.partition("=")
    file = copy / name
    tests = named.split(",") if named else [str(Path("tests", *Path(name).parts[1:-1]))]
    code = file.read_text(encoding="utf-8")
    for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        stale.unlink()
    began = time.monotonic()
    if run_tests(tests, 900) != SURVIVED:
        sys.exit(f"{', '.join(tests)}: these tests fail without any change")
    took = time.monotonic() - began
    chosen = list(mutants(code))
    if most and len(chosen) > most:
        chosen = random.Random(0).sample(chosen, most)
    number, parts = part
    chosen = chosen[len(chosen) * (number - 1) // parts : len(chosen) * number // parts]
    survived = []
    for number, changed in enumerate(chosen, 1):
        file.write_text(changed, encoding="utf-8")
        result = run_tests(tests, 30 + 5 * took)
        if result == SURVIVED:
            survived.append(changed)
            print(f"{name}: survived, {number} of {len(chosen)}\n{difference(code, changed)}", flush=True)
    file.write_text(code, encoding="utf-8")
    print(f"{name}: {len(chosen)} changes, {len(chosen) - len(survived)} noticed, {len(survived)} not", flush=True)
    return len(chosen), len(survived)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", metavar="FILE[=TESTS]")
    parser.add_argument("--most", type=int, default=0, help="changes of a file; 0: all")
    parser.add_argument("--part", default="1/1", help="K/N: the K-th of N parts of the changes")
    given = parser.parse_args()
    number, _, parts = given.part.partition("/")
    with_jax = any("import jax" in (ROOT / t.partition("=")[0]).read_text(encoding="utf-8") for t in given.targets)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "workdirs", "build", "dist", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=ignored)
        compileall.compile_dir(copy / "rrft_jax", quiet=2)
        sys.dont_write_bytecode = True  # of two changes within a second the second one must not be the first one's
        os.chdir(copy)
        sys.path[:] = [str(copy), *(path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "scripts"))]
        os.environ["PYTHONPATH"] = str(copy)
        for module in (*PRELOADED, *(WITH_JAX if with_jax else ())):  # but nothing of the package itself
            __import__(module)
        found = [mutate(copy, target, given.most, (int(number), int(parts))) for target in given.targets]
    print(f"{sum(n for n, _ in found)} changes in {len(found)} files, {sum(n for _, n in found)} not noticed")


if __name__ == "__main__":
    main()
