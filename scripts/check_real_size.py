"""Measures a real checkpoint on this machine; prints one JSON object a part. Each part is a process of its own.

    python scripts/check_real_size.py --checkpoint=/tmp/qwen2vl-2b --out=/tmp/real_size \
        --parts=load,export,float32,bfloat16,transformers,compare,sft,grpo

    load          reads the weights by slice; peak of anonymous memory against its bound
    export        writes them back as a sharded directory and compares the files byte by byte
    float32, bfloat16   logits of one picture's prompt and greedy tokens, products in this dtype, weights in bfloat16
    transformers  the same by transformers in float32; needs torch (--torch_python names the interpreter that has it)
    compare       differences of what float32 and bfloat16 left behind from transformers', and the greedy tokens
    sft, grpo     one LoRA step by launch/train.py, start and export included

Peak memory is the largest RssAnon in /proc, sampled every 20 ms (Linux).
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from absl import app, flags

PARTS = ("load", "export", "float32", "bfloat16", "transformers", "compare", "sft", "grpo")
ROOT = Path(__file__).parents[1]

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "HuggingFace directory of a Qwen2-VL.", required=True)
_OUT = flags.DEFINE_string("out", None, "Where arrays and runs are kept between parts.", required=True)
_PARTS = flags.DEFINE_list("parts", list(PARTS), "What to measure, in this order.")
_DATA = flags.DEFINE_string("data", "tests/fixtures/super-clevr", "Records; the first one's picture is looked at.")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", 480_000, "Largest area of the picture.")
_TOKENS = flags.DEFINE_integer("tokens", 8, "Greedy tokens, and the longest completion of the GRPO step.")
_RANK = flags.DEFINE_integer("rank", 16, "Of the LoRA steps.")
_TORCH_PYTHON = flags.DEFINE_string("torch_python", sys.executable, "Interpreter with torch, for transformers.")
_CHILD = flags.DEFINE_bool("child", False, "Run the one part in this process.")

GB = 2**30


def rss_anon(pid: int | str = "self") -> int:
    """Bytes of anonymous memory of a process now; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Peak:
    """The largest RssAnon between enter and exit, in bytes."""

    def __init__(self, pid: int | str = "self"):
        self.before = self.bytes = rss_anon(pid)
        self._pid, self._stop = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._stop.wait(0.02):
            self.bytes = max(self.bytes, rss_anon(self._pid))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.bytes = max(self.bytes, rss_anon(self._pid))


def weights(dtype: str):
    """(sizes, parameters on one device), every parameter in `dtype`."""
    import jax

    from rrft_jax.models.paths import leaf_paths
    from rrft_jax.models.registry import read_config
    from rrft_jax.models.weights import abstract_params, load_sharded
    from rrft_jax.parallel.mesh import make_mesh

    sizes = read_config(_CHECKPOINT.value)
    dtypes = dict.fromkeys(leaf_paths(abstract_params(sizes)), jax.numpy.dtype(dtype))
    params = load_sharded(_CHECKPOINT.value, sizes, make_mesh(devices=jax.devices()[:1]), dtypes)
    return sizes, jax.block_until_ready(params)


def load() -> dict:
    import jax

    jax.devices()  # leaves out what the runtime itself takes
    with Peak() as peak:
        begin = time.perf_counter()
        _, params = weights("bfloat16")
        seconds = time.perf_counter() - begin
    sizes = [x.nbytes for x in jax.tree.leaves(params)]
    grown, bound = peak.bytes - peak.before, sum(sizes) + max(sizes) + GB
    return {
        "seconds": seconds, "local_shards_gb": sum(sizes) / GB, "largest_leaf_gb": max(sizes) / GB,
        "peak_growth_gb": grown / GB, "bound_gb": bound / GB, "within_bound": grown <= bound,
        "held_after_gb": (rss_anon() - peak.before) / GB,
    }  # fmt: skip


def export() -> dict:
    import filecmp

    from rrft_jax.models.weights import save_params

    there, again = Path(_CHECKPOINT.value), Path(_OUT.value) / "again"
    sizes, params = weights("bfloat16")
    before, begin = rss_anon(), time.perf_counter()
    with Peak() as peak:
        save_params(again, sizes, params)
    seconds = time.perf_counter() - begin
    files = sorted(p.name for p in there.glob("*.safetensors*"))
    same = files == sorted(p.name for p in again.glob("*.safetensors*"))
    same = same and all(filecmp.cmp(there / name, again / name, shallow=False) for name in files)
    shutil.rmtree(again)
    return {"seconds": seconds, "files": files, "byte_equal": same, "peak_growth_gb": (peak.bytes - before) / GB}


