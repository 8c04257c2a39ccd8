"""What quantized training costs: step time and peak memory over the float model's, in one process.

    python benchmarks/train_overhead.py [--rounds 30] [--threads 1 2] [--compile] [--out FILE.json]

The arms are interleaved: each takes one training step (forward, loss, backward, SGD with momentum) per round;
the order is reversed every other round; a cell is the median over rounds of the arm's time over the float
model's time of the same round. All weights and all activations behind a ReLU are quantized. Peers that are
installed (``pip install "coarsegrad[peers]"``) run in the same rounds: Brevitas 0.13.4, and torchao 0.18 with
its fake quantizers put by hand on weights and activations, because its QAT leaves convolutions alone.
Peak memory: the largest sum of live allocations during a step (from the profiler) plus parameters, gradients,
momentum and input, over the same figure of the float model.
"""

import argparse
import contextlib
import copy
import json
import platform
import statistics
import sys
import time
import warnings

import torch
from torch import nn

from coarsegrad.core import fused
from coarsegrad.core.learned import LSQ
from coarsegrad.core.quantizers import Binary, Uniform
from coarsegrad.core.scales import Scale
from coarsegrad.nn.calibrate import calibrate
from coarsegrad.nn.prepare import prepare
from coarsegrad.nn.recipe import Bits, Recipe
from coarsegrad.train import zoo

warnings.filterwarnings("ignore")
SETTINGS = (("lenet5", (1, 28, 28), 64), ("lenet5", (1, 28, 28), 128), ("resnet20", (3, 32, 32), 64))
BITS = (1, 2, 4)


def recipe(bits: int, learned: bool, where: str = "relus") -> Recipe:
    """Every weight per channel, every activation per tensor, with fixed or with trained scales."""
    per = Scale("mse", axis=0, learned=learned)
    if bits == 1:
        weight = Binary(scale=Scale("mean_abs", axis=0, learned=learned))
    else:
        weight = LSQ(bits=bits, scale=per) if learned else Uniform(bits=bits, scale=per)
    kind = LSQ if learned else Uniform
    activation = kind(bits=bits, signed=False, scale=Scale("mse", learned=learned))
    return Recipe(Bits(weight, activation), first=None, last=None, activations=where)


class Arm:
    """One model with its optimizer."""

    def __init__(self, model, x, y, *, compiled=False, pure=False):
        self.model, self.x, self.y, self.pure = model, x, y, pure
        self.optimizer = torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=1e-3, momentum=0.9
        )
        self.call = torch.compile(model, fullgraph=True) if compiled else model

    def step(self):
        with fused.off() if self.pure else contextlib.nullcontext():
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.call(self.x), self.y).backward()
            self.optimizer.step()

    def memory(self) -> int:
        """Peak bytes of a step."""
        state = [p for p in self.model.parameters()] + [b for b in self.model.buffers()]
        momentum = [
            v for s in self.optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)
        ]
        base = sum(t.numel() * t.element_size() for t in (*state, *momentum, self.x))
        self.optimizer.zero_grad()
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as profile:
            self.step()
        events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
        live = peak = 0
        for event in sorted(events, key=lambda e: e.start_ns()):
            live += event.nbytes()
            peak = max(peak, live)
        return base + peak


def ours(model, bits, learned, x, where="relus"):
    quantized = prepare(model, recipe(bits, learned, where), x)
    calibrate(quantized, [x])
    return quantized.train()


def brevitas(model, bits, learned):
    """The same network with Brevitas layers."""
    import brevitas.nn as qnn
    from brevitas.inject.enum import ScalingImplType
    from brevitas.quant import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst

    def swap(module):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d | nn.Linear):
                how = (
                    {"weight_quant": SignedBinaryWeightPerTensorConst}
                    if bits == 1
                    else {"weight_bit_width": bits}
                )
                if isinstance(child, nn.Linear):
                    new = qnn.QuantLinear(
                        child.in_features, child.out_features, child.bias is not None, **how
                    )
                else:
                    new = qnn.QuantConv2d(
                        child.in_channels, child.out_channels, child.kernel_size, stride=child.stride,
                        padding=child.padding, bias=child.bias is not None, **how,
                    )  # fmt: skip
                new.weight.data.copy_(child.weight.data)
                setattr(module, name, new)
            elif isinstance(child, nn.ReLU):
                if bits == 1:
                    new = qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)
                elif learned:
                    new = qnn.QuantReLU(bit_width=bits, collect_stats_steps=2)
                else:
                    new = qnn.QuantReLU(bit_width=bits, max_val=3.0, scaling_impl_type=ScalingImplType.CONST)
                setattr(module, name, new)
            else:
                swap(child)

    model = copy.deepcopy(model)
    swap(model)
    return model.train()


def torchao(model, bits):
    """torchao's fake quantizers by hand: intN per channel on weights, int8 per token on activations."""
    from torchao.quantization.qat import IntxFakeQuantizeConfig
    from torchao.quantization.qat.fake_quantizer import IntxFakeQuantizer

    kind = {1: torch.int1, 2: torch.int2, 4: torch.int4}[bits]

    class Layer(nn.Module):
        def __init__(self, inner, quantize_input):
            super().__init__()
            self.inner = inner
            self.weight_quantizer = IntxFakeQuantizer(IntxFakeQuantizeConfig(kind, "per_channel"))
            self.input_quantizer = None
            if quantize_input:
                self.input_quantizer = IntxFakeQuantizer(
                    IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False)
                )

        def forward(self, x):
            if self.input_quantizer is not None:
                x = self.input_quantizer(x.flatten(1)).reshape(x.shape)
            weight = self.inner.weight
            quantized = self.weight_quantizer(weight.flatten(1)).reshape(weight.shape)
            if isinstance(self.inner, nn.Linear):
                return nn.functional.linear(x, quantized, self.inner.bias)
            return self.inner._conv_forward(x, quantized, self.inner.bias)

    model = copy.deepcopy(model)
    first = True
    for name, child in list(model.named_modules()):
        if isinstance(child, nn.Conv2d | nn.Linear):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, Layer(child, not first))
            first = False
    return model.train()


