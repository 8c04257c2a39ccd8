"""The table of results: what is acknowledged stands, what is not is not there at all."""

import csv
import math
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import coarsegrad.table as table_module
from coarsegrad.table import Table, TableError

ROWS = [{"epoch": 1, "loss": 0.1, "ok": True, "name": "a"}, {"epoch": 2, "loss": None, "extra": "é\n\"'"}]


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "results.db")


def child(code, *arguments, **options):
    """A Python process with ``table`` loaded from its file alone: it starts without torch."""
    head = f"""
        import importlib.util, os, sys, signal
        spec = importlib.util.spec_from_file_location("table", {table_module.__file__!r})
        table = sys.modules["table"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(table)
    """
    code = textwrap.dedent(head) + textwrap.dedent(code)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_rows_come_back_as_they_were_given(table):
    assert table.append("t", ROWS, kind="train") is True
    back = table.rows()
    assert back == ROWS
    assert [list(row) for row in back] == [list(row) for row in ROWS]
    assert type(back[0]["ok"]) is bool and type(back[0]["epoch"]) is int


@given(st.floats(), st.integers(), st.text(st.characters(exclude_categories=())))
def test_every_float_integer_and_text_survives_to_the_last_bit(tmp_path_factory, number, integer, text):
    table = Table(tmp_path_factory.mktemp("bits") / "results.db")
    table.append("t", [{"number": number, "integer": integer, text + "!": text}], kind="k")
    (row,) = table.rows()
    assert repr(row["number"]) == repr(number)
    assert (row["integer"], row[text + "!"]) == (integer, text)


def test_nothing_is_on_the_disk_before_the_first_append(table):
    assert table.rows() == [] and table.tasks() == [] and not table.done("t")
    assert not table.path.exists()


def test_tasks_say_what_is_there(table):
    table.append("a", ROWS, kind="train", meta={"seconds": 1.5})
    table.append("b", [], kind="study")
    assert table.done("a") and table.done("b") and not table.done("c")
    assert table.tasks() == [
        {"task_id": "a", "kind": "train", "rows": 2, "meta": {"seconds": 1.5}},
        {"task_id": "b", "kind": "study", "rows": 0, "meta": {}},
    ]


def test_rows_are_selected_by_kind_task_and_column(table):
    table.append("a", [{"n": 1, "x": math.nan}, {"n": 2}], kind="p")
    table.append("b", [{"n": 1, "x": None}], kind="q")
    assert len(table.rows(n=1)) == 2
    assert table.rows(kind="q") == [{"n": 1, "x": None}]
    assert len(table.rows(task_id="a")) == 2
    assert table.rows("p", n=2) == [{"n": 2}]
    assert len(table.rows(x=math.nan)) == 1
    assert table.rows(x=None) == [{"n": 1, "x": None}]
    assert table.rows(missing=1) == []


def test_the_same_rows_again_are_no_error_and_change_nothing(table):
    table.append("t", [{"a": 1, "x": math.nan}], kind="k", meta={"host": "one"})
    assert table.append("t", [{"x": math.nan, "a": 1}], kind="k", meta={"host": "two"}) is False
    assert len(table.rows()) == 1
    assert table.tasks()[0]["meta"] == {"host": "one"}


@pytest.mark.parametrize(
    ("rows", "kind"), [([{"a": 2}], "k"), ([], "k"), ([{"a": 1}, {"a": 1}], "k"), ([{"a": 1}], "j")]
)
def test_other_rows_under_the_same_id_are_refused(table, rows, kind):
    table.append("t", [{"a": 1}], kind="k")
    with pytest.raises(ValueError, match="A task id must name one result"):
        table.append("t", rows, kind=kind)
    assert table.rows() == [{"a": 1}]


@pytest.mark.parametrize("row", [{"x": [1]}, {"x": 1j}, {"x": object()}, {1: 2}, {"kind": 1}, {"task_id": 1}])
def test_a_row_that_cannot_come_back_is_refused_with_its_column(table, row):
    with pytest.raises(ValueError, match=r"row 1.*(column)"):
        table.append("t", [{"fine": 1}, row], kind="k")
    assert not table.done("t")


