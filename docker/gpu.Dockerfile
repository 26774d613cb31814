# rrft_jax on NVIDIA GPUs; jax brings CUDA 12 itself, the host the driver and the NVIDIA container toolkit.
#     docker build -f docker/gpu.Dockerfile -t rrft_jax:gpu .
FROM python:3.11-slim

RUN useradd --uid 1000 --create-home rrft && mkdir /runs && chown rrft /runs
WORKDIR /src
COPY requirements.lock setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY rrft_jax rrft_jax
COPY launch launch
COPY configs configs
RUN pip install --no-cache-dir -c requirements.lock '.[cuda,report,serve]' && rm -rf /src/*

USER 1000
WORKDIR /runs
# The toolkit shows the GPUs of the host by these.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["rrft-train", "--config=grpo_counting", "--dry-run"]
