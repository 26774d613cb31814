"""A GRPO step of ours and of TRL's GRPOTrainer: same weights, prompts, pictures and number of tokens.

    python benchmarks/grpo_step.py --prompts 2 --group 8 --new-tokens 64 --image 224 --beta 0.04 --threads 1 \
        --steps 5 --json out.json --against trl

Both sides first score one fixed batch; log-probabilities, loss and gradient norm must agree before anything is timed.
Then they take turns, each in its own process (--threads 1: pinned to one core). A step is what a user pays for a step:
pictures and texts to arrays, rollout, reference pass, rewards, update. Needs the extra `bench` for --against trl.
"""

import tempfile

import numpy as np
from common.floor import describe, floors, machine_rates, rates_side
from common.options import Options, count, parser, problem, weight
from common.parity import relative, same_tokens, within
from common.report import chosen, machine, save, side_by_side, summary
from common.turns import Clock, Turn, take_turns

TOLERANCE = {"log_probs": 2e-4, "loss": 1e-4, "grad_norm": 1e-3}  # absolute, relative, relative


def fixed_completions(options: Options, allowed: np.ndarray) -> dict[str, np.ndarray]:
    """Tokens [B, G, C], their mask, advantages [B, G] and noise [2, B, G, C] that turns log-probs into old and ref."""
    rng = np.random.default_rng(1)
    B, G, C = options.prompts, options.group, options.new_tokens
    lengths = rng.integers(C // 2 + 1, C + 1, (B, G, 1))
    return {
        "tokens": rng.choice(np.flatnonzero(allowed), (B, G, C)).astype(np.int32),
        "mask": np.arange(C) < lengths,
        "advantages": rng.normal(size=(B, G)).astype(np.float32),
        "noise": 0.1 * rng.normal(size=(2, B, G, C)).astype(np.float32),
    }


def reward(text: str) -> float:
    """Costs nothing and differs between completions: what is measured is the trainer."""
    return text.count("e") / (1 + len(text))


def least_cost(options: Options, side) -> dict[str, tuple[float, float]]:
    """(FLOPs, bytes) of each phase of a step of our side, counted."""
    from common.cost import Shapes, phases

    prompts = side.prompts()
    (B, P), (_, I, n) = prompts.tokens.shape, prompts.patch_mask.shape
    shapes = Shapes(B, options.group, P, options.new_tokens, I, n)
    least = phases(side.model.config, shapes)
    if not options.beta:
        del least["reference"]
    return {phase: (cost.flops, cost.bytes) for phase, cost in least.items()}


def our_side(options: Options, turn: Turn) -> None:
    import time
    from functools import partial

    import jax
    import jax.numpy as jnp
    import optax
    from common.ours import load, samplable

    from rrft_jax.config.defaults import base_config
    from rrft_jax.config.groups import read
    from rrft_jax.losses import Targets, group_advantages, grpo_loss
    from rrft_jax.losses.trl import trl
    from rrft_jax.models.score import score
    from rrft_jax.processing.processor import decode
    from rrft_jax.rollout.sampler import sample
    from rrft_jax.training.optimizer import make_optimizer
    from rrft_jax.training.step import Batch, init_state, make_forward, make_gradient, make_train_step

    turn.imported()
    B, G, C = options.prompts, options.group, options.new_tokens
    side = load(options)
    model, params = side.model, side.params

    # TRL scores with the softmax over all rows, so this side does too.
    forward = make_forward(model, None)
    loss = partial(grpo_loss, config=trl("grpo", beta=options.beta))
    optimizer, schedule = make_optimizer(read(base_config(), "optimizer"), 1000)
    program = {
        "prefill": jax.jit(lambda params, prompts: model.prefix_of(params, prompts)),
        "sample": jax.jit(partial(sample, side.decoder(side.allowed, C, stop_at_eos=False), group=G)),
        "reference": jax.jit(lambda params, *batch: score(model, params, *batch, None)[0]),
        "update": jax.jit(make_train_step(forward, loss, optimizer, schedule, options.micro_batches), donate_argnums=0),
    }

    def on_fixed_batch() -> dict:
        """What this side finds for the batch both sides score."""
        drawable = samplable(side.allowed, side.processor.eos_token_ids)
        prompts, fixed = side.prompts(), fixed_completions(options, drawable)
        tokens, mask = jnp.asarray(fixed["tokens"]), jnp.asarray(fixed["mask"])
        log_probs = program["reference"](params, prompts, tokens, mask)
        old, ref = (log_probs + noise for noise in fixed["noise"])
        targets = Targets(mask, jnp.ones((B, G)), jnp.asarray(fixed["advantages"]), old, ref)
        differentiate = jax.jit(make_gradient(forward, loss, options.micro_batches))
        value, _, gradient = differentiate(params, {}, Batch(prompts, tokens, mask, targets))
        return {
            "prompt": [row[keep].tolist() for row, keep in zip(prompts.tokens, prompts.token_mask, strict=True)],
            "log_probs": np.where(fixed["mask"], log_probs, 0), "loss": float(value),
            "grad_norm": float(optax.global_norm(gradient)),
        }  # fmt: skip

    found = on_fixed_batch() if options.against else None
    reference_params = params
    state = init_state(jax.tree.map(jnp.copy, params), optimizer)
    key = jax.random.key(0)

    def step(t: int, state: dict, clock: Clock) -> dict:
        with clock("host"):
            prompts = side.prompts()
        with clock("rollout"):
            rollouts = jax.block_until_ready(program["sample"](state["params"], prompts, jax.random.fold_in(key, t)))
        ref = None
        if options.beta:
            with clock("reference"):
                ref = program["reference"](reference_params, prompts, rollouts.tokens, rollouts.mask)
                jax.block_until_ready(ref)
        with clock("host"):
            texts = [decode(side.processor, row) for row in np.asarray(rollouts.tokens).reshape(B * G, C)]
            rewards = jnp.asarray([reward(text) for text in texts], jnp.float32).reshape(B, G)
            advantages, _ = group_advantages(rewards, row_weight=jnp.ones((B, G)))
            targets = Targets(rollouts.mask, jnp.ones((B, G)), advantages, None, ref)
        with clock("update"):
            batch = Batch(prompts, rollouts.tokens, rollouts.mask, targets)
            state, metrics = jax.block_until_ready(program["update"](state, {}, batch))
        assert bool(rollouts.mask.all()) and np.isfinite(float(metrics["loss"]))
        with clock("apart: prefill"):
            jax.block_until_ready(program["prefill"](state["params"], prompts))
        return state

    begin = time.perf_counter()
    state = step(0, state, Clock())
    first = time.perf_counter() - begin
    turn.ready(first_call_s=first, parity=found, least=least_cost(options, side))
    t = 1
    while turn.begin():
        clock = Clock()
        state = step(t, state, clock)
        t += 1
        phases = clock.phases
        rollout, prefilled = phases.pop("rollout"), phases["apart: prefill"]
        phases = {
            "host": phases.pop("host"),
            "prefill": prefilled,
            "decode": tuple(a - b for a, b in zip(rollout, prefilled, strict=True)),
            **phases,
        }
        turn.end(phases)


def trl_side(options: Options, turn: Turn) -> None:
    from common.torch_side import load_problem
    from common.trl_trainer import make_trainer

    turn.imported()
    problem = load_problem(options)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(options, *problem, reward, folder, turn.begin, turn.end)
        turn.ready(parity=trl_on_fixed_batch(options, trainer, *problem[:2]) if options.against else None)
        trainer.run()


def trl_on_fixed_batch(options: Options, trainer, questions: list, allowed: np.ndarray) -> dict:
    """What TRL's trainer finds for the batch both sides score."""
    import torch
    from common.torch_side import model_inputs

    B, G, C = options.prompts, options.group, options.new_tokens
    fixed = fixed_completions(options, allowed)
    flat = lambda x: torch.tensor(x.reshape(B * G, *x.shape[2:]))  # noqa: E731
    inputs = model_inputs(trainer.processing_class, questions, G)
    prompt_ids, prompt_mask = inputs.pop("input_ids"), inputs.pop("attention_mask")
    kinds = inputs.pop("mm_token_type_ids")
    tokens, mask = flat(fixed["tokens"]).long(), flat(fixed["mask"]).long()
    batch = {
        "prompt_ids": prompt_ids, "prompt_mask": prompt_mask, "completion_ids": tokens, "completion_mask": mask,
        "advantages": flat(fixed["advantages"]), **inputs, "num_images": [options.images] * (B * G),
        "mm_token_type_ids": torch.cat([kinds, torch.zeros_like(tokens)], 1),
    }  # fmt: skip
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    pictures = {k: batch[k] for k in (*inputs, "num_images", "mm_token_type_ids")}
    with torch.no_grad():
        log_probs = trainer._get_per_token_logps_and_entropies(
            trainer.model, torch.cat([prompt_ids, tokens], 1), torch.cat([prompt_mask, mask], 1), C, **pictures
        )[0]
    old, ref = (log_probs + flat(noise) for noise in fixed["noise"])
    loss = trainer._compute_loss(trainer.model, {**batch, "old_per_token_logps": old, "ref_per_token_logps": ref})
    loss.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in trainer.model.parameters() if p.grad is not None))
    trainer.model.zero_grad()
    return {
        "prompt": [ids[keep > 0].tolist() for ids, keep in zip(prompt_ids[::G], prompt_mask[::G], strict=True)],
        "log_probs": np.where(fixed["mask"], log_probs.numpy().reshape(B, G, C), 0), "loss": float(loss.detach()),
        "grad_norm": float(norm),
    }  # fmt: skip


