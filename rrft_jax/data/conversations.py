"""Reads records that are conversations: either the whole record, or nothing and the reason.

    messages        [{"role": "user" | "assistant" | "system", "content": TEXT or parts}, ...]     OpenAI, LLaMA-Factory
    conversations   [{"from": "human" | "gpt" | "system", "value": TEXT}, ...]                      ShareGPT, LLaVA
    prompt          a list like messages, with a list `completion` or a field `answer`              TRL

A part is {"type": "text", "text": TEXT} or {"type": "image"}, with a picture's path in it or in the record's `images`.
The last question becomes `problem`, the answer to it `answer` and `cot`, what was said before `history`.
"""

import re
from dataclasses import dataclass
from typing import Any

from rrft_jax.answers.tags import split_completion
from rrft_jax.data.example import IMAGE_MARK
from rrft_jax.data.values import blank, kind_of, missing, missing_text

FIELDS = ("messages", "conversations", "prompt", "completion")
_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}
# Fields of a turn whose content would be lost, since nothing here reads them. Other fields only describe.
_UNREAD = (
    "tool_calls", "function_call", "reasoning_content", "reasoning", "thinking", "thought", "refusal", "weight",
    "loss", "mask", "image", "images", "video", "videos", "audio", "audios",
)  # fmt: skip

_PICTURE = ("image", "image_url", "path", "url")  # fields of a part
_LEADING = re.compile(rf"\A(?:\s*{re.escape(IMAGE_MARK)}\s*)+")
# The instructions of the published templates around a question, which the template of the run puts there again.
_RULES, _TURN = "### Output Format", "Now, it's your turn!"
_PROCESS = ("Output the thinking process in <", "Output the summary process in <")
_LETTER, _CHOICE = "Please select the correct answer by writing the letter", "choice."
_FUNCTIONS = "Please output the answer only with a sequence of functions"
_LONGEST_TAIL = 600  # characters

Found = list[tuple[str, str]]  # (kind, message) of each problem of a record


@dataclass(frozen=True)
class Conversation:
    """problem, answer, cot: of the last question; answer None: the record says it elsewhere. history, reply: as in
    `Example`. pictures: what the turns themselves name, in order; a mark stands for each."""

    problem: str
    answer: str | None = None
    cot: str | None = None
    system: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    reply: str | None = None
    pictures: tuple = ()


def is_conversation(record: dict) -> bool:
    return any(not missing(record.get(name)) for name in FIELDS[:2]) or isinstance(record.get("prompt"), list)


def read_conversation(record: dict, found: Found) -> Conversation | None:
    """The record's conversation; None with the reason in `found` where not all of it can be read."""
    before = len(found)
    fields = [name for name in FIELDS[:2] if not missing(record.get(name)) and record[name] != []]
    fields += ["prompt"] if isinstance(record.get("prompt"), list) and record["prompt"] else []
    if fields != ["prompt"] and isinstance(record.get("completion"), list) and record["completion"]:
        fields.append("completion")
    if len(fields) > 1:
        found.append(("contradiction", f"has {' and '.join(fields)}; leave the one that is meant"))
        return None
    if not fields:
        found.append(("wrong order", "its conversation is empty; fill it in or remove the record"))
        return None
    (field,) = fields
    listed = record[field]
    if field == "prompt" and isinstance(record.get("completion"), list):
        listed = listed + record["completion"]
    if not isinstance(listed, list):
        found.append(("wrong type", f"{field} is {kind_of(listed)}; make it a list of turns"))
        return None
    pictures: list = []
    turns = [_turn(turn, f"{field}, turn {number}", pictures, found) for number, turn in enumerate(listed, 1)]
    if len(found) > before:
        return None
    system = _system(record, turns, found)
    turns = turns[1:] if turns[0][0] == "system" else turns
    expected = ["user", "assistant"] * len(turns)
    for number, ((role, _), wanted) in enumerate(zip(turns, expected, strict=False), 1):
        if role != wanted:
            message = f"{field}: its {_ordinal(number)} turn is of the {role} where the {wanted} should speak"
            found.append(("wrong order", f"{message}; let user and assistant take turns, the user first"))
            break
    if not turns:
        found.append(("wrong order", f"{field}: nobody asks anything; add the turn of the user"))
    if len(found) > before:
        return None
    reply = turns.pop()[1] if turns[-1][0] == "assistant" else None
    history, problem = tuple(turns[:-1]), turns[-1][1]
    answer, cot = (None, None) if reply is None else _answer_of(reply)
    if history:  # unchanged: the run's template is not put around these questions
        return Conversation(problem, answer, cot, system, history, reply, tuple(pictures))
    return Conversation(bare_question(problem), answer, cot, system, pictures=tuple(pictures))


def bare_question(text: str) -> str:
    """Removes the published template from a question, if nothing else is around it. Marks in front stay."""
    marks = _LEADING.match(text)
    head = marks.group() if marks else ""
    return head + _without_tail(_without_rules(text[len(head) :])).strip()


def _without_rules(text: str) -> str:
    turn = text.rfind(_TURN)
    return text[turn + len(_TURN) :] if turn >= 0 and _RULES in text[:turn] else text


