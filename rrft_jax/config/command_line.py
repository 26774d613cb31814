"""The command line of a config: `--config=FILE:arg --config.field=value`, checked before it is applied.

ml_collections applies the overrides while absl parses the flags: a wrong field name ends there in a traceback of
KeyError or AttributeError, a list or a None field in UnsupportedOperationError, an error in get_config in two stacked
tracebacks. So the same command line is checked first, and every mistake becomes one line with the names that are near.
"""

import difflib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_collections
from absl import flags
from ml_collections.config_flags import tuple_parser

from rrft_jax.rewards.outside import split_entry

_BUCKETS = re.compile(r"--\w+\.(?:stage1\.)?buckets\.")


class ConfigError(ValueError):
    """A mistake on the command line or in the argument of a config, in a few lines."""


def parse_flags(argv: Sequence[str], name: str = "config") -> list[str]:
    """For `app.run(main, flags_parser=parse_flags)`: absl's parsing, with mistakes in one line and exit code 2.

    Define the flag without a default: config_flags applies overrides of a default config while it is being defined,
    before anything can check them.
    """
    try:
        if not any(re.match("--?help", arg) for arg in argv):
            check_command_line(argv, name)
        return flags.FLAGS(list(argv))
    except (ConfigError, flags.Error) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


def check_command_line(argv: Sequence[str], name: str = "config") -> None:
    """Loads the config that argv names and checks its overrides. ConfigError lists all mistakes."""
    source = _last_value(argv, name)
    if source is None:
        if unknown := _unknown_flag(argv):
            raise ConfigError(unknown)
        raise ConfigError(f"--{name} is missing; give a config file, for example --{name}=configs/grpo_counting.py")
    parse_config_overrides(load_config(source), argv, name)


def _unknown_flag(argv: Sequence[str]) -> str:
    """What is wrong with the first flag that does not exist; "" where all do."""
    known = set(flags.FLAGS)
    for arg in argv[1:]:
        name = arg.lstrip("-").partition("=")[0]
        if arg.startswith("-") and name and "." not in name and not {name, name.removeprefix("no")} & known:
            near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
            return f"there is no flag --{name}{_did_you_mean([f'--{n}' for n in near])}; --help lists all"
    return ""


