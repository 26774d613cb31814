"""What is said of a full disk, however deep in an error it stands."""

import errno

from rrft_jax.run.room import is_full, no_room


def test_the_error_that_says_so_is_named_and_not_those_around_it(tmp_path):
    try:
        try:
            try:
                raise OSError(errno.ENOSPC, "No space left on device", "a.bin")
            except OSError as error:
                raise RuntimeError("the write failed") from error
        except RuntimeError as error:
            raise FileNotFoundError(errno.ENOENT, "No such file", "other") from error
    except FileNotFoundError as error:
        assert is_full(error) and no_room(error, tmp_path).startswith("a.bin cannot be written (No space left on")
    library = ValueError("RESOURCE_EXHAUSTED: Disk quota exceeded")
    assert "a file cannot be written (Disk quota exceeded; " in no_room(library, tmp_path)
    assert not is_full(OSError(errno.ENOENT, "No such file"))