def _without_tail(text: str) -> str:
    """Searches for each place once, from the end: a text may repeat such words any number of times."""
    text = text.rstrip()
    start = max(text.rfind(words) for words in _PROCESS)
    if text.endswith("tags.") and _is_instruction(text[start:-1], start) and "tags." not in text[start:-1]:
        text = text[:start].rstrip()
        start = text.rfind(_LETTER)
        return text[:start] if text.endswith(_CHOICE) and _is_instruction(text[start:], start) else text
    start = text.rfind(_FUNCTIONS)
    return text[:start] if _is_instruction(text[start:], start) else text


def _is_instruction(text: str, start: int) -> bool:
    """Whether the text from `start` on (-1: no such place) asks nothing by itself."""
    return start >= 0 and len(text) <= _LONGEST_TAIL and "?" not in text


def place_pictures(
    problem: str, history: tuple[tuple[str, str], ...], count: int, found: Found
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Both with a mark where each of `count` pictures goes, without any where all are in front of a single question.

    A record without marks has its pictures in front of its first question.
    """
    asked = [*(text for role, text in history if role == "user"), problem]
    marks = sum(text.count(IMAGE_MARK) for text in asked)
    if marks and marks != count:
        message = f"holds {marks} {IMAGE_MARK} for {count} pictures; give each picture its mark in the text, or none"
        found.append(("wrong marks", message))
    if not history:
        leading = _LEADING.match(problem)
        return (problem[leading.end() :] if leading and IMAGE_MARK not in problem[leading.end() :] else problem), ()
    if count and not marks:
        (role, text), *others = history
        return problem, ((role, IMAGE_MARK * count + text), *others)
    return problem, history


def _turn(turn: Any, name: str, pictures: list, found: Found) -> tuple[str, str]:
    """(role, text) of a turn, a mark where each of its pictures goes."""
    if not isinstance(turn, dict):
        found.append(("wrong type", f"{name} is {kind_of(turn)}; make it an object with role and content"))
        return "", ""
    role, text = (_either(turn, names, name, found) for names in (("role", "from"), ("content", "value")))
    if not isinstance(role, str) or role not in _ROLES:
        said = repr(role) if isinstance(role, str) else kind_of(role)
        found.append(("unknown role", f"{name} is of {said}; the roles are {', '.join(_ROLES)}"))
        return "", ""
    role = _ROLES[role]
    for field in _UNREAD:
        if not missing(turn.get(field)) and turn[field] not in ([], "", {}):
            found.append(("not read", f"{name} has {field}, which is not read here; put it into the text or remove it"))
    if isinstance(text, list):
        text = "".join(_part(part, role, name, pictures, found) for part in text)
    if not isinstance(text, str):
        found.append(("wrong type", f"{name} holds {kind_of(text)}; its text belongs there"))
        return role, ""
    if blank(text):
        found.append(("empty turn", f"{name} is empty; fill it in or remove the record"))
    elif missing_text(text):
        found.append(("missing field", f"{name} is {text!r}, as tables write what is missing; fill it in"))
    if role != "user" and IMAGE_MARK in text:
        found.append(("wrong marks", f"{name} holds {IMAGE_MARK}, and only a question can hold a picture"))
    return role, text


def _either(turn: dict, names: tuple[str, str], name: str, found: Found) -> Any:
    given = [turn[key] for key in names if not missing(turn.get(key))]
    if len(given) == 2 and given[0] != given[1]:
        found.append(("contradiction", f"{name} has {names[0]} and {names[1]}, which differ; keep the right one"))
    return given[0] if given else None


def _part(part: Any, role: str, name: str, pictures: list, found: Found) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    named = [part[key] for key in _PICTURE if not missing(part.get(key))] if isinstance(part, dict) else []
    if kind == "text" and isinstance(part.get("text"), str):
        if any(value != "" for value in named):
            found.append(("not read", f"{name} holds a picture in a part of type 'text'; give it a part of its own"))
        return part["text"]
    if kind in ("image", "image_url") and role == "user":
        if part.get("text"):
            found.append(("not read", f"{name} holds text in a part of type {kind!r}; give it a part of its own"))
        if any(value != named[0] for value in named[1:]):
            found.append(("contradiction", f"{name} holds a part with two different pictures; keep the right one"))
        inside = named[0] if named else None
        inside = inside.get("url", inside) if kind == "image_url" and isinstance(inside, dict) else inside
        pictures += [] if inside is None else [inside]
        return IMAGE_MARK
    said = f"a part of type {kind!r}" if isinstance(kind, str) else kind_of(part)
    found.append(("not read", f"{name} holds {said}; texts, and images of the user, are read"))
    return ""


def _system(record: dict, turns: list[tuple[str, str]], found: Found) -> str | None:
    said = [text for role, text in turns[:1] if role == "system"]
    field = record.get("system")
    if not missing(field) and not isinstance(field, str):
        found.append(("wrong type", f"system is {kind_of(field)}; make it a string"))
        return None
    if isinstance(field, str) and field:
        said.append(field)
    if len(set(said)) > 1:
        found.append(("contradiction", "its field system and its turn of the system differ; keep the right one"))
    return said[0] if said else None


def _answer_of(reply: str) -> tuple[str, str | None]:
    """The answer in the assistant's message, and the reasoning that leads to it."""
    thought, answer = split_completion(reply)
    return answer.text if answer else "", thought or None


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
