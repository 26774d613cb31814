import subprocess
import sys
from pathlib import Path

import ml_collections
import pytest
from ml_collections import config_dict

from rrft_jax.config.command_line import (
    ConfigError,
    add_rewards,
    check_command_line,
    load_config,
    parse_arg,
    parse_config_overrides,
)

PROGRAM = """
from absl import app
from ml_collections import config_flags
from rrft_jax.config.command_line import parse_flags
CONFIG = config_flags.DEFINE_config_file("config")
app.run(lambda argv: print(CONFIG.value.to_dict(), argv[1:]), flags_parser=parse_flags)
"""

CONFIG = """
import ml_collections
from rrft_jax.config.command_line import parse_arg
def get_config(arg=None):
    arg = parse_arg(arg, size=("nano", "2b"), runlocal=False)
    return ml_collections.ConfigDict({"size": arg.size, "train": {"steps": 90, "eval": True}, "rewards": ("a", "b")})
"""


@pytest.fixture
def config():
    made = ml_collections.ConfigDict(
        {
            "seed": 0,
            "train": {"steps": 90, "learning_rate": 2e-4, "guard": True},
            "data": {"buckets": (8, 16), "name": "counting", "rewards": ("accuracy", "format")},
            "listed": [1, 2],
            "nothing": None,
        }
    )
    made.limit = config_dict.placeholder(int)
    return made.lock()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--config.train.steps=3"], {"train.steps": 3}),
        (["--config.train.steps", "3"], {"train.steps": 3}),
        (["-config.train.learning_rate=1"], {"train.learning_rate": 1.0}),
        (["--config.train.guard=false"], {"train.guard": False}),
        (["--noconfig.train.guard"], {"train.guard": False}),
        (["--config.train.guard", "--config.seed=7"], {"train.guard": True, "seed": 7}),
        (["--config.data.buckets=3,4"], {"data.buckets": (3, 4)}),
        (["--config.data.buckets=3", "--config.data.buckets=4"], {"data.buckets": (3, 4)}),
        (["--config.data.rewards='x','y'"], {"data.rewards": ("x", "y")}),
        (["--config.data.name=a=b,c"], {"data.name": "a=b,c"}),
        (["--config.limit=3"], {"limit": 3}),
        (["--config=c.py", "--workdir=x", "--configs.seed=x"], {}),
        (["--", "--config.nope=1"], {}),
    ],
)
def test_overrides_are_read_like_config_flags_reads_them(config, argv, expected):
    assert parse_config_overrides(config, argv) == expected


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--config.trian.steps=3", ["--config.trian.steps", "--config.train.steps"]),
        ("--config.train.stpes=3", ["--config.train.steps"]),
        ("--config.steps=3", ["--config.train.steps"]),
        ("--config.learning_rat=3", ["--config.train.learning_rate"]),
        ("--config.seed.x=3", ["no such field", "seed"]),
        ("--config.zzzz=1", ["no such field", "train.steps", "data.buckets"]),
        ("--config.train.zzzz=1", ["no such field", "train.steps", "train.guard"]),
        ("--config.train.steps=1e2", ["an integer is wanted"]),
        ("--config.train.steps", ["value is missing"]),
        ("--config.train.learning_rate=fast", ["a number is wanted"]),
        ("--config.train.guard=maybe", ["true or false"]),
        ("--noconfig.train.steps", ["only a boolean"]),
        ("--config.train=3", ["group of fields", "train.steps"]),
        ("--config.data.buckets=a", ["every element must be of type int"]),
        ("--config.data.rewards=x,y", ["quote each element"]),
        ("--config.listed=3", ["list", "tuple"]),
        ("--config.nothing=3", ["NoneType", "placeholder"]),
    ],
)
def test_mistakes_name_the_field_and_the_near_ones(config, argument, words):
    with pytest.raises(ConfigError) as caught:
        parse_config_overrides(config, [argument])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_listed(config):
    with pytest.raises(ConfigError) as caught:
        parse_config_overrides(config, ["--config.sed=3", "--config.train.steps=x"])
    assert "--config.sed" in str(caught.value) and "an integer" in str(caught.value)


