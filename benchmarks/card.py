"""What a recipe takes of one card: peak memory and seconds of its programs, with made-up weights, next to the plan.

    python benchmarks/card.py --size=qwen2.5-vl-7b --card=24gb --json docs/benchmarks/card_24gb.json   # on a GPU
    python benchmarks/card.py --size=qwen3-vl-2b --set model.trained_dtype=bfloat16 train.prompts=8
    python benchmarks/card.py --tiny                                                                   # on a CPU

The arrays of the run are made on the device from their shapes (rrft_jax/planning/shapes.py), codes of a base in 4 or 8
bits at once as codes, so no weights and no data are needed. Then what a step runs, one after the other: sampler,
reference pass and update, the last two times. Peak memory is the device's own count (memory_stats), which a CPU does
not keep. XLA_PYTHON_CLIENT_MEM_FRACTION=.95 gives the run what the plan counts with. Exit code 1: a program failed; the
JSON says which.
"""

import argparse
import sys
import time
from ast import literal_eval
from pathlib import Path

from common.options import count
from common.report import chosen, machine, save

RECIPE = Path(__file__).parents[1] / "configs" / "grpo_counting.py"
TINY = {
    "rollout.group": 2, "rollout.max_completion_length": 4, "buckets.prompt": (24,), "buckets.patches": (32,),
    "train.prompts": 2, "train.micro_batches": 0, "lora.rank": 2, "lora.parts": ("language", "vision"), "eval.batch": 2,
    "loss.beta": 0.04,
}  # fmt: skip


def field(text: str) -> tuple[str, object]:
    """The type of --set: a field of the config and its value, name=value."""
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise argparse.ArgumentTypeError(f"{text}: give group.field=value, such as train.prompts=8")
    try:
        return name, literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def filled_like(tree):
    """Arrays of the shapes of a tree, made on the device by one program: small numbers, zeros, and true."""
    import jax
    import jax.numpy as jnp

    def one(x: jax.ShapeDtypeStruct) -> jax.Array:
        value = 0.01 if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype == bool
        return jnp.full(x.shape, value, x.dtype)

    return jax.jit(lambda: jax.tree.map(one, tree))()


def measure(config, sizes, repeats: int, found: dict) -> None:
    """Puts the plan, and seconds and peak bytes after each program, into `found`."""
    import jax

    from rrft_jax.models.attention import choose
    from rrft_jax.models.registry import make_model
    from rrft_jax.parallel.mesh import make_mesh
    from rrft_jax.planning.device_memory import make_plan
    from rrft_jax.planning.shapes import make_shapes, stand_in_tokens
    from rrft_jax.training.algorithms import get_algorithm
    from rrft_jax.training.critic import optimizer_for
    from rrft_jax.training.parameters import combine
    from rrft_jax.training.programs import make_programs

    device = jax.devices()[0]
    mesh = make_mesh(devices=[device])
    found |= {"device": device.device_kind, "bytes_limit": (device.memory_stats() or {}).get("bytes_limit")}
    plan = make_plan(config, sizes, mesh)
    found["planned"] = {name: getattr(plan, name) for name in ("resident", "sampling", "updating")}
    attention = choose(config.model.attention, device.platform, config.model.dtype)
    model, algorithm = make_model(sizes, config.model.dtype, config.model.remat, attention), get_algorithm("grpo")
    shapes = make_shapes(config, sizes, optimizer_for(config)[0], mesh)
    programs = make_programs(config, algorithm.loss(config), model, stand_in_tokens(sizes), shapes.layout)

    def run(name: str, call, times: int):
        took = []
        for _ in range(times):
            begin = time.perf_counter()
            out = jax.block_until_ready(call())
            took.append(time.perf_counter() - begin)
        peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
        found["programs"][name] = {"first_call_s": took[0], "seconds": min(took[1:], default=None), "peak_bytes": peak}
        return out

    state, frozen, batch = filled_like((shapes.state, shapes.frozen, shapes.batch))
    own = shapes.reference and filled_like(shapes.copied)  # of a model that is trained itself; () with LoRA
    run("sample", lambda: programs.sample(combine(state["params"], frozen), batch.prompts, jax.random.key(0)), repeats)
    if shapes.reference is not None:
        base = shared_reference(frozen, own, shapes.reference)
        run("reference", lambda: programs.reference(base, batch.prompts, batch.tokens, batch.token_mask), repeats)

    def update():
        nonlocal state
        state, metrics = programs.step(state, frozen, batch)
        return metrics["loss"]

    found["finite"] = bool(abs(float(run("update", update, repeats))) < float("inf"))


def shared_reference(frozen: dict, own: dict, like: dict) -> dict:
    """The reference's leaves out of those that it shares with the run and its own."""
    from rrft_jax.models.paths import from_paths, leaf_paths

    have = leaf_paths(frozen) | leaf_paths(own or {})
    return from_paths({path: have[path] for path in leaf_paths(like)})


def main(argv: list[str] | None = None) -> dict:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--size", default="qwen2.5-vl-7b", help="a published size, as configs take it")
    flags.add_argument("--card", default="any", help="16gb or 24gb: the recipe's settings for such a card")
    flags.add_argument("--set", nargs="*", type=field, default=[], metavar="FIELD=VALUE", help="fields of the config")
    flags.add_argument("--repeats", type=count, default=3, help="calls of each program")
    flags.add_argument("--tiny", action="store_true", help="nano and small shapes, for a CPU")
    flags.add_argument("--json", help="file to write")
    args = flags.parse_args(argv)
    from rrft_jax.config.command_line import ConfigError, load_config
    from rrft_jax.pretrained import read_sizes

    try:
        config = load_config(f"{RECIPE}:{'nano' if args.tiny else f'{args.size},{args.card}'}")
        for name, value in {**(TINY if args.tiny else {}), **dict(args.set)}.items():
            group, _, last = name.rpartition(".")
            of = config
            for part in group.split("."):
                of = of[part]
            if last not in of:
                raise ConfigError(f"--set {name}: {group} has no field {last}; it has {', '.join(of)}")
            of[last] = value
        sizes = read_sizes(config.init)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        flags.error(str(error))
    found = {"options": chosen(args), "machine": machine(), "programs": {}}
    try:
        measure(config, sizes, args.repeats, found)
    except Exception as error:  # what was measured before it is worth keeping
        found["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:2000]
        print(f"error: {found['error']}", file=sys.stderr)
    save(args.json, found)
    for name, one in found["programs"].items():
        peak = "" if one["peak_bytes"] is None else f", peak {one['peak_bytes'] / 2**30:.2f} GiB"
        print(f"{name}: {one['seconds'] or one['first_call_s']:.3f} s{peak}")
    return found


if __name__ == "__main__":
    sys.exit("error" in main())
