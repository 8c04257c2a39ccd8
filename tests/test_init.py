import os
import subprocess
import sys
from pathlib import Path

import pytest

import coarsegrad

SOURCE = str(Path(coarsegrad.__file__).parents[1])


@pytest.mark.parametrize("name", coarsegrad.__all__)
def test_every_public_name_is_there_and_in_dir(name):
    assert getattr(coarsegrad, name) is getattr(coarsegrad, name)
    assert name in dir(coarsegrad)


def test_a_public_name_is_the_one_of_its_home():
    import coarsegrad.nn

    assert coarsegrad.prepare is coarsegrad.nn.prepare


def test_import_alone_does_not_import_torch():
    code = "import sys, coarsegrad; coarsegrad.__version__; dir(coarsegrad); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": SOURCE})
    assert done.returncode == 0


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute 'quantise'; it has: quantize"):
        coarsegrad.quantise  # noqa: B018


def test_the_quick_start_works_from_the_root():
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    quantized = coarsegrad.quantize(net, "w2a2", batches=[torch.randn(16, 4)])
    assert quantized(torch.randn(3, 4)).shape == (3, 2)