def test_parse_arg():
    def parse(arg):
        return parse_arg(arg, size=("nano", "2b", "7b"), mode=("cot", "ans"), init="", n=3, runlocal=False, data=None)

    assert parse("").to_dict() == parse(None).to_dict()
    assert parse("").to_dict() == dict(size="nano", mode="cot", init="", n=3, runlocal=False, data=None)
    read = parse("2b,init=gs://x/y=1, data=/y,runlocal,ans")
    assert read.to_dict() == dict(size="2b", mode="ans", init="gs://x/y=1", n=3, runlocal=True, data="/y")
    assert parse("size=7b,n=4,runlocal=0").to_dict() == {**parse("").to_dict(), "size": "7b", "n": 4}
    for wrong, words in {
        "runlocl": "Did you mean runlocal",
        "7c": "Did you mean 7b",
        "int=/x": "Did you mean init=",
        "init": "Did you mean init=",
        "size=8b": "not one of nano, 2b, 7b",
        "n=x": "an integer",
        "runlocal=maybe": "true or false",
        "2b,7b": "given twice",
    }.items():
        with pytest.raises(ConfigError, match=words):
            parse(wrong)


def test_command_line_errors(tmp_path):
    file = tmp_path / "grpo_counting.py"
    file.write_text(CONFIG)
    check_command_line(["train.py", f"--config={file}:2b", "--config.train.steps=3"])
    for argv, words in [
        (["train.py"], "--config is missing"),
        ([f"--config={tmp_path}/grpo_countin.py"], "does not exist. Did you mean .*grpo_counting.py"),
        ([f"--config={file}:2c"], "grpo_counting.py: config argument '2c' is not known. Did you mean 2b"),
        (["--config", str(file), "--config.train.step=3"], "Did you mean --config.train.steps"),
    ]:
        with pytest.raises(ConfigError, match=words):
            check_command_line(argv)


def test_in_a_real_program(tmp_path):
    (tmp_path / "c.py").write_text(CONFIG)
    (tmp_path / "program.py").write_text(PROGRAM)

    def run(*args):
        return subprocess.run([sys.executable, tmp_path / "program.py", *args], capture_output=True, text=True)

    good = run(f"--config={tmp_path}/c.py:2b", "--config.train.steps=3", "--noconfig.train.eval", "--config.rewards=c")
    expected = {"rewards": ("c",), "size": "2b", "train": {"eval": False, "steps": 3}}
    assert good.stdout == f"{expected} []\n", good.stderr
    wrong = run(f"--config={tmp_path}/c.py", "--config.trian.steps=3")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: --config.trian.steps: no such field. Did you mean --config.train.steps?\n"
    flag = run(f"--config={tmp_path}/c.py", "--wrokdir=3")
    assert flag.returncode == 2 and flag.stderr.count("\n") == 1 and "wrokdir" in flag.stderr
    assert "config" in run("--help").stdout


def test_rewards_of_the_command_line_add_to_those_of_the_config():
    config = ml_collections.ConfigDict({"rewards": {"length": 0.0}, "extra_rewards": ("a.py:f=1", "b.py:g=2")}).lock()
    add_rewards(config, ["a.py:f=0.5", "length=0.25", "c.py:h"])
    assert config.extra_rewards == ("a.py:f=0.5", "b.py:g=2", "c.py:h") and config.rewards.length == 0.25
    with pytest.raises(ValueError, match="'a.py:f=x' gives no number as weight"):
        add_rewards(config, ["a.py:f=x"])


def test_buckets_take_sizes_or_auto():
    """Whichever of the two the config has: a folder's buckets are chosen from its records unless sizes are given."""
    config = load_config(str(Path(__file__).parents[2] / "configs" / "grpo_counting.py"))
    assert parse_config_overrides(config, ["--config.buckets.patches=auto"]) == {"buckets.patches": ("auto",)}
    config.buckets = {name: ("auto",) for name in config.buckets}
    assert parse_config_overrides(config, ["--config.buckets.prompt=96,512"]) == {"buckets.prompt": (96, 512)}
    for argument in ("--config.buckets.prompt=large", "--config.buckets.prompt=96,auto", "--config.data.range=auto"):
        with pytest.raises(ConfigError, match="every element must be of type int"):
            parse_config_overrides(config, [argument])
