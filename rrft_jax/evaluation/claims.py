"""The paper's claims, decided from the cells of the miniature by the rules of docs/miniature.md.

A claim is asked of every task that has the cells it needs: it holds there, it does not, or the reverse holds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rrft_jax.evaluation.adaptation import adaptation
from rrft_jax.evaluation.report import markdown
from rrft_jax.evaluation.reproduction import GAP_STEPS, METHODS, table_tasks

Result = dict[str, Any]
SCORE = "strict_score"
POINTS, ERRORS = 2.0, 2.0  # a difference counts that is larger than both: per cent, and standard errors
EARLY, SHARE = 2 * GAP_STEPS, 0.95  # the step of Zero that is compared with the end of ANS-SFT, and the share asked


@dataclass(frozen=True)
class Finding:
    """holds: 1 if the claim holds on a task, -1 if the reverse does, else 0. figures: what decided it, in words."""

    holds: int
    figures: str


@dataclass(frozen=True)
class Claim:
    """text: as the paper has it. find: (the task's results by method, its columns) -> Finding. methods: whose cells
    are needed."""

    text: str
    methods: tuple[str, ...]
    find: Callable[[dict[str, list[Result]], Sequence[Any]], Finding]


def compare(ours: Sequence[float], theirs: Sequence[float]) -> int:
    """1 if the mean of `ours` beats that of `theirs` (per cent, a number per seed), -1 if it is beaten, else 0.

    The difference of the means must exceed POINTS and ERRORS times its standard error sqrt(s1^2 / n1 + s2^2 / n2).
    """
    difference = float(np.mean(ours) - np.mean(theirs))
    error = math.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
    return int(np.sign(difference)) if abs(difference) > max(POINTS, ERRORS * error) else 0


def verdict(findings: Sequence[Finding]) -> str:
    """"shown" if it holds on two of three tasks and the reverse on none; "not shown"; "" where cells are missing."""
    if len(findings) < len(table_tasks()):
        return ""
    holds = [finding.holds for finding in findings]
    return "shown" if holds.count(1) >= 2 and -1 not in holds else "not shown"


def claims_table(results: Sequence[Result]) -> str:
    """A row per claim; "" unless one of them has its cells, of two seeds at least."""
    tasks = table_tasks()
    rows = []
    for claim in CLAIMS:
        cells, findings = [], []
        for alias, task in tasks.items():
            of = {m: [r for r in results if (r["task"], r["method"]) == (alias, m)] for m in claim.methods}
            if min(map(len, of.values())) < 2:
                cells.append("")
                continue
            findings.append(claim.find(of, task.benchmarks))
            cells.append(f"{('no', 'yes', 'the reverse')[findings[-1].holds]}: {findings[-1].figures}")
        rows.append([claim.text, *cells, verdict(findings)])
    return markdown(["claim", *tasks, ""], rows) if any(any(row[1:]) for row in rows) else ""


def _means(results: Sequence[Result], columns: Sequence[Any], in_domain: bool) -> list[float]:
    """Per cent, for every seed the plain mean of its in-domain, or of its out-of-domain columns."""
    names = [column.name for column in columns if (column.domain == "in") == in_domain]
    return [100 * float(np.mean([r["benchmarks"][name][SCORE]["mean"] for name in names])) for r in results]


def _beats(method: str, others: Sequence[str]) -> Claim:
    def find(of, columns):
        mine = _means(of[method], columns, True)
        theirs = [_means(of[other], columns, True) for other in others]
        signs = [compare(mine, other) for other in theirs]
        told = ", ".join(f"{np.mean(other):.1f}" for other in theirs)
        return Finding(-1 if -1 in signs else min(signs), f"{np.mean(mine):.1f} against {told}")

    names = " and ".join(METHODS[other].title for other in others)
    return Claim(f"{METHODS[method].title} beats {names}, in-domain", (method, *others), find)


def _out_of_domain(of, columns) -> Finding:
    pairs = [("reason_rft_zero", "ans_sft"), ("reason_rft", "cot_sft")]
    sides = [[_means(of[method], columns, False) for method in pair] for pair in pairs]
    signs = [compare(*side) for side in sides]
    told = "; ".join(f"{np.mean(ours):.1f} against {np.mean(theirs):.1f}" for ours, theirs in sides)
    return Finding(-1 if -1 in signs else min(signs), told)


def _held_out(result: Result) -> list[tuple[int, float]]:
    return [(r["step"], r["eval/accuracy"]) for r in result["training"]["held_out"] if "eval/accuracy" in r]


def _efficiency(of, _) -> Finding:
    """No reverse: a method that needs more data than another is one of which the claim is not shown."""
    curves = [dict(_held_out(r)) for r in of["reason_rft_zero"]]
    if not all(EARLY in curve for curve in curves):
        return Finding(0, f"no evaluation at step {EARLY}")
    early = np.mean([curve[EARLY] for curve in curves])
    late = np.mean([_held_out(r)[-1][1] for r in of["ans_sft"]])
    return Finding(int(early >= SHARE * late), f"{100 * early:.1f} against {100 * late:.1f}")


def _gap(of, _) -> Finding:
    fell = []
    for result in of["reason_rft_zero"]:
        curve, questions = _held_out(result), result["training"]["held_out"][0]["eval/questions"]
        found, start = adaptation(curve), curve[0][1]
        error = math.sqrt(start * (1 - start) / questions)
        fell.append(found.gap > ERRORS * error and found.recovery_step is not None)
    return Finding(int(sum(fell) * 3 >= 2 * len(fell)), f"in {sum(fell)} of {len(fell)} seeds")


def _halfway(results: Sequence[Result], name: str) -> int:
    """The first step at which the mean over seeds has gone half of the way from its first value to its last."""
    steps = [step for step, _ in results[0]["training"]["series"][name]]
    values = np.mean([[value for _, value in r["training"]["series"][name]] for r in results], axis=0)
    gone = (values - values[0]) / ((values[-1] - values[0]) or math.inf)
    return steps[int(np.argmax(gone >= 0.5))] if gone.max() >= 0.5 else steps[-1] + 1


def _order(of, _) -> Finding:
    length, reward = (_halfway(of["reason_rft_zero"], name) for name in ("length", "task reward"))
    return Finding(int(np.sign(reward - length)), f"length at step {length}, accuracy at step {reward}")


CLAIMS = (
    _beats("reason_rft_zero", ("ans_sft", "zero_shot")),
    _beats("reason_rft", ("cot_sft",)),
    Claim(
        "RL is better out of domain than SFT (Zero against ANS-SFT; Reason-RFT against CoT-SFT)",
        ("reason_rft_zero", "ans_sft", "reason_rft", "cot_sft"), _out_of_domain,
    ),
    Claim(
        f"95 % of SFT on all data with under 20 % of them (Zero at step {EARLY}, ANS-SFT at its end)",
        ("reason_rft_zero", "ans_sft"), _efficiency,
    ),
    Claim("transient adaptation gap (Zero falls by two standard errors and is back)", ("reason_rft_zero",), _gap),
    Claim("length grows before accuracy (half of the way)", ("reason_rft_zero",), _order),
)  # fmt: skip
