"""Sampling G completions of every prompt: ours against `transformers.generate`, same weights, prompts and pictures.

    python benchmarks/generate.py --group 8 --against transformers --json out.json

Measured from token ids and patches on: tower, prompt and `--new-tokens` tokens of every completion, temperature 1, no
EOS. Before anything is timed both continue the first prompt greedily and must give the same tokens.
"""

import numpy as np
from common.options import Options, parser, problem
from common.parity import same_tokens
from common.report import chosen, machine, save, side_by_side, summary
from common.turns import Clock, Turn, take_turns


def our_side(options: Options, turn: Turn) -> None:
    import time
    from functools import partial

    import jax
    from common.ours import load, samplable

    from rrft_jax.rollout.sampler import sample
    from rrft_jax.rollout.sampling import Sampling

    turn.imported()
    side = load(options)
    allowed = samplable(side.allowed, side.processor.eos_token_ids)
    # `samplable` forbids every EOS, so the loop cannot stop early.
    fixed = {"length": options.new_tokens, "stop_at_eos": False}
    draw = jax.jit(partial(sample, side.decoder(side.allowed, **fixed), group=options.group))
    greedy = jax.jit(partial(sample, side.decoder(allowed, **fixed, sampling=Sampling(0.0)), group=1))
    prompts, key = side.prompts(), jax.random.key(0)
    found = np.asarray(greedy(side.params, prompts, key).tokens)[0, 0].tolist()
    begin = time.perf_counter()
    jax.block_until_ready(draw(side.params, prompts, key))
    turn.ready(first_call_s=time.perf_counter() - begin, greedy=found)
    t = 0
    while turn.begin():
        clock = Clock()
        with clock("generate"):
            jax.block_until_ready(draw(side.params, prompts, jax.random.fold_in(key, t)))
        t += 1
        turn.end(clock.phases)


def transformers_side(options: Options, turn: Turn) -> None:
    import torch
    from common.torch_side import load_model, load_problem, load_processor, model_inputs

    turn.imported()
    questions, allowed, _ = load_problem(options)
    model, processor = load_model(options.checkpoint).eval(), load_processor(options.checkpoint)
    C = options.new_tokens
    fixed = {"min_new_tokens": C, "max_new_tokens": C, "suppress_tokens": np.flatnonzero(~allowed).tolist()}
    inputs = model_inputs(processor, questions, 1)
    with torch.no_grad():
        out = model.generate(**model_inputs(processor, questions[:1], 1), do_sample=False, **fixed)
        turn.ready(greedy=out[0, -C:].tolist())
        while turn.begin():
            clock = Clock()
            with clock("generate"):
                model.generate(
                    **inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                    num_return_sequences=options.group, **fixed,
                )  # fmt: skip
            turn.end(clock.phases)


def check_parity(ready: dict[str, dict]) -> None:
    """SystemExit where the sides continue the first prompt differently."""
    same_tokens("the greedy continuation", *(ready[side]["greedy"] for side in ("ours", "transformers")))


def main(argv: list[str] | None = None) -> dict:
    flags = parser(__doc__, "transformers")
    args = flags.parse_args(argv)
    sides = {"ours": our_side} | ({"transformers": transformers_side} if args.against else {})
    with problem(flags, args) as options:
        agree = check_parity if args.against else None
        reports = take_turns(sides, options, args.steps, args.threads, core=args.core, agree=agree)
    for report in reports.values():
        del report["greedy"]
    result = {"options": chosen(args), "machine": machine(), **reports}
    tokens = args.prompts * args.group * args.new_tokens
    for report in reports.values():
        report["tokens_per_cpu_s"], report["tokens_per_s"] = tokens / report["cpu_s"], tokens / report["wall_s"]
    print(side_by_side(reports["ours"], reports.get("transformers"), "transformers"))
    for name, report in reports.items():
        print(summary(name, report) + f"; {report['tokens_per_cpu_s']:,.0f} tokens per CPU-s")
    if args.against:
        result["ratio"] = reports["transformers"]["cpu_s"] / reports["ours"]["cpu_s"]
        print(f"greedy tokens equal; transformers / ours in CPU-seconds: {result['ratio']:.2f}")
    save(args.json, result)
    return result


if __name__ == "__main__":
    main()
