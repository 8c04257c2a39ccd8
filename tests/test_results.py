"""A folder of results, looked at from outside: counted, chosen, written, joined."""

import csv
import json
import math
import sys

import pytest

from coarsegrad.cli import main
from coarsegrad.results import chosen, kinds, table_in, write
from coarsegrad.table import Table


@pytest.fixture
def folder(tmp_path):
    """Two kinds of task: fits of two sizes, and one descent."""
    made = tmp_path / "out"
    made.mkdir()
    table = Table(made / "results.sqlite")
    for n in (50, 100):
        rows = [{"n": n, "surrogate": s, "rate": n / 3, "tag": s if n > 50 else 1} for s in ("relu", "ede")]
        table.append(f"fit-{n}", rows, kind="fit", meta={"seconds": 1.5})
    table.append("walk", [{"loss": math.nan}, {"loss": None}], kind="descent")
    return made


@pytest.fixture
def told(capsys):
    def told(*words):
        code, heard = main(["results", *map(str, words)]), capsys.readouterr()
        return code, heard.out or heard.err

    return told


def test_kinds_are_counted(folder):
    assert kinds(table_in(folder)) == [
        {"kind": "fit", "tasks": 2, "rows": 4, "seconds": 3.0, "columns": ["n", "surrogate", "rate", "tag"]},
        {"kind": "descent", "tasks": 1, "rows": 2, "seconds": 0.0, "columns": ["loss"]},
    ]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"kind": "fit"}, 4),
        ({"where": ["n=50"]}, 2),
        ({"where": ["n=50.0", "surrogate=relu"]}, 1),
        ({"where": ["n=51"]}, 0),
        ({"where": ["task_id=fit-50"]}, 2),
        ({"kind": "descent", "where": ["loss=null"]}, 1),
    ],
)
def test_rows_are_chosen_by_kind_and_value(folder, choice, found):
    assert len(chosen(table_in(folder), **choice)) == found


def test_columns_come_in_the_order_asked_for(folder):
    rows = chosen(table_in(folder), where=["surrogate=ede"], columns=["rate", "n"])
    assert [list(row.items()) for row in rows] == [
        [("rate", 50 / 3), ("n", 50)],
        [("rate", 100 / 3), ("n", 100)],
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--kind", "fits"], "there is no kind 'fits'; there is: fit, descent"),
        (["--kind", "descent", "--where", "n=5"], "there is no column 'n'; there is: task_id, kind, loss"),
        (["--columns", "m"], "there is no column 'm'"),
        (["--where", "n"], "write --where COLUMN=VALUE"),
        (["--out", "rows.xlsx"], ".csv or .parquet"),
        (["--merge", "nowhere"], "nowhere holds no results"),
    ],
)
def test_bad_input_names_the_mend(folder, told, words, says):
    code, error = told(folder, *words)
    assert code == 2 and says in error and error.count("\n") == 1


def test_a_folder_without_results_is_refused(tmp_path, told):
    for place in (tmp_path, tmp_path / "missing"):
        code, error = told(place)
        assert code == 2 and "holds no results" in error
    assert not (tmp_path / "missing").exists()


def test_what_is_printed(folder, told):
    assert "tasks" in told(folder)[1] and "n, surrogate, rate, tag" in told(folder)[1]
    assert told(folder, "--kind", "fit", "--columns", "surrogate")[1].split()[2:] == ["relu", "ede"] * 2
    assert told(folder, "--where", "n=7")[1] == "no rows\n"
    losses = told(folder, "--kind", "descent", "--columns", "loss", "--json")[1]
    assert json.loads(losses) == [{"loss": None}] * 2
    assert [row["kind"] for row in json.loads(told(folder, "--json")[1])] == ["fit", "descent"]


def test_csv_holds_the_rows_that_were_chosen(folder, told, tmp_path):
    path = tmp_path / "rows.csv"
    assert told(folder, "--kind", "fit", "--where", "n=100", "--out", path) == (0, f"{path}\n")
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["rate"]) for row in rows] == [100 / 3] * 2 and rows[0]["task_id"] == "fit-100"


def test_parquet_keeps_numbers_and_tells_none_from_nan(folder, told, tmp_path):
    parquet = pytest.importorskip(
        "pyarrow.parquet", reason="needs pyarrow: pip install 'coarsegrad[parquet]'"
    )
    path = tmp_path / "rows.parquet"
    assert json.loads(told(folder, "--out", path, "--json")[1]) == {"rows": 6, "out": str(path)}
    rows = parquet.read_table(path).to_pylist()
    assert [row["n"] for row in rows] == [50, 50, 100, 100, None, None]
    assert [row["rate"] for row in rows[:4]] == [50 / 3] * 2 + [100 / 3] * 2
    assert [row["tag"] for row in rows[:4]] == ["1", "1", "relu", "ede"]  # one type per column
    assert math.isnan(rows[4]["loss"]) and rows[5]["loss"] is None


def test_without_pyarrow_the_extra_is_named_and_nothing_written(folder, told, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, error = told(folder, "--out", tmp_path / "rows.parquet")
    assert code == 2 and "coarsegrad[parquet]" in error and not (tmp_path / "rows.parquet").exists()


def test_a_file_is_written_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    write([{"a": 1}], path)
    monkeypatch.setattr(csv.DictWriter, "writerows", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write([{"a": 2}], path)
    assert path.read_text() == "a\n1\n"


def test_tables_of_several_machines_are_joined(folder, told, tmp_path):
    other = Table(tmp_path / "other.sqlite")
    other.append("fit-100", table_in(folder).rows(task_id="fit-100"), kind="fit")
    other.append("fit-200", [{"n": 200}], kind="fit")
    code, out = told(tmp_path / "new", "--merge", folder, "--merge", other.path)
    assert code == 0 and "added 3 of 3 tasks" in out and "added 1 of 2 tasks" in out
    assert [row["tasks"] for row in kinds(table_in(tmp_path / "new"))] == [3, 1]
    assert len(table_in(folder).tasks()) == 3  # what is read is left alone
