"""Pieces of work: on processes of Dask, in this one, and out of the store."""

import os
import sys

import pytest

from xnorflow.errors import DesignError, ToolError
from xnorflow.parallel import Outcome, Workers, digest, forget, run_pieces


ONE = Workers(1)


def halve(common, piece):
    """Half of a number; odd ones do not work out, and 0 is a mistake of ours."""
    common["done"].append(piece)
    if piece < 0:
        raise ToolError("there is no divider")
    if piece % 2:
        raise DesignError(f"{piece} is odd")
    return {
        "half": common["dividend"] * 2 // piece,
        "process": os.getpid(),
        "trim": os.environ.get("MALLOC_TRIM_THRESHOLD_"),
    }


def common():
    return {"done": [], "dividend": 6}


def outcomes(pieces, **options):
    return {outcome.key: outcome for outcome in run_pieces(halve, pieces, **options)}


def test_a_piece_that_fails_ends_no_other():
    found = outcomes({"a": 1, "b": 0, "c": 4}, common=common(), workers=ONE)
    assert found["a"] == Outcome("a", error="1 is odd")
    assert found["b"].error == "ZeroDivisionError: integer division or modulo by zero"
    assert not found["b"].lasting
    assert found["c"].value["half"] == 3


def test_what_a_tool_lacks_today_it_may_have_tomorrow():
    found = outcomes({"a": -2}, common=common(), workers=ONE)
    assert found["a"] == Outcome("a", error="there is no divider", lasting=False)


def test_no_piece_is_done_twice(tmp_path):
    first, second = common(), common()
    pieces = {"a": 1, "b": 0, "c": 4, "d": 6}
    options = {"workers": ONE, "store": tmp_path / "new"}
    killed = run_pieces(halve, pieces, common=first, **options)
    assert [next(killed).key for _ in range(3)] == ["a", "b", "c"]
    killed.close()

    found = outcomes(pieces, common=second, **options)
    # What may go better the next time is tried again.
    assert second["done"] == [0, 6]
    assert found["a"] == Outcome("a", error="1 is odd", known=True)
    assert found["c"].known
    assert found["c"].value["half"] == 3
    assert not found["d"].known


def test_damaged_results_are_made_again(tmp_path):
    pieces = {"a": 4}
    outcomes(pieces, common=common(), workers=ONE, store=tmp_path)
    (tmp_path / "a.json").write_text("{")
    assert not outcomes(pieces, common=common(), workers=ONE, store=tmp_path)["a"].known
    assert outcomes(pieces, common=common(), workers=ONE, store=tmp_path)["a"].known
    forget(tmp_path, pieces)
    assert not list(tmp_path.iterdir())


def test_keys_tell_parts_apart():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")


def test_processes_share_the_work(tmp_path):
    pytest.importorskip("distributed", reason="`pip install 'xnorflow[cluster]'`")
    pieces = {str(n): n for n in (0, 1, 2, 6)}
    found = outcomes(pieces, common=common(), workers=Workers(2), store=tmp_path)
    assert found["1"] == Outcome("1", error="1 is odd")
    assert found["0"].error == "ZeroDivisionError: integer division or modulo by zero"
    assert [found[key].value["half"] for key in ("2", "6")] == [6, 2]
    assert os.getpid() not in {found[key].value["process"] for key in ("2", "6")}
    assert {found[key].value["trim"] for key in ("2", "6")} == {None}
    assert {path.stem for path in tmp_path.iterdir()} == {"1", "2", "6"}


def test_a_piece_that_dask_forgets_ends_no_other(monkeypatch, tmp_path):
    """As after a machine has slept; then such a piece is neither failed nor done."""
    client = pytest.importorskip("distributed.client", reason="`pip install 'xnorflow[cluster]'`")
    whole = client.Future.result

    def forgetful(future, *args, **options):
        outcome = whole(future, *args, **options)
        if outcome.key == "a":
            raise client.FutureCancelledError(future.key, "already forgotten")
        return outcome

    monkeypatch.setattr(client.Future, "result", forgetful)
    found = outcomes({"a": 2, "b": 6}, common=common(), workers=Workers(2), store=tmp_path)
    assert "already forgotten" in found["a"].error
    assert found["b"].value["half"] == 2
    assert {path.stem for path in tmp_path.iterdir()} == {"b"}


def test_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolError, match=r"^several workers need Dask: `pip install 'xnorflow\["):
        outcomes({"a": 2, "b": 4}, workers=Workers(2))


def test_says_that_no_scheduler_answers(monkeypatch):
    pytest.importorskip("distributed", reason="`pip install 'xnorflow[cluster]'`")
    monkeypatch.setattr("xnorflow.parallel._PATIENCE", 0.2)
    with pytest.raises(ToolError, match=r"^no Dask scheduler answers at tcp://127\.0\.0\.1:1$"):
        outcomes({"a": 2}, workers=Workers(scheduler="tcp://127.0.0.1:1"))
