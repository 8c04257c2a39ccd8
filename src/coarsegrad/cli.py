"""The command line: parses text, calls one function, prints. torch is imported when a command needs it."""

import argparse
import importlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from coarsegrad import __version__, results
from coarsegrad.options import configured, names, number, plan_options, shape_of

OK, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done, 1: the run failed, 2: the input is at fault, 130: stopped by Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = _parser().parse_args(given)
    if not hasattr(words, "run"):
        _parser().print_help()
        return OK
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads crawl where the cores are shared
    words.command_line = shlex.join(["coarsegrad", *given])
    try:
        _use(words.own_files)
        return words.run(words) or OK
    except KeyboardInterrupt:
        again = words.command_line if hasattr(words, "out") else ""
        _say("stopped" + (f"; resume with: {again}" if again else ""))
        return STOPPED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except ArithmeticError as error:  # not finite
        return _fault(error, FAILED)
    except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError) as error:
        return _fault(error, BAD_INPUT)
    except OSError as error:  # the disk is full, the network is down
        return _fault(error, FAILED)
    except (ValueError, ImportError) as error:
        return _fault(error, BAD_INPUT)


def _use(files: Sequence[str]) -> None:
    """Make the surrogates of the user's own files known."""
    if files:
        from coarsegrad import own

        for file in files:
            own.use(file)


def _fault(error: Exception, code: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    _say(f"error: {text}")
    return code


def _say(text: str) -> None:
    print(f"coarsegrad: {text}", file=sys.stderr, flush=True)


# What each command does.


def _list(words: argparse.Namespace) -> None:
    homes = {"surrogates": ("core.surrogates", "SURROGATES"), "quantizers": ("core.learned", "QUANTIZERS"),
             "data": ("train.data", "SOURCES"), "models": ("train.zoo", "MODELS")}  # fmt: skip
    found = {}
    for what, (home, name) in homes.items():
        if words.what in (None, what):
            found[what] = _catalogue(getattr(importlib.import_module(f"coarsegrad.{home}"), name))
    from coarsegrad.train.screen import text_table

    if words.json:
        print(json.dumps(found if words.what is None else found[words.what], indent=2))
        return
    for title, rows in found.items():
        columns = ("name", "formula", "source") if "formula" in rows[0] else ("name", "says")
        print(f"{title}\n{text_table([{name: row.get(name, '') for name in columns} for row in rows])}\n")


def _catalogue(catalogue: dict[str, type]) -> list[Row]:
    """Name, formula and source; where there is no formula, the first line of the docstring."""
    rows = []
    for name, cls in catalogue.items():
        formula = {"formula": cls.formula, "source": cls.source} if getattr(cls, "formula", "") else {}  # pyright: ignore
        says = (cls.__doc__ or "").strip().splitlines()[0]
        rows.append({"name": name, **formula, "fields": [f.name for f in fields(cls)], "says": says})  # pyright: ignore
    return rows


def _plot(words: argparse.Namespace) -> None:
    from coarsegrad import own
    from coarsegrad.train.report import surrogate_figure
    from coarsegrad.view import save

    named = [(name, own.surrogate(name)) for name in words.names]
    progress = [number(p, "--progress") for p in words.progress.split(",")]
    if not all(0 <= p <= 1 for p in progress):
        raise ValueError(f"--progress lies in [0, 1], got {words.progress}")
    print(save(surrogate_figure(named, progress), words.out) or words.out)


def _plan(words: argparse.Namespace) -> None:
    import torch

    from coarsegrad.nn import Recipe, Rule, plan
    from coarsegrad.train import zoo

    recipe = Recipe.read(words.recipe)
    changes = {
        name: value
        for name in ("first", "last", "activations")
        if (value := getattr(words, name)) is not None
    }
    if words.rule:
        changes["rules"] = (*recipe.rules, *map(Rule.read, words.rule))
    if changes:
        from dataclasses import replace

        recipe = replace(recipe, **{k: None if v == "none" else v for k, v in changes.items()})
    shape = shape_of(words.in_shape) if words.in_shape else None
    if ":" in words.model:
        model = _imported(words.model)
        example = None if shape is None else torch.zeros(1, *shape)
    else:
        shape = shape or ((1, 28, 28) if words.model.split("(")[0] in ("lenet5", "mlp") else (3, 32, 32))
        model, example = zoo.build(words.model, in_shape=shape, classes=words.classes), torch.zeros(1, *shape)
    found = plan(model, recipe, example)
    if not words.json:
        print(found)
        return
    from coarsegrad import spec

    rows, floats = ([asdict(row) for row in part] for part in (found.rows, found.floats))
    for row, layer in zip(rows, found.rows, strict=True):
        row |= {
            k: v and spec.write(v) for k, v in (("weight", layer.weight), ("activation", layer.activation))
        }
    total = {"coverage": found.coverage, "bytes_before": found.bytes_before, "bytes_after": found.bytes_after}
    print(json.dumps({"layers": rows, "float": floats, **total}, indent=2))


def _imported(path: str) -> Any:
    """The model that ``module:function`` returns; modules of the current folder are found."""
    module, _, function = path.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(module), function)()
    except ModuleNotFoundError as error:
        raise ValueError(f"{path}: no module {error.name!r} from {os.getcwd()}") from None
    except AttributeError as error:
        raise ValueError(f"{path}: {error}") from None
    except TypeError as error:
        raise ValueError(f"{path}: the factory is called without arguments: {error}") from None
    finally:
        sys.path.remove(os.getcwd())
    if not hasattr(made, "named_modules"):
        raise ValueError(f"{path} returned {type(made).__name__}, not a torch.nn.Module")
    return made


