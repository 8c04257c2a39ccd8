"""Files: a damaged, missing or wrong one is a single clear error, a download is whole or absent."""

import errno
import gzip
import hashlib
import io
import pickle
import struct
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from coarsegrad.train import fetch

ARRAYS = {
    "x_train": np.zeros((4, 3, 3), np.uint8),
    "y_train": np.array([0, 1, 2, 0]),
    "x_test": np.ones((2, 3, 3), np.uint8),
    "y_test": np.array([1, 0]),
}


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def tiny(contents, **changes):
    """A published data set of these unpacked files, each to be downloaded as ``.gz`` at no address yet."""
    packed = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in contents.items()}
    facts = {
        "name": "tiny",
        "classes": ("0", "1"),
        "mean": (0.5,),
        "std": (0.5,),
        "urls": (),
        "downloads": {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()},
        "contents": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "parse": dict,
    }
    return fetch.Canonical(**(facts | changes)), packed


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """``serve({name: content})`` is the address of a web server on this machine with these files."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = []

    def serve(files):
        at = tmp_path / f"www{len(servers)}"
        at.mkdir()
        for name, content in files.items():
            (at / name).write_bytes(content)

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=at))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_idx_file_gives_back_the_array_written_into_it():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert fetch.read_idx(idx(pixels), "x", dims=3).tolist() == pixels.tolist()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no IDX file"),
        (b"\x00\x00\x0d\x03" + bytes(40), "no IDX file.*0x00000d03"),
        (idx(np.zeros(3, np.uint8)), "no IDX file"),
        (idx(np.zeros((2, 3, 3), np.uint8))[:-1], "truncated"),
        (idx(np.zeros((2, 3, 3), np.uint8)) + b"!", "too long"),
    ],
)
def test_a_damaged_idx_file_is_named(content, says):
    with pytest.raises(ValueError, match=rf"images\.gz.*{says}"):
        fetch.read_idx(content, "images.gz", dims=3)


def test_a_cifar_batch_is_labels_beside_planes_of_red_green_and_blue():
    rows = np.zeros((10_000, 3073), np.uint8)
    rows[:, 0], rows[:, 1:1025], rows[:, 2049:] = 9, 1, 3
    images, labels = fetch.read_cifar(rows.tobytes(), "batch")
    assert images[7].float().mean(dim=(1, 2)).tolist() == [1, 0, 3]
    assert labels.unique().tolist() == [9]


@pytest.mark.parametrize(
    ("content", "says"), [(bytes(3073), "truncated"), (b"\x0a" * 3073 * 10_000, "label 10 outside")]
)
def test_a_damaged_cifar_batch_is_named(content, says):
    with pytest.raises(ValueError, match=rf"data_batch_1.*{says}"):
        fetch.read_cifar(content, "data_batch_1.bin")


@pytest.mark.parametrize("spelling", ["a-idx1", "a-idx1.gz", "a.idx1", "inside/a-idx1.gz", "tiny/a-idx1",
                                      "tiny/inside/a.idx1.gz"])  # fmt: skip
def test_files_are_found_packed_or_unpacked_and_in_folders_of_their_names(tmp_path, spelling):
    files, packed = tiny({"a-idx1": b"content"}, inside="inside")
    path = tmp_path / spelling
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed["a-idx1.gz"] if spelling.endswith(".gz") else b"content")
    assert files.read(tmp_path) == {"a-idx1": b"content"}


@pytest.mark.parametrize("where", [".", "tiny", "in", "tiny/in"])
def test_files_are_read_out_of_their_archive_without_writing_any(tmp_path, where):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("../../evil", "in/a", "in/other"):
            member = tarfile.TarInfo(name)
            member.size = 7
            tar.addfile(member, io.BytesIO(b"content"))
    files, _ = tiny({"a": b"content"}, inside="in", downloads={"all.tar.gz": ""})
    archive = tmp_path / where / "all.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(buffer.getvalue())
    assert files.read(tmp_path) == {"a": b"content"}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["all.tar.gz"]
    archive.write_bytes(buffer.getvalue()[:-30])
    with pytest.raises(ValueError, match=r"all\.tar\.gz is damaged .* fetch it again"):
        files.read(tmp_path)


def test_a_missing_file_is_named_with_its_folder(tmp_path):
    files, _ = tiny({"a": b"1", "b": b"2"})
    (tmp_path / "a").write_bytes(b"1")
    with pytest.raises(FileNotFoundError, match=rf"no b of tiny in {tmp_path}"):
        files.read(tmp_path)


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path):
    files, _ = tiny({"a": b"right"})
    (tmp_path / "a").write_bytes(b"wrong")
    with pytest.raises(ValueError, match=r"/a is not the published a of tiny .*SHA256"):
        files.read(tmp_path)


def test_a_lenient_file_that_differs_is_a_warning(tmp_path):
    files, _ = tiny({"a": b"right"}, lenient=("a",))
    (tmp_path / "a").write_bytes(b"close")
    with pytest.warns(UserWarning, match="accuracies may not compare"):
        assert files.read(tmp_path) == {"a": b"close"}


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b"not gzip", lambda b: b[:20] + b"??" + b[22:]]
)
def test_a_damaged_gzip_file_is_named(tmp_path, damage):
    path = tmp_path / "a.gz"
    path.write_bytes(damage(gzip.compress(bytes(range(256)) * 9)))
    with pytest.raises(ValueError, match=r"a\.gz is truncated or no gzip file"):
        fetch.read_bytes(path)


def test_a_download_fills_the_folder_once(tmp_path, serve):
    files, packed = tiny({"a": b"1", "b": b"2"})
    reachable, _ = tiny({"a": b"1", "b": b"2"}, urls=(serve(packed),))
    reachable.download(tmp_path / "cache")
    assert files.read(tmp_path / "cache") == {"a": b"1", "b": b"2"}
    gone, _ = tiny({"a": b"1", "b": b"2"}, urls=("http://127.0.0.1:1/",))
    gone.download(tmp_path / "cache")


def test_the_next_mirror_is_asked_where_one_fails(tmp_path, serve):
    _, packed = tiny({"a": b"1"})
    urls = ("http://127.0.0.1:1/", serve({}), serve({"a.gz": b"wrong"}), serve(packed))
    files, _ = tiny({"a": b"1"}, urls=urls)
    files.download(tmp_path / "cache")
    assert files.read(tmp_path / "cache") == {"a": b"1"}


@pytest.mark.parametrize(("served", "error"), [({"a.gz": b"wrong"}, ValueError), ({}, OSError)])
def test_a_failed_download_says_what_to_do_and_leaves_no_file(tmp_path, serve, served, error):
    files, _ = tiny({"a": b"1"}, urls=(serve(served),))
    with pytest.raises(error, match=r"cannot get http://.*/a\.gz .*give a folder .*with a"):
        files.download(tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_full_disk_ends_the_download_at_the_first_mirror(tmp_path, monkeypatch):
    import pooch

    asked = []

    def full(url, **_):
        asked.append(url)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch, "retrieve", full)
    files, _ = tiny({"a": b"1"}, urls=("http://one/", "http://two/"))
    with pytest.raises(OSError, match=r"No space left on device.*free disk") as caught:
        files.download(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert asked == ["http://one/a.gz"]


def test_without_a_folder_the_cache_is_read_and_filled_only_if_allowed(tmp_path, serve, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    _, packed = tiny({"a": b"1"})
    files, _ = tiny({"a": b"1"}, urls=(serve(packed),))
    with pytest.raises(FileNotFoundError, match="they are downloaded"):
        files.read(download=False)
    assert files.read() == {"a": b"1"}
    assert files.read(download=False) == {"a": b"1"}


@pytest.mark.parametrize("library", ["pooch", "PIL.Image"])
def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    read = {"pooch": lambda: tiny({})[0].read(), "PIL.Image": lambda: fetch.read_image_folder(tmp_path)}[
        library
    ]
    with pytest.raises(ImportError, match=rf'{library}.*pip install "coarsegrad\[train\]"'):
        read()


def test_an_npz_file_gives_images_with_a_channel_axis_and_names(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS, classes=np.array(["cat", "dog", "owl"]))
    (x, y), (test, _), classes = fetch.read_npz(tmp_path / "a.npz")
    assert (x.shape, x.dtype, y.dtype) == ((4, 1, 3, 3), torch.uint8, torch.int64)
    assert test.float().mean() == 1
    assert classes == ("cat", "dog", "owl")


class Bomb:
    """What a pickle does when it is loaded."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x_test": None}, "no x_test, only x_train"),
        ({"x_train": np.zeros((4, 3, 3), np.int64)}, "x_train is int64: save it as uint8"),
        ({"x_train": np.zeros((4, 8, 8, 3), np.uint8)}, "channels last"),
        ({"y_train": np.zeros(4)}, "y_train is float64"),
        ({"y_test": np.zeros((2, 1), int)}, r"y_test is int64 \[2, 1\]"),
        ({"x_train": np.array([Bomb()], dtype=object)}, "cannot be read"),
    ],
)
def test_an_npz_file_with_wrong_arrays_is_refused(tmp_path, change, says):
    arrays = {key: value for key, value in (ARRAYS | change).items() if value is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=rf"a\.npz.*{says}"):
        fetch.read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x93NUMPY", pickle.dumps(Bomb())])
