import pytest
import torch

from coarsegrad.studies.place import part, trained
from coarsegrad.train import TrainPlan, data

SETTINGS = {"data": "digits", "data_folder": None, "train_images": 30, "test_images": 10}


def test_a_part_is_the_first_images_in_a_file_that_is_written_once(tmp_path):
    of_plan = part(SETTINGS, tmp_path / "task")
    found, whole = data.load(of_plan["data"]), data.load("digits")
    assert (len(found.train_images), len(found.test_images)) == (30, 10) and of_plan["data_folder"] is None
    assert torch.equal(found.train_labels, whole.train_labels[:30])
    written = (tmp_path / "task" / "part.npz").stat().st_mtime_ns
    assert part(SETTINGS, tmp_path / "task") == of_plan
    assert (tmp_path / "task" / "part.npz").stat().st_mtime_ns == written


@pytest.mark.parametrize("folder", [None, "/somewhere"])
def test_without_a_number_the_data_are_as_they_are(tmp_path, folder):
    whole = part({**SETTINGS, "train_images": None, "data_folder": folder}, tmp_path)
    assert whole == {"data": "digits", "data_folder": folder} and not list(tmp_path.iterdir())


def test_a_training_goes_on_and_begins_anew_where_its_files_have_moved(tmp_path):
    def plan(place, epochs=2):
        return TrainPlan(**part(SETTINGS, place), model="mlp(widths=(4,))", batch_size=10, epochs=epochs)

    place = tmp_path / "one"
    rows = trained(plan(place), place / "run")
    assert [row["epoch"] for row in rows] == [1, 2] and trained(plan(place), place / "run") == rows
    place.rename(tmp_path / "other")
    with pytest.warns(UserWarning, match="begins anew: .* holds the run of another plan"):
        moved = trained(plan(tmp_path / "other"), tmp_path / "other" / "run")
    assert [row["train_loss"] for row in moved] == [row["train_loss"] for row in rows]
