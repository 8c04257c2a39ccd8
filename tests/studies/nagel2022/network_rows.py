"""Rows of networks that were never trained: accuracies as the test wants them."""

from coarsegrad.studies.nagel2022.network_story import NAMES
from coarsegrad.studies.nagel2022.training import AVERAGING, TRAINED_FLOAT

BESIDE = {
    "model": "dscnn(width=4)", "data": "fashion_mnist", "train_images": None, "bits": 3, "epochs": 2,
    "pretrain_epochs": 1, "lr": 0.05, "voting_epochs": 2, "oscillates_above": 0.005, "bn_batches": 50,
}  # fmt: skip


def network_rows(seeds=3, schedules=("constant", "cosine"), stale=None, fresh=None, oscillating=None):
    """85 % everywhere, plus what ``stale`` and ``fresh`` add by arm; seeds differ by a point."""
    rows = []
    for seed in range(seeds):
        about = {**BESIDE, "seed": seed}
        rows.append({**about, "what": "start", "accuracy": 91.0 + seed, "train_loss": 0.3})
        for schedule in schedules:
            for arm in NAMES:
                own = {**about, "schedule": schedule, "arm": arm}
                jitter = seed + 0.01 * (seed % 2)
                scores = {
                    "stale": 85.0 + jitter + (stale or {}).get(arm, 0.0),
                    "fresh": 85.0 + seed + (fresh or {}).get(arm, 0.0),
                }
                tested = (3,) if arm == AVERAGING else (2, 3, 4, 32)
                rows += [{**own, "what": "accuracy", "tested": bits, **scores} for bits in tested]
                if arm != AVERAGING:
                    share = (oscillating or {}).get(arm, 0.2) + 0.001 * (seed % 2)
                    watched = {
                        "oscillating": share,
                        "frozen": 0.0,
                        "train_loss": 0.1,
                        "flips": 0.1,
                        "smallest_layer": 16,
                        "largest_layer": 36,
                    }
                    apart = (
                        {}
                        if arm in TRAINED_FLOAT
                        else {"apart_depth": 0.02 + 0.001 * seed, "apart_point": 0.01}
                    )
                    rows.append({**own, "what": "watched", **watched, **apart})
    return rows
