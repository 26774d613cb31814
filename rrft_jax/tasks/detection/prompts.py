"""Prompts of detection. PUBLISHED is what Visual-RFT's records hold; records hold the whole text themselves."""

from collections.abc import Mapping
from types import MappingProxyType

from rrft_jax.tasks.localised import THINKING

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "DETECT_COT": f"Detect all objects of the category '{{Question}}'. {THINKING}",
        "DETECT_ANS": "Detect all objects of the category '{Question}'.",
        "DETECT_ZS": "Detect all objects belonging to the category '{Question}' in the image. Answer with a list "
        "[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...], coordinates being whole numbers between 0 and "
        "1000, or with No Objects.",
        "DETECT_RECORD": "{Question}",
    }
)
PUBLISHED = (
    "Detect all objects belonging to the category '{category}' in the image, and provide the bounding boxes (between 0 "
    "and 1000, integer) and confidence (between 0 and 1, with two decimal places).\nIf no object belonging to the "
    "category '{category}' in the image, return 'No Objects'.\nOutput the thinking process in <think> </think> and "
    "final answer in <answer> </answer> tags.The output answer format should be as follows:\n<think> ... </think> "
    "<answer>[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]</answer>\nPlease strictly follow the format."
)


def published(category: str) -> str:
    """The text of a published record for a category."""
    return PUBLISHED.replace("{category}", category)