def test_a_file_that_is_no_npz_is_refused_and_never_unpickled(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
        fetch.read_npz(tmp_path / "a.npz")


def test_a_truncated_or_missing_npz_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*a\.npz"):
        fetch.read_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **ARRAYS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[160] ^= 255
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
        fetch.read_npz(tmp_path / "a.npz")


def paint(folder, colour=(255, 0, 0), mode="RGB", size=(4, 4)):
    from PIL import Image

    folder.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(folder)


def test_an_image_folder_gives_colour_planes_and_sorted_classes(tmp_path):
    for part in ("train", "test"):
        paint(tmp_path / part / "dog" / "1.png", (255, 128, 0))
        paint(tmp_path / part / "cat" / "1.png", 7, mode="L")
    (images, labels), _, classes = fetch.read_image_folder(tmp_path)
    assert classes == ("cat", "dog")
    assert labels.tolist() == [0, 1]
    assert images[:, :, 0, 0].tolist() == [[7, 7, 7], [255, 128, 0]]


def test_an_image_folder_all_grey_has_one_channel(tmp_path):
    for part in ("train", "test"):
        paint(tmp_path / part / "a" / "1.png", 7, mode="L")
    (images, _), _, _ = fetch.read_image_folder(tmp_path)
    assert images.shape == (1, 1, 4, 4)


def test_images_of_two_sizes_ask_for_one(tmp_path):
    paint(tmp_path / "train" / "a" / "1.png")
    paint(tmp_path / "test" / "a" / "2.png", size=(5, 4))
    with pytest.raises(ValueError, match=r"2\.png has \(4, 5\) pixels, .*give size="):
        fetch.read_image_folder(tmp_path)
    (images, _), (test, _), _ = fetch.read_image_folder(tmp_path, size=3)
    assert images.shape == test.shape == (1, 3, 3, 3)


def test_what_is_wrong_with_an_image_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*train"):
        fetch.read_image_folder(tmp_path)
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no images in .*train/a"):
        fetch.read_image_folder(tmp_path)
    paint(tmp_path / "train" / "a" / "1.png")
    paint(tmp_path / "test" / "b" / "1.png")
    with pytest.raises(ValueError, match="test has classes that train lacks: b"):
        fetch.read_image_folder(tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(path.read_bytes()[:45]), lambda path: path.write_text("no")]
)
def test_a_damaged_image_is_named(tmp_path, damage):
    for part in ("train", "test"):
        paint(tmp_path / part / "a" / "1.png")
    damage(tmp_path / "test" / "a" / "1.png")
    with pytest.raises(ValueError, match=r"test/a/1\.png is no image that can be read"):
        fetch.read_image_folder(tmp_path)


def test_an_image_of_16_bits_is_refused(tmp_path):
    paint(tmp_path / "train" / "a" / "1.png", 1000, mode="I;16")
    paint(tmp_path / "test" / "a" / "1.png")
    with pytest.raises(ValueError, match=r"train/a/1\.png.*not 8 bits a channel"):
        fetch.read_image_folder(tmp_path)
