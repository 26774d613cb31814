"""Every command of README.md and docs/*.md: its program exists and knows the flags, its config loads and takes the
overrides, its make target, extra and files are there. Nothing is run; programs have tests of their own that run them.
NEEDS says which lines take more than a test machine has."""

import ast
import re
import runpy
import shlex
from pathlib import Path
from unittest import mock

import pytest

from rrft_jax.config.command_line import add_rewards, load_config, parse_config_overrides, with_config_files
from rrft_jax.training.validate import check_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = {"", "bash", "sh", "console"}
# Commands that no test runs to their end, and what they need.
NEEDS = (
    (r"\binit=(DIR|/ckpt|/share)|--checkpoint=DIR", "weights of a published model"),
    (r"launch/tpu/tpu\.sh", "a Google Cloud project with a TPU (tests/launch/test_tpu.py has a stand-in)"),
    (r"srun |scontrol ", "a Slurm cluster with GPUs"),
    (r"--coordinator_address", "several machines"),
    (r"benchmarks/gpu(_trl)?\.py|--topology=local|\[cuda\]|--gpus", "an NVIDIA GPU"),
    (r"--topology=v", "libtpu (make aot)"),
    (r"benchmarks/(?!gpu)", "an idle core for minutes, and torch"),
    (r"docker ", "docker"),
    (r"launch/reproduce\.py --results", "hours"),
    (r"scripts/(pretrain_nano|systems_|check_real_size|make_random_qwen2vl)", "hours, or tens of gigabytes"),
    (r"--input=|--pairs=", "published data"),
    (r"--endpoint=|llm_judge\.url", "a served model"),
)
OTHER = {
    "[", "cd", "cp", "curl", "done", "export", "for", "git", "mkdir", "scontrol", "source", "srun", "tar", "}", "wandb",
}  # fmt: skip
KNOWN = {"python", "python3", "make", "pip", "docker", "launch/tpu/tpu.sh", *OTHER}
OUTSIDE = {  # what a reader is asked to write
    "my_task.py": "import dataclasses\nfrom rrft_jax.tasks.registry import get_task\n"
    "TASK = dataclasses.replace(get_task('counting'), name='mine')\n",
    "my_rewards.py": "def short_answer(completions, examples, group_ids, step, *, limit=20):\n    return [1.0]\n",
    "my_sink.py": "class SINK:\n    def __init__(self, workdir, config): pass\n"
    "    def write(self, step, scalars, tables): pass\n    def cut_back(self, step): pass\n"
    "    def flush(self): pass\n    def close(self): pass\n",
}


def blocks(text: str) -> list[str]:
    """The fenced and the indented blocks that hold commands."""
    fence = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    found = [(lang, body) for lang, body in fence.findall(text) if lang in SHELL]
    found += [("", body) for body in re.findall(r"(?:^ {4}\S.*\n)(?:^ {4}.*\n)*", fence.sub("", text), re.MULTILINE)]
    return [body for lang, body in found if lang == "bash" or any(_first(line) in KNOWN for line in body.split("\n"))]


def _first(line: str) -> str:
    return line.strip().partition(" ")[0]


def commands(body: str) -> list[list[str]]:
    """The simple commands of a block as words: lines joined, variables filled in, here-documents and comments out."""
    found, variables = [], {}
    body = re.sub(r"<<(\w+)\n.*?^\1$", "", body.replace("\\\n", " "), flags=re.DOTALL | re.MULTILINE)
    for line in body.split("\n"):
        line = re.sub(r"\$s\b", "0", line)  # of a loop over seeds
        line = re.sub(r"\$(TOWER|DECODER)", lambda match: variables[match[1]], line)  # noqa: B023
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and not word.strip(";&|"):
                found += [words] if words else []
                words = []
            elif not words and (match := re.fullmatch(r"(\w+)=(.*)", word, re.DOTALL)):
                variables[match[1]] = match[2]
            elif words or word not in ("do", "{", "||"):
                words.append(word)
    return found


def all_commands() -> list[tuple[str, list[str]]]:
    pages = [(page.name, page.read_text(encoding="utf-8")) for page in PAGES]
    return [(name, words) for name, text in pages for body in blocks(text) for words in commands(body)]


