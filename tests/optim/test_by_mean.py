import torch

from coarsegrad.optim.by_mean import ByMean


class Sum(ByMean):
    """Moves by the sum of all gradients so far."""

    def move(self, w, grad, m, group):
        m.add_(grad)
        w.sub_(m, alpha=group["lr"])


def test_each_parameter_has_a_memory_of_its_own_and_one_without_gradient_is_left_alone():
    a, b, c = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = Sum([{"params": [a, b]}, {"params": [c], "lr": 0.5}], {"lr": 1.0})
    for _ in range(2):
        a.grad, c.grad = torch.ones(2), 2 * torch.ones(2)
        optimizer.step()
    assert a.tolist() == [-2.0, -2.0] and b.tolist() == [1.0, 1.0] and c.tolist() == [-2.0, -2.0]
    assert b not in optimizer.state and optimizer.state[c]["m"].tolist() == [4.0, 4.0]


def test_a_closure_is_called_with_gradients_and_its_loss_comes_back():
    w = torch.nn.Parameter(torch.tensor([3.0]))

    def closure():
        loss = w.square().sum()
        loss.backward()
        return loss

    assert Sum([w], {"lr": 0.5}).step(closure).item() == 9.0 and w.item() == 0.0
