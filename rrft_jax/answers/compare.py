"""Whether an answer equals the reference, if all of it can be parsed: by exact values where these decide, in
microseconds.

`decide` returns True, False, or a comparison that needs algebra, which `rewards.symbolic` makes.
"""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from rrft_jax.answers import functions
from rrft_jax.answers.choices import choice, choice_reference, several, several_reference
from rrft_jax.answers.conclusion import MAX_CHARS, conclusion
from rrft_jax.answers.evaluate import as_latex, evaluate
from rrft_jax.answers.exact import UNIT, Exact, NotExact, Undefined, close
from rrft_jax.answers.expression import Node
from rrft_jax.answers.formulas import Undecided, same_formula
from rrft_jax.answers.intervals import INTERVALS, interval
from rrft_jax.answers.markup import folded, plain
from rrft_jax.answers.statement import Statement, read_statement
from rrft_jax.answers.tokens import Unreadable
from rrft_jax.answers.units import LETTERS
from rrft_jax.answers.words import WORDS, says


def decide(answer: str, gold: str) -> bool | Undecided:
    """Whether `answer` says what the reference `gold` says, and nothing else.

    Equal text (case and spacing aside) is equal. A reference that is a letter is matched as a multiple choice: "(B)",
    "b", "B. 2", "The answer is B". Other answers must be understood to the last sign: 5.0 == 5, "4 apples" == 4,
    "3π" == "3\\pi", "(1, 2)" == "(1,2)", while "4 or 5", "4 million", "3√2" are no 4 and no 3. A unit counts where both
    sides have one. A reference that is a sequence of functions asks for the same functions, in any order.
    """
    if " ".join(answer.split()) == " ".join(gold.split()):
        return bool(gold.strip())
    if len(gold) > MAX_CHARS:
        return False
    short, wanted = plain(answer) if len(answer) <= MAX_CHARS else conclusion(answer), plain(gold)
    if not short or not wanted:
        return False
    if folded(short) == folded(wanted):
        return True
    if functions.is_sequence(wanted):
        return functions.same(functions.read_only(short), functions.read_functions(wanted))
    letter = choice_reference(gold)
    if letter:
        return choice(answer) == letter
    letters = several_reference(gold)
    if letters:
        return several(answer) == letters
    if WORDS.fullmatch(wanted) and says(conclusion(answer), wanted):
        return True
    try:
        reference = read_statement(gold)
    except Unreadable:
        return same_formula(short, wanted)
    try:
        stated = read_statement(answer)
    except Unreadable:
        return same_formula(short, wanted)
    return _same(stated, reference)


def value_of(text: str) -> Fraction | None:
    """The rational number that a text states, units aside: "5", "3/4", "There are 4 cubes.", "10 cm"; else None."""
    try:
        statement = read_statement(text)
        value = evaluate(statement.parts[-1]) if statement.kind == "value" else None
    except (Unreadable, NotExact, Undefined):
        return None
    return None if value is None else value.measured_in()[1].fraction


def in_one_spelling(text: str) -> str:
    """What a text answers, for votes among several: a number in digits, else its plain text in small letters."""
    value = value_of(text)
    return f"{float(value):.10g}" if value is not None else folded(conclusion(text))


# Comparing statements.


def _same(answer: Statement, gold: Statement) -> bool | Undecided:
    if answer == gold:
        return True
    if answer.label and gold.label and answer.label.casefold() != gold.label.casefold():
        return False
    kinds = {answer.kind, gold.kind}
    if kinds == {"value"}:
        return _any(_same_value(a, g) for g in reversed(gold.parts) for a in reversed(answer.parts))
    if kinds <= {"value", "equation"}:
        return _same_equation(answer, gold)
    if kinds == {"relation"}:
        return _same_relation(answer, gold)
    if gold.kind == "list" and (wanted := interval(gold)):  # x > 1 and x < 5
        said = answer if answer.kind in INTERVALS else interval(answer)
        return said is not None and _same_items(said, wanted)
    if gold.kind in INTERVALS and (known := interval(answer)):
        return _same_items(known, gold)
    if answer.kind in INTERVALS and gold.kind == "relation":
        return _algebra(answer, gold)
    if gold.kind == "relation" and answer.kind == "list" and all(part.kind == "relation" for part in answer.parts):
        return _same_relation(answer, gold)  # x > 1 and x < 5
    if len(answer.parts) != len(gold.parts):
        return False
    if kinds == {"ratio"}:
        return _all(map(_same_value, answer.parts, gold.parts))
    return not kinds & {"value", "equation", "relation", "ratio"} and _same_items(answer, gold)


