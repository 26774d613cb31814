"""Pictures in zip archives, read in place."""

import zipfile

import pytest

from rrft_jax.data import pictures
from rrft_jax.data.pictures import Archive, BytesPicture, Pictures, picture_key


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "train_images.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("train_images/a/1.png", b"one")
        out.writestr("b/2.png", b"two")
        out.mkdir("folder.png")
    return path


def test_with_and_without_the_top_folder(archive):
    found = Archive(archive)
    for name in ("a/1.png", "train_images/a/1.png", "./a/1.png", "/a/1.png"):
        assert found.find(name).read() == b"one"
    for name in ("b/2.png", "train_images/b/2.png"):
        assert found.find(name).read() == b"two"
    assert found.find("1.png") is found.find("folder.png/") is found.find("") is None
    assert str(found.find("a/1.png")) == f"{archive}:train_images/a/1.png"


def test_folders_come_before_archives(archive, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.png").write_bytes(b"unpacked")
    found = Pictures((tmp_path,), (Archive(archive),))
    assert found.find("b/2.png") == str(tmp_path / "b" / "2.png")
    assert found.find("a/1.png").read() == b"one"
    assert found.find("c.png") is None
    assert found.tried("c.png") == f"{tmp_path / 'c.png'}, in {archive}"
    assert Pictures((tmp_path, tmp_path / "b")).tried("/far/c.png") == "/far/c.png"


def test_a_damaged_member_is_an_oserror_that_names_it(archive):
    found = Archive(archive)
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"one", b"eno"))
    with pytest.raises(OSError, match="train_images.zip:train_images/a/1.png: cannot be read .* get the archive again"):
        Archive(archive).find("a/1.png").read()
    archive.write_bytes(content)
    assert found.find("a/1.png").read() == b"one"


def test_a_member_that_unpacks_to_more_than_a_picture_is_refused(archive, monkeypatch):
    found = Archive(archive).find("b/2.png")
    monkeypatch.setattr(pictures, "MAX_BYTES", 2)
    with pytest.raises(OSError, match="b/2.png: unpacks to 3 bytes, more than a picture can have"):
        found.read()
    # A member that says less than it holds is cut there, and its checksum tells.
    monkeypatch.undo()
    path = archive.with_name("liar.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("bomb.png", bytes(10**6))
    content, size = path.read_bytes(), (10**6).to_bytes(4, "little")
    assert content.count(size) == 2  # its own header and the directory's
    path.write_bytes(content.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(OSError, match="bomb.png: cannot be read from its archive"):
        Archive(path).find("bomb.png").read()


def test_no_archive(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="x.zip: not a complete zip archive"):
        Archive(tmp_path / "x.zip")


def test_keys_tell_pictures_apart(archive):
    assert picture_key("a.png") == "a.png"
    same, other = BytesPicture(b"1", "image 0"), BytesPicture(b"2", "image 0")
    assert picture_key(same) == picture_key(BytesPicture(b"1", "b")) != picture_key(other)
    assert picture_key(Archive(archive).find("a/1.png")) == f"{archive}:train_images/a/1.png"
