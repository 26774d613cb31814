"""Rewards by name. A new one is a module next to this file and a line in REWARDS."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from rrft_jax.rewards import (
    accuracy,
    boxed,
    caption_format,
    class_name,
    detection,
    format,
    functions,
    grounding,
    last_number,
    length,
    math_accuracy,
    pointing,
    reasoning_steps,
    screen_action,
    screen_box,
    soft_overlong,
)
from rrft_jax.rewards.base import Loan
from rrft_jax.rewards.judge import reward as judge
from rrft_jax.rewards.judge import verdict
from rrft_jax.rewards.values import Reward

REWARDS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "accuracy": accuracy.accuracy,
        "accuracy_paper": accuracy.paper,
        "math_accuracy": math_accuracy.math_accuracy,
        "math_accuracy_paper": math_accuracy.paper,
        "format": format.format_reward,
        "format_paper": format.paper,
        "caption_format": caption_format.caption_format,
        "caption_format_paper": caption_format.paper,
        "reasoning_steps": reasoning_steps.reasoning_steps,
        "reasoning_steps_paper": reasoning_steps.paper,
        "length": length.length,
        "length_paper": length.paper,
        "soft_overlong": soft_overlong.soft_overlong,
        "last_number": last_number.last_number_match,
        "boxed_accuracy": boxed.boxed_accuracy,
        "boxed_accuracy_paper": boxed.boxed_accuracy_paper,
        "boxed_filter_paper": boxed.boxed_filter_paper,
        "answer_line_paper": boxed.answer_line_paper,
        "boxed_format": boxed.boxed_format,
        "boxed_format_paper": boxed.boxed_format_paper,
        "functions": functions.functions,
        "functions_paper": functions.paper,
        "functions_full": functions.full,
        "functions_full_paper": functions.full_paper,
        "functions_penalty": functions.penalty,
        "functions_penalty_paper": functions.penalty_paper,
        "detection_iou": detection.iou,
        "detection_iou_paper": detection.iou_paper,
        "detection_mean_iou_paper": detection.mean_iou_paper,
        "detection_confidence": detection.confidence,
        "detection_confidence_paper": detection.confidence_paper,
        "detection_found": detection.found,
        "class_name": class_name.class_name,
        "class_name_paper": class_name.paper,
        "grounding_giou": grounding.grounding_giou,
        "grounding_giou_paper": grounding.paper,
        "grounding_iou": grounding.grounding_iou,
        "grounding_hit": grounding.grounding_hit,
        "box_format": screen_box.box_format,
        "point_format": screen_box.point_format,
        "in_box": screen_box.in_box,
        "action_format": screen_action.action_format,
        "action_type": screen_action.action_type,
        "action_coordinates": screen_action.action_coordinates,
        "action_content": screen_action.action_content,
        "action_step": screen_action.action_step,
        "point_near": pointing.point_near,
        "point_near_paper": pointing.point_near_paper,
        "steps_format": pointing.steps_format,
        "steps_accuracy": pointing.steps_accuracy,
        "steps_accuracy_paper": pointing.steps_accuracy_paper,
        "llm_judge": judge.llm_judge,
        "judge_verdict": verdict.judge_verdict,
    }
)
# Of rewards whose options may name what is not there: called with the chosen ones before a run starts.
CHECKS: Mapping[str, Callable[..., None]] = MappingProxyType({"llm_judge": judge.check_llm_judge})
# Of rewards that may borrow the run's frozen base, for plans of memory: called with the chosen options.
LOANS: Mapping[str, Callable[..., Loan | None]] = MappingProxyType({"llm_judge": judge.loan})


def options(name: str) -> dict[str, inspect.Parameter]:
    """The keyword options of a reward, by name."""
    parameters = inspect.signature(_find(name)).parameters
    return {key: p for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def get(name: str, **chosen: Any) -> Reward:
    """The reward called `name`, with its options filled in; ValueError where a name or an option is wrong."""
    reward, known = _find(name), options(name)
    for option in chosen:
        if option not in known:
            raise ValueError(f"reward {name} has no option {option!r}; {_near(option, known)}")
    missing = [key for key, p in known.items() if p.default is p.empty and key not in chosen]
    if missing:
        raise ValueError(f"reward {name} needs the option {', '.join(missing)}; pass it to get or reward_set")
    return partial(reward, **chosen) if chosen else reward


def _find(name: str) -> Callable[..., Any]:
    if name not in REWARDS:
        raise ValueError(f"unknown reward {name!r}; {_near(name, REWARDS)}")
    return REWARDS[name]


def _near(word: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, known, n=3)
    listed = ", ".join(known) or "none"
    return f"did you mean {' or '.join(near)}? (known: {listed})" if near else f"known: {listed}"
