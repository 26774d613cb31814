"""The table of docs/memory.md: which model trains how on which card, by the memory plan. Nothing is compiled or run.

    python scripts/memory_table.py                        # all rows, a minute
    python scripts/memory_table.py --only=qwen2.5-vl-7b

Each row is GRPO at the same shapes (SHAPES), one line a method: GiB while sampling and while updating, and the smallest
card of rrft_jax/parallel/chips.py that holds both. Compared with compilers in docs/memory.md.
"""

from absl import app, flags

_ONLY = flags.DEFINE_list("only", [], "Names of sizes; empty: all.")

# G = 8, a picture of 480,000 pixels, a prompt of 1,024 tokens, 512 drawn ones; 8 prompts a step, one at a time in the
# update. Held-out prompts are evaluated in batches of the same size.
SHAPES = {
    "rollout.group": 8, "rollout.max_completion_length": 512, "buckets.prompt": (1024,), "buckets.images": (1,),
    "train.prompts": 8, "train.micro_batches": 0, "eval.batch": 8,
}  # fmt: skip
LORA = {"lora.rank": 16, "lora.parts": ("language", "vision")}
METHODS = {
    "full, float32": {},
    "full, float32, offload": {"optimizer.offload": True},
    "full, bfloat16": {"model.trained_dtype": "bfloat16"},
    "full, bfloat16, offload": {"model.trained_dtype": "bfloat16", "optimizer.offload": True},
    "LoRA, base bfloat16": {**LORA, "model.frozen_dtype": "bfloat16"},
    "LoRA, base int8": {**LORA, "model.frozen_dtype": "int8"},
    "LoRA, base nf4": {**LORA, "model.frozen_dtype": "nf4"},
}


def planned(size: str, method: dict):
    """The plan of a method for one GPU, as `launch/compile.py --plan` makes it."""
    from rrft_jax.config.command_line import load_config
    from rrft_jax.parallel.chips import topology_devices
    from rrft_jax.parallel.mesh import make_mesh
    from rrft_jax.planning.device_memory import make_plan
    from rrft_jax.pretrained import read_sizes

    config = load_config(f"configs/grpo_counting.py:{size}")
    for name, value in {**SHAPES, **method}.items():
        group, _, field = name.partition(".")
        config[group][field] = value
    config.buckets.patches = config.buckets.patches[-1:]
    sizes, (devices, _) = read_sizes(size), topology_devices("gpu:141")
    return make_plan(config, sizes, make_mesh(**config.mesh, devices=devices, kv_heads=sizes.num_kv_heads))


def smallest_card(most: int) -> str:
    """The smallest card, by its name in GB, that holds so many bytes."""
    from rrft_jax.parallel.chips import CARDS, topology_devices

    fits = [size for size in CARDS if most <= topology_devices(f"gpu:{size}")[1].hbm]
    return f"{min(fits)} GB" if fits else "none"


def main(argv):
    from rrft_jax.models.published_sizes import SIZES
    from rrft_jax.parallel.chips import GIB

    if unknown := set(_ONLY.value) - set(SIZES):
        raise app.UsageError(f"--only={','.join(sorted(unknown))}: choose from {', '.join(SIZES)}")
    print("| model | " + " | ".join(METHODS) + " |")
    print("| --- |" + " --- |" * len(METHODS))
    for size in _ONLY.value or SIZES:
        cells = []
        for method in METHODS.values():
            plan = planned(size, method)
            sampling = max(plan.sampling, plan.evaluating)
            cells.append(f"{sampling / GIB:.1f} / {plan.updating / GIB:.1f}: {smallest_card(plan.most)}")
        print(f"| `{size}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    app.run(main)
