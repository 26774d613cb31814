"""What methods of continual post-training learn and forget, as a picture and as tables.

    python scripts/continual_picture.py workdirs/continual workdirs/continual.png

The folder holds a folder for each method, with the matrix.json of launch/continual.py for each seed in it (seed0.json,
...). A forgetting measure below 0 means that tasks were forgotten. Needs the extra [plots].
"""

import json
from pathlib import Path

import numpy as np
from absl import app


def read(folder: Path) -> dict[str, list[dict]]:
    """Method -> its results by seed; sequences first, in the order of their names."""
    found = {
        path.name: [json.loads(file.read_text()) for file in sorted(path.glob("seed*.json"))]
        for path in sorted(folder.iterdir())
        if path.is_dir()
    }
    return dict(sorted(found.items(), key=lambda item: len(item[1][0]["stages"]) == 1))


def matrix(result: dict) -> np.ndarray:
    """float[stages + 1, tasks]: accuracy in percent, the base's in the first row."""
    rows = [result["base"], *result["after"]]
    return np.array([[100 * values["accuracy"] for values in row["tasks"].values()] for row in rows])


def kl(result: dict) -> np.ndarray:
    """float[stages, tasks]: nats an answer."""
    return np.array([[values["kl"] for values in row["tasks"].values()] for row in result["after"]])


def points(result: dict) -> list[tuple[float, float, float]]:
    """For each stage that has tasks before it: the gain on its own task, the change on those before (means, points),
    and KL to the base on all questions."""
    a, distance = matrix(result), kl(result)
    if len(a) != a.shape[1] + 1:
        return []
    return [
        (a[i + 1, i] - a[i, i], float((a[i + 1, :i] - a[i, :i]).mean()), float(distance[i].mean()))
        for i in range(1, a.shape[1])
    ]


def spread(values: list[float], digits: int = 1) -> str:
    """Mean (each seed)."""
    return f"{np.mean(values):+.{digits}f} ({', '.join(f'{value:+.{digits}f}' for value in values)})"


def tables(methods: dict[str, list[dict]]) -> str:
    tasks = next(iter(methods.values()))[0]["tasks"]
    lines = ["| method, after | " + " | ".join(tasks) + " | KL to the base |", "| --- |" + " --- |" * (len(tasks) + 1)]
    for name, results in methods.items():
        a, distance = np.array([matrix(r) for r in results]), np.array([kl(r) for r in results])
        for i, stage in enumerate(["nothing", *results[0]["stages"]]):
            mean, low, high = a[:, i].mean(0), a[:, i].min(0), a[:, i].max(0)
            cells = [f"{m:.1f} ({x:.1f} ... {y:.1f})" for m, x, y in zip(mean, low, high, strict=True)]
            far = f"{distance[:, i - 1].mean():.2f}" if i else "0"
            lines.append(f"| {name}, {stage} | " + " | ".join(cells) + f" | {far} |")
    lines += ["", "| method | seeds | average accuracy at the end | gain on the own task | forgetting measure |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for name, results in methods.items():
        average = spread([r["average_accuracy"] for r in results]).replace("+", "")
        measures = [r["forgetting_measure"] for r in results]
        gains = [float(np.mean([matrix(r)[i + 1, i] - matrix(r)[i, i] for i in range(len(tasks))])) for r in results
                 if r["forgetting_measure"] is not None]  # fmt: skip
        last = f"{spread(gains)} | {spread(measures)}" if gains else "- | -"
        lines.append(f"| {name} | {len(results)} | {average} | {last} |")
    return "\n".join(lines)


def draw(methods: dict[str, list[dict]], file: Path) -> None:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    count = len(methods)
    figure = Figure(figsize=(max(2.4 * count, 8), 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.15))
    for axes, (name, results) in zip(above.subplots(1, count, squeeze=False)[0], methods.items(), strict=True):
        mean, tasks = np.mean([matrix(r) for r in results], 0), results[0]["tasks"]
        axes.imshow(mean, cmap="Greens", vmin=0, vmax=90)
        stages = results[0]["stages"] if len(results[0]["stages"]) > 1 else ["all at once"]
        axes.set_xticks(range(len(tasks)), tasks, fontsize=7)
        axes.set_yticks(range(len(mean)), ["base", *stages], fontsize=7)
        axes.set_title(f"{name}, {len(results)} seeds", fontsize=9)
        for (i, k), value in np.ndenumerate(mean):
            axes.text(k, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color="white" if value > 60 else "k")
    above.suptitle("greedy accuracy in percent, after each stage", fontsize=9)
    left, middle, right = below.subplots(1, 3)
    for number, (name, results) in enumerate(methods.items()):
        colour = colormaps["tab10"](number)
        for k, result in enumerate(results):
            found = np.array(points(result)).reshape(-1, 3)
            label = name if k == 0 else None
            left.scatter(found[:, 0], found[:, 1], color=colour, label=label if len(found) else None)
            middle.scatter(found[:, 2], found[:, 1], color=colour, label=label if len(found) else None)
            a, distance = matrix(result), kl(result)
            right.scatter(distance.mean(1), a[1:].mean(1), color=colour, label=label)
    for axes in (left, middle):
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set_ylabel("change on the tasks before, points")
    left.set_xlabel("gain on the stage's own task, points")
    middle.set_xlabel("KL to the base, nats an answer")
    base = np.mean([matrix(r)[0].mean() for results in methods.values() for r in results])
    right.axhline(base, color="grey", linewidth=0.8)
    right.set(xlabel="KL to the base, nats an answer", ylabel="accuracy over all tasks, percent")
    for axes in (left, middle, right):
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def main(argv: list[str]) -> None:
    if len(argv) != 3:
        raise app.UsageError("give the folder of results and the picture to write")
    methods = read(Path(argv[1]))
    print(tables(methods))
    draw(methods, Path(argv[2]))


if __name__ == "__main__":
    app.run(main)