def _train(words: argparse.Namespace) -> None:
    from coarsegrad.train.loop import train
    from coarsegrad.train.plan import TrainPlan, read_config
    from coarsegrad.train.report import plan_text, report
    from coarsegrad.train.screen import epoch_line, progress

    names = {
        "bits": "recipe",
        "weight_surrogate": "weight_surrogate",
        "activation_surrogate": "activation_surrogate",
    }
    own = {field: getattr(words, name) for name, field in names.items() if getattr(words, name) is not None}
    plan = TrainPlan.of({**configured(words, read_config), **own})
    folder = Path(words.out)
    if (folder / "comparison.toml").exists():
        raise ValueError(f"{folder} holds a comparison: choose another folder for the run")
    if not words.json:
        print(plan_text(plan), end="\n\n", flush=True)
    row: Row = {}
    with progress(plan.total_epochs, words.json) as show:
        for row in train(plan, folder, resume=words.resume):
            show(row["epoch"], epoch_line(row), row)
    page = report(folder)
    if words.json:
        found = {"test_accuracy": row["test_accuracy"], "report": str(page), "plan_id": plan.id()}
        print(json.dumps({"done": True, **found}))
    else:
        print(f"test accuracy {row['test_accuracy']:.2f} %\nreport: {page}")


def _compare(words: argparse.Namespace) -> int:
    from coarsegrad.train.compare import Comparison, compare, table_of
    from coarsegrad.train.plan import read_config
    from coarsegrad.train.report import report
    from coarsegrad.train.results import differences, sentences, summary
    from coarsegrad.train.screen import finite, progress, task_line, text_table
    from coarsegrad.view.whole import write_whole

    lists = {
        k: names(v)
        for k in ("bits", "surrogates", "weight_surrogates")
        if (v := getattr(words, k)) is not None
    }
    whole = {k: v for k in ("seeds", "tune") if (v := getattr(words, k)) is not None}
    comparison = Comparison.of({**configured(words, read_config), **lists, **whole})
    folder = Path(words.out)
    failed, known = [], 0
    with progress(0, words.json) as show:
        for row in compare(comparison, folder, words.jobs):
            if not known:
                write_whole(folder / "command.txt", words.command_line + "\n")
            known += 1
            failed += [row] if row["kind"] == "failed" else []
            show(row["done"], task_line(row), row, row["total"])
    rows = [row for kind in ("run", "ptq") for row in table_of(folder).rows(kind=kind)]
    page = report(folder)
    if words.json:
        found = {"arms": summary(rows, comparison), "differences": differences(rows, comparison)}
        print(json.dumps(finite({**found, "report": str(page)})))
    else:
        arms = [
            {k: v for k, v in row.items() if not k.endswith("_surrogate") and k != "bits"}
            for row in summary(rows, comparison)
        ]
        print(text_table(arms), *sentences(rows, comparison), f"report: {page}", sep="\n\n")
    return FAILED if failed else OK


