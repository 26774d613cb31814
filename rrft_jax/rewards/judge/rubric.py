"""What a judge is told to look for: one line of JSON with criteria, a scale and the form of the verdict."""

import json
from dataclasses import dataclass
from pathlib import Path

POINTWISE, PAIRWISE = "pointwise", "pairwise"
_VERDICT = {POINTWISE: "score", PAIRWISE: "winner"}  # what the output must hold
_CRITERIA = ["correctness", "helpfulness", "harmlessness", "instruction_following"]
_OUTPUT = {
    POINTWISE: {"score": "int", "rationale": "<=40 words"},
    PAIRWISE: {"score_A": "int", "score_B": "int", "winner": "A|B", "rationale": "<=40 words"},
}


@dataclass(frozen=True)
class Rubric:
    """line: the JSON object that the judge reads, on one line. low, high: the ends of its scale. kind: POINTWISE (one
    response, a score) or PAIRWISE (two responses, a winner)."""

    kind: str
    line: str
    low: float
    high: float


def default_rubric(kind: str) -> Rubric:
    """Our own; the rubric of arXiv 2506.05748 is not public."""
    return _rubric(kind, {"task": "judge", "criteria": _CRITERIA, "scale": [0, 10], "output": _OUTPUT[kind]}, "")


def read_rubric(path: str, kind: str) -> Rubric:
    """The rubric in a JSON file, or the default for "". It is one object with `scale` [low, high] and `output`, which
    names `score` (pointwise) or `winner` (pairwise); everything else in it is for the judge to read. ValueError names
    the file and the field."""
    if not path:
        return default_rubric(kind)
    try:
        given = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"rubric file {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"rubric file {path} is no JSON ({error}): write one object with scale and output") from None
    return _rubric(kind, given, f"rubric file {path}: ")


def _rubric(kind: str, given: object, where: str) -> Rubric:
    scale = given.get("scale") if isinstance(given, dict) else None
    numbers = isinstance(scale, list) and all(type(x) in (int, float) for x in scale)
    if not isinstance(given, dict) or not numbers or len(scale or ()) != 2 or not scale[0] < scale[1]:
        raise ValueError(f"{where}scale must be [lowest, highest] with the lower number first, such as [0, 10]")
    output = given.get("output")
    if not isinstance(output, dict) or _VERDICT[kind] not in output:
        raise ValueError(f"{where}output must be an object that names {_VERDICT[kind]!r}, which a {kind} judge gives")
    line = json.dumps(given, ensure_ascii=False, separators=(",", ":"))
    return Rubric(kind, line, float(scale[0]), float(scale[1]))
