"""Prompt templates of general visual questions. The zero-shot ones are those of LLaVA-1.5; the others follow
Reason-RFT's."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rrft_jax.data.example import Example
from rrft_jax.tasks.vqa.choices import kind

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "VQA_COT": "{Question}\nOutput the thinking process in <think> </think> and final answer in <answer> </answer> "
        "tags.",
        "VQA_CHOICE_COT": "{Question}\nPlease select the correct answer by writing the letter that precedes your "
        "choice.\nOutput the thinking process in <think> </think> and final answer (chosen letter) in <answer> "
        "</answer> tags.",
        "VQA_ANS": "{Question}",
        "VQA_ZS": "{Question}\nAnswer the question using a single word or phrase.",
        "VQA_CHOICE_ZS": "{Question}\nAnswer with the option's letter from the given choices directly.",
        # RFT mitigates forgetting (arXiv 2507.05386), for its rewards boxed_accuracy and boxed_format
        "BOXED_COT": "{Question} You FIRST think about the reasoning process as an internal monologue and then provide "
        "the final answer. The reasoning process MUST BE enclosed within <think> </think> tags. The final answer MUST "
        "BE put in \\boxed{}.",
        "BOXED_ANS": "{Question} You MUST provide the final answer directly.",
    }
)


def by_kind(open_question: str, choice: str) -> Callable[[Example], str]:
    """The template of an example: `choice` where its options are listed and its answer is one of their letters."""
    return lambda example: choice if kind(example) == "choice" else open_question
