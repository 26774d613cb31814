"""The sources by name, with where they come from. A new one is a module next to this one and an entry here."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rrft_jax.data.sources import (
    android_control,
    clevr_math,
    coco,
    geometry3k,
    gsm8k,
    gui_odyssey,
    lisa,
    preferences,
    reason_rft,
    refspatial,
    screenspot,
    super_clevr,
    tables,
    trance,
    visual_rft,
    webdataset,
)
from rrft_jax.data.sources.common import TASKS, Found


@dataclass(frozen=True)
class DataSource:
    """find(folder, **options) -> the parts. homepage, licence, citation: of the data, as its authors state them."""

    name: str
    find: Callable[..., Found]
    about: str
    homepage: str = ""
    licence: str = "the user's own data"
    citation: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.find).parameters)[1:]


SOURCES: Mapping[str, DataSource] = MappingProxyType(
    {
        source.name: source
        for source in (
            DataSource(
                "reason_rft",
                reason_rft.find,
                "Reason-RFT-CoT-Dataset: the three tasks of the paper",
                "https://huggingface.co/datasets/tanhuajie2001/Reason-RFT-CoT-Dataset",
                "Apache-2.0 for the records; the pictures are under the licences of the sets they come from",
                "Tan et al., Reason-RFT: Reinforcement Fine-Tuning for Visual Reasoning, 2025 (arXiv 2503.20752)",
            ),
            DataSource(
                "clevr_math",
                clevr_math.find,
                "CLEVR-Math: counting with additions and subtractions, on pictures of CLEVR",
                "https://github.com/dali-does/clevr-math",
                "CC BY-SA 4.0 for the questions, CC BY 4.0 for the pictures of CLEVR",
                "Lindström and Abraham, CLEVR-Math, 2022 (arXiv 2208.05358)",
            ),
            DataSource(
                "super_clevr",
                super_clevr.find,
                "Super-CLEVR: counting vehicles, questions made from the scenes or published",
                "https://github.com/Lizw14/Super-CLEVR",
                "BSD for the repository, CC BY 4.0 as the question files state",
                "Li et al., Super-CLEVR, CVPR 2023",
            ),
            DataSource(
                "geometry3k",
                geometry3k.find,
                "Geometry3K: plane geometry with four choices",
                "https://github.com/lupantech/InterGPS",
                "MIT",
                "Lu et al., Inter-GPS, ACL 2021",
            ),
            DataSource(
                "trance",
                trance.find,
                "TRANCE: what changed between two pictures, from three cameras",
                "https://github.com/hughplay/TVR",
                "MIT for the repository; see its homepage for the data",
                "Hong et al., Transformation Driven Visual Reasoning, CVPR 2021",
            ),
            DataSource(
                "visual_rft",
                visual_rft.find,
                "Visual-RFT's records: detection, classification, grounding",
                "https://github.com/Liuziyu77/Visual-RFT",
                "see its homepage; the pictures are under the licences of the sets they come from",
                "Liu et al., Visual-RFT: Visual Reinforcement Fine-Tuning, 2025 (arXiv 2503.01785)",
            ),
            DataSource(
                "coco",
                coco.find,
                "COCO and LVIS annotation files: detection by category",
                "https://cocodataset.org",
                "CC BY 4.0 for the annotations; the pictures are under Flickr's terms",
                "Lin et al., Microsoft COCO, ECCV 2014; Gupta et al., LVIS, CVPR 2019",
            ),
            DataSource(
                "lisa",
                lisa.find,
                "ReasonSeg of LISA: what a question means, as a box",
                "https://github.com/dvlab-research/LISA",
                "see its homepage",
                "Lai et al., LISA: Reasoning Segmentation via Large Language Model, CVPR 2024",
            ),
            DataSource(
                "screenspot",
                screenspot.find,
                "ScreenSpot in UI-Venus's form: elements of screens",
                "https://github.com/inclusionAI/UI-Venus",
                "see its homepage",
                "Gu et al., UI-Venus Technical Report, 2025 (arXiv 2508.10833)",
            ),
            DataSource(
                "android_control",
                android_control.find,
                "AndroidControl: the next action on a phone",
                "https://github.com/google-research/google-research/tree/master/android_control",
                "see its homepage",
                "Li et al., On the Effects of Data Scale on UI Control Agents, 2024 (arXiv 2406.03679)",
            ),
            DataSource(
                "gui_odyssey",
                gui_odyssey.find,
                "GUI-Odyssey: the next action across the apps of a phone",
                "https://github.com/OpenGVLab/GUI-Odyssey",
                "see its homepage",
                "Lu et al., GUI Odyssey, 2024 (arXiv 2406.08451)",
            ),
            DataSource(
                "refspatial",
                refspatial.find,
                "RefSpatial-Bench: points within masks",
                "https://github.com/Zhoues/RoboRefer",
                "see its homepage",
                "Zhou et al., RoboRefer, 2025 (arXiv 2506.04308)",
            ),
            DataSource(
                "gsm8k",
                gsm8k.find,
                "GSM8K: grade-school word problems in text alone",
                "https://github.com/openai/grade-school-math",
                "MIT",
                "Cobbe et al., Training Verifiers to Solve Math Word Problems, 2021 (arXiv 2110.14168)",
            ),
            DataSource("preferences", preferences.find, "your own preferences: prompt, chosen, rejected, rationale"),
            DataSource("jsonl", tables.find_jsonl, "your own JSON Lines files"),
            DataSource("parquet", tables.find_parquet, "your own Parquet files, as HuggingFace datasets writes them"),
            DataSource("webdataset", webdataset.find, "your own tar files, as WebDataset writes them"),
        )
    }
)


def find_parts(source: str, folder: str | Path, tasks: Sequence[str] = TASKS, **options: Any) -> Found:
    """The parts of a source's folder. tasks: those that the option `task` may name. Raises ValueError for an unknown
    source, task or option."""
    if source not in SOURCES:
        raise ValueError(f"--source={source} is none of {', '.join(SOURCES)}")
    known = SOURCES[source].options
    for name in options:
        if name not in known:
            takes = ", ".join(f"--{option}" for option in known) or "no option"
            raise ValueError(f"--{name} says nothing to --source={source}, which takes {takes}")
    if options.get("task") and options["task"] not in tasks:
        raise ValueError(f"--task={options['task']} is none of {', '.join(tasks)}")
    return SOURCES[source].find(folder, **options)
