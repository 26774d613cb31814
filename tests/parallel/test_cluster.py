"""Which processes belong together, by flags and environment, and the words for what does not fit."""

import pytest

from rrft_jax.parallel.cluster import Cluster, ClusterError, find_cluster, join, managed

VARIABLES = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}


def test_flags_or_environment():
    assert find_cluster(None, None, None, {}) is None
    assert find_cluster("host:1234", 1, 0, {}) is None
    assert find_cluster("host:1234", 2, 1, {}) == Cluster("host:1234", 2, 1)
    assert find_cluster(None, None, None, VARIABLES) == Cluster("host:1234", 4, 3)
    assert find_cluster(None, None, 0, VARIABLES) == Cluster("host:1234", 4, 0)  # a flag wins, also when it is 0
    assert find_cluster("[::1]:80", 2, 1, {}).address == "[::1]:80"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
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


def test_where_jax_finds_the_others_itself():
    assert managed({"SLURM_STEP_NUM_TASKS": "2"}) and managed({"TPU_WORKER_HOSTNAMES": "a,b"})
    assert not managed({"JAX_PLATFORMS": "cpu", "SLURM_STEP_NUM_TASKS": "1", "TPU_WORKER_HOSTNAMES": "a,b"})
