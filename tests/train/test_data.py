"""Data sets and their order: batches depend on seed and epoch alone, and many processes see what one sees."""

import itertools
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import real_data
from coarsegrad.spec import read, write
from coarsegrad.train.data import (
    SOURCES,
    Augment,
    Batches,
    Dataset,
    Digits,
    Gaussian,
    ImageFolder,
    Npz,
    Subspaces,
    load,
    source,
)

CHECKED = {"mnist": "mnist", "fashion_mnist": "fashion-mnist", "cifar10": "cifar-10"}
AUGMENT = Augment(pad=2, flip=True)


def numbered(count, side=4):
    """Images that carry their number in every pixel, labelled by it."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, side, side), torch.arange(
        count
    )


def pixels(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 6, 5), dtype=torch.uint8, generator=generator), torch.arange(
        count
    )


def dataset(**changes):
    x, y = pixels(6)
    facts = {"name": "mine", "train_images": x, "train_labels": y, "test_images": x, "test_labels": y}
    return Dataset(**(facts | {"classes": tuple("abcdef")} | changes))


def equal(some, others):
    pairs = itertools.zip_longest(some, others)
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


# batches


def test_an_epoch_holds_every_image_once_with_its_own_label():
    images, labels = numbered(50)
    seen = list(Batches(images, labels, 16).epoch(0))
    assert [len(y) for _, y in seen] == [16, 16, 16, 2]
    assert sorted(torch.cat([y for _, y in seen]).tolist()) == list(range(50))
    assert all(torch.equal((x[:, 0, 0, 0] * 255).round().long(), y) for x, y in seen)


def test_batches_depend_on_seed_and_epoch_alone():
    batches = Batches(*pixels(40), 16, seed=5, augment=AUGMENT)
    first = list(batches.epoch(3))
    torch.manual_seed(99)
    list(batches.epoch(0))
    assert equal(first, Batches(*pixels(40), 16, seed=5, augment=AUGMENT).epoch(3))
    assert not equal(first, batches.epoch(4))
    assert not equal(first, Batches(*pixels(40), 16, seed=6, augment=AUGMENT).epoch(3))


def test_batches_leave_the_global_generator_and_the_images_as_they_were():
    images, labels = pixels(20)
    state, before = torch.get_rng_state(), images.clone()
    list(Batches(images, labels, 8, augment=AUGMENT).epoch(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_parts_of_all_ranks_are_the_batch_of_a_single_process(world, shuffle):
    wish = {"batch_size": 18, "seed": 1, "shuffle": shuffle, "augment": AUGMENT}
    whole = Batches(*pixels(50), **wish).epoch(2)
    ranks = [Batches(*pixels(50), **wish, rank=rank, world=world).epoch(2) for rank in range(world)]
    joined = ([torch.cat(parts) for parts in zip(*batch, strict=True)] for batch in zip(*ranks, strict=True))
    assert equal(joined, whole)


def test_losses_of_unequal_parts_average_to_that_of_the_whole_batch():
    ranks = [Batches(*numbered(17), 10, rank=rank, world=4) for rank in range(4)]
    for step, parts in enumerate(zip(*(batches.epoch(0) for batches in ranks), strict=True)):
        losses = [y.double().mean() * 4 * len(y) / ranks[0].size(step) for _, y in parts]
        assert sum(losses) / 4 == pytest.approx(torch.cat([y for _, y in parts]).double().mean().item())


def test_the_last_batch_is_dropped_only_on_demand():
    kept, dropped = (Batches(*numbered(10), 4, drop_last=drop) for drop in (False, True))
    assert (len(kept), len(list(kept.epoch(0))), kept.size(2)) == (3, 3, 2)
    assert (len(dropped), len(list(dropped.epoch(0)))) == (2, 2)


def test_images_come_out_normalised_as_the_field_does_it():
    images, labels = pixels(8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    ((x, _),) = Batches(images, labels, 8, shuffle=False, mean=mean, std=std).epoch(0)
    expected = (images / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"rank": 2, "world": 2}, "rank"),
        ({"seed": -1}, "seed"),
        ({"batch_size": 1, "world": 2}, "one a rank"),
        ({"batch_size": 30, "drop_last": True}, "fill no batch"),
        ({"batch_size": 3, "world": 2}, "drop_last=True"),
        ({"labels": torch.arange(9)}, "10 images and 9 labels"),
        ({"images": torch.zeros(10, 4), "augment": AUGMENT}, "needs"),
    ],
)
def test_batches_that_cannot_be_dealt_are_refused(wish, says):
    images, labels = numbered(10)
    with pytest.raises(ValueError, match=says):
        Batches(**({"images": images, "labels": labels, "batch_size": 4} | wish))


def test_an_epoch_before_the_first_is_refused_at_once():
    with pytest.raises(ValueError, match="from 0"):
        Batches(*numbered(10), 4).epoch(-1)


# augmentation


@pytest.mark.parametrize("augment", [Augment(), Augment(pad=4), Augment(flip=True), AUGMENT], ids=str)
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_augmenting_a_batch_is_cropping_and_mirroring_one_by_one(augment, kind):
    images = pixels(30)[0].to(kind)
    draws = augment.draw(30, torch.Generator().manual_seed(3))
    out = augment.apply(images, draws)
    for image, (top, left, mirrored), found in zip(images, draws.tolist(), out, strict=True):
        expected = F.pad(image, (augment.pad,) * 4)[:, top : top + 6, left : left + 5]
        assert torch.equal(found, expected.flip(-1) if mirrored else expected)


def test_every_offset_and_both_mirror_images_are_equally_likely():
    draws = Augment(pad=1, flip=True).draw(90_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(draws[:, 0] * 6 + draws[:, 1] * 2 + draws[:, 2])
    # 18 cells of 5000 expected; a count leaves 5 standard deviations (344) once in 100,000 such tests
    assert len(counts) == 18
    assert (counts - 5000).abs().max() < 344


def test_no_augmentation_is_false_and_a_negative_pad_refused():
    assert not Augment()
    assert AUGMENT
    with pytest.raises(ValueError, match="pad"):
        Augment(pad=-1)


# data sets


class Asked(torch.Tensor):
    """A tensor that notes where it is sent."""

    def to(self, device):
        self.asked.append(device)
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train_images": torch.zeros(6, 4, 4)}, r"\[N, C, H, W\]"),
        ({"train_images": torch.zeros(0, 3, 6, 5)}, r"\[N, C, H, W\]"),
        ({"train_images": torch.zeros(6, 3, 6, 5, dtype=torch.float64)}, "uint8 or float32"),
        ({"train_images": torch.full((6, 3, 6, 5), torch.nan)}, "NaN"),
        ({"test_images": torch.zeros(6, 3, 5, 5, dtype=torch.uint8)}, "test images are"),
        ({"test_labels": torch.zeros(6)}, "int64"),
        ({"train_labels": torch.arange(5)}, r"int64 \[6\]"),
        ({"train_labels": torch.arange(6) - 1}, r"-1\.\.4 leave 0\.\.5"),
        ({"test_labels": torch.arange(1, 7)}, r"1\.\.6 leave 0\.\.5"),
        ({"mean": (0.5, 0.5)}, "one mean"),
        ({"std": (0.0,)}, "positive std"),
    ],
)
def test_a_data_set_that_does_not_fit_together_is_refused(changes, says):
    with pytest.raises(ValueError, match=f"mine.*{says}"):
        dataset(**changes)


def test_training_batches_take_the_data_sets_augmentation_and_test_batches_none():
    mine = dataset(augment=AUGMENT, mean=(0.5,), std=(0.5,))
    assert mine.train_batches(3, seed=4).augment == AUGMENT
    assert mine.train_batches(3, augment=Augment()).augment == Augment()
    ((x, y),) = mine.test_batches().epoch(0)
    assert y.tolist() == list(range(6))
    torch.testing.assert_close(x, mine.test_images / 127.5 - 1)


def test_a_data_set_moves_as_a_whole():
    asked, mine = [], dataset()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        tensor = getattr(mine, name).as_subclass(Asked)
        tensor.asked = asked
        object.__setattr__(mine, name, tensor)
    moved = mine.to("cpu")
    assert asked == ["cpu"] * 4
    assert equal([(moved.train_images, moved.test_labels)], [(mine.train_images, mine.test_labels)])


# sources


@pytest.mark.parametrize("name", ["digits", "gaussian", "subspaces"])
def test_a_source_without_files_gives_the_same_data_each_time(name):
    one, same = load(name), load(name)
    assert torch.equal(one.train_images, same.train_images)
    assert torch.equal(one.test_labels, same.test_labels)
    assert one.train_labels.unique().tolist() == list(range(len(one.classes)))
    assert one.name == name


@pytest.mark.parametrize("kind", [Gaussian, Subspaces])
def test_another_seed_is_another_sample(kind):
    assert not torch.equal(kind(seed=0).load().test_images, kind(seed=1).load().test_images)


def test_digits_are_split_four_to_one_in_every_class():
    digits = load()
    total = digits.train_labels.bincount() + digits.test_labels.bincount()
    assert total.sum() == 1797
    assert torch.equal(digits.test_labels.bincount(), total // 5)
    assert digits.train_images.amin() == 0
    assert digits.train_images.amax() == 1
    ((x, _),) = digits.train_batches(1442).epoch(0)
    assert x.mean().abs() < 1e-5
    assert x.std() == pytest.approx(1, abs=1e-4)


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "coarsegrad\[train\]"'):
        Digits().load()


def test_gaussian_labels_are_balanced_on_standard_normal_vectors():
    made = Gaussian(dim=6, samples=20_000, hidden=5, seed=2).load()
    # half of 20,000, standard deviation 70.7: six of them are left once in 500 million runs
    assert abs(made.train_labels.sum().item() - 10_000) < 6 * 70.7
    assert made.train_images.std() == pytest.approx(1, abs=0.02)


def test_a_committee_of_one_is_a_half_space():
    made = Gaussian(dim=3, samples=5000, hidden=1).load()
    x, sign = made.train_images, 2.0 * made.train_labels - 1
    direction = (x * sign[:, None]).mean(0)  # E x sign(w.x) is parallel to w
    assert ((x @ direction > 0) == (sign > 0)).float().mean() > 0.97


@pytest.mark.parametrize("degrees", [15.0, 60.0, 90.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_neighbouring_planes_meet_at_the_angle_and_all_are_independent(degrees, classes):
    planes = Subspaces(classes=classes, degrees=degrees).planes()
    assert torch.linalg.matrix_rank(planes.flatten(0, 1)) == 2 * classes
    for i, j in itertools.combinations(range(classes), 2):
        cosine = torch.linalg.svdvals(planes[i] @ planes[j].T).max().item()
        assert cosine == pytest.approx(np.cos(np.radians(degrees)) if j == i + 1 else 0, abs=1e-12)


def test_the_two_planes_are_the_papers():
    made = Subspaces(degrees=30.0, turns=4).load()
    assert made.train_images.shape == (88, 4)
    quarter = made.train_images[1]  # radius 1, a quarter turn: sin(30) e2 + cos(30) e3
    torch.testing.assert_close(quarter, torch.tensor([0, 0.5, 0.75**0.5, 0]), atol=1e-6, rtol=0)
    assert made.train_images[made.train_labels == 1][:, :2].abs().max() == 0
    radii = made.test_images.norm(dim=1)
    assert ((radii >= 1 - 1e-6) & (radii <= 2 + 1e-6)).all()
    assert made.train_images.norm(dim=1).unique().numel() >= 11


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gaussian(hidden=2),
        lambda: Gaussian(samples=0),
        lambda: Subspaces(classes=1),
        lambda: Subspaces(degrees=0.0),
        lambda: Subspaces(degrees=91.0),
        lambda: ImageFolder("x", size=0),
        lambda: source("cifar11"),
        lambda: source("gaussian(dims=3)"),
        lambda: load("digits", folder="/somewhere"),
    ],
)
def test_a_wrong_source_is_refused(make):
    with pytest.raises(
        ValueError, match=r"must be|needs|sizes|in pixels|did you mean|fields|takes no folder"
    ):
        make()


@pytest.mark.parametrize("name", SOURCES)
def test_the_written_form_reads_back_equal(name):
    made = SOURCES[name](
        **{"npz": {"path": "a b.npz"}, "imagefolder": {"folder": "x", "size": 3}}.get(name, {})
    )
    assert source(write(made)) == read(write(made), SOURCES) == made


def test_a_path_stands_behind_a_colon():
    assert source("npz:/a/b(1).npz") == Npz("/a/b(1).npz")
    assert source("imagefolder:C:/pictures") == ImageFolder("C:/pictures")


def test_arrays_of_ones_own_are_loaded_and_measured(tmp_path):
    x, y = (t.numpy() for t in pixels(10))
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])
    mine = load(f"npz:{tmp_path}/own.npz")
    assert (mine.in_shape, len(mine.classes)) == ((3, 6, 5), 10)
    assert mine.mean == pytest.approx((x / 255).mean(axis=(0, 2, 3)))
    assert mine.std == pytest.approx((x / 255).std(axis=(0, 2, 3)))


def test_images_of_ones_own_are_loaded_from_folders(tmp_path):
    from PIL import Image

    for part, name in itertools.product(("train", "test"), ("cat", "dog")):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (255, 0, 10)).save(tmp_path / part / name / "1.png")
    mine = load(f"imagefolder:{tmp_path}")
    assert (mine.in_shape, mine.classes) == ((3, 4, 4), ("cat", "dog"))
    assert mine.mean == pytest.approx((1.0, 0.0, 10 / 255))
    assert mine.std == (1.0, 1.0, 1.0)  # constant images are left as they are


@pytest.mark.parametrize("name", CHECKED)
def test_without_the_files_a_published_data_set_says_what_is_missing(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"of {CHECKED[name]} in {tmp_path}"):
        load(name, folder=tmp_path)


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.filterwarnings("ignore:.*test_batch.bin is not the published")
def test_the_real_images_have_the_published_mean_and_deviation(name, data_folder):
    folder = data_folder(CHECKED[name])
    found = load(name, folder=real_data.cifar_folder() if name == "cifar10" else folder)
    assert len(found.test_labels) == 10_000
    if name != "mnist":
        assert (
            found.train_labels.bincount().unique().numel()
            == found.test_labels.bincount().unique().numel()
            == 1
        )
    values = found.train_images.transpose(0, 1).flatten(1)
    grey = torch.stack([channel.bincount(minlength=256) for channel in values]).double() / values.shape[1]
    level = torch.arange(256).double() / 255
    mean = grey @ level
    assert mean.tolist() == pytest.approx(found.mean, abs=5.1e-5)
    assert (grey @ level.square() - mean.square()).sqrt().tolist() == pytest.approx(found.std, abs=1.01e-4)


def test_the_catalogue_names_each_source_as_its_written_form():
    assert [kind.name for kind in SOURCES.values()] == list(SOURCES)