def load_config(source: str) -> ml_collections.ConfigDict:
    """The result of get_config in "FILE.py" or "FILE.py:arg"."""
    path, _, arg = source.partition(":")
    file = Path(path)
    if not file.is_file():
        if new := _renamed(file, arg):
            raise ConfigError(f"config file {path} is now one for all tasks: --config={new}")
        near = difflib.get_close_matches(file.name, [p.name for p in file.parent.glob("*.py")], n=3, cutoff=0.5)
        raise ConfigError(f"config file {path} does not exist{_did_you_mean([str(file.parent / n) for n in near])}")
    spec = importlib.util.spec_from_file_location("_checked_config", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"config file {path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ConfigError(f"config file {path} defines no get_config function")
    try:
        return module.get_config(arg) if ":" in source else module.get_config()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _renamed(file: Path, arg: str) -> str:
    """cot_sft_counting.py was a file of its own, and is cot_sft.py:counting; "" for any other name."""
    from rrft_jax.tasks.registry import tasks

    paradigm, _, alias = file.stem.rpartition("_")
    new = file.parent / f"{paradigm}.py"
    known = new.is_file() and alias in [task.alias for task in tasks().values()]
    return f"{new}:{','.join(filter(None, (alias, arg)))}" if known else ""


def parse_config_overrides(
    config: ml_collections.ConfigDict, argv: Sequence[str], name: str = "config"
) -> dict[str, Any]:
    """The overrides in argv as {dotted field: typed value}; ConfigError lists every wrong field and value.

    The config is not changed. Understood like config_flags does: --config.a=1, --config.a 1, --config.flag,
    --noconfig.flag; a tuple as --config.a=1,2 or by repetition.
    """
    values: dict[str, Any] = {}
    repeated: dict[str, list] = {}
    problems: list[str] = []
    for field, text, negated in _overrides(argv, name, config):
        try:
            value = _typed(config, field, text, negated, name)
            if isinstance(value, tuple):
                value = tuple(repeated.setdefault(field, []) + list(value))
                repeated[field] = list(value)
            values[field] = value
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n       ".join(problems))
    return values


def add_rewards(config: ml_collections.ConfigDict, entries: Sequence[str]) -> None:
    """Adds each --reward, "my_rewards.py:NAME=0.5" or the name of a registered reward and its weight, to
    config.extra_rewards or config.rewards; a reward that is there already gets the new weight. Raises ValueError."""
    extra = {split_entry(entry)[0]: entry for entry in config.extra_rewards}
    for entry in entries:
        reference, weight = split_entry(entry)
        if reference in config.rewards:
            config.rewards[reference] = weight
        else:
            extra[reference] = entry
    config.extra_rewards = tuple(extra.values())


def parse_arg(arg: str | None, **defaults: Any) -> ml_collections.ConfigDict:
    """Reads the argument of get_config: "2b,init=/x,runlocal" with defaults for every key.

    A default that is a tuple of strings is a choice: its first entry is the default, and a bare entry selects it, so
    parse_arg("2b", size=("nano", "2b")) gives size="2b". A list of strings is a choice without a default, for which
    key=value takes any other text too. A bare name of a boolean key means True. Other values take
    the type of their default; a default of None takes a string. Commas separate, so values hold none.
    """
    choices = {key: value for key, value in defaults.items() if isinstance(value, tuple | list)}
    words = {word: key for key, entries in choices.items() for word in entries}
    if len(words) != sum(map(len, choices.values())) or words.keys() & defaults.keys():
        raise ValueError(f"parse_arg: the words of {choices} are not distinct from each other and from the keys")
    first = {key: value[0] if isinstance(value, tuple) else "" for key, value in choices.items()}
    result = defaults | first
    given: set[str] = set()
    for part in filter(None, (part.strip() for part in (arg or "").split(","))):
        key, equals, text = part.partition("=")
        if not equals:
            key, text = (words[part], part) if part in words else (part, "true")
        if key not in defaults or not equals and key == part and not isinstance(defaults[key], bool):
            known = [*words, *(key if isinstance(default, bool) else f"{key}=" for key, default in defaults.items())]
            near = difflib.get_close_matches(part if not equals else f"{key}=", known, n=3, cutoff=0.5)
            raise ConfigError(f"config argument {part!r} is not known{_did_you_mean(near)}; known: {', '.join(known)}")
        if key in given:
            raise ConfigError(f"config argument {key} is given twice")
        given.add(key)
        if key in choices:
            if text not in choices[key] and isinstance(choices[key], tuple):
                near = difflib.get_close_matches(text, choices[key], n=1)
                raise ConfigError(
                    f"config argument {key}={text}: not one of {', '.join(choices[key])}{_did_you_mean(near)}"
                )
            result[key] = text
        else:
            result[key] = _convert(text, type(defaults[key]), f"config argument {key}={text}")
    return ml_collections.ConfigDict(result)


def _overrides(
    argv: Sequence[str], name: str, config: ml_collections.ConfigDict
) -> Iterator[tuple[str, str | None, bool]]:
    """(dotted field, text or None, negated) for each override, as absl would pair flags and values."""
    args = iter(argv)
    for arg in args:
        if arg == "--":
            return
        match = re.match(rf"--?(?P<no>no)?{re.escape(name)}\.(?P<rest>.*)", arg, re.DOTALL)
        if not match:
            continue
        field, equals, text = match["rest"].partition("=")
        text = text if equals else None
        if text is None and not match["no"] and _field_type(config, field) is not bool:
            text = next(args, None)
        yield field, text, bool(match["no"])


def _typed(config: ml_collections.ConfigDict, field: str, text: str | None, negated: bool, name: str) -> Any:
    label = f"--{name}.{field}"
    kind = _field_type(config, field)
    if kind is None:
        raise ConfigError(_unknown_field(config, field, name))
    if negated:
        if kind is not bool or text is not None:
            raise ConfigError(f"--no{name}.{field}: only a boolean field without a value can be negated")
        return False
    if text is None:
        if kind is bool:
            return True
        raise ConfigError(f"{label}: the value is missing")
    if issubclass(kind, (dict, ml_collections.ConfigDict)):
        inner = _names_under(config, field)
        raise ConfigError(f"{label} is a group of fields; set one of {', '.join(inner)}")
    if kind in (list, type(None)) or kind not in (bool, int, float, str, tuple):
        raise ConfigError(
            f"{label} cannot be set on the command line, its type is {kind.__name__}; in the config file use a tuple "
            "or config_dict.placeholder(type)"
        )
    value = _convert(text, kind, f"{label}={text}")
    if kind is tuple:
        _check_elements(value, _get(config, field), f"{label}={text}")
    return value


def _check_elements(value: tuple, default: tuple, label: str) -> None:
    """config_flags takes any tuple: `a,b` without quotes as the one string "a,b", and words where numbers were."""
    kinds = {type(element) for element in default}
    if len(kinds) != 1:
        return
    kind = kinds.pop()
    if _BUCKETS.match(label):  # sizes, or one word for sizes chosen from the data
        if value == ("auto",):
            return
        kind, default = int, (512, 1024)
    allowed = (int, float) if kind is float else (kind,)
    if not all(type(element) in allowed for element in value):
        raise ConfigError(f"{label}: every element must be of type {kind.__name__}, as in {default!r}")
    if kind is str and any("," in element for element in value):
        raise ConfigError(f"{label}: quote each element, like \"'a','b'\", or repeat the flag for each")


def _get(config: ml_collections.ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return config


def _convert(text: str, kind: type, label: str) -> Any:
    """The value that config_flags will set, by its own parsers. A kind that is not listed (None's) takes text."""
    known = {
        bool: (flags.BooleanParser, "true or false is wanted"),
        int: (flags.IntegerParser, "an integer is wanted, like 100"),
        float: (flags.FloatParser, "a number is wanted, like 0.5 or 2e-4"),
        tuple: (tuple_parser.TupleParser, "a tuple is wanted, like 8,16"),
    }
    if kind not in known:
        return text
    parser, wanted = known[kind]
    try:
        return parser().parse(text)
    except (ValueError, TypeError, SyntaxError):
        raise ConfigError(f"{label}: {wanted}") from None


def _field_type(config: ml_collections.ConfigDict, field: str) -> type | None:
    holder: Any = config
    *parents, last = field.split(".")
    for parent in parents:
        holder = holder.get(parent) if isinstance(holder, ml_collections.ConfigDict) else None
    if not isinstance(holder, ml_collections.ConfigDict) or last not in holder:
        return None
    return holder.get_type(last)


def _unknown_field(config: ml_collections.ConfigDict, field: str, name: str) -> str:
    every = list(_names_under(config))
    last = field.rsplit(".", 1)[-1]
    same = [f for f in every if f.rsplit(".", 1)[-1] == last]
    whole = difflib.get_close_matches(field, every, n=3, cutoff=0.7)
    tails = {f.rsplit(".", 1)[-1]: f for f in every}
    partly = [tails[t] for t in difflib.get_close_matches(last, list(tails), n=3, cutoff=0.7)]
    near = list(dict.fromkeys([*whole, *same, *partly]))[:4]
    if near:
        return f"--{name}.{field}: no such field{_did_you_mean([f'--{name}.{n}' for n in near])}"
    group = field.rsplit(".", 1)[0] if "." in field else ""
    siblings = _names_under(config, group) or _names_under(config)
    return f"--{name}.{field}: no such field; there are {', '.join(siblings)}"


def _names_under(config: ml_collections.ConfigDict, group: str = "") -> list[str]:
    """Dotted names of all leaves below a group, empty if there is no such group."""
    holder: Any = config
    for part in filter(None, group.split(".")):
        holder = holder.get(part) if isinstance(holder, ml_collections.ConfigDict) else None
    if not isinstance(holder, ml_collections.ConfigDict):
        return []
    prefix = f"{group}." if group else ""
    names: list[str] = []
    for key in holder.keys():
        nested = issubclass(holder.get_type(key), ml_collections.ConfigDict)
        names += _names_under(config, prefix + key) if nested else [prefix + key]
    return names


def _last_value(argv: Sequence[str], name: str) -> str | None:
    found = None
    for i, arg in enumerate(argv):
        if arg in (f"--{name}", f"-{name}") and i + 1 < len(argv):
            found = argv[i + 1]
        elif arg.startswith((f"--{name}=", f"-{name}=")):
            found = arg.split("=", 1)[1]
    return found


def _did_you_mean(names: Sequence[str]) -> str:
    return f". Did you mean {' or '.join(names)}?" if names else ""