def _study(words: argparse.Namespace) -> int:
    if words.name in (None, "list"):
        return _studies(words)
    from coarsegrad.studies import find
    from coarsegrad.train.screen import finite, progress, study_line, text_table

    if words.of == "list":
        raise ValueError(f"list comes first: coarsegrad study list {words.name}")
    if words.of is not None:
        raise ValueError(f"one study at a time: {words.name}, then {words.of}")
    if words.out is None:
        raise ValueError(f"say where the results go: coarsegrad study {words.name} --out FOLDER")
    from coarsegrad.studies.page import publish
    from coarsegrad.studies.study import run

    study, folder = find(words.name), Path(words.out)
    options = {"data_folder": words.data_folder, "own": words.own}
    preset = "quick" if words.preset is None else words.preset
    hands = {"workers": 1 if words.workers is None else words.workers, "scheduler": words.scheduler}
    planned = study.planned(preset, options)
    tasks = f"{len(planned)} tasks"
    if words.data_folder and not study.then and not any(task.where.get("data_folder") for task in planned):
        print(f"The preset {preset} reads no data: --data-folder is not looked at.", file=sys.stderr)
    if not words.json:
        tasks += ", then more that depend on what they find" if study.then else ""
        print(f"{study.name}, {preset}, {tasks}: {study.presets[preset]}", flush=True)
    with progress(0, words.json, "tasks") as show:
        for row in run(study, preset, folder, **hands, options=options):
            show(row["done"], study_line(row), row, row["total"])
    given = {"command": words.command_line, "docs": words.docs, "record": words.record, "options": options}
    verdicts = publish(study, preset, folder, **given)
    rows, page = [verdict.row() for verdict in verdicts], str(folder / "report.html")
    told = json.dumps(finite({"verdicts": rows, "report": page}))
    judged = sum(row["verdict"] != "not run" for row in rows)
    print(
        told if words.json else f"{text_table(rows)}\n\n{judged} of {len(rows)} claims judged\nreport: {page}"
    )
    return OK if all(verdict.as_expected for verdict in verdicts) else FAILED


def _studies(words: argparse.Namespace) -> int:
    """What studies there are, or the claims of one; with ``--docs`` the overview of the documentation."""
    from coarsegrad.studies import find
    from coarsegrad.studies.index import rewrite
    from coarsegrad.studies.listing import claim_rows, claims_text, everything, study_row, text_of
    from coarsegrad.studies.record import published
    from coarsegrad.train.screen import finite

    no = ["preset", "out", "workers", "scheduler", "data_folder", "own", "record"]
    no += ["docs"] if words.of is not None else ["json"] if words.docs else []
    for option in no:
        if getattr(words, option) not in (None, False):
            raise ValueError(
                f"study list takes --docs, or a name and --json: leave --{option.replace('_', '-')} away"
            )
    if words.docs:
        print(rewrite(words.docs))
        return OK
    there = everything() if words.of is None else [(find(words.of), published(words.of))]
    if words.json:
        rows = [study_row(*pair) for pair in there] if words.of is None else claim_rows(*there[0])
        print(json.dumps(finite(rows)))
    else:
        print(
            "\n\n".join([*(text_of(*pair) for pair in there), *(claims_text(*p) for p in there if words.of)])
        )
    return OK


