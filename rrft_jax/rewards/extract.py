"""Find the answer in a completion: the one place that knows the <think> and <answer> tags."""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_TAG = re.compile(r"</?(?:think|answer)>")


@dataclass(frozen=True)
class Answer:
    """text: stripped of surrounding whitespace. tagged: whether it stood inside a closed <answer> pair."""

    text: str
    tagged: bool


def extract_answer(
    text: str,
    *,
    which: Literal["first", "last"] = "last",
    after_think: bool = True,
    fallback: Literal["rest", "whole", "none"] = "rest",
) -> Answer | None:
    """The answer of a completion, or None when it gives none.

    which: of several closed <answer> pairs, the first or the last.
    after_think: look only behind the last </think>; a draft inside the thought is not an answer, and a thought
        that was opened and never closed (a truncated completion) has no answer at all.
    fallback, when no closed pair is found: "rest" takes what was searched, without stray tags, so that a direct
        "4" or an unclosed "<answer>4" counts; "whole" takes the whole text as it is; "none" takes nothing.

    The defaults serve rewards and honest scores; PAPER gives the original's choice.
    """
    searched = _behind_thought(text) if after_think else text
    bodies = _ANSWER.findall(searched)
    if bodies:
        # "<answer>3 <answer>4</answer>" opens twice: the pair that closes is the inner one.
        body = bodies[0] if which == "first" else bodies[-1].rpartition("<answer>")[2]
        return Answer(body.strip(), tagged=True)
    if fallback == "whole":
        return Answer(text.strip(), tagged=False)
    rest = _TAG.sub(" ", searched).strip()
    return Answer(rest, tagged=False) if fallback == "rest" and rest else None


# First <answer> anywhere, else the whole text: what the published training rewards read.
PAPER = MappingProxyType({"which": "first", "after_think": False, "fallback": "whole"})


def _behind_thought(text: str) -> str:
    before, closed, behind = text.rpartition("</think>")
    if closed:
        return behind
    return "" if "<think>" in text else text