def flags_of(program: Path) -> set[str]:
    """The flags that a program defines, itself or in the benchmarks' shared options."""
    shared = (ROOT / "benchmarks" / "common").glob("*.py") if program.parent.name == "benchmarks" else ()
    names = set()
    for file in (program, *shared):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if called.startswith("DEFINE_") or called in ("add_argument", "flag"):
                texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                names |= {text.lstrip("-") for text in texts}
    return names


def check_program(program: Path, words: list[str]) -> None:
    known = flags_of(program)
    given = {word.lstrip("-").partition("=")[0] for word in words if word.startswith("--")}
    plain = {name for name in given if "." not in name}
    assert not {name for name in plain if not {name, name.removeprefix("no")} & known}, f"flags of {program.name}"
    argv = with_config_files(["", *words])
    source = next((word.partition("=")[2] for word in argv if word.startswith("--config=")), None)
    if source and "DEFINE_config_file" in program.read_text():
        config = load_config(source)
        config.update_from_flattened_dict(parse_config_overrides(config, argv))
        pairs = zip(words, [*words[1:], ""], strict=True)
        entries = [b if a == "--reward" else a[9:] for a, b in pairs if re.match("--reward(=|$)", a)]
        add_rewards(config, entries)
        try:
            check_config(config)
        except ValueError as error:  # of an adapter that an earlier line of the page makes
            if "adapter_config.json not found" not in str(error):
                raise


def check(words: list[str], options: dict) -> None:
    """Raises for a command that cannot work."""
    first, *rest = words
    if first == "srun":
        first, *rest = rest
    if first.startswith("rrft-"):
        program, rest = ROOT / "launch" / f"{first[5:].replace('-', '_')}.py", rest
        assert f"{first}=rrft_jax.programs:{program.stem}" in options["entry_points"]["console_scripts"]
        check_program(program, rest)
    elif first in ("python", "python3"):
        if rest[0] not in ("-m", "-c"):
            assert (ROOT / rest[0]).is_file(), rest[0]
            check_program(ROOT / rest[0], rest[1:])
    elif first == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= set(targets)
    elif first == "pip":
        for extra in ",".join(re.findall(r"\[([\w,]+)\]", " ".join(rest))).split(","):
            assert not extra or extra in options["extras_require"], extra
    elif first == "docker":
        if rest[0] == "build":
            assert (ROOT / rest[rest.index("-f") + 1]).is_file()
        elif inner := [k for k, word in enumerate(rest) if word.startswith("rrft-")]:
            check(rest[inner[0] :], options)
    else:
        assert first in OTHER or (ROOT / first).is_file(), f"{first} is no command that is known here"


def test_every_documented_command_parses(tmp_path, monkeypatch):
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    options = setup.call_args.kwargs
    for folder in ("configs", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for name, text in OUTSIDE.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    found, wrong = all_commands(), []
    for page, words in found:
        try:
            check(words, options)
        except (AssertionError, ValueError, OSError, StopIteration) as error:
            wrong.append(f"{page}: {shlex.join(words)}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)
    assert len(found) > 100


@pytest.mark.parametrize(("pattern", "what"), NEEDS)
def test_what_needs_more_than_a_test_machine_is_still_documented(pattern, what):
    assert any(re.search(pattern, shlex.join(words)) for _, words in all_commands()), what


def test_a_wrong_flag_a_wrong_field_and_a_wrong_program_are_found():
    for line in ("python launch/chat.py --chekpoint=nano", "python launch/nothing.py", "pyhton launch/chat.py",
                 "make nothing", "pip install -e '.[nothing]'", "rrft-nothing", "docker build -f docker/none ."):
        with pytest.raises((AssertionError, OSError)):
            check(commands(line)[0], {"extras_require": {}, "entry_points": {"console_scripts": []}})
    for line in ("--config=configs/grpo_counting.py --config.train.stepz=3", "--config=configs/grpo_conting.py"):
        with pytest.raises(ValueError):
            check_program(ROOT / "launch" / "train.py", line.split())
