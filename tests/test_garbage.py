"""The garbage collector leaves alone what is imported for good, and works on afterwards."""

import gc

import pytest

from rrft_jax.compilation import kept_for_good


def test_what_is_made_inside_is_never_looked_at_again():
    before = gc.get_freeze_count()
    with kept_for_good():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled() and gc.get_freeze_count() >= before + len(made)


def test_a_failing_import_leaves_the_collector_on():
    with pytest.raises(ImportError), kept_for_good():
        raise ImportError
    assert gc.isenabled()
