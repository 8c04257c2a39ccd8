"""Addresses and checksums, against the files themselves."""

import hashlib

import pytest

import real_data
from coarsegrad.train import fetch, published


@pytest.mark.parametrize(
    "files", [published.MNIST, published.FASHION_MNIST, published.CIFAR10], ids=lambda files: files.name
)
def test_the_real_files_are_the_published_ones(files, data_folder):
    folder = data_folder(files.name)
    folder = real_data.cifar_folder() if files is published.CIFAR10 else folder
    for name in sorted(set(files.contents) - set(files.lenient)):
        path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
        assert hashlib.sha256(fetch.read_bytes(path)).hexdigest() == files.contents[name]
        if path.suffix == ".gz":
            assert hashlib.sha256(path.read_bytes()).hexdigest() == files.downloads[path.name]


@pytest.mark.parametrize(
    "files", [published.MNIST, published.FASHION_MNIST, published.CIFAR10], ids=lambda files: files.name
)
def test_an_empty_folder_lacks_them_all(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=", ".join(files.contents)):
        files.require(tmp_path)
