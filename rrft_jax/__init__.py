"""Reason-RFT in JAX: chain-of-thought SFT, then GRPO on verifiable rewards, for Qwen2-VL."""

__version__ = "0.1.0"
