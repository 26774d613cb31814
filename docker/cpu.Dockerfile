# rrft_jax on the CPU: docker build -f docker/cpu.Dockerfile -t rrft_jax .
FROM python:3.11-slim

RUN useradd --uid 1000 --create-home rrft && mkdir /runs && chown rrft /runs
WORKDIR /src
COPY requirements.lock setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY rrft_jax rrft_jax
COPY launch launch
COPY configs configs
RUN pip install --no-cache-dir -c requirements.lock '.[report,serve]' && rm -rf /src/*

USER 1000
WORKDIR /runs
ENV JAX_PLATFORMS=cpu
CMD ["rrft-train", "--config=grpo_counting", "--workdir=/runs/workdirs/first"]
