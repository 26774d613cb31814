"""Peak memory of a GRPO step, ours and TRL's, over prompts per step, at Qwen2-VL's vocabulary of 151,936.

    python benchmarks/memory.py --prompts 1 2 4 --against trl --json out.json

The model is the small one of grpo_step.py with the large vocabulary, so that logits weigh what they weigh in a real
one. Each figure is the peak resident memory of a process of its own, less what it held before it loaded the model
(interpreter and libraries). Sides run one after the other: nothing is timed here, and neither scores the batch with
which grpo_step.py checks parity, so that a peak is that of training steps alone.
"""

import argparse
import tempfile
from pathlib import Path

from common.checkpoint import make_checkpoint, model_config
from common.options import Options, a_peer, a_size, count
from common.report import chosen, machine, save, table
from common.turns import take_turns
from grpo_step import our_side, trl_side

MIB = 2**20


def main(argv: list[str] | None = None) -> dict:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--size", type=a_size, default="5.8M", help="of the random model, as in common/checkpoint.py")
    flags.add_argument("--vocabulary", type=count, default=151_936)
    flags.add_argument("--prompts", type=count, nargs="+", default=[1, 2, 4], help="prompts per step, one run each")
    flags.add_argument("--micro-batches", choices=("1", "prompts"), default="1", help="of our update")
    flags.add_argument("--group", type=count, default=8)
    flags.add_argument("--new-tokens", type=count, default=64)
    flags.add_argument("--image", type=count, default=112)
    flags.add_argument("--json", help="file to write")
    flags.add_argument("--against", type=a_peer("trl"), metavar="trl", help="measure this too (extra `bench`)")
    args = flags.parse_args(argv)
    if args.against and args.group < 2:
        flags.error(f"--group={args.group}: TRL wants at least 2 completions of a prompt")
    sides = {"ours": our_side} | ({"trl": trl_side} if args.against else {})
    rows, result = [], {"options": chosen(args), "machine": machine(), "peaks": []}
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = str(make_checkpoint(Path(scratch) / "model", model_config(args.size, args.vocabulary)))
        for prompts in args.prompts:
            parts = prompts if args.micro_batches == "prompts" else 1
            # Without `against` neither side scores the batch for parity.
            options = Options(checkpoint, prompts, args.group, args.new_tokens, args.image, 1, 106, 0.04, parts)
            peaks = {}
            for name, side in sides.items():
                report = take_turns({name: side}, options, steps=1, threads=0)[name]
                peaks[name] = (report["memory"] - report["memory_imports"]) / MIB
            result["peaks"].append({"prompts": prompts, **peaks})
            rows.append([prompts, *peaks.values(), *([peaks["trl"] / peaks["ours"]] if "trl" in peaks else [])])
    head = ["prompts", *(f"{name}, MiB" for name in sides), *(["trl / ours"] if "trl" in sides else [])]
    print(table(head, [[f"{x:.0f}" if isinstance(x, float) and x > 20 else x for x in row] for row in rows]))
    save(args.json, result)
    return result


if __name__ == "__main__":
    main()
