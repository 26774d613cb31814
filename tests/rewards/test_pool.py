import os
import signal
import subprocess
import sys
import time

import pytest

from rrft_jax.rewards import Pool, reward_set, symbolic
from rrft_jax.rewards.values import SetupError
from tests.rewards import helpers
from tests.rewards.helpers import example, tagged
from tests.timing import tried_again

HOSTILE = "\\sin(9^{9^{9^{9}}})"  # math-verify does not return from it


def nothing():
    """A cheap start for workers that do no algebra."""


@pytest.fixture(scope="module")
def pool():
    with Pool(2, item_limit_s=0.5, initializer=nothing) as shared:
        yield shared


def values(outcomes):
    return [outcome.value for outcome in outcomes]


def pids(pool):
    return {outcome.value for outcome in pool.map(helpers.worker_id, [(i,) for i in range(20)])}


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_results_come_in_order(pool):
    assert pool.map(helpers.square, []) == []
    outcomes = pool.map(helpers.square, [(i,) for i in range(100)])
    assert values(outcomes) == [i * i for i in range(100)]
    assert all(outcome.error is None for outcome in outcomes)
    assert wait_until(lambda: len(pids(pool)) == 2, 10)


@pytest.mark.parametrize(
    "function, said",
    [
        (helpers.sleep_or_square, "TimeoutError: took over 0.5 s"),
        (helpers.spin_or_square, "TimeoutError: took over 0.5 s"),
        (helpers.crash_or_square, "the worker died (exit code 7)"),
        (helpers.raise_or_square, "ValueError: unlucky"),
    ],
)
@tried_again
def test_one_bad_item_costs_no_other(pool, function, said):
    start = time.monotonic()
    outcomes = pool.map(function, [(i,) for i in range(30)])
    assert values(outcomes) == [None if i == 13 else i * i for i in range(30)]
    assert said in outcomes[13].error
    assert time.monotonic() - start < 60  # the item would sleep or spin for longer
    assert values(pool.map(helpers.square, [(3,)])) == [9]


@tried_again
def test_several_hanging_items_are_cut_one_by_one(pool):
    outcomes = pool.map(helpers.sleep_or_square, [(13,), (2,), (13,), (3,)])
    assert values(outcomes) == [None, 4, None, 9]


def test_workers_that_died_while_idle_are_replaced():
    start = time.monotonic()
    with Pool(1, initializer=nothing) as pool:
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: not alive(pid), 30)
        assert values(pool.map(helpers.square, [(i,) for i in range(10)])) == [i * i for i in range(10)]
    assert time.monotonic() - start < 60


def test_an_item_whose_worker_was_killed_is_tried_again(pool, tmp_path):
    items = [(x, str(tmp_path)) for x in range(4)]
    assert values(pool.map(helpers.killed_once, items)) == [0, 1, 4, 9]


def test_memory_is_limited_and_results_must_travel(pool):
    assert "MemoryError" in pool.map(helpers.hoard, [(64,)])[0].error
    assert pool.map(helpers.unpicklable, [(1,)])[0].error


def test_functions_that_cannot_be_sent_are_refused(pool):
    with pytest.raises(SetupError, match="top of an importable module"):
        pool.map(lambda x: x, [(1,)])
    assert values(pool.map(helpers.square, [(2,)])) == [4]


def test_a_batch_has_a_limit_too():
    with Pool(1, item_limit_s=30, batch_limit_s=5, initializer=nothing) as small:
        outcomes = small.map(helpers.sleep_or_square, [(1,), (13,), (2,)])
        assert values(outcomes) == [1, None, None]
        assert all("batch took over 5 s" in outcome.error for outcome in outcomes[1:])


def test_workers_that_cannot_start_are_an_error_at_once(capfd):
    with Pool(1, initializer=helpers.refuse) as broken, pytest.raises(SetupError, match="did not start"):
        broken.map(helpers.square, [(1,)])
    assert "no start" in capfd.readouterr().err
    with pytest.raises(ValueError, match="must be positive"):
        Pool(1, item_limit_s=0)


def test_closing_ends_every_worker():
    with Pool(1, initializer=nothing) as pool:
        running = pids(pool)
        assert all(map(alive, running))
    assert not any(map(alive, running))
    assert values(pool.map(helpers.square, [(2,)])) == [4]  # and a closed pool can start again
    pool.close()


def test_a_forgotten_pool_ends_its_workers():
    pool = Pool(1, initializer=nothing)
    running = pids(pool)
    del pool
    assert wait_until(lambda: not any(map(alive, running)), 30)


def test_hostile_answers_lose_their_value_and_nothing_else():
    with Pool(1, item_limit_s=1.0, initializer=symbolic.load) as pool:
        chosen = reward_set({"accuracy": 1.0, "format": 1.0}, pool=pool)
        texts = [tagged("4"), tagged(HOSTILE), tagged("5 - 1 = 4"), tagged(HOSTILE), tagged("3")]
        scored = chosen.score(texts, [example(id=f"e{i}") for i in range(5)], [0] * 5, 0)
    accuracy, format = scored.values.tolist()
    assert accuracy[0] == accuracy[2] == 1.0 and accuracy[4] == 0.0
    assert [failure.reward for failure in scored.failures] == ["accuracy"] * 2
    assert {failure.position for failure in scored.failures} == {1, 3}
    assert all("TimeoutError" in f.reason and HOSTILE in f.text for f in scored.failures)
    assert format == [1.0] * 5 and scored.total.tolist() == [2.0, 1.0, 2.0, 1.0, 1.0]


# A shell starts what runs in its background with SIGINT ignored, and a test run hands that on.
PROGRAM = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
{imports}
from rrft_jax.rewards import Pool
from tests.rewards import helpers
from tests.rewards.test_pool import nothing

if __name__ == "__main__":
    pool = Pool(2, item_limit_s=60, initializer=nothing)
    print(pool.map(helpers.loaded_modules, [(0,), (1,)]), flush=True)
    seen = set()
    while len(seen) < 2:
        seen |= {{o.value for o in pool.map(helpers.worker_id, [(i,) for i in range(20)])}}
    print(*seen, flush=True)
    {last}
"""
BUSY = "pool.map(helpers.sleep_or_square, [(13,), (13,)])"


@pytest.mark.parametrize(
    "ending, imports, last",
    [
        # A started JAX backend has threads, and its imports must not be repeated in the workers.
        (signal.SIGINT, "import jax; jax.numpy.ones(8).block_until_ready()", BUSY),
        (signal.SIGKILL, "", "time.sleep(60)"),
    ],
)
def test_a_program_leaves_no_worker_behind(tmp_path, ending, imports, last):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(imports=imports, last=last))
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)}
    process = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    try:
        modules = process.stdout.readline()
        running = [int(pid) for pid in process.stdout.readline().split()]
        assert modules.count("value=[]") == 2
        assert len(running) == 2 and all(map(alive, running))
        time.sleep(0.2)
        process.send_signal(ending)
        errors = process.communicate(timeout=120)[1]  # seconds; a program that hangs would wait for ever
    finally:
        process.kill()
    assert wait_until(lambda: not any(map(alive, running)), 30)
    assert ending != signal.SIGINT or "KeyboardInterrupt" in errors
