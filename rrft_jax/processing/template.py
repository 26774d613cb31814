"""A model directory's chat template, run as what it is: a program that somebody else wrote.

Jinja's sandbox keeps it from the machine. Here it ends as well: passes of its loops and macros are counted, and so is
what it writes and builds, so that a damaged template is an error instead of a process without end. What a template
sees is otherwise as in transformers: the same switches, extensions, filters and functions.
"""

import functools
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

STEPS = 300_000  # passes through loops and macros, all together; a message takes one, and one more for each part
LARGEST = 2**20  # characters written, and elements of a text or list that one operation makes
BITS = 2**12  # of a number that one operation makes
_GROWING = ("batch", "center", "format", "indent", "join", "replace", "sum", "tojson", "urlize", "wordwrap")  # filters


class TemplateError(ValueError):
    """A chat template cannot be compiled or fails; one line."""


def render_template(source: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
    """The text of a conversation up to the start of the answer. variables: what else the template may look at."""
    try:
        environment, template = _compile(source)
        environment.begin()
        pieces, size = [], 0
        values = {"tools": None, "documents": None, **variables, "messages": list(messages)}
        for piece in template.generate(**values, add_generation_prompt=True):
            size += len(piece)
            environment.bound(size)
            pieces.append(piece)
        return "".join(pieces)
    except Exception as error:  # whatever an operation on the wrong kind of value raises
        line = f" in line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        what = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        raise TemplateError(f"the chat template fails{line} ({type(error).__name__}: {what})") from None


@functools.lru_cache(maxsize=8)
def _compile(source: str) -> tuple["_Bounded", jinja2.Template]:
    environment = _Bounded()
    tree = _Counted().visit(environment.parse(source))
    return environment, environment.from_string(tree)


class _Bounded(ImmutableSandboxedEnvironment):
    """The sandbox with bounds. Threads may share it: each has its own count of the steps left."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self):
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
        self.filters["tojson"] = _to_json
        self.filters |= {name: self._within_bounds(self.filters[name]) for name in _GROWING}
        del self.globals["lipsum"]
        # Jinja's own annotation admits its built-in functions alone.
        functions: dict[str, Any] = {
            "range": self.range, "raise_exception": _raise, "strftime_now": lambda form: datetime.now().strftime(form),
            "namespace": _Namespace, "dict": lambda *args, **values: self.whole(dict(*args, **values)),
        }  # fmt: skip
        self.globals.update(functions)
        self._left = threading.local()

    def begin(self) -> None:
        self._left.steps = STEPS

    def step(self, count: int = 1) -> str:
        self._left.steps -= count
        if self._left.steps < 0:
            raise jinja2.TemplateRuntimeError(f"more than {STEPS:,} steps")
        return ""

    def bound(self, size: float, limit: int = LARGEST) -> None:
        if size > limit:
            raise jinja2.TemplateRuntimeError(f"a text, list or number of over {limit:,} characters, elements or bits")

    def range(self, *args: int) -> range:
        found = range(*args)
        self.step(len(found))
        return found

    def whole(self, value: Any) -> Any:
        """A list, tuple or dict; one that holds another many times is as large as all of that written out."""
        self._weigh(value)
        return value

    def join(self, *values: Any) -> str:
        self.bound(sum(map(self._weigh, values)))
        return "".join(map(str, values))

    def call(self, context: Any, obj: Any, /, *args: Any, **values: Any) -> Any:
        method = getattr(obj, "__wrapped__", obj)  # the sandbox wraps str.format
        if isinstance(own := getattr(method, "__self__", None), str):
            self._bound_product(own, *args, *values.values())
        return super().call(context, obj, *args, **values)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not (isinstance(left, int) and isinstance(right, int)):
            if operator == "+":
                self.bound(self._weigh(left) + self._weigh(right))
            else:
                self._bound_product(left, right)
        elif operator in ("*", "**"):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            self.bound(bits, BITS)
        return super().call_binop(context, operator, left, right)

    def _weigh(self, value: Any) -> int:
        """Characters and elements of a value."""
        total, todo = 0, [value]
        while todo:
            value = todo.pop()
            total += len(value) if isinstance(value, str) else 1
            if isinstance(value, list | tuple):
                todo += value
            elif isinstance(value, Mapping):
                todo += [*value.keys(), *value.values()]
            self.bound(total)
        return total

    def _bound_product(self, *values: Any) -> None:
        """An operation on these values makes at most their product, or as much as a width among them asks for."""
        product = 1
        for value in values:
            product *= max(1, abs(value) if isinstance(value, int) else self._weigh(value))
            inner = value if isinstance(value, list | tuple) else ()
            widths = [abs(x) for x in inner if isinstance(x, int)]
            widths += [int(digits) for digits in re.findall(r"\d{5,}", value)] if isinstance(value, str) else []
            self.bound(max(product, *widths, 0))

    def _within_bounds(self, function: Callable) -> Callable:
        @functools.wraps(function)  # which keeps what Jinja passes as the first argument
        def bounded(*args: Any, **values: Any) -> Any:
            plain = (x for x in (*args, *values.values()) if isinstance(x, str | int | list | tuple | Mapping))
            self._bound_product(*plain)
            return function(*args, **values)

        return bounded


class _Counted(NodeTransformer):
    """Counts passes, and bounds what is joined with `~` or built."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        if node.test is not None:  # a pass that the condition leaves out is one, too
            node.test = nodes.And(nodes.Not(_call("step")), node.test)
        return _first(node, _call("step"))

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        return _first(self.generic_visit(node), _call("step"))

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:
        return _first(self.generic_visit(node), _call("step"))

    def visit_List(self, node: nodes.Expr) -> nodes.Expr:
        self.generic_visit(node)
        return _call("whole", [node]) if getattr(node, "ctx", "load") == "load" else node

    visit_Tuple = visit_Dict = visit_List

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return _call("join", node.nodes)


def _call(method: str, args: Sequence[nodes.Expr] = ()) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(method), list(args), [], None, None)


def _first(node: Any, call: nodes.Call) -> Any:
    node.body.insert(0, nodes.Output([call]))
    return node


class _Generation(jinja2.ext.Extension):
    """{% generation %}, which marks the assistant's text for others: its body is printed."""

    tags = {"generation"}  # noqa: RUF012, as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


class _Namespace(jinja2.utils.Namespace):
    """Without names that begin with an underscore, which lead to Python's own attributes."""

    def __init__(self, *args: Any, **values: Any):
        super().__init__()
        for name, value in dict(*args, **values).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"the name {name!r} is not allowed in a namespace")
        super().__setitem__(name, value)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own escapes what HTML would read."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.TemplateRuntimeError(message)