def test_an_empty_id_or_kind_is_refused(table):
    with pytest.raises(ValueError, match="task_id"):
        table.append("", [], kind="k")
    with pytest.raises(ValueError, match="kind"):
        table.append("t", [], kind="")


def test_a_killed_transaction_that_was_already_on_the_disk_is_rolled_back(table):
    table.append("before", ROWS, kind="k")
    size = table.path.stat().st_size
    process = child(
        """
        insert = table._insert
        def killed(*arguments):
            insert(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        table._insert = killed
        table.Table(sys.argv[1]).append("big", [{"i": i, "text": "x" * 300} for i in range(20_000)], kind="k")
        """,
        table.path,
    )
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert table.path.stat().st_size > 10 * size, "the test means to kill after pages reached the file"
    assert not table.done("big")
    assert table.rows() == ROWS
    assert table.append("big", ROWS, kind="k")


def test_whenever_the_kill_comes_each_task_is_whole_and_each_acknowledged_one_is_there(table):
    acknowledged = []
    for attempt in range(5):
        process = child(
            """
            t = table.Table(sys.argv[1])
            for n in range(10_000):
                name = f"{sys.argv[2]}-{n}"
                t.append(name, [{"i": i, "text": "x" * 100} for i in range(500)], kind="k")
                print(name, flush=True)
            """,
            table.path,
            attempt,
        )
        first = process.stdout.readline().strip()
        time.sleep(0.013 * attempt)
        process.kill()
        acknowledged += [first, *process.communicate()[0].split()]
    tasks = {task["task_id"]: task["rows"] for task in table.tasks()}
    assert set(acknowledged) <= set(tasks)
    assert set(tasks.values()) == {500}
    assert len(tasks) <= len(acknowledged) + 5


def test_processes_append_at_the_same_time(table):
    code = """
        t = table.Table(sys.argv[1])
        for n in range(20):
            t.append(f"{sys.argv[2]}-{n}", [{"n": n}] * 3, kind="k")
    """
    processes = [child(code, table.path, name) for name in "abc"]
    assert [process.communicate()[1] for process in processes] == ["", "", ""]
    assert len(table.tasks()) == 60 and len(table.rows()) == 180


def test_a_table_travels_to_another_process_as_its_path(table):
    table.append("t", ROWS, kind="k")
    assert pickle.loads(pickle.dumps(table)).rows() == ROWS


def test_merge_adds_what_is_missing_once(table, tmp_path):
    other = Table(tmp_path / "other.db")
    table.append("a", [{"x": 1}], kind="k")
    other.append("a", [{"x": 1}], kind="k")
    other.append("b", [{"x": math.inf}], kind="k", meta={"m": 1})
    assert table.merge(other.path) == 1
    assert table.merge(other.path) == 0
    assert table.merge(table.path) == 0
    assert table.rows() == [{"x": 1}, {"x": math.inf}]
    assert table.tasks()[1]["meta"] == {"m": 1}


def test_a_merge_with_a_contradiction_adds_nothing(table, tmp_path):
    other = Table(tmp_path / "other.db")
    table.append("b", [{"x": 1}], kind="k")
    other.append("a", [{"x": 1}], kind="k")
    other.append("b", [{"x": 2}], kind="k")
    with pytest.raises(ValueError, match="task 'b'"):
        table.merge(other.path)
    assert not table.done("a")


def test_a_merge_from_nowhere_is_refused_and_from_an_empty_file_adds_nothing(table, tmp_path):
    with pytest.raises(FileNotFoundError):
        table.merge(tmp_path / "missing.db")
    (tmp_path / "empty.db").touch()
    assert table.merge(tmp_path / "empty.db") == 0


def test_nothing_can_be_changed_or_removed_behind_our_back(table):
    table.append("t", ROWS, kind="k")
    with sqlite3.connect(table.path) as connection:
        for statement in ("DELETE FROM cells", "UPDATE cells SET json = '{}'", "DELETE FROM tasks"):
            with pytest.raises(sqlite3.Error, match="append-only"):
                connection.execute(statement)
    connection.close()


