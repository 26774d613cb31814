"""A batch in which one completion is 8 times longer than all others: what its finished rows cost.

    python benchmarks/long_tail.py --prompts 8 --group 8 --new-tokens 256 --steps 3 --json out.json

Three ways for the same tokens: the decode loop as it is by default (every row runs as long as the longest), with
`compact` (live rows move into smaller batches), and the floor, where finished rows cost nothing: all rows as far as
the short ones go, and then one row alone. CPU-seconds of a whole rollout, prefill included, all on one core.

Real EOS tokens end the completions: with fixed keys the draws are known, and the script takes as EOS tokens that no
short completion drew too early and that the long one never drew.
"""

import numpy as np
from common.options import Options, at_least, parser, problem
from common.report import chosen, machine, save, table
from common.turns import Clock, Turn, take_turns

TIMES_LONGER = 8


def eos_for_one_long_row(tokens: np.ndarray, long: int, short: int) -> tuple[int, ...]:
    """EOS tokens for int32[N, C] tokens with which row `long` runs to its end and all others have at most `short`
    tokens, and as near to it as these draws allow."""
    others = np.delete(tokens, long, axis=0)
    for earliest in range(short - 1, -1, -1):
        bad = np.union1d(tokens[long], others[:, :earliest])
        ends = [row[earliest:short][~np.isin(row[earliest:short], bad)][-1:] for row in others]
        if all(len(end) for end in ends):
            return tuple(np.unique(np.concatenate(ends)).tolist())
    raise ValueError(f"no tokens end the other rows within {short}: give more --new-tokens, or a larger vocabulary")


def our_side(options: Options, turn: Turn) -> None:
    from functools import partial

    import jax
    from common.ours import load, samplable

    from rrft_jax.rollout.sampler import sample

    turn.imported()
    side = load(options)
    B, G, C = options.prompts, options.group, options.new_tokens
    short = C // TIMES_LONGER
    allowed = samplable(side.allowed, side.processor.eos_token_ids)
    prompts, key = side.prompts(), jax.random.key(0)

    def program(prompts, length=C, group=G, **fixed):
        jitted = jax.jit(partial(sample, side.decoder(allowed, length, **fixed), group=group))
        return lambda: jax.block_until_ready(jitted(side.params, prompts, key))

    forever = {"eos_token_ids": side.processor.eos_token_ids, "stop_at_eos": False}
    drawn = np.asarray(program(prompts, **forever)().tokens).reshape(B * G, C)
    eos = eos_for_one_long_row(drawn, 0, short)
    one = jax.tree.map(lambda x: x[:1], prompts)
    ways = {
        "as it is": program(prompts, eos_token_ids=eos),
        **{f"compact {k}": program(prompts, eos_token_ids=eos, compact=k) for k in options.compact},
        "apart: all rows, short": program(prompts, short, **forever),
        "apart: one row, short": program(one, short, 1, **forever),
        "apart: one row, long": program(one, C, 1, **forever),
    }
    found = {name: way() for name, way in ways.items()}
    lengths = np.asarray(found["as it is"].mask).sum(-1).reshape(-1)
    assert lengths[0] == C and lengths[1:].max() <= short, lengths
    whole = np.asarray(found["as it is"].tokens)
    same = {name: bool((np.asarray(out.tokens) == whole).all()) for name, out in found.items() if "apart" not in name}
    turn.ready(lengths=lengths.tolist(), same_tokens=same)
    while turn.begin():
        clock = Clock()
        for name, way in ways.items():
            with clock(name):
                way()
        turn.end(clock.phases)


def main(argv: list[str] | None = None) -> dict:
    flags = parser(__doc__, None, prompts=8, new_tokens=256, image=56, steps=3)
    flags.add_argument("--compact", type=at_least(2), nargs="+", default=[8], help="factors to measure")
    args = flags.parse_args(argv)
    if args.new_tokens < TIMES_LONGER:
        flags.error(f"--new-tokens={args.new_tokens}: give {TIMES_LONGER} or more: one completion is that much longer")
    with problem(flags, args) as options:
        report = take_turns({"ours": our_side}, options, args.steps, args.threads, core=args.core)["ours"]
    cpu = {name: phase["cpu_s"] for name, phase in report["phases"].items()}
    floor = cpu["apart: all rows, short"] + cpu["apart: one row, long"] - cpu["apart: one row, short"]
    ways = {name: seconds for name, seconds in cpu.items() if "apart" not in name} | {"floor": floor}
    times = {name: {"cpu_s": seconds, "of_as_it_is": seconds / ways["as it is"]} for name, seconds in ways.items()}
    lengths = report["lengths"]
    print(f"{len(lengths)} completions, one of {max(lengths)} tokens, the others of {np.mean(lengths[1:]):.1f}")
    print(table(["", "CPU-s", "of as it is"], [[name, *row.values()] for name, row in times.items()]))
    print(f"same tokens: {report['same_tokens']}; {report['busy_steps']} of {report['steps']} steps not quiet")
    result = {"options": chosen(args), "machine": machine(), "ours": report, "ways": times}
    save(args.json, result)
    return result


if __name__ == "__main__":
    main()
