import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rrft_jax.parallel.processes import ElsewhereError
from rrft_jax.run.checkpoints import CheckpointError, Checkpoints, differences, flatten_state, released
from rrft_jax.run.room import NoRoomError

# Saves forever; every leaf of step s is a function of s, and the host state holds a digest of all of them.
SAVER = """
import sys
from tests.run.test_checkpoints import digest, numbered_state
from rrft_jax.run.checkpoints import Checkpoints
c = Checkpoints(sys.argv[1])
start = c.latest_step() or 0
for step in range(start + 1, 10**9):
    state = numbered_state(step)
    c.save(step, state, {"digest": digest(state)}, metric=-abs(step - 2))
    print(step, flush=True)
"""


def digest(state):
    whole = hashlib.sha256()
    for name, leaf in sorted(flatten_state(state).items()):
        whole.update(name.encode() + np.asarray(leaf).tobytes())
    return whole.hexdigest()


def numbered_state(step):
    values = np.random.default_rng(step).standard_normal((300, 1000)).astype(np.float32)
    return {"params": {"w": jnp.asarray(values), "b": jnp.full((7,), step, jnp.bfloat16)}, "step": jnp.int32(step)}


def bits(leaf):
    array = np.asarray(leaf)
    return array.dtype, array.shape, array.tobytes()


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert [bits(x) for x in jax.tree.leaves(a)] == [bits(x) for x in jax.tree.leaves(b)]


def full_state():
    """Every dtype, awkward values, and the containers of optax."""
    raw = np.random.default_rng(0).integers(0, 2**32, (5, 64), dtype=np.uint32)  # all bit patterns: NaN, inf, subnormal
    params = {
        "layer.0": {"kernel": jnp.asarray(raw.view(np.float32)), "bias": jnp.zeros((0, 3))},
        "scale": jnp.ones(()),
    }
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.masked(optax.adamw(1e-3), jax.tree.map(lambda leaf: leaf.ndim > 0, params)),
    )
    return {
        "params": params,
        "optimizer": optimizer.init(params),
        "bf16": jnp.asarray(raw.astype(np.uint16)).view(jnp.bfloat16),
        "step": jnp.int32(7),
        "counts": (jnp.arange(3, dtype=jnp.uint32), [jnp.asarray([True, False])]),
        "key_data": jax.random.key_data(jax.random.key(3)),
        "host_array": np.arange(4, dtype=np.int64),
        "absent": None,
    }


def test_round_trip_is_bit_exact(tmp_path):
    state, host = full_state(), {"batch": 12, "best": 0.1 + 0.2, "nested": {"a": [1, None, "x"]}}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.save(7, state, host)
        assert not checkpoints.save(7, state, host)
    with Checkpoints(tmp_path) as checkpoints:
        for target in (state, jax.tree.map(abstract, state)):
            restored, back, step = checkpoints.restore(target)
            assert (back, step) == (host, 7)
            assert_same_bits(restored, state)
        plain, _, _ = checkpoints.restore()
    assert isinstance(plain["params"]["layer.0"]["kernel"], np.ndarray)
    assert bits(plain["params"]["layer.0"]["kernel"]) == bits(state["params"]["layer.0"]["kernel"])
    assert plain["counts"]["1"]["0"].tolist() == [True, False]


def test_a_target_that_gave_its_memory_back_is_filled_again(tmp_path):
    sharding = jax.sharding.NamedSharding(jax.make_mesh((1,), ("a",)), jax.sharding.PartitionSpec("a"))
    values = np.arange(64, dtype=np.float32).reshape(8, 8)
    state = {"w": jax.device_put(values, sharding), "step": jnp.int32(3), "none": jnp.zeros((0, 2))}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state, {})
        target = released(state)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
        restored, _, _ = checkpoints.restore(target)
    assert restored["w"].sharding == sharding and restored["none"].shape == (0, 2)
    np.testing.assert_array_equal(restored["w"], values)


def abstract(leaf):
    return leaf if isinstance(leaf, np.ndarray) else jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def test_buffers_may_be_donated_after_save(tmp_path):
    @jax.jit
    def fill(i):
        return {"w": jnp.full((1000, 1000), i, jnp.float32)}

    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    with Checkpoints(tmp_path, keep_last=4) as checkpoints:
        for step in (1, 2, 3):
            state = fill(step)
            checkpoints.save(step, state, {})
            for _ in range(3):
                state = overwrite(state)
            jax.block_until_ready(state)
        for step in (1, 2, 3):
            restored = checkpoints.restore(step=step)[0]["w"]
            assert (restored == step).all()