def _same_items(answer: Statement, gold: Statement) -> bool:
    """Containers and lists of one length. A list is a tuple or a set where the other side is one."""
    kinds, names, wanted = {answer.kind, gold.kind}, _names(answer), _names(gold)
    one_name = len(names) == len(wanted) == 1 and (names == wanted or "" in names | wanted)
    labels = {part.label for part in gold.parts}
    alike = all(part.label and part.label == answer.parts[0].label for part in answer.parts)
    several = wanted != {""} and (gold.kind == "or" or len(labels) == 1 or alike)  # x = 1 or x = 2; x = 1, x = 2
    if one_name and (kinds <= {"{}", "or"} or kinds == {"{}", "list"} or (several and answer.kind in ("list", "or"))):
        return _matched(*([part._replace(label="") for part in side.parts] for side in (answer, gold)))
    if all(part.label for part in (*answer.parts, *gold.parts)) and (one_name or len(kinds) == 1):
        return _matched(list(answer.parts), gold.parts)
    if len(kinds) > 1 and kinds not in ({"list", "()"}, {"<>", "()"}):
        return False
    return _all(map(_same, answer.parts, gold.parts))


def _names(items: Statement) -> set[str]:
    """What the items are values of. One name, or none, makes them several values of one thing: x_1 = 2, x_2 = 3 too."""
    names = {part.label for part in items.parts if part.label} or {""}
    roots = {re.sub(r"_\{?\d+\}?$", "", name) for name in names}
    return roots if len(roots) == 1 and len(names) == len(items.parts) else names


def _same_value(answer: Node, gold: Node) -> bool | Undecided:
    if answer == gold:
        return True
    try:
        a, g = evaluate(answer), evaluate(gold)
    except Undefined:
        return False
    except NotExact:
        return Undecided(as_latex(gold), as_latex(answer))
    if answer[0] == "percent" != gold[0] and g.fraction is not None and g.fraction.denominator == 1:
        return False  # 400 % is 4, and no answer to "how many"
    if close(a, g):
        return True
    (unit_a, bare_a), (unit_g, bare_g) = a.measured_in(), g.measured_in()
    if unit_a and unit_g and unit_a != unit_g:
        return False
    if unit_a and not unit_g and all(exponent < 0 for _, exponent in unit_a):
        return False
    if (unit_a or unit_g) and close(bare_a, bare_g):
        return True
    letters = {UNIT + letter: letter for letter in LETTERS}
    return a.renamed(letters) == g.renamed(letters)


def _same_relation(answer: Statement, gold: Statement) -> bool | Undecided:
    try:
        ours = answer.parts if answer.kind == "list" else (answer,)
        return sorted(sign for one in ours for sign in _inequalities(one.parts)) == sorted(_inequalities(gold.parts))
    except Undefined:
        return False
    except NotExact:
        return _algebra(answer, gold) if answer.kind == "relation" else False


def _inequalities(parts: Sequence) -> list[tuple[str, tuple]]:
    """Each sign of a chain as (">", ">=" or "!=", terms of what is so to 0), scaled to a leading coefficient of ±1."""
    found = []
    for left, sign, right in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
        difference = evaluate(left) - evaluate(right)
        if sign in ("<", "<="):
            difference, sign = -difference, sign.replace("<", ">")
        if difference.terms:
            lead = difference.terms[0][1]
            scale = lead if sign == "!=" else abs(lead)
            difference = Exact(tuple((monomial, c / scale) for monomial, c in difference.terms))
        found.append((sign, difference.terms))
    return found


def _same_equation(answer: Statement, gold: Statement) -> bool | Undecided:
    """Two equations, or one and a value that has a name, such as y = 2x + 1."""
    mine, theirs = _sides(answer), _sides(gold)
    if mine is None or theirs is None:
        return False
    try:
        a, g = (evaluate(left) - evaluate(right) for left, right in (mine, theirs))
        return bool(a.terms and g.terms) and a * Exact((((), g.terms[0][1]),)) == g * Exact((((), a.terms[0][1]),))
    except Undefined:
        return False
    except NotExact:
        return _algebra(answer, gold)


def _sides(statement: Statement) -> tuple[Node, Node] | None:
    if statement.kind == "equation":
        return statement.parts
    name = re.fullmatch(r"[A-Za-z](?:_\w+)?", statement.label)
    return (("letter", statement.label), statement.parts[-1]) if name else None


def _matched(answers: list[Statement], golds: Sequence[Statement]) -> bool:
    for gold in golds:
        found = next((one for one in answers if _same(one, gold) is True), None)
        if found is None:
            return False
        answers.remove(found)
    return True


def _algebra(answer: Statement, gold: Statement) -> bool | Undecided:
    return Undecided(_latex(gold), _latex(answer))


def _latex(statement: Statement) -> str:
    if statement.kind == "value":
        return (f"{statement.label}=" if statement.label else "") + as_latex(statement.parts[-1])
    if statement.kind == "equation":
        return "=".join(map(as_latex, statement.parts))
    if statement.kind == "relation":
        signs = {"<=": "\\le ", ">=": "\\ge ", "!=": "\\ne "}
        return "".join(signs.get(p, p) if isinstance(p, str) else as_latex(p) for p in statement.parts)
    return statement.kind[0] + ",".join(map(_latex, statement.parts)) + statement.kind[1]


def _any(results: Iterable[bool | Undecided]) -> bool | Undecided:
    undecided: bool | Undecided = False
    for result in results:
        if result is True:
            return True
        if result is not False:
            undecided = undecided or result
    return undecided


def _all(results: Iterable[bool | Undecided]) -> bool:
    """True where all are. One that algebra would have to decide makes it False: containers are compared exactly."""
    return all(result is True for result in results)
