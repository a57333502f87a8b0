from dataclasses import replace

import numpy as np
import pytest

from xnorflow.hw.arithmetic import adder_sharing
from xnorflow.hw.arithmetic.adder_netlist import ONE, ZERO, AdderNetlist
from xnorflow.hw.arithmetic.adder_sharing import share_adders
from xnorflow.hw.arithmetic.layer_sums import plan_layer
from xnorflow.ir import Gate


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XNORFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr(adder_sharing, "_MOST_SEARCHES", 3)
    return tmp_path / "adders"


def random_rows(rows, inputs, seed=0):
    return np.random.default_rng(seed).random((rows, inputs)) < 0.5


@pytest.mark.parametrize(("rows", "inputs"), [(1, 1), (2, 3), (4, 2), (20, 30), (3, 50)])
def test_rows_are_sums_of_their_inputs(rows, inputs):
    matrix = random_rows(rows, inputs)
    shared = share_adders(matrix)
    assert np.array_equal(shared.coefficients(), matrix)
    # Nothing is left that two rows could share.
    taken = [dict.fromkeys(row) for row in shared.rows]
    pairs = [taken[a].keys() & taken[b].keys() for a in range(rows) for b in range(a)]
    powers = [sorted(power for power, _ in pair) for pair in pairs]
    assert all(each.count(power) < 3 for each in powers for power in each)


def test_equal_rows_have_all_adders_in_common():
    shared = share_adders(np.ones((4, 15), bool))
    assert len(shared.adders) == 15 - 4  # bits of the number
    assert {len(row) for row in shared.rows} == {4}


def test_a_result_is_kept(folder, monkeypatch):
    matrix = random_rows(12, 90)
    first = share_adders(matrix)
    (path,) = folder.glob("*.npz")
    with monkeypatch.context() as patched:
        patched.setattr(adder_sharing, "_search", None)
        again = share_adders(matrix)
    assert first.rows == again.rows
    assert np.array_equal(first.adders, again.adders)
    # A damaged file does not matter.
    path.write_bytes(path.read_bytes()[:100])
    assert share_adders(matrix).rows == first.rows


def test_adders_are_few():
    matrix = random_rows(32, 64)
    thresholds = 28 + np.random.default_rng(1).integers(0, 9, 32)
    assert plan_layer(matrix, thresholds=thresholds).cells < 1330  # plain adders: 2,819


@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize("levels", [2, 3, 4])
def test_operands_are_there_when_they_are_added(levels, gate):
    netlist = plan_layer(random_rows(8, 40), gate, levels_per_stage=levels).netlist
    for adder in netlist.adders:
        assert all(netlist.time(each) <= adder.time for each in (*adder.x, *adder.y, adder.carry))
        assert adder.time // levels == (adder.time + adder.levels - 1) // levels


@pytest.mark.parametrize("constants", [[], [0], [0, 0, 1, 3], [0, 1, 2, 3, 4]])
def test_totals(constants):
    netlist = AdderNetlist(12)
    powers = [0, 0, 0, 0, 1, 1, 2, 2, 2, 4, 4, 6]
    terms = [(power, 2 * bit + bit % 2) for bit, power in enumerate(powers)]
    terms += [(power, ONE) for power in constants]
    total = netlist.total([*terms, (3, ZERO)], 9)
    inputs = np.random.default_rng(0).random((12, 200)) < 0.5
    values = netlist.evaluate(inputs)
    found = sum(netlist.literal(values, bit).astype(int) << n for n, bit in enumerate(total))
    signs = np.arange(12) % 2
    expected = ((inputs ^ signs[:, None].astype(bool)).T << np.array(powers)).sum(axis=1)
    assert np.array_equal(found, (expected + sum(1 << n for n in constants)) % 512)
    ((weights,), (constant,)) = netlist.forms([total])
    assert np.array_equal(weights, (1 - 2 * signs << np.array(powers)) % 512)
    assert constant == (sum(signs << np.array(powers)) + sum(1 << n for n in constants)) % 512


def test_a_wrong_adder_is_found():
    netlist = AdderNetlist(4)
    total = netlist.total([(0, 0), (0, 2), (0, 4), (0, 6)], 3)
    right, _ = netlist.forms([total])
    assert right.tolist() == [[1, 1, 1, 1]]
    netlist.adders[0] = replace(netlist.adders[0], x=netlist.adders[0].y)
    wrong, _ = netlist.forms([total])
    assert wrong.tolist() != right.tolist()
    with pytest.raises(AssertionError, match=r"^the sum from bit 4 on is added in pieces$"):
        netlist.forms([[2 * 4, ZERO]])
