"""Evaluates a checkpoint, or a served model, on the benchmarks of the paper or on their synthetic twins.

    python launch/evaluate.py --checkpoint=nano --benchmark=all --limit=100 --output=workdirs/eval_nano
    python launch/evaluate.py --checkpoint=workdirs/mine --benchmark=visual_counting --decoding=greedy --output=out
    python launch/evaluate.py --checkpoint=DIR --data_dir=FOLDER --benchmark=counting_id --output=out
    python launch/evaluate.py --checkpoint=DIR --data_dir=mine.jsonl --benchmark=visual_counting --output=out
    python launch/evaluate.py --endpoint=http://localhost:8000/v1 --model=nano --benchmark=all --output=out

Without --data_dir the questions are generated (the task's twin of each benchmark); with it they come from the published
test files in FOLDER, or are records of your own, in any form that data= of a training reads. After an interruption the
same command resumes with the questions that are not answered yet. --dry-run prints what would be asked, for an endpoint
with tokens and time. Processes that are started on every worker of a TPU pod, as the tasks of a Slurm step, or with
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID evaluate one checkpoint together.
"""

import json
import os
import sys
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

_CHECKPOINT = flags.DEFINE_string("checkpoint", "", "nano, a HuggingFace directory, a finished workdir, an adapter.")
_ENDPOINT = flags.DEFINE_string("endpoint", "", "OpenAI-compatible URL of a served model, in place of --checkpoint.")
_MODEL = flags.DEFINE_string("model", "", "Name of the served model.")
_KEY_ENV = flags.DEFINE_string("api_key_env", None, "Environment variable with the key (OPENAI_API_KEY).")
_CONCURRENCY = flags.DEFINE_integer("concurrency", 8, "Requests to the endpoint at a time.", 1)
_RATE = flags.DEFINE_float("requests_per_minute", 0.0, "Most requests a minute; 0: no limit.")
_TIMEOUT = flags.DEFINE_float("timeout", 300.0, "Seconds one request may take.")
_LEAVE_OUT = flags.DEFINE_list(
    "leave_out", [], "Fields the endpoint refuses, of temperature, top_p, top_k, seed, n, max_tokens. OpenAI: top_k."
)
_MAX_NAME = flags.DEFINE_string("max_tokens_name", None, "What the endpoint calls the limit of an answer (max_tokens).")
_DRY = flags.DEFINE_bool("dry-run", False, "Print what would be asked, ask nothing.")
_BENCHMARK = flags.DEFINE_string("benchmark", "all", "A benchmark, a task (a name or my_task.py:TASK), or all.")
_DATA = flags.DEFINE_string(
    "data_dir", "", "Folder with the published test files and their pictures, or whatever data= of a training may name."
)
_SPLIT = flags.DEFINE_string("split", "", "Of your own records in --data_dir: this split; default: test, if any.")
_IMAGE_ROOT = flags.DEFINE_string("image_root", "", "Of your own records: where image paths start.")
_COLUMNS = flags.DEFINE_list("columns", [], "Of your own records: fields under other names, such as answer=label.")
_STRICT = flags.DEFINE_bool("strict", False, "Stop at bad records of --data_dir instead of leaving them out.")
_LIMIT = flags.DEFINE_integer("limit", 0, "The first so many questions of each benchmark; 0: all, 500 if generated.", 0)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for <benchmark>.json and <benchmark>.jsonl.", required=True)
_PROMPT = flags.DEFINE_string(
    "prompt", "auto", "zero_shot, ans, cot, caption_eval (published spatial files), a template's name or file. auto: "
    "what a workdir was trained with, else zero_shot.",
)  # fmt: skip
_DECODING = flags.DEFINE_enum("decoding", "paper", ["paper", "greedy"], "T 0.1, top-p 0.9, top-k 50; or greedy.")
_TEMPERATURE = flags.DEFINE_float("temperature", None, "In place of that of --decoding.")
_TOP_P = flags.DEFINE_float("top_p", None, "In place of that of --decoding.")
_TOP_K = flags.DEFINE_integer("top_k", None, "In place of that of --decoding.")
_SAMPLES = flags.DEFINE_integer("samples", 1, "Answers per question; more than 1 adds pass@k and maj@k.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.")
_NEW = flags.DEFINE_integer("max_new_tokens", 768, "Longest answer in tokens.", 1)
_BATCH = flags.DEFINE_integer("batch", 32, "Questions at a time.", 1)
_MESH = flags.DEFINE_enum("mesh", "data", ["data", "fsdp", "fsdp+tensor"], "How several devices share the parameters.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of parameters and products.")
_MIN_PIXELS = flags.DEFINE_integer("min_pixels", None, "Smallest area of a picture; default: the checkpoint's.")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", None, "Largest area of a picture; default: the checkpoint's.")
_COORDINATES = flags.DEFINE_enum(
    "coordinates", None, ["pixels", "resized", "thousandths", "unit"], "What answers give places in, if not in what "
    "the task prompts for. resized: pixels of the picture that the model sees, as Qwen2.5-VL; an endpoint needs "
    "--min_pixels and --max_pixels then.",
)  # fmt: skip
_CACHE = flags.DEFINE_string("compilation_cache", "~/.cache/rrft_jax/xla", "Keeps compiled programs; empty disables.")
_OF_ENDPOINT = ("model", "api_key_env", "concurrency", "requests_per_minute", "timeout", "leave_out", "max_tokens_name")
_START, _HEARTBEAT = 300, 100  # seconds, as launch/train.py waits for other processes
_OF_CHECKPOINT = ("batch", "mesh", "dtype")
_PIXELS = ("min_pixels", "max_pixels")  # of a checkpoint, and of an endpoint whose answers are in resized pixels


