# Settings of launch/tpu/tpu.sh, read as shell: copy this file, fill in the first block, pass --settings=COPY.
# shellcheck shell=bash disable=SC2034,SC2054,SC2016

# Where, and under which name. The name is that of the queued resource and of its TPU VM.
PROJECT=my-project
ZONE=us-west4-a
NAME=rrft

# Which slice. docs/tpu_compile.md has settings that fit each; launch/compile.py finds others.
#   v5e:  v5litepod-8 (2x4), v5litepod-16 (4x4), ...   runtime v2-alpha-tpuv5-lite
#   v5p:  v5p-32 (2x2x4; the number counts cores), ...  runtime v2-alpha-tpuv5
#   v6e:  v6e-8 (2x4), v6e-16 (4x4), ...                runtime v2-alpha-tpuv6e
ACCELERATOR_TYPE=v5litepod-16
RUNTIME_VERSION=v2-alpha-tpuv5-lite
SPOT=1                # 1: cheaper, and taken away at any time; the launcher starts again where the run stopped
VALID_UNTIL=24h       # how long a request may wait in the queue; empty: for ever
CREATE_FLAGS=()       # more flags of `gcloud ... queued-resources create`, such as (--network=mine --reserved)

# What all workers see under one path and what outlives the machines: weights, data, the run. MOUNT runs on every
# worker before the training, each time. Filestore (NFS); a new share is root's, so the worker's user gets the folder of
# WORKDIR:
MOUNT='sudo apt-get -qq update && sudo apt-get -qq install -y nfs-common && sudo mkdir -p /mnt/share &&
{ mountpoint -q /mnt/share || sudo mount -t nfs 10.0.0.2:/share /mnt/share; } &&
sudo mkdir -p /mnt/share/runs && sudo chown "$(id -u)" /mnt/share/runs'
WORKDIR=/mnt/share/runs/grpo-2b

# The training, on every worker: flags of launch/train.py but for --workdir.
TRAIN_FLAGS=(
  --config=configs/grpo_counting.py:2b,init=/mnt/share/Qwen2-VL-2B-Instruct,data=/mnt/share/counting
  --config.mesh.fsdp=16
)

PYTHON=python3.11     # installed on the workers where it is missing
POLL=60               # seconds between two looks at the queue and at the run
MAX_RESTARTS=20       # after preemptions and lost workers, before the launcher gives up
MAX_UNKNOWN=600       # seconds that gcloud may give no state of the slice that means anything, before it gives up
