"""Joining the processes of one run: from flags, from the environment, or by what a TPU pod or Slurm says."""

import os
import socket
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax

from rrft_jax.parallel.names import ADDRESS, COUNT, LOST_OTHERS, NUMBER

SPARE_S = 60  # by which jax's own limit is longer than ours: it would abort with a stack dump and no remedy


class ClusterError(RuntimeError):
    """The processes did not come together; the message names the setting and the remedy."""


@dataclass(frozen=True)
class Cluster:
    """address: host:port that process 0 listens on, '' for one process alone. count: processes. number: of this one,
    0 <= number < count."""

    address: str
    count: int
    number: int


def find_cluster(
    address: str | None, count: int | None, number: int | None, environment: Mapping[str, str] = os.environ
) -> Cluster | None:
    """The cluster that the flags --coordinator_address, --num_processes, --process_id or else the variables
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID describe; None where they say nothing. One process is a
    cluster as well: this process alone, also where jax would look for others.

    Raises ClusterError for a part that is missing or out of range.
    """
    address = address or environment.get(ADDRESS)
    count = _number("--num_processes", count, COUNT, environment)
    number = _number("--process_id", number, NUMBER, environment)
    found = {"--coordinator_address": address, "--num_processes": count, "--process_id": number}
    variables = dict(zip(found, (ADDRESS, COUNT, NUMBER), strict=True))
    missing = [name for name, value in found.items() if value is None]
    if len(missing) == len(found):
        return None
    if count == 1:
        if number:
            raise ClusterError(f"--process_id={number} of --num_processes=1: it can only be 0")
        return Cluster("", 1, 0)
    if address is None or count is None or number is None:
        raise ClusterError(f"several processes need {_and(missing)} too (or {_and([variables[m] for m in missing])})")
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise ClusterError(f"--coordinator_address={address} must be host:port, such as 10.0.0.2:8476")
    if count < 1 or not 0 <= number < count:
        raise ClusterError(f"--process_id={number} must lie between 0 and --num_processes - 1 = {count - 1}")
    return Cluster(address, count, number)


def _number(flag: str, value: int | None, variable: str, environment: Mapping[str, str]) -> int | None:
    text = environment.get(variable)
    if value is not None or not text:
        return value
    if not text.isdigit():
        raise ClusterError(f"{variable}={text} must be a number; it stands for {flag}")
    return int(text)


def _and(names: list[str]) -> str:
    return " and ".join(names)


def managed(environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> bool:
    """Whether jax can find the other processes by itself: a TPU machine, or a Slurm step of several tasks."""
    slurm = environment.get("SLURM_STEP_NUM_TASKS", "1")
    platforms = environment.get("JAX_PLATFORMS", "")
    # Newer TPU machines hand the chips out by VFIO, as others do with other devices.
    chips = any(devices.glob("accel*")) or any(devices.glob("vfio/[0-9]*")) and find_spec("libtpu") is not None
    tpu = chips or bool(environment.get("TPU_WORKER_HOSTNAMES"))
    return (tpu and (not platforms or "tpu" in platforms.split(","))) or (slurm.isdigit() and int(slurm) > 1)


def _one_per_node(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a Slurm step of one task per node, for which nothing says that it wants one device alone."""
    nodes = environment.get("SLURM_STEP_NUM_NODES")
    return nodes is not None and nodes == environment.get("SLURM_STEP_NUM_TASKS")


def join(cluster: Cluster | None, start_timeout_s: int, heartbeat_timeout_s: int) -> None:
    """Connects this process with the others; must come before the first use of a device.

    start_timeout_s: how long to wait for the coordinator and for all processes; one that waits in vain for the others
    says so and ends here, with code 2 or 3, since jax gives no other way out. heartbeat_timeout_s: a process that is
    silent for so long is taken for dead, and the others end. Raises ClusterError.
    """
    if cluster is not None and cluster.count == 1:
        return
    # Its handler would take a SIGTERM that comes before the loop's own is in place, and nobody would look at it.
    jax.config.update("jax_enable_preemption_service", False)
    limits: dict[str, Any] = {
        "initialization_timeout": start_timeout_s + SPARE_S,
        "heartbeat_timeout_seconds": heartbeat_timeout_s,
    }
    if cluster is None:
        if managed():
            _join_managed(start_timeout_s, limits)
        return
    if cluster.number > 0:
        _wait_for_port(cluster.address, start_timeout_s)
    # Set explicitly, so jax must not mix in what it detects of Slurm or a TPU, such as one GPU per process number.
    limits["cluster_detection_method"] = "deactivate"
    what = f"--coordinator_address={cluster.address}: {cluster.count} processes did not come together"
    if cluster.number == 0:
        remedy = f"start the other {cluster.count - 1}, and check that the port is free and open to them"
    else:
        remedy = "start all of them, with the same address and count and numbers of their own"
    try:
        with _ends_after(start_timeout_s, f"{what} within {start_timeout_s} s; {remedy}"):
            jax.distributed.initialize(cluster.address, cluster.count, cluster.number, **limits)
    except (RuntimeError, ValueError) as error:
        raise ClusterError(f"{what} ({_first_line(error)}); {remedy}") from error


def _join_managed(start_timeout_s: int, limits: Mapping[str, Any]) -> None:
    """Joins the processes that jax finds by itself."""
    what = "the processes of this machine's cluster did not come together"
    remedy = (
        "Start the program on every worker; give --coordinator_address, --num_processes and --process_id where jax "
        "cannot find them, or --num_processes=1 to run on this one alone"
    )
    try:
        # For want of others, as a launcher that watches the machines must know: it starts all of them again.
        with _ends_after(start_timeout_s, f"{what} within {start_timeout_s} s. {remedy}", LOST_OTHERS):
            jax.distributed.initialize(**limits)
    except (RuntimeError, ValueError) as error:
        raise ClusterError(f"{what}: {_first_line(error)}. {remedy}") from error
    if _one_per_node() and not os.environ.get("JAX_LOCAL_DEVICE_IDS"):
        # Under Slurm jax gives every process one GPU, the one with its number on the node.
        jax.config.update("jax_cuda_visible_devices", "all")
        jax.config.update("jax_rocm_visible_devices", "all")


@contextmanager
def _ends_after(limit_s: float, message: str, code: int = 2) -> Generator[None]:
    """Ends the program with one line and `code` where its body takes longer: jax cannot be told to give up waiting."""

    def end() -> None:
        print(f"error: {message}", file=sys.stderr, flush=True)
        os._exit(code)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _wait_for_port(address: str, limit_s: float) -> None:
    """Process 0 may start later, so a refused connection is tried again; jax itself would abort without a message."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + limit_s
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() >= end:
                raise ClusterError(
                    f"--coordinator_address={address} cannot be reached ({error.strerror or error}) within "
                    f"{limit_s:g} s: start process 0 there, and check host, port and firewall"
                ) from None
        time.sleep(0.2)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
