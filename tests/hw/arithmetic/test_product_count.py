import pytest

from xnorflow.hw.arithmetic.product_count import ProductCount
from xnorflow.hw.families import FAMILIES
from xnorflow.hw.families.gowin import GOWIN
from xnorflow.ir import Gate


@pytest.mark.parametrize(
    ("kind", "in_groups"),
    [
        ({"neurons": 1}, False),
        ({"neurons": 2}, True),
        ({"neurons": 2, "gate": Gate.AND}, False),
        ({"neurons": 2, "masked": True}, False),
        ({"neurons": 2, "constant": True}, False),
        ({"neurons": 2, "bits": 2}, False),
    ],
)
def test_counts_in_groups_where_enough_neurons_share_them(kind, in_groups):
    assert ProductCount(24, GOWIN, **kind).in_groups == in_groups


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_groups_are_for_families_that_chain_adders(family):
    assert ProductCount(64, family, neurons=8).in_groups == family.chains_adders
