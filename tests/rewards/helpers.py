"""Shared by the reward tests; top-level functions here can be sent to a worker."""

import os
import signal
import sys
import time

from rrft_jax.data.example import Example


def example(answer="4", **fields):
    """An example that only its answer matters in."""
    given = {"id": "e0", "task": "counting", "problem": "How many?", "answer": answer, **fields}
    return Example(**given)


def score(reward, completions, answers="4", step=0, group_ids=None, **options):
    """Apply a reward to completions that share one answer, or have one each."""
    completions = [completions] if isinstance(completions, str) else list(completions)
    answers = [answers] * len(completions) if isinstance(answers, str) else answers
    examples = [example(answer, id=f"e{i}") for i, answer in enumerate(answers)]
    return reward(completions, examples, group_ids or [0] * len(completions), step, **options)


def tagged(answer, thought="x"):
    return f"<think>{thought}</think><answer>{answer}</answer>"


def square(x):
    return x * x


def sleep_or_square(x):
    """Hangs on 13."""
    if x == 13:
        time.sleep(1000)
    return x * x


def spin_or_square(x):
    """Hangs on 13 inside one C call that no signal handler of Python interrupts."""
    if x == 13:
        9**9**9
    return x * x


def crash_or_square(x):
    """Kills its process on 13."""
    if x == 13:
        os._exit(7)
    return x * x


def killed_once(x, folder):
    """Its process is killed from outside the first time."""
    try:
        os.mkdir(f"{folder}/{x}")
    except FileExistsError:
        return x * x
    os.kill(os.getpid(), signal.SIGKILL)


def raise_or_square(x):
    if x == 13:
        raise ValueError("unlucky")
    return x * x


def hoard(x):
    return len(bytes(x << 30))


def unpicklable(x):
    return lambda: x


def loaded_modules(_):
    return sorted(name for name in ("jax", "transformers", "torch", "tensorflow", "grain") if name in sys.modules)


def worker_id(_):
    time.sleep(0.02)
    return os.getpid()


def refuse():
    raise RuntimeError("no start")


def char_lengths(texts):
    return [len(text) for text in texts]


