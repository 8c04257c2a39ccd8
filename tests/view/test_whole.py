"""Files are there whole or not at all."""

import os

import pytest

from coarsegrad.view.whole import write_whole


@pytest.mark.parametrize("content", ["text é", b"bytes\x00"])
def test_what_is_written_is_read(tmp_path, content):
    path = write_whole(tmp_path / "a.txt", content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)


def test_the_file_has_ordinary_rights(tmp_path):
    (tmp_path / "ordinary").touch()
    path = write_whole(tmp_path / "a.txt", "x")
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_on_the_way_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, step):
    path = write_whole(tmp_path / "a.txt", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .*missing.* does not exist"):
        write_whole(tmp_path / "missing" / "a.txt", "x")
