"""The published results, per cent, row by row.

They are means of the published scorer (`paper_score`) over the real test files: nothing else may be compared with them.

The tables' averages are left out. For the spatial columns they follow three rules (the Zero rows: the mean of the
out-of-domain ones; other Qwen2-VL rows: of all three; other models: half in-domain, half out-of-domain), and Gemini's
and InternVL's structure and Pixtral's spatial fit none. Average the columns instead.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

# The newer table's two parts of counting_ood, of which 750 questions are DS-D and 250 DS-M ("domain shift").
PARTS = ("counting_ds_d", "counting_ds_m")
COLUMNS = (
    "counting_id", "counting_ood", "structure_id", "structure_ood", "spatial_id", "spatial_left", "spatial_right",
    *PARTS,
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """One row. method: "" for a model as it is. scores: column -> per cent; LLaVA-OneVision, which the newer table does
    not list, lacks PARTS. note: what is known to be wrong in its counting_ood."""

    model: str
    method: str
    scores: Mapping[str, float]
    note: str = ""


# model, method, the seven columns, DS-D and DS-M
_TABLE = (
    ("GPT-4o-2024-08-06", "", (68.10, 34.31, 50.18, 43.49, 42.55, 28.67, 29.76), (42.54, 9.60)),
    ("Gemini-1.5-Pro", "", (61.80, 37.50, 50.12, 48.38, 26.22, 18.76, 19.88), (41.20, 26.40)),
    ("Qwen2.5-VL-3B", "", (75.90, 39.30, 36.75, 37.44, 8.57, 8.26, 8.31), (50.93, 4.40)),
    ("Phi-3.5-Vision-4B", "", (21.40, 15.20, 36.83, 50.25, 7.42, 2.45, 4.02), (18.27, 6.00)),
    ("LLaVA-OneVision-7B", "", (69.70, 29.10, 77.63, 43.66, 10.00, 8.33, 8.74), ()),
    ("Qwen2.5-VL-7B", "", (74.60, 35.20, 44.00, 45.61, 19.63, 13.12, 13.42), (46.00, 2.80)),
    ("InternVL-2.5-8B", "", (93.50, 35.30, 63.00, 47.32, 7.19, 6.62, 6.63), (46.13, 2.80)),
    ("Llama-3.2-11B-Vision", "", (10.30, 9.50, 13.75, 20.85, 8.22, 8.40, 9.03), (9.60, 9.20)),
    ("Pixtral-12B", "", (42.60, 22.90, 30.38, 36.09, 7.35, 5.03, 5.22), (25.33, 15.60)),
    ("Qwen2-VL-2B", "zero-shot", (82.40, 32.00, 25.86, 20.63, 3.78, 4.60, 4.67), (42.67, 0.00)),
    ("Qwen2-VL-2B", "ANS-SFT", (96.20, 39.20, 51.34, 22.50, 77.39, 49.24, 50.33), (51.07, 5.20)),
    ("Qwen2-VL-2B", "CoT-SFT", (85.50, 46.50, 43.05, 25.25, 64.37, 43.19, 42.86), (49.73, 36.80)),
    ("Qwen2-VL-2B", "Reason-RFT-Zero", (98.40, 44.80, 47.68, 32.50, 42.13, 34.07, 33.41), (58.00, 5.20)),
    ("Qwen2-VL-2B", "Reason-RFT", (96.80, 51.20, 49.03, 33.13, 74.61, 64.05, 64.08), (60.00, 28.40)),
    ("Qwen2-VL-7B", "zero-shot", (98.60, 42.10, 43.30, 43.88, 13.53, 12.72, 12.78), (54.53, 4.80)),
    ("Qwen2-VL-7B", "ANS-SFT", (95.00, 33.90, 51.34, 25.38, 82.19, 54.29, 54.83), (42.53, 8.00)),
    ("Qwen2-VL-7B", "CoT-SFT", (87.30, 42.40, 50.49, 33.00, 81.31, 47.90, 47.80), (45.33, 33.60)),
    ("Qwen2-VL-7B", "Reason-RFT-Zero", (99.40, 53.00, 55.00, 54.75, 67.67, 57.20, 56.15), (63.60, 21.20)),
    ("Qwen2-VL-7B", "Reason-RFT", (95.60, 51.00, 59.27, 49.25, 79.97, 59.36, 58.61), (56.13, 35.60)),
)

# In every other row counting_ood is 0.75 DS-D + 0.25 DS-M.
_TYPO = "counting_ood is {} here and {} by its parts DS-D and DS-M: a typing error in one of the tables"
_NOTES = {
    ("Qwen2-VL-2B", "ANS-SFT"): _TYPO.format("39.20", "39.60"),
    ("Qwen2-VL-2B", "Reason-RFT"): _TYPO.format("51.20", "52.10"),
}

ROWS: tuple[Published, ...] = tuple(
    Published(model, method, dict(zip(COLUMNS, (*columns, *parts), strict=False)), _NOTES.get((model, method), ""))
    for model, method, columns, parts in _TABLE
)


def comparable(ours: Collection[str]) -> list[Published]:
    """The published rows that our columns may be compared with, cut to them (counting_ood with its PARTS).

    ours: the benchmarks of which the whole real file was scored; no published figure may be compared with a synthetic
    twin, another benchmark, or a part of a file. Compare with `paper_score` alone.
    """
    shown = {column: None for column in ours if column in COLUMNS}
    if "counting_ood" in shown:
        shown |= dict.fromkeys(PARTS)
    cut = [(row, {c: row.scores[c] for c in shown if c in row.scores}) for row in ROWS]
    return [
        Published(row.model, row.method, scores, row.note if "counting_ood" in scores else "")
        for row, scores in cut
        if scores
    ]