def test_last_and_best_stay(tmp_path):
    metrics = {1: 0.2, 2: None, 3: 0.9, 4: 0.5, 5: None, 6: float("nan"), 7: 0.9, 8: 0.1}
    kept = {1: [1], 2: [1, 2], 3: [3], 4: [3, 4], 5: [3, 5], 6: [3, 6], 7: [7], 8: [7, 8]}
    for step, metric in metrics.items():
        with Checkpoints(tmp_path) as checkpoints:  # opened anew each time: the metrics come from the files
            checkpoints.save(step, {"x": jnp.ones(2) * step}, {}, metric)
            assert checkpoints.all_steps() == kept[step], step
            assert checkpoints.latest_step() == step
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.restore(step=7)[0]["x"].tolist() == [7, 7]
    assert not (tmp_path / ".deleted").exists()


def test_a_metric_that_was_measured_later(tmp_path):
    with Checkpoints(tmp_path, keep_last=1, keep_best=1) as checkpoints:
        checkpoints.save(1, numbered_state(1), {}, metric=0.5)
        checkpoints.save(2, numbered_state(2), {})
        checkpoints.add_metric(2, 0.75)
        assert checkpoints.all_steps() == [2]
    with Checkpoints(tmp_path, keep_last=1, keep_best=1) as checkpoints:
        checkpoints.save(3, numbered_state(3), {})
        assert checkpoints.all_steps() == [2, 3]
        assert_same_bits(checkpoints.restore(numbered_state(0), step=2)[0], numbered_state(2))


def test_sigkill_at_any_moment_leaves_a_whole_latest_checkpoint(tmp_path):
    moments = random.Random(0)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    latest = 0
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        first = child.stdout.readline()
        assert first, "the saving process died by itself"
        time.sleep(moments.random() * 0.25)
        os.kill(child.pid, signal.SIGKILL)
        done = [int(line) for line in [first, *child.stdout.read().splitlines()]]
        child.wait()
        with Checkpoints(tmp_path) as checkpoints:
            state, host, step = checkpoints.restore(numbered_state(0))
            # The save in flight may have been committed just before its line was printed.
            assert step in (done[-1], done[-1] + 1) and step > latest
            assert digest(state) == host["digest"] and int(state["step"]) == step
            best = min(step, 2)
            assert checkpoints.restore(step=best)[1]["digest"] == digest(numbered_state(best))
            # Killed between the commit and the removal of the step before, that one is left until the next save.
            kept = {int(p.name) for p in tmp_path.iterdir()}
            assert {best, step} <= kept <= {best, step, step - 1}
        latest = step


def test_leftovers_are_cleaned_but_not_by_a_reader(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": jnp.ones(2)}, {})
    for name in ("2.orbax-checkpoint-tmp", ".deleted"):
        (tmp_path / name / "state").mkdir(parents=True)
    with Checkpoints(tmp_path, read_only=True) as reader:
        assert reader.latest_step() == 1
        reader.restore()
    assert len(list(tmp_path.iterdir())) == 3
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore()
        assert [p.name for p in tmp_path.iterdir()] == ["1"]
        checkpoints.save(2, {"x": jnp.ones(2)}, {})


def test_another_state_is_refused_with_all_differences(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"a": jnp.ones(2), "b": jnp.ones(3), "c": jnp.ones(3)}, {})
        with pytest.raises(CheckpointError) as caught:
            checkpoints.restore({"a": jnp.ones(4), "b": jnp.ones(3, jnp.bfloat16), "d": {"e": jnp.ones(1)}})
    message = str(caught.value)
    for line in (
        "missing in the file: d/e float32[1]",
        "only in the file: c float32[3]",
        "a: float32[2] in the file, float32[4] in the program",
        "b: float32[3] in the file, bfloat16[3] in the program",
    ):
        assert line in message
    assert str(tmp_path / "1") in message and "config" in message
    assert len(differences({}, {f"x{i}": ((), np.float32) for i in range(50)})) == 21