def question():
    """(text, picture) of the first record."""
    from rrft_jax.data.folder import read_records
    from rrft_jax.tasks.visual_counting.prompts import format_prompt

    record = read_records(ROOT / _DATA.value).examples[0]
    return format_prompt("COUNT_COT", record.problem), record.images[0]


def ours(dtype: str) -> dict:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from rrft_jax.data.index import Bucket
    from rrft_jax.models.head import logits
    from rrft_jax.models.registry import make_model
    from rrft_jax.processing.buckets import collate
    from rrft_jax.processing.processor import encode_prompt, load_processor
    from rrft_jax.rollout.decoder import Decoder
    from rrft_jax.rollout.sampler import sample
    from rrft_jax.rollout.sampling import Sampling

    with Peak() as peak:
        processor = load_processor(_CHECKPOINT.value, max_pixels=_MAX_PIXELS.value)
        text, picture = question()
        row = encode_prompt(processor, text, [picture])
        prompts = collate([row], [0], Bucket(len(row.tokens), 1, len(row.patches[0])), processor.pad_token_id)
        begin = time.perf_counter()
        sizes, params = weights("bfloat16")
        loaded = time.perf_counter()
        model = make_model(sizes, dtype)
        all_logits = jax.jit(lambda p, b: logits(model.prefill(p, b)[0], model.output_table(p), None)[0])
        z = np.asarray(all_logits(params, prompts))
        scored = time.perf_counter()
        eos, pad = processor.eos_token_ids, processor.pad_token_id
        decoder = Decoder(model, None, eos, pad, _TOKENS.value, Sampling(0.0), stop_at_eos=False)
        draw = functools.partial(sample, decoder, group=1)
        tokens = np.asarray(jax.jit(lambda p, b: draw(p, b, jax.random.key(0)).tokens)(params, prompts))[0, 0]
        drawn = time.perf_counter()
    np.savez(Path(_OUT.value) / f"{dtype}.npz", logits=z.astype(np.float32), tokens=tokens, prompt=row.tokens)
    assert jnp.isfinite(z).all()
    return {
        "prompt_tokens": len(row.tokens), "patches": len(row.patches[0]), "load_seconds": loaded - begin,
        "logits_seconds": scored - loaded, "greedy_seconds": drawn - scored, "peak_gb": peak.bytes / GB,
    }  # fmt: skip


def theirs() -> dict:
    import numpy as np
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    where = _CHECKPOINT.value
    with Peak() as peak:
        text, picture = question()
        picture = picture if isinstance(picture, Image.Image) else Image.open(picture)
        # By these names: the ones in preprocessor_config.json win over `size`.
        limits = {"min_pixels": 56 * 56, "max_pixels": _MAX_PIXELS.value}
        images = AutoImageProcessor.from_pretrained(where, backend="pil", **limits)
        pixels = images(images=[picture], return_tensors="pt")
        tokenizer = AutoTokenizer.from_pretrained(where)
        turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
        chat = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        pads = int(pixels["image_grid_thw"].prod()) // 4
        ids = tokenizer(chat.replace("<|image_pad|>", "<|image_pad|>" * pads), return_tensors="pt").input_ids
        begin = time.perf_counter()
        model = AutoModelForImageTextToText.from_pretrained(where, dtype=torch.float32).eval()
        loaded = time.perf_counter()
        inputs = dict(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels["pixel_values"],
            mm_token_type_ids=(ids == model.config.image_token_id).int(), image_grid_thw=pixels["image_grid_thw"],
        )  # fmt: skip
        with torch.no_grad():
            z = model(**inputs).logits[0].numpy()
            scored = time.perf_counter()
            out = model.generate(**inputs, do_sample=False, max_new_tokens=_TOKENS.value, eos_token_id=None)
        drawn = time.perf_counter()
    tokens = out[0, ids.shape[1] :].numpy()
    np.savez(Path(_OUT.value) / "transformers.npz", logits=z, tokens=tokens, prompt=ids[0].numpy())
    return {
        "prompt_tokens": ids.shape[1], "load_seconds": loaded - begin, "logits_seconds": scored - loaded,
        "greedy_seconds": drawn - scored, "peak_gb": peak.bytes / GB,
    }  # fmt: skip


