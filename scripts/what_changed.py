"""What a GRPO run on counting changed, as a picture and as Markdown tables.

    python scripts/what_changed.py workdirs/seed0 docs/what_changed.png

The model before and after the run answers the same generated *test* questions, which nothing was trained or chosen on,
`--samples` times each at temperature 1. Drawn and printed: pass@k, where the work of an answer goes wrong first, and
what the run did to each kind of token: log p(after) - log p(before) of the sampled tokens, whose mean over the answers
of `after` is its KL divergence from `before` (the k1 estimator, in nats). Needs the extra [plots].
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from mistakes import KINDS, TOKEN_KINDS, kind_of, token_kinds

from rrft_jax.evaluation.statistics import pass_at_k
from rrft_jax.models.score import score
from rrft_jax.models.weights import load_params
from rrft_jax.parallel.mesh import make_mesh
from rrft_jax.pretrained import load_parts, resolve_init
from rrft_jax.processing.buckets import Bucket, collate
from rrft_jax.processing.processor import decode, encode_prompt
from rrft_jax.rewards import reward_set
from rrft_jax.rollout.decoder import make_decoder
from rrft_jax.rollout.sampler import sample
from rrft_jax.run.workdir import stored_config
from rrft_jax.tasks.registry import get_task

_QUESTIONS = flags.DEFINE_integer("questions", 64, "Test questions of each domain.", 1)
_SAMPLES = flags.DEFINE_integer("samples", 64, "Answers to each.", 1)
BATCH, COMPLETION, BUCKET = 8, 96, Bucket(prompt_tokens=88, images=1, patches=64)
DOMAINS = {"in": "in-domain", "out": "out-of-domain"}
WHEN = ("before", "after")
COLOURS = ("#3a7d44", "#9a9a9a", "#c9b38c", "#d1495b", "#edae49", "#66a1c7", "#7d5ba6")  # of KINDS


@dataclass(frozen=True)
class Answers:
    """Of one model, for Q questions and K samples. right: bool[Q, K]. kinds: of each answer, one of KINDS. lengths:
    int[Q, K]. moved: {token kind: nats per answer}, how far the run moved such tokens; counts: such tokens."""

    right: np.ndarray
    kinds: list[str]
    lengths: np.ndarray
    moved: dict[str, float]
    counts: Counter


def answers_of(task, prompt: str, domain: str, checkpoints: list[str]) -> list[Answers]:
    """Of each of two checkpoints, before and after."""
    models = [load_parts(resolve_init(c), "float32") for c in checkpoints]
    model, processor = models[0]
    before, after = (
        jax.device_put(load_params(resolve_init(c), m.config)) for c, (m, _) in zip(checkpoints, models, strict=True)
    )
    decoder = make_decoder(model, processor, COMPLETION)
    draw = jax.jit(lambda p, x, t: sample(decoder, p, x, jax.random.fold_in(jax.random.key(0), t), _SAMPLES.value))
    log_probs = jax.jit(lambda p, x, r: score(model, p, x, r.tokens, r.mask, decoder.allowed)[0])
    reward, ask = reward_set({task.metric: 1.0}), task.prompt_fn(prompt)
    found = []
    for params in (before, after):
        right, kinds, lengths, moved, counts = [], [], [], Counter(), Counter()
        for start in range(0, _QUESTIONS.value, BATCH):
            numbers = range(start, start + BATCH)
            examples = [task.make(0, i, "test", domain) for i in numbers]
            encoded = [encode_prompt(processor, ask(e), e.images) for e in examples]
            prompts = collate(encoded, list(numbers), BUCKET, processor.pad_token_id, [e.id for e in examples])
            drawn = draw(params, prompts, start)
            change = np.asarray(log_probs(after, prompts, drawn) - log_probs(before, prompts, drawn))
            tokens, mask = np.asarray(drawn.tokens), np.asarray(drawn.mask)
            for row, (index, example) in enumerate(zip(numbers, examples, strict=True)):
                texts = [decode(processor, ids) for ids in tokens[row]]
                answered = [example.without_images()] * len(texts)
                exact = reward.score(texts, answered, [0] * len(texts), 0).total == 1.0
                right.append(exact)
                lengths.append(mask[row].sum(-1))
                kinds += [kind_of(t, index, domain, bool(r)) for t, r in zip(texts, exact, strict=True)]
                for ids, real, moves in zip(tokens[row], mask[row], change[row], strict=True):
                    pieces = [processor.tokenizer.decode([i]) for i in ids[real]]
                    for kind, nats in zip(token_kinds(pieces), moves[real], strict=True):
                        moved[kind] += float(nats)
                        counts[kind] += 1
        answers = len(kinds)
        found.append(Answers(np.array(right), kinds, np.array(lengths),
                             {k: moved[k] / answers for k in TOKEN_KINDS}, counts))  # fmt: skip
    return found


def passed(answers: Answers) -> dict[int, float]:
    """{k: pass@k} for k = 1, 2, 4, ... up to the number of samples."""
    samples = answers.right.shape[1]
    ks = [2**i for i in range(samples.bit_length()) if 2**i <= samples]
    return {k: float(np.mean([pass_at_k(samples, int(n), k) for n in answers.right.sum(1)])) for k in ks}


def tables(found: dict[str, list[Answers]]) -> str:
    """Markdown: pass@k, kinds of answers, tokens."""
    rows = [(f"{title}, {when}", a) for d, title in DOMAINS.items() for when, a in zip(WHEN, found[d], strict=True)]
    ks = list(passed(rows[0][1]))
    lines = [_line("", *(f"pass@{k}" for k in ks), "tokens"), _line(*["---"] * (len(ks) + 2))]
    for name, a in rows:
        lines.append(_line(name, *(f"{100 * v:.1f} %" for v in passed(a).values()), f"{a.lengths.mean():.1f}"))
    lines += ["", _line("", *KINDS), _line(*["---"] * (len(KINDS) + 1))]
    lines += [_line(name, *(f"{100 * a.kinds.count(k) / len(a.kinds):.1f} %" for k in KINDS)) for name, a in rows]
    lines += ["", _line("", *TOKEN_KINDS, "all"), _line(*["---"] * (len(TOKEN_KINDS) + 2))]
    for domain, title in DOMAINS.items():
        after = found[domain][1]
        told = (f"{after.moved[k]:.3f} ({1e3 * after.moved[k] * len(after.kinds) / max(after.counts[k], 1):.1f})"
                for k in TOKEN_KINDS)  # fmt: skip
        lines.append(_line(title, *told, f"{sum(after.moved.values()):.3f}"))
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def draw_picture(found: dict[str, list[Answers]], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (curves, bars, moves) = pyplot.subplots(1, 3, figsize=(13, 3.8), width_ratios=(1, 1.25, 1))
    for domain, title in DOMAINS.items():
        for style, when, answers in zip(("o--", "o-"), WHEN, found[domain], strict=True):
            shown = passed(answers)
            colour = "C0" if domain == "in" else "C1"
            curves.plot(list(shown), list(shown.values()), style, color=colour, ms=4, label=f"{title}, {when}")
    curves.set_xscale("log", base=2)
    curves.set_xticks(list(shown), [str(k) for k in shown])
    curves.set(xlabel="k", title="pass@k", ylim=(0, 1.02))
    curves.legend(frameon=False, fontsize=8)

    names = [f"{title}\n{when}" for title in DOMAINS.values() for when in WHEN]
    every = [answers for domain in DOMAINS for answers in found[domain]]
    left = np.zeros(len(names))
    for kind, colour in zip(KINDS, COLOURS, strict=True):
        shares = np.array([a.kinds.count(kind) / len(a.kinds) for a in every])
        bars.barh(names, shares, left=left, color=colour, label=kind)
        left += shares
    bars.invert_yaxis()
    bars.set(xlim=(0, 1), title="where an answer goes wrong first")
    bars.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.08))

    for number, (domain, title) in enumerate(DOMAINS.items()):
        values = [found[domain][1].moved[k] for k in TOKEN_KINDS]
        moves.barh(np.arange(len(TOKEN_KINDS)) + 0.4 * number, values, 0.4, label=title, color=f"C{number}")
    moves.set_yticks(np.arange(len(TOKEN_KINDS)) + 0.2, TOKEN_KINDS)
    moves.invert_yaxis()
    moves.set(title="KL to the base by kind of token", xlabel="nats per answer")
    moves.legend(frameon=False, fontsize=8)
    for axes in (curves, bars, moves):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main(argv: list[str]) -> None:
    if len(argv) != 3 or _QUESTIONS.value % BATCH:
        raise app.UsageError(f"give a finished workdir and the picture to write; --questions in steps of {BATCH}")
    workdir, out = argv[1], Path(argv[2])
    config = stored_config(Path(workdir))
    task = get_task(config.task)
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        found = {d: answers_of(task, config.prompt, d, [config.init, workdir]) for d in DOMAINS}
    print(tables(found))
    draw_picture(found, out)


if __name__ == "__main__":
    app.run(main)
