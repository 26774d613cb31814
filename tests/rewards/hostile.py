"""Completions that nobody would write: tags, LaTeX, numbers and words in disorder, cut, repeated and nested."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

ANSWERS = Path(__file__).parents[1] / "fixtures" / "answers" / "siblings.json"
PIECES = [
    "<think>", "</think>", "<answer>", "</answer>", "< / Answer >", "<summary>", "</summary>", "<caption>",
    "</caption>",
    "<|im_end|>", "</ans", "\\frac", "\\sqrt[3]{", "\\boxed{", "\\text{", "\\left", "\\begin{pmatrix}", "{", "}", "(",
    ")", "[", "]", "$", "$$", "\\(", "\\", "^", "_", "√", "π", "∞", "½", "²", "⁻", "1", "23", "4.", "0.5", "1,000",
    "1 1/2", "9" * 40, "9^", "1e99", "1e-99", "!", "!!!!", "?", "%", "°", "e", "x", "cm", "sin", "log_", "or", "and",
    "not", "because", "so ", "The answer is", "Final answer:", "Step 1:", "First,", "\n- ", "\n1. ", "答案是", "四",
    "个",
    "=", "<", ">", "≤", "±", "~", "-", "–", "—", "+", "*", "**", "__", "`", "```", "#", "'", '"', "|", "&", ",", ";",
    ":", " ", "  ", "\n", "\t", "\x00", "\ud83d\ude00", "😀", "\u0301", "\u200b", "\u202e", "ﷺ", "A", "B", "(B)", "I",
    "change_size(", "change_size(7, large)", "'red'", "nan", "inf", "٤", "Ⓑ",
]  # fmt: skip


def hostile_texts(seed: int, count: int) -> Iterator[str]:
    """`count` texts; of one seed always the same. A few are of some thousand characters, most of some ten."""
    draw = random.Random(seed)
    pairs = json.loads(ANSWERS.read_text(encoding="utf-8"))
    known = [answer for pair in pairs.values() for answer, _ in pair]
    for _ in range(count):
        kind = draw.random()
        if kind < 0.4:
            text = draw.choice(known)
            for _ in range(draw.randint(0, 4)):
                place = draw.randint(0, len(text))
                text = text[:place] + draw.choice(PIECES) + text[place + draw.randint(0, 2) :]
        elif kind < 0.8:
            text = "".join(draw.choice(PIECES) for _ in range(draw.randint(0, 25)))
        elif kind < 0.95:
            text = "".join(chr(draw.choice((draw.randrange(128), draw.randrange(0xD800)))) for _ in range(30))
        else:
            unit = "".join(draw.choice(PIECES) for _ in range(draw.randint(1, 3)))
            text = unit * draw.randint(1, 8000 // len(unit))
        yield text if draw.random() < 0.5 else f"<think>{draw.choice(PIECES)}</think><answer>{text}</answer>"
