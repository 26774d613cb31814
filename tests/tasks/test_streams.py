"""Streams are functions of their address, and no two addresses share one."""

from itertools import product

from rrft_jax.tasks.streams import stream


def test_addresses_do_not_collide():
    words = ("", "a", "b", "ab", "train", "trainx", "a" * 40)
    addresses = list(product(("visual_counting", "spatial_transformation"), (0, 1), (0, 1), words, ("in", "out")))
    assert len({int(stream(*address).integers(2**62)) for address in addresses}) == len(addresses)


def test_a_stream_starts_again():
    first, again = (stream("visual_counting", 3, 5, "train", "in").integers(2**62, size=4) for _ in range(2))
    assert first.tolist() == again.tolist()
