"""Reason-RFT in JAX: chain-of-thought SFT, then GRPO on verifiable rewards, for vision-language models."""

__version__ = "0.1.0"
