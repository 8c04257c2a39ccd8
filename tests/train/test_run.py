from dataclasses import replace

import pytest
import torch

from coarsegrad.train.checkpoint import CheckpointError
from coarsegrad.train.distributed import Ranks
from coarsegrad.train.plan import TrainPlan
from coarsegrad.train.run import Run

torch.set_num_threads(1)
SMALL = TrainPlan(model="mlp(widths=(8,8))", epochs=4, batch_size=256, pretrain_epochs=2)


def fresh(**changes):
    return Run(replace(SMALL, **changes), Ranks())


def test_each_phase_has_its_own_time():
    run = fresh()
    times = []
    for run.epoch in range(6):
        times.append(run.time(0))
    assert times == [(0, 2), (1, 2), (0, 4), (1, 4), (2, 4), (3, 4)]
    run.epoch = 2
    assert run.time(3) == (0.5, 4)


def test_a_float_run_has_one_phase():
    run = fresh(recipe=None, pretrain_epochs=0)
    run.epoch = 3
    assert run.time(0) == (3, 4)
    assert not run.due_quantization


def test_quantization_is_due_after_pretraining_once():
    run = fresh()
    assert not run.due_quantization
    run.epoch = 2
    assert run.due_quantization
    run.quantize()
    assert run.phase == "quantized" and not run.due_quantization


def test_scheduled_surrogates_hear_how_far_their_phase_is():
    run = fresh(activation_surrogate="ede", pretrain_epochs=0)
    run.quantize()
    assert run.scheduled
    run.epoch = 1
    run.set_time(3)
    assert {q.progress.item() for q in run.scheduled} == {1.5 / 4}


def test_a_plain_surrogate_costs_nothing_per_step():
    run = fresh(pretrain_epochs=0)
    run.quantize()
    assert run.scheduled == []


def test_an_epoch_counts_every_image_it_uses():
    assert fresh(batch_size=64).samples == 1442
    assert fresh(batch_size=1441).samples == 1441


def test_a_state_goes_into_a_new_run_and_comes_out_equal():
    run = fresh(pretrain_epochs=0, latent=("clip",), optimizer="adam")
    run.quantize()
    batch = next(run.batches.epoch(0))
    run.training_mode()
    run.backward(run.forward(*batch)[1], batch, 0)
    run.update()
    state = run.state()
    again = Run(run.plan, Ranks(), state).state()
    assert state["optimizer"]["latent"]["steps"] == again["optimizer"]["latent"]["steps"] == 1
    assert all(torch.equal(v, again["model"][k]) for k, v in state["model"].items())


def test_a_step_with_a_bad_gradient_is_not_taken():
    run = fresh(recipe=None, pretrain_epochs=0)
    images, labels = next(run.batches.epoch(0))
    before = {k: v.clone() for k, v in run.model.named_parameters()}
    with pytest.raises(ArithmeticError, match="epoch 1, step 5"):
        run.backward(run.forward(images, labels)[1] * float("nan"), (images, labels), 5)
    assert all(torch.equal(v, before[k]) for k, v in run.model.named_parameters())


def test_the_gradient_norm_is_clipped_where_the_plan_says():
    run = fresh(recipe=None, pretrain_epochs=0, grad_clip=1e-3)
    batch = next(run.batches.epoch(0))
    run.training_mode()
    run.backward(run.forward(*batch)[1], batch, 0)
    norm = torch.stack([p.grad.norm() for p in run.model.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_an_optimizer_of_other_groups_is_another_versions(tmp_path):
    run = fresh(pretrain_epochs=0, optimizer="adam")
    run.quantize()
    state = run.state()
    state["optimizer"]["param_groups"].pop()
    with pytest.raises(CheckpointError, match=r"another version of coarsegrad .*: choose another folder"):
        Run(run.plan, Ranks(), state)
