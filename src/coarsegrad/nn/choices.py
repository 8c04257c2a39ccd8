"""Who gets which bits: the recipe's defaults, ends and rules, laid over the places of one model."""

from collections.abc import Sequence

from coarsegrad.core.quantizer import Quantizer
from coarsegrad.nn.recipe import Bits, Recipe, on_axis
from coarsegrad.nn.sites import Site, Survey, plain_type, stored


def layer_choices(found: Survey, recipe: Recipe) -> dict[str, Bits]:
    """Bits per site: default < embeddings < first, last < rules; tied weights share the strongest choice."""
    inner = [s for s in found.sites if not s.embedding]
    called = [s for s in inner if s.order is not None]
    ends = {}
    if inner:
        first = min(called, key=lambda s: s.order or 0) if called else inner[0]
        last = sorted(called, key=lambda s: s.last or 0)[-1] if called else inner[-1]
        ends = {
            last.name: recipe.last,
            first.name: recipe.first or recipe.last if first is last else recipe.first,
        }
    chosen: dict[str, tuple[int, Bits]] = {}
    for site in found.sites:
        strength, bits = 0, Bits.read(recipe.bits)
        if site.embedding and recipe.embeddings is not None:
            strength, bits = 1, Bits.read(recipe.embeddings)
        end = ends.get(site.name)
        if end is not None:
            strength, bits = 2, Bits.read(end)
        for rule in recipe.rules:
            if rule.applies(site.name, site.kind):
                strength, bits = 3, Bits.read(rule.bits)
        chosen[site.name] = (strength, bits)
    _check_rules(found, recipe)
    return _tied(found.sites, chosen)


def _check_rules(found: Survey, recipe: Recipe) -> None:
    everything = [(s.name, s.kind) for s in found.sites] + [(f.name, f.kind) for f in found.floats]
    everything += [(name, plain_type(m).__name__) for name, m in found.relus.items()]
    names = [s.name or "(model)" for s in found.sites]
    for rule in recipe.rules:
        if not any(rule.applies(name, kind) for name, kind in everything):
            kind = f" of type {rule.kind}" if rule.kind else ""
            if any(name.startswith(f"{rule.match}.") for name in names):
                mend = f"it holds such modules: write {rule.match}.*"
            else:
                mend = f"this model has: {', '.join(names[:40])}{', ...' if len(names) > 40 else ''}"
            raise ValueError(f"rule {rule.match!r}{kind} names no module; {mend}")


def _tied(sites: Sequence[Site], chosen: dict[str, tuple[int, Bits]]) -> dict[str, Bits]:
    groups: dict[int, list[tuple[Site, int]]] = {}
    for site in sites:
        for name, axis in site.weights.items():
            groups.setdefault(id(stored(site.module, name)[0]), []).append((site, axis))
    result = {name: bits for name, (_, bits) in chosen.items()}
    for group in groups.values():
        if len({s.name for s, _ in group}) < 2:
            continue
        top = max(chosen[s.name][0] for s, _ in group)
        strongest = [s for s, _ in group if chosen[s.name][0] == top]
        weights = [chosen[s.name][1].weight for s in strongest]
        names = " and ".join(s.name for s in strongest)
        if any(w != weights[0] for w in weights[1:]):
            raise ValueError(
                f"{names} share one weight but get different bits; give them the same in one rule"
            )
        if weights[0] is not None and len({on_axis(weights[0], axis) for _, axis in group}) > 1:
            names = " and ".join(s.name for s, _ in group)
            raise ValueError(
                f"{names} share one weight, with channels on different axes; give it a scale per tensor"
            )
        for site, _ in group:
            result[site.name] = Bits(weights[0], chosen[site.name][1].activation)
    return result


def relu_choices(found: Survey, recipe: Recipe) -> dict[str, Quantizer]:
    """The quantizer behind each ReLU-like module, where the recipe quantizes there."""
    if recipe.activations == "inputs":
        return {}
    if not found.relus and Bits.read(recipe.bits).activation is not None:
        raise ValueError(
            "Recipe(activations='relus') finds no ReLU-like module (functional ones are unseen): use 'inputs'"
        )
    chosen = {}
    for name, module in found.relus.items():
        bits = Bits.read(recipe.bits)
        for rule in recipe.rules:
            if rule.applies(name, plain_type(module).__name__):
                bits = Bits.read(rule.bits)
        if bits.activation is not None:
            chosen[name] = bits.activation
    return chosen