def check_parity(a: dict, b: dict) -> dict[str, float]:
    """The differences, all within TOLERANCE, or SystemExit: two programs that disagree are not compared."""
    for p, (ours, peers) in enumerate(zip(a["prompt"], b["prompt"], strict=True)):
        same_tokens(f"prompt {p}", ours, peers)
    found = {
        "log_probs": float(np.abs(a["log_probs"] - b["log_probs"]).max()),
        "loss": relative(a["loss"], b["loss"]),
        "grad_norm": relative(a["grad_norm"], b["grad_norm"]),
    }
    return within(found, TOLERANCE)


def main(argv: list[str] | None = None) -> dict:
    flags = parser(__doc__, "trl")
    flags.add_argument("--beta", type=weight, default=0.04, help="of the KL penalty; 0 skips the reference pass")
    flags.add_argument("--micro-batches", type=count, default=1, help="of our update")
    args = flags.parse_args(argv)
    if args.prompts % args.micro_batches:
        flags.error(f"--micro-batches={args.micro_batches} must divide --prompts={args.prompts}")
    if args.against and args.group < 2:
        flags.error(f"--group={args.group}: TRL wants at least 2 completions of a prompt")
    parity = {}

    def agree(ready: dict[str, dict]) -> None:
        found = [ready[side].pop("parity") for side in sides]
        if args.against:
            parity.update(check_parity(*found))

    sides = {"ours": our_side} | ({"trl": trl_side} if args.against else {})
    with problem(flags, args) as options:
        reports = take_turns(
            sides | {"rates": rates_side}, options, args.steps, args.threads, core=args.core, agree=agree,
            aside=("rates",),
        )  # fmt: skip
    rates = machine_rates(reports.pop("rates"), args.threads)
    floor = floors(reports["ours"], reports["ours"].pop("least"), rates, args.threads)
    result = {"options": chosen(args), "machine": machine(), **reports, "rates": rates, "floors": floor}
    tokens = args.prompts * args.group * args.new_tokens
    for report in reports.values():
        spent = [sum(report["phases"][p][k] for p in ("prefill", "decode")) for k in ("cpu_s", "wall_s")]
        report["tokens_per_cpu_s"], report["tokens_per_s"] = (tokens / x for x in spent)
    if args.against:
        result["parity"] = parity
        result["ratio"] = reports["trl"]["cpu_s"] / reports["ours"]["cpu_s"]
    print(side_by_side(reports["ours"], reports.get("trl"), "trl"))
    for name, report in reports.items():
        print(summary(name, report) + f"; rollout {report['tokens_per_cpu_s']:,.0f} tokens per CPU-s")
    print(describe(floor, rates, reports.get("trl"), "trl", args.threads))
    if args.against:
        print("parity: " + ", ".join(f"{name} {x:.1e}" for name, x in result["parity"].items()))
        print(f"TRL / ours in CPU-seconds: {result['ratio']:.2f}")
    save(args.json, result)
    return result


if __name__ == "__main__":
    main()
