from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coarsegrad.train import zoo
from coarsegrad.train.build import load_data
from coarsegrad.train.loop import train
from coarsegrad.train.objective import Objective, evaluate, make_objective, tally
from coarsegrad.train.plan import TrainPlan

torch.set_num_threads(1)
SMALL = TrainPlan(model="mlp(widths=(8,))", recipe=None, epochs=1, batch_size=256)
LOGITS, LABELS = (
    torch.randn(6, 4, generator=torch.Generator().manual_seed(1)),
    torch.tensor([0, 1, 2, 3, 0, 1]),
)


class Fixed(nn.Module):
    def forward(self, x):
        return x * 2 - 1


def test_without_a_teacher_it_is_cross_entropy():
    assert torch.equal(Objective()(LOGITS, LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize(("distill", "temperature"), [(1.0, 1.0), (0.3, 4.0), (0.0, 2.0)])
def test_distillation_is_the_formula(distill, temperature):
    p, q = ((z / temperature).softmax(1) for z in (Fixed()(LOGITS), LOGITS))
    kl = (p * (p.log() - q.log())).sum(1).mean()
    expected = distill * temperature**2 * kl + (1 - distill) * F.cross_entropy(LOGITS, LABELS)
    found = Objective(Fixed(), distill, temperature)(LOGITS, LOGITS, LABELS)
    torch.testing.assert_close(found, expected)


def test_distillation_is_zero_for_a_student_that_answers_as_its_teacher():
    assert Objective(Fixed())(LOGITS, Fixed()(LOGITS), LABELS).abs() < 1e-6


def test_at_temperature_one_the_gradient_is_the_difference_of_probabilities():
    z = LOGITS.clone().requires_grad_()
    Objective(Fixed())(LOGITS, z, LABELS).backward()
    torch.testing.assert_close(z.grad, (LOGITS.softmax(1) - Fixed()(LOGITS).softmax(1)) / len(LOGITS))


def test_a_teacher_may_be_a_run_folder_or_a_model_and_a_file(tmp_path):
    list(train(SMALL, tmp_path))
    data, cpu = load_data(SMALL), torch.device("cpu")
    weights = zoo.build(SMALL.model, in_shape=data.in_shape, classes=10, seed=3).state_dict()
    torch.save(weights, tmp_path / "w.pt")
    run = make_objective(replace(SMALL, teacher=str(tmp_path)), data, cpu)
    file = make_objective(replace(SMALL, teacher=f"{SMALL.model}@{tmp_path / 'w.pt'}"), data, cpu)
    for objective in (run, file):
        assert objective.teacher is not None
        assert not objective.teacher.training
        assert not any(p.requires_grad for p in objective.teacher.parameters())


def test_a_teacher_that_is_nowhere_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run folder"):
        make_objective(replace(SMALL, teacher=str(tmp_path / "none")), load_data(SMALL), torch.device("cpu"))


def test_evaluation_does_not_depend_on_how_images_are_dealt_out():
    data = load_data(SMALL)
    model = zoo.build("lenet5", in_shape=data.in_shape, classes=10).train()
    whole, parts = (evaluate(model, data.test_batches(size).epoch(0)) for size in (1000, 7))
    assert whole["accuracy"] == parts["accuracy"]
    assert whole["loss"] == pytest.approx(parts["loss"], rel=1e-6)
    assert model.training


def test_a_tally_counts_images():
    images, labels = torch.eye(4), torch.tensor([0, 1, 0, 0])
    sums = tally(nn.Identity(), [(images[:3], labels[:3]), (images[3:], labels[3:])])
    assert sums[1:].tolist() == [2, 4]


def test_evaluating_nothing_is_an_error():
    with pytest.raises(ValueError, match="got no batches"):
        evaluate(nn.Identity(), [])
