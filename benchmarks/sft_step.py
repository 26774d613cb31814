"""A supervised step, forward, backward and AdamW: ours against `transformers`, same weights and batch.

    python benchmarks/sft_step.py --prompts 8 --new-tokens 64 --against transformers --json out.json

Every prompt has one answer of --new-tokens tokens and the loss is the mean over those, in float32, with the gradient
clipped to norm 1. Loss and gradient norm of the first step must agree before anything is timed.
"""

import numpy as np
from common.options import Options, count, parser, problem
from common.parity import relative, within
from common.report import chosen, machine, save, side_by_side, summary
from common.turns import Clock, Turn, take_turns

LEARNING_RATE = 1e-6
TOLERANCE = {"loss": 1e-4, "grad_norm": 1e-3}  # both relative


def answers(options: Options, allowed: np.ndarray) -> np.ndarray:
    """int32[B, C]"""
    shape = (options.prompts, options.new_tokens)
    return np.random.default_rng(1).choice(np.flatnonzero(allowed), shape).astype(np.int32)


def our_side(options: Options, turn: Turn) -> None:
    import time

    import jax
    import jax.numpy as jnp
    from common.ours import load, samplable

    from rrft_jax.config.groups import Optimizer, Schedule
    from rrft_jax.losses import Targets, sft_loss
    from rrft_jax.training.optimizer import make_optimizer
    from rrft_jax.training.step import Batch, init_state, make_forward, make_train_step

    turn.imported()
    side = load(options)
    tokens = jnp.asarray(answers(options, samplable(side.allowed, side.processor.eos_token_ids)))[:, None]
    optimizer, schedule = make_optimizer(Optimizer(schedule=Schedule("constant", LEARNING_RATE)), 1000)
    update = make_train_step(make_forward(side.model, None), sft_loss, optimizer, schedule, options.micro_batches)
    update = jax.jit(update, donate_argnums=0)
    mask = jnp.ones(tokens.shape, bool)
    batch = Batch(side.prompts(), tokens, mask, Targets(mask, jnp.ones(tokens.shape[:2])))
    begin = time.perf_counter()
    state, metrics = jax.block_until_ready(update(init_state(side.params, optimizer), {}, batch))
    turn.ready(
        first_call_s=time.perf_counter() - begin, loss=float(metrics["loss"]), grad_norm=float(metrics["grad_norm"])
    )
    while turn.begin():
        clock = Clock()
        with clock("update"):
            state, metrics = jax.block_until_ready(update(state, {}, batch))
        turn.end(clock.phases)


def transformers_side(options: Options, turn: Turn) -> None:
    import torch
    from common.torch_side import load_model, load_problem, load_processor, model_inputs

    turn.imported()
    questions, allowed, _ = load_problem(options)
    model, processor = load_model(options.checkpoint).train(), load_processor(options.checkpoint)
    tokens = torch.tensor(answers(options, allowed)).long()
    inputs = model_inputs(processor, questions, 1)
    prompt = inputs["input_ids"]
    inputs["labels"] = torch.cat([torch.full_like(prompt, -100), tokens], 1)
    inputs["input_ids"] = torch.cat([prompt, tokens], 1)
    for name, fill in (("attention_mask", torch.ones_like), ("mm_token_type_ids", torch.zeros_like)):
        inputs[name] = torch.cat([inputs[name], fill(tokens)], 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)

    def step() -> tuple[float, float]:
        loss = model(**inputs).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach()), float(norm)

    loss, norm = step()
    turn.ready(loss=loss, grad_norm=norm)
    while turn.begin():
        clock = Clock()
        with clock("update"):
            step()
        turn.end(clock.phases)


def check_parity(ready: dict[str, dict]) -> dict[str, float]:
    """The differences of the first step, all within TOLERANCE, or SystemExit."""
    ours, peers = ready["ours"], ready["transformers"]
    return within({name: relative(ours[name], peers[name]) for name in TOLERANCE}, TOLERANCE)


def main(argv: list[str] | None = None) -> dict:
    flags = parser(__doc__, "transformers", grouped=False, prompts=8, group=1)
    flags.add_argument("--micro-batches", type=count, default=1, help="of our update")
    args = flags.parse_args(argv)
    if args.prompts % args.micro_batches:
        flags.error(f"--micro-batches={args.micro_batches} must divide --prompts={args.prompts}")
    sides = {"ours": our_side} | ({"transformers": transformers_side} if args.against else {})
    agree = check_parity if args.against else None
    with problem(flags, args) as options:
        reports = take_turns(sides, options, args.steps, args.threads, core=args.core, agree=agree)
    result = {"options": chosen(args), "machine": machine(), **reports}
    print(side_by_side(reports["ours"], reports.get("transformers"), "transformers"))
    for name, report in reports.items():
        print(summary(name, report))
    if args.against:
        result["parity"] = check_parity(reports)
        result["ratio"] = reports["transformers"]["cpu_s"] / reports["ours"]["cpu_s"]
        print("parity: " + ", ".join(f"{name} {x:.1e}" for name, x in result["parity"].items()))
        print(f"transformers / ours in CPU-seconds: {result['ratio']:.2f}")
    save(args.json, result)
    return result


if __name__ == "__main__":
    main()
