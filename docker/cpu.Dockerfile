# rrft_jax on the CPU: docker build -f docker/cpu.Dockerfile -t rrft_jax .
FROM python:3.11-slim

RUN useradd --uid 1000 --create-home rrft && mkdir /work && chown rrft /work
WORKDIR /src
COPY requirements.lock setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY rrft_jax rrft_jax
COPY launch launch
COPY configs configs
RUN pip install --no-cache-dir -c requirements.lock '.[report,serve]' && rm -rf /src/*

USER 1000
WORKDIR /work
ENV JAX_PLATFORMS=cpu
CMD ["rrft-train", "--config=grpo_counting", "--workdir=/work/workdirs/first"]
