"""Where a network's last features lie: near one subspace a class, and how these lie to each other.

A class's subspace is spanned by its leading right singular directions, uncentred: subspaces pass through 0.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from coarsegrad.studies.verdict import Row

SIZE = 3
"""Leading directions of a class that are taken for its subspace."""
_POINTS = 40


def features(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """What the last linear layer is given, ``[images, features]``; the model is left as it was."""
    *_, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    try:
        with torch.no_grad():
            for images, _ in batches:
                model(images)
    finally:
        hook.remove()
    return torch.cat(seen).double()


def lie(found: Tensor, labels: Tensor, size: int = SIZE) -> Row:
    """How near the classes' features lie to subspaces of ``size`` dimensions, and how these lie.

    ``captured``: the smallest share of a class's squared length that lies in its leading directions, in
    [0, 1]. ``angle``: the smallest principal angle of any two such subspaces, in degrees, and ``mean_angle``
    the mean over pairs of each pair's smallest. ``conditioned``: the smallest singular value of all
    directions together, 0 where they are dependent, 1 where all are orthogonal.

    >>> plane = torch.eye(4).double()[[0, 1, 0, 2, 3, 2]]
    >>> lie(plane, torch.tensor([0, 0, 0, 1, 1, 1]), size=2)
    {'captured': 1.0, 'angle': 90.0, 'mean_angle': 90.0, 'conditioned': 1.0}
    """
    bases, captured = [], []
    for label in labels.unique():
        squares, directions = _leading(found[labels == label])
        bases.append(directions[:size])
        captured.append(float(squares[:size].sum() / squares.sum()))
    cosines = torch.tensor(
        [torch.linalg.matrix_norm(a @ b.T, 2).clamp(max=1) for k, a in enumerate(bases) for b in bases[:k]]
    )
    angles = cosines.double().acos().rad2deg()
    together = torch.cat(bases)
    least = torch.linalg.svdvals(together)[-1] if len(together) <= together.shape[1] else 0.0
    return {
        "captured": min(captured), "angle": float(angles.min()), "mean_angle": float(angles.mean()),
        "conditioned": float(least),
    }  # fmt: skip


def nearest(found: Tensor, labels: Tensor) -> Iterator[Row]:
    """The two classes whose leading directions are nearest, projected orthogonally on the plane of the two.

    x is along the middle of both directions, y across it. Rows ``ray``: the end of each direction, drawn from
    0 as far as its points are, and their angle in degrees; and ``point``: the first images of both classes.
    """
    classes = labels.unique()
    lead = torch.stack([_leading(found[labels == label])[1][0] for label in classes])
    lead = lead * torch.where(lead.sum(-1, keepdim=True) < 0, -1.0, 1.0)
    cosines = (lead @ lead.T).fill_diagonal_(-1)
    pair = divmod(int(cosines.argmax()), len(classes))
    a, b = lead[list(pair)]
    plane = torch.nn.functional.normalize(torch.stack([a + b, a - b], -1), dim=0)
    angle = float(cosines[pair].clamp(max=1).acos().rad2deg())
    for k in pair:
        shown = found[labels == classes[k]][:_POINTS] @ plane
        end = (lead[k] @ plane * shown.norm(dim=-1).max()).tolist()
        about = {"view": "nearest", "class": int(classes[k]), "between": angle}
        yield {"what": "ray", **about, "x": end[0], "y": end[1]}
        yield from ({"what": "point", **about, "x": x, "y": y} for x, y in shown.tolist())


def all_classes(found: Tensor, labels: Tensor) -> Iterator[Row]:
    """Rows ``point``: the first images of every class along the second and third singular direction.

    The first, of features that are not negative, is what all classes share.
    """
    plane = _leading(found)[1][1:3].T
    for label in labels.unique():
        about = {"what": "point", "view": "all", "class": int(label)}
        yield from ({**about, "x": x, "y": y} for x, y in (found[labels == label][:_POINTS] @ plane).tolist())


def _leading(found: Tensor) -> tuple[Tensor, Tensor]:
    """Squares of the singular values, the largest first, and the right singular directions as rows."""
    squares, directions = torch.linalg.eigh(found.double().mT @ found.double())
    return squares.clamp(min=0).flip(0), directions.mT.flip(0)