@pytest.mark.parametrize("damage", ["truncated", "lost", "host"])
def test_a_damaged_checkpoint_is_named_with_the_remedy(tmp_path, damage):
    values = np.random.default_rng(0).standard_normal((200, 300)).astype(np.float32)
    with Checkpoints(tmp_path, keep_last=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, {"x": jnp.asarray(values)}, {"n": 1})
    data = max((p for p in (tmp_path / "2").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    if damage == "truncated":
        os.truncate(data, data.stat().st_size // 2)
    elif damage == "lost":
        data.unlink()
    else:
        (tmp_path / "2" / "host" / "metadata").write_text('{"n"')
    with Checkpoints(tmp_path, keep_last=2) as checkpoints:
        with pytest.raises(CheckpointError, match=r"/2 is damaged .*Delete that folder; .* from step 1"):
            checkpoints.restore({"x": jnp.asarray(values)})
        assert (checkpoints.restore(step=1)[0]["x"] == values).all()


def test_wrong_calls_are_explained(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(CheckpointError, match="no checkpoint"):
            checkpoints.restore()
        with pytest.raises(TypeError, match="state leaf a/0 is a float"):
            checkpoints.save(1, {"a": [1.0]}, {})
        with pytest.raises(TypeError, match="state leaf k is a typed PRNG key"):
            checkpoints.save(1, {"k": jax.random.key(0)}, {})
        with pytest.raises(CheckpointError, match="host state of step 1"):
            checkpoints.save(1, {"a": jnp.ones(1)}, {"x": float("nan")})
        checkpoints.save(5, {"a": jnp.ones(1)}, {})
        with pytest.raises(CheckpointError, match="already holds step 5"):
            checkpoints.save(4, {"a": jnp.ones(1)}, {})
        with pytest.raises(CheckpointError, match="of step 4; it has .5."):
            checkpoints.restore(step=4)
    with pytest.raises(CheckpointError, match="does not exist"):
        Checkpoints(tmp_path / "nowhere", read_only=True)
    with pytest.raises(ValueError, match="keep_last"):
        Checkpoints(tmp_path, keep_last=0)


def test_a_full_disk_is_one_line_before_anything_is_written(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": jnp.zeros(1000)}, {})
        free = SimpleNamespace(free=2**20 + 4199)  # 4,000 bytes, a twentieth and a MiB of Orbax's own are asked for
        monkeypatch.setattr("rrft_jax.run.room.shutil.disk_usage", lambda path: free)
        with pytest.raises(NoRoomError, match="takes 1.0 MiB, and 1.0 MiB are free at .* make room there"):
            checkpoints.save(2, {"x": jnp.zeros(1000)}, {})
        free.free += 1
        checkpoints.save(2, {"x": jnp.zeros(1000)}, {})
        assert checkpoints.latest_step() == 2


def test_nothing_is_written_before_all_processes_have_found_room(tmp_path, monkeypatch):
    """What another has written already would be missing in the count of this one."""

    def elsewhere(function):
        function()
        raise ElsewhereError("process 1 failed: no room")

    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr("rrft_jax.run.checkpoints.run_on_all", elsewhere)
        with pytest.raises(ElsewhereError):
            checkpoints.save(1, {"x": jnp.zeros(1000)}, {})
        assert not list(tmp_path.iterdir())


def test_processes_agree_whether_or_not_a_faster_one_has_made_the_folder(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("rrft_jax.run.checkpoints.run_on_all", lambda function: calls.append(function()))
    for _ in range(2):  # the second finds what the first has made
        Checkpoints(tmp_path / "checkpoints").close()
    assert len(calls) == 2


def test_a_disk_that_fills_during_a_save_is_one_line(tmp_path, capfd):
    values = jnp.asarray(np.random.default_rng(0).standard_normal(2**20, np.float32))  # which do not compress
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": values}, {})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))  # a real error of a real write
        try:
            with pytest.raises(NoRoomError, match=r"step 2 takes 5.2 MiB, and .* MiB are free at .*: make room"):
                checkpoints.save(2, {"x": values}, {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (checkpoints.restore()[0]["x"] == values).all()
        checkpoints.save(2, {"x": values}, {})
    assert "Traceback" not in "".join(capfd.readouterr())
