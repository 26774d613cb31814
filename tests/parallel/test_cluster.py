"""Which processes belong together, by flags and environment, and the words for what does not fit."""

import subprocess
import sys

import jax
import pytest

from rrft_jax.parallel import cluster
from rrft_jax.parallel.cluster import Cluster, ClusterError, find_cluster, join, managed

VARIABLES = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}


def test_flags_or_environment():
    assert find_cluster(None, None, None, {}) is None
    assert find_cluster("host:1234", 1, 0, {}) == find_cluster(None, 1, None, {}) == Cluster("", 1, 0)
    assert find_cluster("host:1234", 2, 1, {}) == Cluster("host:1234", 2, 1)
    assert find_cluster(None, None, None, VARIABLES) == Cluster("host:1234", 4, 3)
    assert find_cluster(None, None, 0, VARIABLES) == Cluster("host:1234", 4, 0)  # a flag wins, also when it is 0
    assert find_cluster("[::1]:80", 2, 1, {}).address == "[::1]:80"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((None, 1, 1), "--process_id=1 of --num_processes=1: it can only be 0"),
        (("host:1", 2, None), "need --process_id too (or JAX_PROCESS_ID)"),
        ((None, 2, 1), "need --coordinator_address too"),
        (("host", 2, 1), "--coordinator_address=host must be host:port"),
        (("host:99999", 2, 1), "must be host:port"),
        (("host:1", 2, 2), "--process_id=2 must lie between 0 and --num_processes - 1 = 1"),
    ],
)
def test_what_does_not_fit(flags, words):
    with pytest.raises(ClusterError) as error:
        find_cluster(*flags, {})
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_variable_that_is_no_number():
    with pytest.raises(ClusterError, match="JAX_PROCESS_ID=one must be a number; it stands for --process_id"):
        find_cluster(None, None, None, {**VARIABLES, "JAX_PROCESS_ID": "one"})


def test_an_unreachable_coordinator():
    with pytest.raises(ClusterError, match=r"--coordinator_address=127.0.0.1:1 cannot be reached \(Connection refused"):
        join(Cluster("127.0.0.1:1", 2, 1), start_timeout_s=0, heartbeat_timeout_s=10)


def test_one_process_alone_looks_for_no_others(monkeypatch):
    monkeypatch.setattr(cluster, "managed", lambda: True)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: pytest.fail("it looked"))
    join(find_cluster(None, 1, None, {}), 1, 10)


WAITS = """
import sys
from rrft_jax.parallel.cluster import Cluster, join
import socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
join(Cluster(address, 2, 0), start_timeout_s=1, heartbeat_timeout_s=10)
"""


def test_a_coordinator_that_waits_in_vain_says_so_in_one_line():
    done = subprocess.run([sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: --coordinator_address=127.0.0.1:")
    assert line.endswith(
        ": 2 processes did not come together within 1 s; start the other 1, and check that the port is free and open "
        "to them"
    )


MANAGED = """
import os, time
os.environ["TPU_WORKER_HOSTNAMES"] = "a,b"
os.environ.pop("JAX_PLATFORMS", None)
import jax
jax.distributed.initialize = lambda **_: time.sleep(60)
from rrft_jax.parallel.cluster import join
join(None, start_timeout_s=1, heartbeat_timeout_s=10)
"""


def test_a_worker_of_a_pod_that_waits_in_vain_ends_for_want_of_the_others():
    done = subprocess.run([sys.executable, "-c", MANAGED], capture_output=True, text=True, timeout=60)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 3 and "cluster did not come together within 1 s. Start the program on every" in line


def test_where_jax_finds_the_others_itself():
    assert managed({"JAX_PLATFORMS": "tpu,cpu", "TPU_WORKER_HOSTNAMES": "a,b"})
    assert managed({"SLURM_STEP_NUM_TASKS": "2"}) and managed({"TPU_WORKER_HOSTNAMES": "a,b"})
    assert not managed({"JAX_PLATFORMS": "cpu", "SLURM_STEP_NUM_TASKS": "1", "TPU_WORKER_HOSTNAMES": "a,b"})


@pytest.mark.parametrize(("library", "found"), [("libtpu", True), (None, False)])
def test_a_tpu_machine_whose_chips_are_vfio_devices(tmp_path, monkeypatch, library, found):
    monkeypatch.setattr(cluster, "find_spec", lambda name: library)
    (tmp_path / "vfio").mkdir()
    (tmp_path / "vfio" / "vfio").touch()  # the control node, which every Linux with the module has
    assert not managed({}, tmp_path)
    (tmp_path / "vfio" / "0").touch()
    assert managed({}, tmp_path) == found and not managed({"JAX_PLATFORMS": "cpu"}, tmp_path)


def slurm(monkeypatch, nodes, tasks, number):
    """A Slurm step's environment; jax.distributed.initialize does what it does there, but connects to nobody."""
    values = {"JOB_ID": 7, "STEP_NODELIST": "n[1-9]", "NTASKS": tasks, "PROCID": number, "LOCALID": number % 2,
              "STEP_NUM_NODES": nodes, "STEP_NUM_TASKS": tasks}  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    asked = []

    def initialize(address=None, count=None, number=None, cluster_detection_method=None, **_):
        from jax._src.clusters import ClusterEnv

        ids = None
        if cluster_detection_method != "deactivate":
            *_, ids = ClusterEnv.auto_detect_unset_distributed_params(address, count, number, None, None, 1)
        asked.append(ids)
        if ids:
            jax.config.update("jax_cuda_visible_devices", ",".join(map(str, ids)))

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(cluster, "_wait_for_port", lambda *_: None)
    return asked


@pytest.fixture
def visible():
    """What jax is told about the GPUs that this process may use."""
    names = ("jax_cuda_visible_devices", "jax_rocm_visible_devices")
    former = [jax.config._read(name) for name in names]
    yield lambda: jax.config._read(names[0])
    for name, value in zip(names, former, strict=True):
        jax.config.update(name, value)


@pytest.mark.parametrize(("nodes", "tasks", "seen"), [(2, 2, "all"), (2, 4, "1")])
def test_one_slurm_task_per_node_has_all_of_its_gpus(monkeypatch, visible, nodes, tasks, seen):
    asked = slurm(monkeypatch, nodes, tasks, number=1)
    join(None, 1, 10)
    assert asked == [[1]] and visible() == seen  # with several per node, jax's one GPU for each is right


def test_processes_given_by_hand_see_every_gpu_also_within_slurm(monkeypatch, visible):
    asked = slurm(monkeypatch, 1, 1, number=0)
    join(Cluster("127.0.0.1:1", 2, 1), 1, 10)
    assert asked == [None] and visible() == "all"
