"""What a user installs: complete, light to import, reproducible from the lock."""

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest import mock

import pytest

import rrft_jax

ROOT = Path(__file__).parents[1]
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules["torch"] = None   # whoever imports it fails here
class NoTensorflow:  # tensorflow-datasets would take a None in sys.modules for TensorFlow
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("TensorFlow is not to be imported")
sys.meta_path.insert(0, NoTensorflow())
import rrft_jax
assert "jax" not in sys.modules, "importing rrft_jax alone must not import jax"
names = [m.name for m in pkgutil.walk_packages(rrft_jax.__path__, "rrft_jax.", onerror=print)]
for name in names:
    importlib.import_module(name)
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized(), "an import started the JAX backend: no work at import"
print(len(names))
"""


def canonical(requirement: str) -> str:
    """The package that a requirement names, as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


@pytest.fixture(scope="module")
def options():
    """What setup.py passes to setuptools."""
    pytest.importorskip("setuptools")
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    return setup.call_args.kwargs


@pytest.fixture(scope="module")
def lock():
    """{package: version} of the lock file."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins)
    return {canonical(name): version for name, version in pins}


def test_every_module_imports_without_torch_and_tensorflow():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= 20


def test_version_and_python(options):
    assert options["version"] == rrft_jax.__version__
    assert options["python_requires"] == ">=3.11"
    assert f"version: {rrft_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_source_distribution_has_every_folder():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("no git checkout, or no git")
    folders = {line.partition("/")[0] for line in tracked.stdout.splitlines() if "/" in line and line[0] != "."}
    lines = (ROOT / "MANIFEST.in").read_text().splitlines()
    grafted = {line.split()[1].partition("/")[0] for line in lines if line.startswith("graft")}
    assert folders == grafted, "setuptools itself takes the modules of rrft_jax"
    included = {name for line in lines if line.startswith("include") for name in line.split()[1:]}
    files = {line for line in tracked.stdout.splitlines() if "/" not in line and line[0] != "."}
    assert files - included == {"MANIFEST.in", "README.md", "LICENSE", "pyproject.toml", "setup.py"}, "built in"


def test_extras(options):
    extras = options["extras_require"]
    own = {"hub", "wandb", "trackio", "mlflow", "quantized"}
    assert set(extras) == {"tpu", "cuda", "serve", "plots", "report", "test", "parity", "bench", "docs"} | own
    assert not any("torch" in r for r in [*options["install_requires"], *extras["test"]])
    assert "torch==2.13.0" in extras["parity"] and "torch==2.13.0" in (ROOT / "Makefile").read_text()


def test_lock_covers_what_is_installed(options, lock):
    wanted = {canonical(r) for r in options["install_requires"]}
    wanted |= {canonical(r) for name in ("test", "parity", "bench", "docs") for r in options["extras_require"][name]}
    assert wanted - set(lock) == {"torch"}
    assert not any(re.match(r"torch$|triton|nvidia|cuda|jax-cuda|libtpu", name) for name in lock)


def imported_modules(path: Path) -> set[str]:
    """Top-level names of the modules that a source file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_every_import_is_declared(options):
    """What the package and its programs import is in install_requires or an extra for users, and nothing else is."""
    declared = {canonical(r) for r in options["install_requires"]}
    declared |= {canonical(r) for extra in ("serve", "plots", "quantized") for r in options["extras_require"][extra]}
    sources = [p for folder in ("rrft_jax", "launch", "configs", "scripts") for p in (ROOT / folder).rglob("*.py")]
    sources.remove(ROOT / "scripts/mutate.py")  # a tool for the tests: `make mutate` installs what it imports
    own = OWN | {p.stem for p in sources}  # scripts import their neighbours
    used = set().union(*map(imported_modules, sources)) - set(sys.stdlib_module_names) - own - {"torch"}
    used = {canonical(DISTRIBUTIONS.get(name, name)) for name in used}
    assert used - declared == set(), "imported, but not in install_requires"
    assert declared - used <= INDIRECT, "in install_requires, but never imported"


OWN = {"rrft_jax", "configs", "launch", "scripts"}
DISTRIBUTIONS = {"absl": "absl-py", "PIL": "pillow", "orbax": "orbax-checkpoint"}
INDIRECT = {"jinja2"}  # transformers renders chat templates with it and does not ask for it


def test_all_files_are_packaged(options, tmp_path):
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    built = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    files = [p for p in (ROOT / "rrft_jax").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    wanted = {p.relative_to(ROOT) for p in files}
    assert wanted - built == set(), "not packaged"
    assert options["package_data"]


def test_tools_are_configured_and_the_licence_is_there():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tool["ruff"]["line-length"] == 120
    assert "not slow and not parity" in tool["pytest"]["ini_options"]["addopts"]
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
