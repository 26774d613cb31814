"""Random streams addressed by what they are for, so that an example depends on its address alone."""

from zlib import crc32

import numpy as np


def stream(task: str, seed: int, index: int, split: str, domain: str) -> np.random.Generator:
    """A generator addressed by its arguments. The whole split name enters, so two names never share a stream."""
    words = int.from_bytes(f"{domain}/{split}".encode(), "little")
    spawn = (crc32(task.encode()), *_words(words), index)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=spawn)))


def _words(value: int) -> list[int]:
    """A non-negative integer as 32-bit words, lowest first."""
    return [value >> shift & 0xFFFFFFFF for shift in range(0, max(value.bit_length(), 1), 32)]