def main(argv: list[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: every option is a --flag=value")
    quiet = logging.get_verbosity() <= logging.INFO
    if quiet:
        logging.set_verbosity(logging.WARNING)
    try:
        _check_flags()
    except ValueError as error:  # before jax, which is slow to load
        print(f"error: {error}", file=sys.stderr)
        return 2
    from rrft_jax.parallel.names import LOST_OTHERS
    from rrft_jax.parallel.processes import ElsewhereError, leave, who

    try:
        return run()
    except ElsewhereError:  # which says what it was
        return leave(LOST_OTHERS)
    except (ValueError, OSError, RuntimeError, ImportError) as error:  # the last: a package of an extra
        if not quiet:  # --verbosity=1 shows where it came from
            raise
        print(f"error: {who()}{error}", file=sys.stderr)
        return leave(2)
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes from here", file=sys.stderr)
        return 130


def run() -> int:
    """Asks, scores and prints the table; returns the exit code."""
    from tqdm import tqdm

    from rrft_jax.compilation import keep_programs
    from rrft_jax.data.decoding import quiet_pillow
    from rrft_jax.evaluation import benchmarks, sources
    from rrft_jax.evaluation.endpoint import make_answerer
    from rrft_jax.evaluation.report import table
    from rrft_jax.evaluation.runner import run_benchmark
    from rrft_jax.files import write_atomic
    from rrft_jax.parallel.cluster import find_cluster, join
    from rrft_jax.parallel.processes import is_writer, require_devices, run_on_all
    from rrft_jax.pretrained import resolve_init
    from rrft_jax.remote.endpoint import key_in_clear
    from rrft_jax.rewards import Pool, symbolic
    from rrft_jax.rewards.symbolic import in_pool
    from rrft_jax.run.predictions import same_evaluation

    keep_programs(_CACHE.value)
    quiet_pillow()
    require_devices()
    named = benchmarks.choose_benchmarks(_BENCHMARK.value)
    chosen = sources.of_folder(named, _BENCHMARK.value, _DATA.value, _IMAGE_ROOT.value, _COLUMNS.value)
    prompt = sources.prompt_of(_CHECKPOINT.value) if _PROMPT.value == "auto" else _PROMPT.value
    decoding = _decoding()
    endpoint = _endpoint() if _ENDPOINT.value else None
    if endpoint and not _DRY.value and key_in_clear(endpoint):
        print("note: the key goes to --endpoint without encryption; use https:// where others share the network",
              file=sys.stderr)  # fmt: skip
    directory = None if endpoint else resolve_init(_CHECKPOINT.value, "--checkpoint")
    readers = {b.name: _reader(b.task, directory) for b in chosen}
    asked = _DATA.value, _LIMIT.value, prompt, _STRICT.value, _SPLIT.value, _IMAGE_ROOT.value, _COLUMNS.value
    questions = {b.name: sources.questions(b, *asked) for b in chosen}
    if _DRY.value:
        print(_dry_report(questions, endpoint, decoding))
        return 0
    if not endpoint:
        join(find_cluster(None, None, None), _START, _HEARTBEAT)
    folder = Path(_OUTPUT.value)
    run_on_all(lambda: same_evaluation(folder, _about(prompt, decoding, directory)) if is_writer() else None)
    answerer = make_answerer(endpoint, decoding) if endpoint else _sampler(directory, decoding)
    ks = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= _SAMPLES.value] if _SAMPLES.value > 1 else []
    results = {}
    with Pool(initializer=symbolic.load) as pool:
        for benchmark in chosen:
            name, (examples, ask, about) = benchmark.name, questions[benchmark.name]
            with tqdm(total=len(examples), desc=name, file=sys.stderr, disable=None if is_writer() else True) as bar:
                show = lambda done, bar=bar: bar.update(done - bar.n)  # noqa: E731
                results[name] = run_benchmark(
                    name, benchmark.task, examples, ask, answerer, folder, in_pool(pool), ks, about, show,
                    readers[name],
                )
    if any(results.values()):  # process 0
        # What other commands left in the folder is of the same model, asked in the same way (`same_evaluation`).
        files = {b.name: folder / f"{b.name}.json" for b in (*benchmarks.benchmarks(), *chosen)}
        stored = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
        text = table(stored, _MODEL.value or _CHECKPOINT.value, chosen)
        write_atomic(folder / "table.md", (text + "\n").encode())
        print(text)
    unanswered = sum(len(numbers.get("unanswered", ())) for numbers in results.values())
    if unanswered:
        print(f"{unanswered} questions have no answer: the same command asks them again", file=sys.stderr)
    return 1 if unanswered else 0


def _check_flags() -> None:
    """ValueError for flags that do not go together; one that nothing would read is refused."""
    if bool(_CHECKPOINT.value) == bool(_ENDPOINT.value) or bool(_ENDPOINT.value) != bool(_MODEL.value):
        raise ValueError("give either --checkpoint, or --endpoint with --model")
    kind, others = ("endpoint", _OF_CHECKPOINT) if _ENDPOINT.value else ("checkpoint", _OF_ENDPOINT)
    resized = bool(_ENDPOINT.value) and _COORDINATES.value == "resized"
    if resized and not all(flags.FLAGS[name].present for name in _PIXELS):
        raise ValueError("--coordinates=resized: give --min_pixels and --max_pixels too, as the endpoint resizes")
    others = (*others, *(() if _CHECKPOINT.value or resized else _PIXELS))
    if unread := [f"--{name}" for name in others if flags.FLAGS[name].present]:
        raise ValueError(f"{', '.join(unread)}: of no use with --{kind}, leave it out")
    for flag in (_STRICT, _SPLIT, _IMAGE_ROOT, _COLUMNS):
        if flag.value and not _DATA.value:
            raise ValueError(f"--{flag.name} is about the records of --data_dir: leave it out")


def _decoding():
    from dataclasses import replace

    from rrft_jax.evaluation.questions import GREEDY, PAPER
    from rrft_jax.rollout.sampling import Sampling

    own = {"temperature": _TEMPERATURE.value, "top_p": _TOP_P.value, "top_k": _TOP_K.value}
    given = {name: value for name, value in own.items() if value is not None}
    decoding = replace(
        PAPER if _DECODING.value == "paper" else GREEDY,
        **given, max_new_tokens=_NEW.value, samples=_SAMPLES.value, seed=_SEED.value,
    )  # fmt: skip
    try:  # before a folder or a server hears of it
        Sampling(decoding.temperature, decoding.top_k, decoding.top_p)
    except ValueError as error:
        raise ValueError(f"--{error}") from None
    if decoding.temperature == 0 and (unread := [f"--{name}" for name in given if name != "temperature"]):
        raise ValueError(f"{', '.join(unread)}: of no use with temperature 0 (greedy), leave it out")
    if decoding.samples > 1 and decoding.temperature == 0:
        raise ValueError(f"--samples={decoding.samples} with temperature 0 gives equal answers: raise --temperature")
    return decoding


def _about(prompt: str, decoding, directory: Path | None) -> dict:
    """What may not change while predictions of one folder are collected."""
    from dataclasses import asdict

    from rrft_jax.evaluation.sources import template_digest
    from rrft_jax.run.predictions import fingerprint

    # Of an adapter the base is `directory`, and its own weights lie where --checkpoint says.
    weights = fingerprint(*{directory, Path(_CHECKPOINT.value).expanduser()}) if directory else ""
    return {
        "checkpoint": _CHECKPOINT.value, "weights": weights, "endpoint": _ENDPOINT.value, "model": _MODEL.value,
        "data_dir": _DATA.value, "prompt": prompt, "template": template_digest(prompt),
        "decoding": asdict(decoding), "dtype": _DTYPE.value,
        **({"split": _SPLIT.value} if _SPLIT.value else {}),
        **({"coordinates": _COORDINATES.value} if _COORDINATES.value else {}),
        "min_pixels": _MIN_PIXELS.value, "max_pixels": _MAX_PIXELS.value, "leave_out": sorted(_LEAVE_OUT.value),
    }  # fmt: skip


def _reader(task, directory: Path | None):
    """(text, example) -> the text as it is scored."""
    from rrft_jax.data.sizes import MAX_PIXELS, MIN_PIXELS, SIDE
    from rrft_jax.processing.processor import load_processor
    from rrft_jax.tasks.localised import place_reader

    limits = _MIN_PIXELS.value or MIN_PIXELS, _MAX_PIXELS.value or MAX_PIXELS, SIDE
    if directory and _COORDINATES.value == "resized":
        made = load_processor(directory, min_pixels=_MIN_PIXELS.value, max_pixels=_MAX_PIXELS.value)
        limits = made.min_pixels, made.max_pixels, made.patch_size * made.merge_size
    try:
        return place_reader(task, _COORDINATES.value or "", *limits)
    except ValueError as error:
        raise ValueError(f"--{error}") from None


def _endpoint():
    from rrft_jax.remote.endpoint import Endpoint

    given = {"max_tokens_name": _MAX_NAME.value} if _MAX_NAME.value else {}
    return Endpoint(
        _ENDPOINT.value, _MODEL.value, _KEY_ENV.value, concurrency=_CONCURRENCY.value,
        requests_per_minute=_RATE.value, timeout=_TIMEOUT.value, leave_out=tuple(_LEAVE_OUT.value), **given,
    )  # fmt: skip


def _dry_report(questions: dict, endpoint, decoding) -> str:
    """What would be asked: of each benchmark its first question, and of an endpoint the whole bill."""
    from rrft_jax.evaluation.dry_run import count_requests
    from rrft_jax.rollout.questions import to_questions

    parts = [
        f"{name}: {len(examples)} questions; the first:\n{ask(examples[0])}\n"
        for name, (examples, ask, _) in questions.items()
    ]
    if endpoint:
        every = [question for examples, ask, _ in questions.values() for question in to_questions(examples, ask)]
        parts.append(count_requests(endpoint, decoding, every).report())
    return "\n".join(parts)


def _sampler(directory: Path, decoding):
    import jax.numpy as jnp

    from rrft_jax.models.registry import read_config
    from rrft_jax.parallel.mesh import make_mesh
    from rrft_jax.pretrained import adapter_of, load_for_inference, load_parts
    from rrft_jax.rollout.answering import make_answerer

    mesh = make_mesh(preset=_MESH.value, kv_heads=read_config(directory).num_kv_heads)
    model, processor = load_parts(directory, _DTYPE.value, min_pixels=_MIN_PIXELS.value, max_pixels=_MAX_PIXELS.value)
    adapter = adapter_of(_CHECKPOINT.value, directory, model.config)
    params = load_for_inference(directory, model.config, mesh, jnp.dtype(model.compute_dtype), adapter)
    return make_answerer(model, params, processor, mesh, decoding, _BATCH.value)


if __name__ == "__main__":
    app.run(main)