def _report(words: argparse.Namespace) -> None:
    from coarsegrad.train.report import report

    print(report(words.folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coarsegrad",
        description="Train quantized networks with straight-through estimators.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"coarsegrad {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.set_defaults(run=run)
        said = "run your Python file, so that its surrogates have names; may be repeated"
        made.add_argument("--with", action="append", default=[], dest="own_files", metavar="FILE", help=said)
        return made

    it = command("list", _list, "surrogates, quantizers, data sets and models, with formula and source")
    it.add_argument("what", nargs="?", choices=("surrogates", "quantizers", "data", "models"))
    it.add_argument("--json", action="store_true", help="for machines")
    it = command("plot", _plot, "draw curve and slope of surrogates")
    it.add_argument("kind", choices=("surrogate",))
    it.add_argument("names", nargs="+", metavar="NAME", help="such as relu or 'clipped_relu(top=2)'")
    said = "for scheduled ones, of training, in [0, 1] (%(default)s)"
    it.add_argument("--progress", default="0,0.5,1", help=said)
    it.add_argument("--out", required=True, help="a file that ends in .svg or .png")
    it = command("plan", _plan, "what quantizing a model would do, layer by layer")
    it.add_argument("model", help="lenet5, 'resnet20(shortcut=...)', or module:function that gives a model")
    it.add_argument("recipe", help="w2a2, or recipe(...) in full")
    it.add_argument("--in-shape", help="of one example, such as 3,32,32")
    it.add_argument("--classes", type=int, default=10)
    it.add_argument(
        "--rule", action="append", metavar="PATTERN=BITS", help="as in 'block1*=w8a8'; the last match wins"
    )
    for name in ("first", "last", "activations"):
        it.add_argument(f"--{name}")
    it.add_argument("--json", action="store_true", help="for machines")
    it = command("train", _train, "train one network")
    plan_options(it)
    it.add_argument("--bits", metavar="RECIPE", help="w2a2, float, or recipe(...) in full")
    it.add_argument("--weight-surrogate", metavar="NAME")
    it.add_argument("--activation-surrogate", metavar="NAME")
    it.add_argument(
        "--resume", action=argparse.BooleanOptionalAction, default=True, help="--no-resume starts over"
    )
    said = "estimators x bits x seeds under one budget, beside float and calibrated only"
    it = command("compare", _compare, said)
    plan_options(it)
    it.add_argument("--bits", metavar="w1a2,w2a2")
    it.add_argument("--surrogates", metavar="NAMES", help="of activations, commas between")
    it.add_argument("--weight-surrogates", metavar="NAMES")
    it.add_argument("--seeds", type=int, metavar="N")
    said = "learning rates tried for every arm, on held-out training images"
    it.add_argument("--tune", type=int, metavar="K", help=said)
    it.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time (%(default)s)")
    it = command("study", _study, "reproduce a paper: 0 if all claims end as expected; or list what there is")
    it.add_argument("name", nargs="?", help="such as yin2019; list, or nothing: what there is, and verdicts")
    it.add_argument("of", nargs="?", metavar="NAME", help="after list: the claims of this study")
    presets = ("smoke", "quick", "short", "paper", "extended")
    it.add_argument("--preset", choices=presets, help="(quick)")
    it.add_argument("--out", metavar="FOLDER", help="results; the same command goes on where it stopped")
    it.add_argument("--workers", type=int, metavar="K", help="tasks at a time (1)")
    it.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="of a Dask cluster, that does the tasks")
    it.add_argument(
        "--docs",
        metavar="FOLDER",
        help="also write the page NAME.md and its figures there; with list: the verdicts in index.md there",
    )
    it.add_argument("--record", metavar="FOLDER", help="also write the verdicts as NAME.json there")
    it.add_argument("--data-folder", metavar="FOLDER", help="for studies that train networks")
    said = "also measure this surrogate, such as one of your own from a file --with FILE"
    it.add_argument("--own", metavar="NAME", help=said)
    it.add_argument("--json", action="store_true", help="a JSON object per line, for machines")
    results.options(command("results", results.command, "look into a folder of results; CSV, Parquet"))
    it = command("report", _report, "write report.html of a run or a comparison again")
    it.add_argument("folder")
    return parser
