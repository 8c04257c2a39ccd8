"""The page's chapter on trained networks: how well they do, and where their features lie."""

from collections.abc import Iterable, Iterator, Sequence

from coarsegrad.measure import mean_interval
from coarsegrad.studies import drawn
from coarsegrad.studies.long2021.features import SIZE
from coarsegrad.studies.long2021.told import word
from coarsegrad.studies.long2021.training import WEIGHTS, finals, name
from coarsegrad.studies.study import Chapter
from coarsegrad.studies.verdict import Row, Rows, paired
from coarsegrad.view import Figure, Marks, TableView

TITLE = "LeNet-5, and where its features lie"


def chapter(rows: Rows) -> Chapter:
    """Two tables, the nearest two classes of some networks, all classes of two."""
    found = [row for row in rows.get("lenet5", ()) if row["what"] == "final"]
    if not found:
        return Chapter(TITLE, "Nothing was measured yet: the presets `short` and `paper` train networks.")
    first, seeds = found[0], len({row["seed"] for row in found})
    failed = sorted({f"{name(row)} (seed {row['seed']}: {row['failed']})" for row in found if row["failed"]})
    text = (
        f"MNIST, {seeds} seed{'s' * (seeds > 1)}. A float LeNet-5 is trained for "
        f"{first['pretrain_epochs']} epochs; from it every network goes on for {first['epochs']}, the float "
        "one too, on the same batches. Activations are quantized in place of the ReLUs, with a given step; "
        "batch norms have no scale and shift. Weights are float, as in the paper, or *binary* in all layers: "
        "mean|w| sign(w) per output channel, the latents updated as if by the identity, which the paper does "
        "not have. Means over seeds with 95 % intervals; *beside ReLU* are differences paired by seed.\n\n"
        "*The picture behind the theory*: are a class's features, which the last layer is given, near one "
        "subspace, and are the ten subspaces independent? On the test images, a class's subspace is that "
        f"of its {SIZE} leading singular directions. *Captured*: the share of squared length in it, of the "
        "worst class. *Smallest angle*: the smallest principal angle of two such subspaces. *Smallest "
        f"singular value*: of all {10 * SIZE} directions together; 0 where they are dependent, 1 where all "
        "are orthogonal. Beside them stand the images themselves, pixel by pixel, and the *untrained* "
        "network, its batch norms fitted: what these have too is no work of training.\n\n"
        "Half a point, within which the slopes are claimed to be alike, is many times what lies between them "
        "here, and at these accuracies more than half as many errors again: the claims are coarse."
    )
    text += (
        f"\n\nNot finite any more, and left out of means: {'; '.join(failed)}. Claims about these are left "
        "open." if failed else ""
    )  # fmt: skip
    return Chapter(TITLE, text, (_accuracies(rows), _geometry(rows)), _figures(rows["lenet5"]))


def _accuracies(rows: Rows) -> TableView:
    found, losses = finals(rows, "test_accuracy"), finals(rows, "train_loss")
    lines = []
    for arm, by_seed in sorted(found.items(), key=lambda pair: (pair[0][0] == "binary", -pair[0][1])):
        weights, bits, surrogate = arm
        beside = (
            None
            if surrogate in ("relu", "float")
            else paired(by_seed, found.get((weights, bits, "relu"), {}))
        )
        lines.append(
            {"weights": weights, "bits": bits, "surrogate": word(surrogate), "seeds": len(by_seed),
             "training loss": str(mean_interval(losses[arm].values())),
             "test accuracy [%]": str(mean_interval(by_seed.values())),
             "beside ReLU [points]": "–" if beside is None else str(beside)}
        )  # fmt: skip
    return TableView.of(lines, caption="After the last epoch; bits of the activations, 32 for float.")