def test_a_text_file_is_refused_by_name(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are not the rows you are looking for " * 100)
    with pytest.raises(TableError, match=r"notes.txt is not an SQLite file; give the path"):
        Table(path)


@pytest.mark.parametrize("statement", ["CREATE TABLE photos (x)", "PRAGMA user_version = 7"])
def test_another_programs_database_is_refused(tmp_path, statement):
    with sqlite3.connect(tmp_path / "photos.db") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(TableError, match="another program's"):
        Table(tmp_path / "photos.db")


def test_a_table_of_a_later_schema_says_to_upgrade(table):
    table.append("t", ROWS, kind="k")
    with sqlite3.connect(table.path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    for call in (lambda: Table(table.path), table.rows, lambda: table.append("u", [], kind="k")):
        with pytest.raises(TableError, match=r"schema 2.*reads schema 1: upgrade"):
            call()


def test_a_damaged_file_names_the_mend(table):
    table.append("t", [{"x": "y" * 1000} for _ in range(200)], kind="k")
    content = bytearray(table.path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    table.path.write_bytes(content)
    with pytest.raises(TableError, match=r"is damaged.*Restore it from a copy"):
        table.rows()


def test_a_full_disk_is_an_oserror_and_earlier_rows_stand(table, monkeypatch):
    table.append("t", ROWS, kind="k")
    pages = table.path.stat().st_size // 4096
    connect = sqlite3.connect

    def connect_to_full_disk(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect_to_full_disk)
        with pytest.raises(OSError, match="no space left"):
            table.append("big", [{"x": "y" * 1000}] * 100, kind="k")
    assert table.rows() == ROWS and not table.done("big")


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is a Unix limit")
def test_a_file_that_may_not_grow_is_an_oserror_and_earlier_rows_stand(table):
    table.append("t", ROWS, kind="k")
    process = child(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        try:
            table.Table(sys.argv[1]).append("big", [{"x": "y" * 1000}] * 1000, kind="k")
        except OSError as error:
            print(error)
        """,
        table.path,
    )
    out, err = process.communicate()
    assert "results.db" in out and not err
    assert table.rows() == ROWS and not table.done("big")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="dropping rights needs to start as root")
def test_who_may_only_read_reads_and_is_told_so_on_writing(tmp_path_factory):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        table = Table(os.path.join(folder, "results.db"))
        table.append("t", ROWS, kind="k")
        process = child(
            """
            os.setuid(65534)
            t = table.Table(sys.argv[1])
            print(len(t.rows()))
            try:
                t.append("u", [], kind="k")
            except PermissionError as error:
                print(error)
            """,
            table.path,
        )
        out, err = process.communicate()
        assert out.startswith("2\n") and "cannot be written" in out and not err


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="its folder exists"):
        Table(tmp_path / "no" / "results.db").append("t", [], kind="k")


def test_a_table_that_stays_locked_times_out(table, monkeypatch):
    table.append("t", ROWS, kind="k")
    monkeypatch.setattr(table_module, "_BUSY_SECONDS", 0.05)
    blocker = sqlite3.connect(table.path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(TimeoutError, match="another process"):
            table.append("u", [], kind="k")
    finally:
        blocker.close()


def test_csv_holds_every_row_and_column(table, tmp_path):
    table.append("a", ROWS, kind="train")
    table.append("b", [{"x": math.inf, "epoch": 0.1 + 0.2}], kind="study")
    table.to_csv(tmp_path / "out.csv")
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["task_id"] for row in rows] == ["a", "a", "b"]
    assert rows[1]["extra"] == "é\n\"'" and rows[1]["ok"] == "" and rows[0]["ok"] == "True"
    assert rows[2]["x"] == "inf" and float(rows[2]["epoch"]) == 0.1 + 0.2
    table.to_csv(tmp_path / "study.csv", kind="study")
    assert (tmp_path / "study.csv").read_text().count("\n") == 2


def test_a_csv_that_fails_leaves_the_old_one_and_no_litter(table, tmp_path, monkeypatch):
    table.append("a", ROWS, kind="train")
    table.to_csv(tmp_path / "out.csv")
    before = (tmp_path / "out.csv").read_text()
    monkeypatch.setattr(csv.DictWriter, "writerows", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        table.to_csv(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == before
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "results.db"]
