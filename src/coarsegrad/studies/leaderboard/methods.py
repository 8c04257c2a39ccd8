"""What is compared: methods, the bits each is valid for, and the training plan of each cell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BITS = ("w1a1", "w1a2", "w2a2", "w4a4", "w32a2")
MODELS = {
    "digits": "lenet5(widths=(6,16,120,84){})",
    "fashion_mnist": "lenet5(widths=(6,16,120,84){})",
    "mnist": "lenet5(widths=(6,16,120,84){})",
    "cifar10": "resnet20({})",
}
"""By data set; LeNet-5 in LeCun's own widths."""
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
_PAIR = (3e-3, 1e-2)

Trial = tuple[float, float | None]
"""Learning rate, and the method's own setting where it has one."""


@dataclass(frozen=True)
class Method:
    """A row of the leaderboard.

    Args:
        says: what it is.
        source: where it comes from.
        valid: the bits it is defined for.
        why_not: why for no others.
        knob: its own setting that is tuned, in words; with ``settings``, two of them.
        changes: (bits, setting, steps of the training) -> what differs from the plain estimator's plan.
    """

    says: str
    source: str
    valid: tuple[str, ...] = BITS[:4]
    why_not: str = "it trains weights, and these are float"
    knob: str = ""
    settings: tuple[float, ...] = ()
    changes: Callable[[str, float | None, int], Mapping[str, Any]] = lambda bits, setting, steps: {}

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Four for each method: of the learning rate, or of two rates and two settings."""
        if not self.settings:
            return tuple((lr, None) for lr in RATES)
        return tuple((lr, setting) for lr in _PAIR for setting in self.settings)


def widths(bits: str) -> tuple[int, int]:
    """Bits of weights and of activations.

    >>> widths("w32a2")
    (32, 2)
    """
    weights, activations = bits[1:].split("a")
    return int(weights), int(activations)


def quantizers(bits: str) -> tuple[str | None, str]:
    """The quantizers that methods share where they bring none: of weights (None: float) and activations.

    Weights: per channel, the least-squares scale of the latents, taken anew at every step (with which frozen
    weights stay what they are). Activations: fixed.
    """
    weights, activations = widths(bits)
    live = "scale=scale(statistic='{}',axis=0,live=True)"
    many = f"uniform(bits={weights},{live.format('mse')})"
    weight = {1: f"binary({live.format('mean_abs')})", 32: None}.get(weights, many)
    fixed = "binary(scale=scale(statistic='one'))"
    return weight, fixed if activations == 1 else f"quantized_relu(bits={activations})"


def plan_values(data: str, bits: str, method: str, trial: Trial, steps: int) -> dict[str, Any]:
    """The fields of a training plan that depend on the cell; ``bits`` may be ``float``.

    First and last weights are float, and all activations but the image are quantized. Where these are signs
    the network has no other activation, the quantizer alone is one, and LeNet-5 pools before its batch norms.
    """
    lr, setting = trial
    signs = bits != "float" and widths(bits)[1] == 1
    lenet = "(6" in MODELS[data]
    more = (",activation='identity',pool_first=True" if lenet else "activation='identity'") if signs else ""
    model = MODELS[data].format(more)
    if bits == "float":
        return {"model": model, "lr": lr, "recipe": None}
    weight, activation = quantizers(bits)
    own = {"weight": weight, "activation": activation, **METHODS[method].changes(bits, setting, steps)}
    weight, activation = own.pop("weight"), own.pop("activation")
    return {
        "model": model, "lr": lr, "first": "float", "last": f"activation={activation}",
        "recipe": f"weight={weight};activation={activation}" if weight else f"activation={activation}", **own,
    }  # fmt: skip


def _lsq(bits: str, setting: float | None, steps: int) -> dict[str, Any]:
    weights, activations = widths(bits)
    weight = f"lsq(bits={weights},signed=True,scale=scale(statistic='mse',axis=0,learned=True))"
    activation = f"lsq(bits={activations},signed=False,scale=scale(statistic='mse',learned=True))"
    return {"weight": weight if 1 < weights < 32 else quantizers(bits)[0], "activation": activation}


def _clip(bits: str, setting: float | None, steps: int) -> dict[str, Any]:
    assert setting is not None
    return {"latent": (f"clip(low={-setting},high={setting})",)}


def _blend(bits: str, setting: float | None, steps: int) -> dict[str, Any]:
    assert setting is not None
    return {"latent": (f"blend(rho={min(setting / steps, 1.0)!r},cap=1.0)",)}


def _binary_relax(bits: str, setting: float | None, steps: int) -> dict[str, Any]:
    switch = round(0.8 * steps)
    growth = (setting or 1.0) ** (1 / switch)
    return {"latent": (f"binary_relax(switch={switch},lambda0=1.0,growth={growth!r})",)}


def _prox_quant(bits: str, setting: float | None, steps: int) -> dict[str, Any]:
    freeze = round(2 / 3 * steps)
    one_bit = widths(bits)[0] == 1
    assert setting is not None
    strength = 2 * (setting if one_bit else 10 * setting) / freeze  # at the freeze; its mean is half of it
    distance = "absolute" if one_bit else "squared"
    return {"latent": (f"prox_quant(rate={strength / freeze!r},distance='{distance}',freeze_at={freeze})",)}


def _reste(bits: str, setting: float | None, steps: int) -> dict[str, Any]:
    return {**_both("reste")(bits, setting, steps), "weight_surrogate": f"reste(clip={setting})"}


def _both(name: str) -> Callable[[str, float | None, int], dict[str, Any]]:
    def changes(bits: str, setting: float | None, steps: int) -> dict[str, Any]:
        signs = {"activation_surrogate": name} if widths(bits)[1] == 1 else {}
        return {"weight_surrogate": name, **signs}

    return changes


_SIGNS = "it is an estimator of the sign"
METHODS: dict[str, Method] = {
    "ste": Method(
        "plain straight-through: of activations slope 1 between the outer levels, of weights 1 everywhere, "
        "for their scale follows them",
        "Bengio et al. 2013, arXiv:1308.3432; Courbariaux & Bengio 2016, arXiv:1602.02830", BITS,
    ),
    "binaryconnect": Method(
        "plain, and latents are clipped after the step", "Courbariaux et al. 2015, arXiv:1511.00363",
        ("w1a1", "w1a2"), "its weights are binary", "latents within ±", (0.3, 0.1), _clip,
    ),
    "bcgd": Method(
        "blended coarse gradient: before the step latents are pulled to their levels",
        "Yin et al. 2018, arXiv:1808.05240", knob="blending ρ times the number of steps",
        settings=(0.15, 1.5), changes=_blend,
    ),
    "binary_relax": Method(
        "for 80% of the steps weights lie between latent and level, ever nearer to the level",
        "Yin et al. 2018, arXiv:1801.06313", knob="λ when it switches", settings=(10.0, 100.0),
        changes=_binary_relax,
    ),
    "prox_quant": Method(
        "float weights with a growing pull to their levels; frozen on them after two thirds of the steps "
        "(the pull is not multiplied by the learning rate and grows by the step, and binary levels follow "
        "the weights: in the authors' code it is, it grows by the epoch, and they are ±1)",
        "Bai, Wang & Liberty 2019, arXiv:1810.00861",
        knob="sum of λ until it freezes (tenfold above 1 bit)", settings=(0.015, 0.15), changes=_prox_quant,
    ),
    "bop": Method(
        "no latents: a weight flips where its gradient's running mean insists",
        "Helwegen et al. 2019, arXiv:1906.02107", ("w1a1", "w1a2"), "it flips binary weights",
        "adaptivity rate γ, at a threshold τ of 1e-6", (1e-4, 1e-3),
        lambda bits, setting, steps: {"latent": (f"bop(threshold=1e-06,lr={setting})",)},
    ),
    "lsq": Method(
        "the distance between levels is trained, of weights and activations, and weights beyond the outer "
        "levels learn nothing (under Adam the paper's factor on its gradient has no effect; the rate of "
        "the distances is scaled instead: see *What is studied*)",
        "Esser et al. 2020, arXiv:1902.08153", ("w1a2", "w2a2", "w4a4", "w32a2"),
        "of one signed bit its largest level is 0; W1A2: of activations alone", changes=_lsq,
    ),
    "pact": Method(
        "the clip of activations is trained (without the paper's L2 penalty); weights as in plain",
        "Choi et al. 2018, arXiv:1805.06085", ("w1a2", "w2a2", "w4a4", "w32a2"),
        "its levels start at 0, and one bit of it is no sign",
        changes=lambda bits, setting, steps: {"activation": f"pact(bits={widths(bits)[1]})"},
    ),
    "reste": Method(
        "the slope of |x|^(1/o), o from 1 to 3, for weights (in units of their scale, in which the authors' "
        "clip of 1.5 silences a quarter of them; in theirs, of raw weights, it hardly acts) and signs",
        "Wu et al. 2023, arXiv:2308.06689",
        ("w1a1", "w1a2"), _SIGNS, "clip of the weights' slope, in mean sizes", (1.5, 15.0), _reste,
    ),
    "ede": Method(
        "the slope of a hyperbolic tangent that becomes steep, for weights (likewise) and signs",
        "Qin et al. 2020, arXiv:1909.10788", ("w1a1", "w1a2"), _SIGNS, changes=_both("ede"),
    ),
}  # fmt: skip


def cells(bits: tuple[str, ...]) -> list[tuple[str, str]]:
    """(bits, method) of what is valid; with the float model, at its head.

    >>> cells(("w32a2",))
    [('float', 'float'), ('w32a2', 'ste'), ('w32a2', 'lsq'), ('w32a2', 'pact')]
    """
    found = [(width, name) for width in bits for name, method in METHODS.items() if width in method.valid]
    return [("float", "float"), *found]


def trials(method: str) -> tuple[Trial, ...]:
    """The trials of a method, or of the float model: as many for each."""
    return tuple((lr, None) for lr in RATES) if method == "float" else METHODS[method].trials
