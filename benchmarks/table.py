"""The table of ``docs/overhead.md`` from the JSON that ``train_overhead.py --out`` wrote.

python benchmarks/table.py FILE.json [FILE.json ...]
"""

import json
import sys
from pathlib import Path


def table(rows: list[dict]) -> str:
    """Markdown: a line per model, batch, bits and threads; a column per arm, as time over memory ratios."""
    arms = [a for a in dict.fromkeys(r["arm"] for r in rows) if a != "float"]
    cells = {(r["model"], r["batch"], r["bits"], r["threads"], r["arm"]): r for r in rows}
    keys = list(dict.fromkeys(k[:4] for k in cells))
    lines = ["| model | batch | bits | threads | float ms | " + " | ".join(arms) + " |"]
    lines.append("|---|---:|---|---:|---:|" + "---:|" * len(arms))
    for key in keys:
        found = [cells.get((*key, arm)) for arm in arms]
        shown = [f"{c['ratio']:.2f} / {c['memory_ratio']:.2f}" if c else "-" for c in found]
        start = [*map(str, key), f"{cells[(*key, 'float')]['ms']:.1f}"]
        lines.append("| " + " | ".join([*start, *shown]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(table(json.loads(Path(name).read_text())), end="\n\n")