def _geometry(rows: Rows) -> TableView:
    keys = {
        "captured": "captured", "smallest angle [degrees]": "angle", "smallest singular value": "conditioned"
    }  # fmt: skip
    columns = {said: finals(rows, key) for said, key in keys.items()}
    return TableView.of(
        ({"network": name({"weights": arm[0], "bits": arm[1], "surrogate": word(arm[2])}),
          **{said: _told(by_arm[arm].values()) for said, by_arm in columns.items()}}
         for arm in columns["captured"]),
        caption="Where the last features of the test images lie.",
    )  # fmt: skip


def findings(rows: Rows) -> Iterator[str]:
    """A sentence on accuracies, one on features."""
    found, captured = ({arm: mean_interval(by.values()).estimate for arm, by in finals(rows, key).items()}
                       for key in ("test_accuracy", "captured"))  # fmt: skip
    told = [
        f"{min(mine):.2f} to {max(mine):.2f} % ({weights} weights)" for weights in WEIGHTS
        if (mine := [found[arm] for arm in found if arm[0] == weights and arm[1] < 32])
    ]  # fmt: skip
    if told:
        yield f"LeNet-5 on MNIST, mean test accuracies over bits and slopes: {', '.join(told)}."
    untrained = captured.get(("float", 32, "untrained"))
    trained = [captured[arm] for arm in captured if arm in found]
    if untrained is not None and trained:
        yield (
            f"Of the squared length of a class's last features, {SIZE} directions hold "
            f"{100 * untrained:.0f} % before training and at least {100 * min(trained):.0f} % after it "
            "(the worst class)."
        )


def _titled(net: str) -> str:
    return (net[0].upper() + net[1:]).replace(" relu", " ReLU")


def _told(values: Iterable[float]) -> str:
    """Mean and interval; the value alone where all are one, as of the images."""
    found = list(values)
    return f"{found[0]:.4g}" if len(set(found)) == 1 < len(found) else str(mean_interval(found))


def _figures(found: Sequence[Row]) -> dict[str, Figure]:
    """Of the first seed that is there."""
    seed = min(row["seed"] for row in found)
    figures = {}
    for view in ("nearest", "all"):
        mine = [row for row in found if row.get("view") == view and row["seed"] == seed]
        for net in dict.fromkeys(map(name, mine)):
            shown = [row for row in mine if name(row) == net]
            file = f"{view}-{net.replace(',', '').replace(' ', '-')}"
            figures[file] = (_nearest if view == "nearest" else _all)(net, shown)
    return figures


def _nearest(net: str, shown: list[Row]) -> Figure:
    items = []
    for color, label in enumerate(dict.fromkeys(row["class"] for row in shown)):
        mine = [row for row in shown if row["class"] == label]
        (ray,) = (row for row in mine if row["what"] == "ray")
        points = [row for row in mine if row["what"] == "point"]
        items += [
            drawn.dots([r["x"] for r in points], [r["y"] for r in points], f"class {label}", color=color),
            drawn.line([0, ray["x"]], [0, ray["y"]], "", color=color),
        ]
    return drawn.figure(
        f"{_titled(net)}: the nearest two classes, {shown[0]['between']:.0f} degrees apart",
        "along the middle of both directions", "across the middle", items,
        caption="Features of test images, projected orthogonally on the plane of two classes' leading "
        "directions, the lines: of all pairs the two at the smallest angle. The axes differ in scale.",
    )  # fmt: skip


def _all(net: str, shown: list[Row]) -> Figure:
    items = []
    for color, label in enumerate(sorted({row["class"] for row in shown})):
        mine = [row for row in shown if row["class"] == label]
        items.append(drawn.dots([r["x"] for r in mine], [r["y"] for r in mine], str(label), color=color))
    items += [Marks((0.0,)), Marks((0.0,), axis="y")]
    return drawn.figure(
        f"{_titled(net)}: all classes in one plane", "along the second singular direction",
        "along the third singular direction", items,
        caption="Features of test images, projected orthogonally on the second and third uncentred singular "
        "direction of all; the first is what all classes share. Dashed: through the origin.",
    )  # fmt: skip