def arms(name, shape, batch, bits, compiled) -> dict[str, Arm]:
    torch.manual_seed(0)
    x, y = torch.rand(batch, *shape), torch.randint(0, 10, (batch,))
    model = zoo.build(name, in_shape=shape, classes=10).train()
    made = {"float": Arm(copy.deepcopy(model), x, y, compiled=compiled)}
    for learned in (False, True):
        scales = "learned" if learned else "fixed"
        made[f"ours {scales}"] = Arm(ours(model, bits, learned, x), x, y, compiled=compiled)
        if not compiled:
            made[f"ours {scales}, pure torch"] = Arm(ours(model, bits, learned, x), x, y, pure=True)
            made[f"ours {scales}, at inputs"] = Arm(ours(model, bits, learned, x, "inputs"), x, y)
        if not compiled:
            with contextlib.suppress(ImportError):
                made[f"brevitas {scales}"] = Arm(brevitas(model, bits, learned), x, y)
    if not compiled:
        with contextlib.suppress(ImportError):
            made["torchao by hand"] = Arm(torchao(model, bits), x, y)
    return made


def measure(made: dict[str, Arm], rounds: int) -> dict[str, dict[str, float]]:
    """Medians over rounds of time ratios to float, and memory ratios."""
    times: dict[str, list[float]] = {name: [] for name in made}
    for arm in made.values():
        for _ in range(5):
            arm.step()
    for turn in range(rounds):
        for name in list(made)[:: 1 if turn % 2 == 0 else -1]:
            start = time.perf_counter()
            made[name].step()
            times[name].append(time.perf_counter() - start)
    memory = {name: arm.memory() for name, arm in made.items()}
    rows = {}
    for name, taken in times.items():
        ratios = sorted(t / f for t, f in zip(taken, times["float"], strict=True))
        rows[name] = {
            "ms": 1000 * statistics.median(taken),
            "ratio": statistics.median(ratios),
            "low": ratios[len(ratios) // 4],
            "high": ratios[3 * len(ratios) // 4],
            "memory_ratio": memory[name] / memory["float"],
        }
    return rows


def profiled(arm: Arm, steps: int = 8) -> dict[str, float]:
    """Milliseconds of a step that each operation takes itself, from torch's profiler."""
    for _ in range(3):
        arm.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(steps):
            arm.step()
    return {e.key: e.self_cpu_time_total / 1000 / steps for e in profile.key_averages()}


def print_profiles(made: dict[str, Arm]) -> None:
    """Float beside ours, operation by operation, the largest differences first; the smaller of two runs."""
    names = ("float", "ours fixed", "ours learned")
    runs = [{name: profiled(made[name]) for name in names} for _ in range(2)]
    found = {
        name: {op: min(run[name].get(op, 0.0) for run in runs) for op in {*runs[0][name], *runs[1][name]}}
        for name in names
    }
    ops = sorted(
        set().union(*found.values()),
        key=lambda op: -abs(found["ours fixed"].get(op, 0.0) - found["float"].get(op, 0.0)),
    )
    print(f"{'ms of a step':44s}" + "".join(f"{name:>14s}" for name in names))
    for op in ops[:12]:
        print(f"{op[:44]:44s}" + "".join(f"{found[name].get(op, 0.0):14.2f}" for name in names))


def main(argv=None):
    """Print one line per arm and setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--bits", type=int, nargs="+", default=list(BITS))
    parser.add_argument("--models", nargs="+", default=["lenet5", "resnet20"])
    parser.add_argument("--compile", action="store_true", help="compiled arms over the compiled float model")
    parser.add_argument("--profile", action="store_true", help="where the time goes, in place of the ratios")
    parser.add_argument("--out")
    options = parser.parse_args(argv)
    results = []
    machine = platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {machine}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name, shape, batch in SETTINGS:
            if name not in options.models:
                continue
            for bits in options.bits:
                torch._dynamo.reset()
                if options.profile:
                    print(f"{name} b{batch} W{bits}A{bits} {threads}t")
                    print_profiles(arms(name, shape, batch, bits, options.compile))
                    continue
                rows = measure(arms(name, shape, batch, bits, options.compile), options.rounds)
                for arm, row in rows.items():
                    results.append({
                        "model": name, "batch": batch, "bits": f"W{bits}A{bits}", "threads": threads,
                        "mode": "compiled" if options.compile else "eager", "arm": arm, **row,
                    })  # fmt: skip
                    print(
                        f"{name:9s} b{batch:<4d} W{bits}A{bits} {threads}t {results[-1]['mode']:8s} {arm:26s}"
                        f"{row['ms']:8.2f} ms  {row['ratio']:.3f}x [{row['low']:.3f}, {row['high']:.3f}]"
                        f"  memory {row['memory_ratio']:.3f}x",
                        flush=True,
                    )
    if options.out:
        with open(options.out, "w") as file:
            json.dump(results, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