def compare() -> dict:
    import numpy as np

    files = {name: Path(_OUT.value) / f"{name}.npz" for name in ("transformers", "float32", "bfloat16")}
    found = {name: np.load(file) for name, file in files.items() if file.is_file()}
    reference = found.pop("transformers")
    z = reference["logits"]
    report = {"logits_std": float(z.std()), "greedy_transformers": reference["tokens"].tolist()}
    for name in found:
        assert (found[name]["prompt"] == reference["prompt"]).all(), "the prompts differ"
        error = np.abs(found[name]["logits"] - z)
        report |= {
            f"{name}_max_error": float(error.max()), f"{name}_mean_error": float(error.mean()),
            f"{name}_same_argmax": float((found[name]["logits"].argmax(-1) == z.argmax(-1)).mean()),
            f"{name}_greedy": found[name]["tokens"].tolist(),
        }  # fmt: skip
        report[f"{name}_greedy_identical"] = report[f"{name}_greedy"] == report["greedy_transformers"]
    report["float32_within_2e-3"] = report["float32_max_error"] <= 2e-3
    return report


def step(algorithm: str) -> dict:
    """One LoRA step by launch/train.py on the first records; dtype and remat as the 2b preset sets them."""
    patches = -(-_MAX_PIXELS.value // (4 * 14 * 14)) * 4
    size = f"2b,init={_CHECKPOINT.value},data={ROOT / _DATA.value}"
    workdir = Path(_OUT.value) / f"run_{algorithm}"
    shutil.rmtree(workdir, ignore_errors=True)
    recipe = "ans_sft.py:counting," if algorithm == "sft" else "grpo_counting.py:"
    command = [
        sys.executable, "launch/train.py", f"--config=configs/{recipe}{size}", f"--workdir={workdir}",
        f"--config.lora.rank={_RANK.value}", "--config.optimizer.schedule.peak=1e-4",
        "--config.optimizer.schedule.warmup_steps=0", "--config.train.steps=1", "--config.train.epochs=0",
        "--config.train.prompts=1", "--config.train.micro_batches=1", "--config.rollout.group=2",
        "--config.data.held_out=0", "--config.eval.examples=0", "--config.eval.batch=1",
        "--config.log.sinks=()",
        f"--config.processor.max_pixels={_MAX_PIXELS.value}", "--config.buckets.images=1",
        f"--config.buckets.prompt={patches // 4 + 128}", f"--config.buckets.patches={patches}", "--compilation_cache=",
        f"--config.rollout.max_completion_length={max(_TOKENS.value, 16) if algorithm == 'sft' else _TOKENS.value}",
    ]  # fmt: skip
    begin = time.perf_counter()
    with open(Path(_OUT.value) / f"{algorithm}.log", "wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        with Peak(process.pid) as peak:
            code = process.wait()
    report = {"exit_code": code, "seconds": time.perf_counter() - begin, "peak_gb": peak.bytes / GB}
    if code == 0:
        from rrft_jax.run.metrics import read_metrics

        *_, last = read_metrics(workdir)
        wanted = ("loss", "grad_norm", "reward", "kl", "step_time", "completions/mean_length", "update_skipped")
        report |= {key: last[key] for key in wanted if key in last}
        report["written"] = sorted(p.name for p in workdir.iterdir() if p.name in ("hf", "adapter", "checkpoints"))
    shutil.rmtree(workdir / "hf", ignore_errors=True)
    return report


MEASURES = {
    "load": load, "export": export, "float32": lambda: ours("float32"), "bfloat16": lambda: ours("bfloat16"),
    "transformers": theirs, "compare": compare, "sft": lambda: step("sft"), "grpo": lambda: step("grpo"),
}  # fmt: skip


def main(argv: list[str]) -> int:
    if len(argv) > 1 or set(_PARTS.value) - set(PARTS):
        raise app.UsageError(
            f"unexpected {argv[1:]} {sorted(set(_PARTS.value) - set(PARTS))}; parts: {', '.join(PARTS)}"
        )
    Path(_OUT.value).mkdir(parents=True, exist_ok=True)
    if _CHILD.value:
        (part,) = _PARTS.value
        print(json.dumps({"part": part, **MEASURES[part]()}), flush=True)
        return 0
    for part in _PARTS.value:
        python = _TORCH_PYTHON.value if part == "transformers" else sys.executable
        rest = [arg for arg in sys.argv[1:] if not arg.startswith("--parts")]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TRANSFORMERS_VERBOSITY": "error"}
        done = subprocess.run([python, __file__, *rest, f"--parts={part}", "--child"], env=env)
        if done.returncode:
            print(f"error: part {part} ended with exit code {done.returncode}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    app.run(main)
