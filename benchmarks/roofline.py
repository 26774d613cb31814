"""How close each phase comes to its minimum cost, and how that cost grows.

    python benchmarks/roofline.py --size 38M --json out.json
    python benchmarks/roofline.py --size 5.8M --sweep group images length vocabulary layers --svg growth.svg

For prefill, decode, reference and update: the least FLOPs and bytes (common/cost.py), the FLOPs of the products in the
compiled program (common/hlo.py), the time, and achieved / floor at this machine's own matmul and copy rates: the
largest of those measured before and after each phase, since others on the machine slow them from minute to minute. The
process is pinned to one core and counts CPU-seconds, unless --threads 0. With --sweep it prints the growth of the
time and that of the least FLOPs at the same points.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator

from common.options import a_core, a_size, count
from common.report import chosen, machine, save, table
from common.turns import pin, usable_cores

SWEEPS = {
    "group": (1, 2, 4, 8, 16, 32),
    "images": (1, 2, 4),
    "length": (16, 32, 64, 128, 256),
    "vocabulary": (2048, 8192, 32768),
    "layers": (2, 4, 8, 16),
}
PHASES = ("prefill", "decode", "reference", "update")
KINDS = ("seconds", "least_gflop")


def measure(
    config, shapes, remat: str, clock, repeats: int, count: bool, around: Callable[[], None] = lambda: None
) -> dict[str, dict[str, float]]:
    """Seconds of each phase by `clock`, its least cost, and with `count` the FLOPs of its compiled products.

    around: called before and after each phase is timed.
    """
    from functools import partial

    import jax
    import jax.numpy as jnp
    from common.cost import phases
    from common.hlo import dot_flops
    from common.problem import random_prompts
    from common.rates import seconds

    from rrft_jax.losses import Targets, grpo_loss
    from rrft_jax.losses.trl import trl
    from rrft_jax.models.registry import make_model
    from rrft_jax.models.score import score
    from rrft_jax.rollout.decoder import Decoder
    from rrft_jax.rollout.sampler import sample
    from rrft_jax.training.step import Batch, make_forward, make_gradient

    s, model = shapes, make_model(config, remat=remat)
    params = model.init_params(jax.random.key(0))
    prompts = jax.tree.map(jnp.asarray, random_prompts(config, s))
    allowed = jnp.arange(config.vocab_size) < config.vocab_size - 64
    tokens = jax.random.randint(jax.random.key(1), (s.B, s.G, s.C), 0, 100)
    mask, rows = jnp.ones(tokens.shape, bool), jnp.ones((s.B, s.G))
    batch = Batch(prompts, tokens, mask, Targets(mask, rows, rows, None, jnp.zeros(tokens.shape)))
    loss = partial(grpo_loss, config=trl("grpo", beta=0.04))
    decoder = Decoder(model, allowed, (config.eos_token_id,), config.pad_token_id, s.C, stop_at_eos=False)
    draw = partial(sample, decoder, group=s.G)
    programs = {
        "prefill": (lambda p, x: model.prefix_of(p, x), (params, prompts)),
        "decode": (lambda p, x, k: draw(p, x, k), (params, prompts, jax.random.key(0))),
        "reference": (lambda p, x, t, m: score(model, p, x, t, m, None)[0], (params, prompts, tokens, mask)),
        # Without the optimizer, whose products are none.
        "update": (make_gradient(make_forward(model, None), loss), (params, {}, batch)),
    }
    found = {}
    for name, (program, arguments) in programs.items():
        compiled = jax.jit(program).lower(*arguments).compile()
        around()
        found[name] = {"seconds": seconds(compiled, *arguments, repeats=repeats, clock=clock)}
        if count:
            found[name]["compiled_flops"] = dot_flops(compiled.as_text(), unknown_trips=s.C)
        around()
    for key in found["decode"]:  # sampling starts with its own prefill
        found["decode"][key] -= found["prefill"][key]
    for name, cost in phases(config, s).items():
        found[name] |= {"least_flops": cost.flops, "least_bytes": cost.bytes}
    return found


def floors(config, shapes, args, clock) -> dict:
    from common.cost import Cost, rematerialised
    from common.rates import copy_rate, matmul_rate

    measured = {"matmul_flops_per_s": [], "copy_bytes_per_s": []}

    def around() -> None:
        measured["matmul_flops_per_s"].append(matmul_rate(clock=clock))
        measured["copy_bytes_per_s"].append(copy_rate(clock=clock))

    found = measure(config, shapes, args.remat, clock, args.repeats, count=True, around=around)
    rates = {name: max(values) for name, values in measured.items()}
    for name, one in found.items():
        one["floor_s"] = Cost(one["least_flops"], one["least_bytes"]).floor(*rates.values())
        again = rematerialised(config, shapes, args.remat) if name == "update" else 0.0
        one["compiled_over_least"] = one["compiled_flops"] / (one["least_flops"] + again)
        one["of_matmul_rate"] = one["least_flops"] / one["seconds"] / rates["matmul_flops_per_s"]
    print(f"{'one core' if args.threads else 'all cores'}: {describe(rates, measured)}")
    print_floors(found)
    return {"rates": {**rates, "measured": measured}, "phases": found}


def describe(rates: dict[str, float], measured: dict[str, list[float]]) -> str:
    matmul, copy = (rates[name] / 1e9 for name in measured)
    least = [min(values) / 1e9 for values in measured.values()]
    return (
        f"matmul {matmul:.0f} GFLOP/s, copy {copy:.1f} GB/s, the largest of {len(measured['copy_bytes_per_s'])} "
        f"measurements (the least {least[0]:.0f} and {least[1]:.1f})"
    )


def print_floors(found: dict[str, dict[str, float]]) -> None:
    head = ["phase", "least GFLOP", "compiled / (least + remat)", "seconds", "floor", "seconds / floor"]
    rows = [
        [
            name, one["least_flops"] / 1e9, one["compiled_over_least"], one["seconds"], one["floor_s"],
            one["seconds"] / one["floor_s"], f"{one['of_matmul_rate']:.0%}",
        ]
        for name, one in found.items()
    ]  # fmt: skip
    print(table([*head, "of matmul rate"], rows))
    for name, one in found.items():
        if one["of_matmul_rate"] > 1:
            print(
                f"NOT A FLOOR: {name} ran at {one['of_matmul_rate']:.1%} of the matmul rate, which was measured too "
                "low, and so the floors are too high: something slowed the machine then"
            )


def points(sweep: str, size: str, shapes) -> Iterator[tuple[int, object, object]]:
    """(value, config, shapes) for each value of a sweep."""
    from dataclasses import replace

    from common.checkpoint import model_config

    for value in SWEEPS[sweep]:
        config, s = model_config(size), shapes
        match sweep:
            case "group":
                s = replace(s, G=value)
            case "images":
                s = replace(s, I=value, P=s.P + (value - s.I) * s.n // 4)
            case "length":
                s = replace(s, C=value)
            case "vocabulary":
                config = model_config(size, vocabulary=value)
            case "layers":
                config = model_config(size, layers=value)
        yield value, config, s


def grow(sweep: str, shapes, args, clock) -> tuple[list[dict], dict[str, dict]]:
    """Seconds and least GFLOP of every phase for each value, and the growth of both."""
    found = []
    for value, config, s in points(sweep, args.size, shapes):
        one = measure(config, s, args.remat, clock, args.repeats, count=False)
        least = {name: one[name]["least_flops"] / 1e9 for name in PHASES}
        found.append({"value": value, **{name: one[name]["seconds"] for name in PHASES}, "least_gflop": least})
    steeper = growth(found)
    rows = []
    for name in PHASES:
        seconds, least = ("" if steeper[name][kind] is None else steeper[name][kind] for kind in KINDS)
        rows.append([name, *(f[name] for f in found), seconds])
        rows.append(["  least GFLOP", *(f["least_gflop"][name] for f in found), least])
    print(table([sweep, *(str(f["value"]) for f in found), "last slope / earlier"], rows))
    return found, steeper


def growth(found: list[dict]) -> dict[str, dict[str, float | None]]:
    """How many times steeper each phase grows over the last two values than before them, in seconds and in least FLOPs.

    A linear cost gives 1, since each further unit costs the same at the end as before; None for a cost that hardly
    grows. Time that is steeper than linear can be improved only where the counted cost is not steeper.
    """
    values = [f["value"] for f in found]

    def steeper(costs: list[float]) -> float | None:
        before = (costs[-2] - costs[0]) / (values[-2] - values[0])
        return (costs[-1] - costs[-2]) / (values[-1] - values[-2]) / before if before > 1e-6 else None

    return {
        name: {
            "seconds": steeper([f[name] for f in found]),
            "least_gflop": steeper([f["least_gflop"][name] for f in found]),
        }
        for name in PHASES
    }


COLOURS = ("#1b6ca8", "#c8553d", "#4b8b3b", "#7a4f9a")


def svg(sweeps: dict[str, list[dict]]) -> str:
    """One panel a sweep, seconds over value, both from 0, a line for each phase."""
    wide, high, parts = 240, 180, []
    for k, (sweep, found) in enumerate(sweeps.items()):
        left, top = 50 + k * (wide + 60), 30
        far, most = found[-1]["value"], max(f[name] for f in found for name in PHASES)
        parts.append(
            f'<text x="{left}" y="{top - 10}">seconds (0 ... {most:.2g}) over {sweep} (0 ... {far})</text>'
            f'<rect x="{left}" y="{top}" width="{wide}" height="{high}" fill="none" stroke="#999"/>'
        )
        for name, colour in zip(PHASES, COLOURS, strict=True):
            line = " ".join(
                f"{left + wide * f['value'] / far:.1f},{top + high * (1 - f[name] / most):.1f}" for f in found
            )
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for k, (name, colour) in enumerate(zip(PHASES, COLOURS, strict=True)):
        parts.append(f'<text x="{50 + 110 * k}" y="{high + 60}" fill="{colour}">{name}</text>')
    width = 50 + len(sweeps) * (wide + 60)
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{high + 80}" font-family="sans-serif" ' \
        f'font-size="12">\n{body}\n</svg>\n'  # fmt: skip


def main(argv: list[str] | None = None) -> dict:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--size", type=a_size, default="38M", help="a name in common/checkpoint.py")
    flags.add_argument("--prompts", type=count, default=2)
    flags.add_argument("--group", type=count, default=8)
    flags.add_argument("--new-tokens", type=count, default=64)
    flags.add_argument("--text-tokens", type=count, default=106)
    flags.add_argument("--image", type=count, default=224, help="side of a picture in pixels, a multiple of 28")
    flags.add_argument("--images", type=count, default=1)
    flags.add_argument("--remat", default="dots", choices=("none", "dots", "full"), help="policy of the update")
    flags.add_argument("--repeats", type=count, default=3)
    flags.add_argument("--threads", type=int, default=1, choices=(0, 1), help="1: pinned to one core; 0: all cores")
    flags.add_argument("--core", type=a_core, default=usable_cores()[0])
    flags.add_argument("--sweep", nargs="+", choices=sorted(SWEEPS), default=[], help="instead of the floors")
    flags.add_argument("--svg", help="picture of the sweeps to write")
    flags.add_argument("--json", help="file to write")
    args = flags.parse_args(argv)
    if args.image % 28:
        flags.error(f"--image={args.image} must be a multiple of 28: no picture is resized here")
    if args.svg and not args.sweep:
        flags.error("--svg draws sweeps: name some with --sweep")
    if args.threads == 1:
        os.environ |= pin(args.core)
    from common.checkpoint import model_config
    from common.cost import Shapes

    clock = time.process_time if args.threads == 1 else time.perf_counter
    n = (args.image // 14) ** 2
    s = Shapes(args.prompts, args.group, args.text_tokens + args.images * n // 4, args.new_tokens, args.images, n)
    result = {"options": chosen(args), "machine": machine()}
    if args.sweep:
        result |= {"sweeps": {}, "growth": {}}
        for sweep in args.sweep:
            result["sweeps"][sweep], result["growth"][sweep] = grow(sweep, s, args, clock)
        if args.svg:
            with open(args.svg, "w", encoding="utf-8") as file:
                file.write(svg(result["sweeps"]))
    else:
        result |= floors(model_config(args.size), s, args, clock)
    save(args.json, result)
    return result


if __name__ == "__main__":
    main()
