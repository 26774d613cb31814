"""What a sequence of tasks leaves behind: average accuracy and the forgetting measure of continual post-training."""

from collections.abc import Sequence

Matrix = Sequence[Sequence[float]]  # A[i][k]: accuracy on task k after stage i; row i has at least i + 1 entries


def average_accuracy(matrix: Matrix) -> float:
    """The mean over all tasks after the last stage."""
    last = _checked(matrix)[-1]
    return sum(last[: len(matrix)]) / len(matrix)


def forgetting_measure(matrix: Matrix) -> float:
    """The mean over all tasks but the last of (accuracy at the end - accuracy right after its own stage); negative
    where tasks are forgotten, 0 for a single task (arXiv 2507.05386)."""
    rows = _checked(matrix)
    earlier = range(len(rows) - 1)
    return sum(rows[-1][k] - rows[k][k] for k in earlier) / len(earlier) if earlier else 0.0


def as_table(
    matrix: Matrix, tasks: Sequence[str], stages: Sequence[str] = (), before: Sequence[float] = ()
) -> str:
    """Markdown: a row per stage, and the two measures below; what was not measured stays empty.

    stages: names of the rows, by default the tasks; where they are not as many, there is no forgetting measure, and the
    average is that of the last row. before: accuracy of each task before the first stage.
    """
    lines = ["| after | " + " | ".join(tasks) + " |", "| --- |" + " --- |" * len(tasks)]
    rows = ([("nothing", before)] if before else []) + list(zip(stages or tasks, matrix, strict=True))
    for name, row in rows:
        cells = [f"{value:.2f}" for value in row] + [""] * (len(tasks) - len(row))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if len(matrix) == len(tasks):
        average, measure = average_accuracy(matrix), f", forgetting measure {forgetting_measure(matrix):+.2f}"
    else:
        average, measure = sum(matrix[-1]) / len(tasks), ""
    return "\n".join([*lines, "", f"average accuracy {average:.2f}{measure}"])


def _checked(matrix: Matrix) -> list[list[float]]:
    rows = [list(row) for row in matrix]
    short = [i for i, row in enumerate(rows) if len(row) <= i]
    if not rows or short:
        what = f"row {short[0]} has {len(rows[short[0]])} entries" if short else "it is empty"
        raise ValueError(f"the matrix needs the accuracy on task k after stage i for all k <= i: {what}")
    return rows
