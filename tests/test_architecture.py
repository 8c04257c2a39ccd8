"""The house holds: imports go down, each file is short and has its test, nothing happens at import.

``docs/architecture.md`` is the picture; this file is the wall. An import inside a function counts.
"""

import ast
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "coarsegrad"
MOST_LINES = 400

FLOORS = (
    ("core", "measure", "problem", "view", "spec", "table"),
    ("nn", "optim", "theory", "sim", "own"),
    ("export", "runtime"),
    ("diagnose", "train"),
    ("studies", "__init__", "options", "results"),
    ("cli",),
    ("__main__",),
)
FLOOR = {place: number for number, places in enumerate(FLOORS, start=1) for place in places}
EVERYWHERE = {"torch", "numpy"}
# One file each may import it.
ONE_HOME = {"sklearn", "pooch", "PIL", "rich", "yaml", "matplotlib", "numba", "distributed", "pyarrow"}
KERNELS = {  # and with Numba these: what runs the kernels of core on threads, and the kernels of sim
    "coarsegrad.core.threads", "coarsegrad.sim.classify_compiled", "coarsegrad.sim.gauss_compiled",
    "coarsegrad.sim.kernels", "coarsegrad.sim.patterns", "coarsegrad.sim.vectors",
}  # fmt: skip
COMES_WITH = {"llvmlite": "numba"}  # and lives in the same file
PURE = {"core", "measure", "problem", "theory", "sim"}
NO_NAME = {"utils", "util", "misc", "common", "helpers", "helper"}

FILES = {
    ".".join(p.relative_to(SOURCE.parent).with_suffix("").parts): p for p in sorted(SOURCE.rglob("*.py"))
}
TREES = {module: ast.parse(path.read_text()) for module, path in FILES.items()}
MODULES = {module.removesuffix(".__init__") for module in FILES}


def place(module):
    """The room a module stands in: ``coarsegrad.core.ste`` -> ``core``; the package root -> ``__init__``."""
    return f"{module}.__init__".split(".")[1]


def imported(module, tree, modules):
    """The modules that ``module`` imports; ``from a import b`` is ``a.b`` where that is a module."""
    package = module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join(above + ([node.module] if node.module else []))
            names = {f"{source}.{alias.name}" for alias in node.names}
            yield from names & modules
            if names - modules:
                yield source


IMPORTS = {module: set(imported(module, tree, MODULES)) for module, tree in TREES.items()}
INSIDE = {m: {i for i in names if i.split(".")[0] == "coarsegrad"} for m, names in IMPORTS.items()}
OUTSIDE = {m: {i.split(".")[0] for i in names - INSIDE[m]} for m, names in IMPORTS.items()}


def at_import(tree):
    """Every node that runs when the module is imported: all but the bodies of functions."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += getattr(node, "decorator_list", ())
            waiting += node.args.defaults + [default for default in node.args.kw_defaults if default]
        else:
            waiting += ast.iter_child_nodes(node)


def decorators(tree):
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", ()):
            yield ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("import coarsegrad.nn.plan", {"coarsegrad.nn.plan"}),
        ("def f():\n    from coarsegrad.core import ste, ok", {"coarsegrad.core.ste", "coarsegrad.core"}),
        ("from .scales import fit", {"coarsegrad.core.scales"}),
        ("from . import scales", {"coarsegrad.core.scales"}),
        ("from ..spec import write", {"coarsegrad.spec"}),
        ("from .. import Binary", {"coarsegrad"}),
        ("from torch import nn", {"torch"}),
    ],
)
def test_an_import_is_seen_wherever_and_however_it_is_written(line, names):
    modules = {"coarsegrad.core.ste", "coarsegrad.core.scales", "coarsegrad.spec"}
    assert set(imported("coarsegrad.core.quantizers", ast.parse(line), modules)) == names


def test_what_runs_at_import_is_told_from_what_waits_in_a_function():
    tree = ast.parse("def f(a=early):\n    late\nclass C:\n    x = early\n    g = lambda b=early: late")
    read = [
        node.id for node in at_import(tree) if isinstance(node, ast.Name) and node.id in ("early", "late")
    ]
    assert read == ["early"] * 3


def test_every_place_stands_on_a_floor():
    assert sorted({place(module) for module in FILES} - FLOOR.keys()) == []


def test_imports_go_to_lower_floors_or_stay_in_their_own_place():
    assert [
        f"{module} imports {name}"
        for module, names in INSIDE.items()
        for name in sorted(names)
        if place(module) != place(name) and FLOOR[place(module)] <= FLOOR[place(name)]
    ] == []


def test_no_place_imports_itself_in_a_circle():
    graph = {module.removesuffix(".__init__"): names for module, names in INSIDE.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])), pytrace=False)


def test_only_the_cli_and_studies_import_the_package_root():
    faces = {"coarsegrad.__main__", "coarsegrad.cli", "coarsegrad.studies.__init__", "coarsegrad.__init__"}
    assert [module for module, names in INSIDE.items() if "coarsegrad" in names and module not in faces] == []


def test_the_runtime_reaches_torch_by_no_path():
    reached, waiting = set(), [module for module in FILES if place(module) == "runtime"]
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting += [m for m in FILES if m.removesuffix(".__init__") in INSIDE[module] and m not in reached]
    assert [module for module in sorted(reached) if "torch" in OUTSIDE[module]] == []


def test_a_foreign_library_is_declared_and_has_one_home_file():
    homes = {}
    for module, names in OUTSIDE.items():
        names = names - {"numba"} if module in KERNELS else names
        for name in {COMES_WITH.get(name, name) for name in names - EVERYWHERE - sys.stdlib_module_names}:
            homes.setdefault(name, []).append(module)
    assert {name: files for name, files in homes.items() if len(files) > 1 or name not in ONE_HOME} == {}


def test_a_file_is_short():
    lengths = {module: len(path.read_text().splitlines()) for module, path in FILES.items()}
    assert {module: n for module, n in lengths.items() if n >= MOST_LINES} == {}


def test_a_file_is_named_for_what_it_holds():
    assert [module for module, path in FILES.items() if path.stem in NO_NAME] == []


def test_every_source_file_has_its_test_file():
    sources = [p.relative_to(SOURCE) for p in FILES.values() if not p.stem.startswith("__")]
    tests = [ROOT / "tests" / source.with_name(f"test_{source.name.lstrip('_')}") for source in sources]
    assert [str(test.relative_to(ROOT)) for test in tests if not test.is_file()] == []


def test_nothing_is_registered_by_decorator():
    found = {m: [d for d in decorators(tree) if "register" in d] for m, tree in TREES.items()}
    assert {module: names for module, names in found.items() if names} == {}


def test_no_environment_variable_is_read_at_import():
    readers = {"environ", "getenv"}
    assert [
        f"{module}:{node.lineno}"
        for module, tree in TREES.items()
        for node in at_import(tree)
        if (isinstance(node, ast.Attribute) and node.attr in readers)
        or (isinstance(node, ast.Name) and node.id in readers)
    ] == []


def test_the_lower_rooms_print_nothing_open_nothing_and_seed_nothing():
    forbidden = {"print", "open", "input", "torch.manual_seed", "np.random.seed", "random.seed"}
    assert [
        f"{module}:{node.lineno} calls {ast.unparse(node.func)}"
        for module, tree in TREES.items()
        if place(module) in PURE
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden
    ] == []


def test_the_one_home_libraries_are_what_the_extras_install():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    import_name = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml"}
    installed = {name for extra in ("train", "plots", "fast", "cluster", "parquet") for name in extras[extra]}
    assert {import_name.get(name, name) for name in installed} == ONE_HOME
