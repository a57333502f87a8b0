"""Streams that are clipped to a symmetric range, from layers to hardware."""

from dataclasses import replace

import pytest

from tests.definitions import reference
from tests.hw.driving import run, words_of
from tests.residuals import residual_case
from tests.sw.test_qonnx_export import check as check_export
from xnorflow.errors import NetworkError
from xnorflow.hw.compile.fold import fold
from xnorflow.hw.families.ecp5 import ECP5_85F
from xnorflow.ir import Rounding, xnf
from xnorflow.sw.compare import compare
from xnorflow.sw.golden import golden
from xnorflow.sw.lower import lower
from xnorflow.sw.nn.grid import Grid


def case_of(method, *, narrow):
    return residual_case(
        1,
        shape=(4, 4, 1),
        grid=Grid(5, 5, narrow=narrow),
        method=method,
        first={"channels": 4, "kernel": 1},
        blocks=[[4, 1, 3]],
    )


@pytest.mark.parametrize("method", ["reactnet", "dybnn"])
def test_a_narrow_stream_is_symmetric(method, tmp_path):
    case = case_of(method, narrow=True)
    images = case.images(40)
    network = lower(case.model)
    report = compare(case.model, network, images)
    assert report.differing == 0, str(report)
    roundings = {node.name: getattr(node, "rounding", None) for node in network.nodes}
    streams = [name for name, each in roundings.items() if each and each.narrow]
    kept = golden(network, images, keep=network.maps).maps
    assert min(int(kept[name].min()) for name in streams) == -15
    wide = lower(case_of(method, narrow=False).model)
    assert min(int(each.min()) for each in golden(wide, images, keep=streams).maps.values()) == -16
    maps, _ = reference(network, images[0].numpy())
    assert all(maps[name].tolist() == kept[name][0].tolist() for name in streams)
    assert xnf.dumps(xnf.loads(xnf.dumps(network))) == xnf.dumps(network)
    assert b"narrow" in xnf.dumps(network)
    assert b"narrow" not in xnf.dumps(wide)
    check_export(network, tmp_path / "net.onnx")
    design = fold(network, ECP5_85F, cycles=600)
    _, results = run(design, [words_of(x, design.input_lanes) for x in images[:3].numpy()])
    assert [scores for *_, scores in results] == golden(network, images[:3]).scores.tolist()


def test_a_narrow_range_needs_two_bits():
    with pytest.raises(NetworkError, match=r"^bits of a narrow range must be an integer from 2"):
        Rounding(0, 1, narrow=True)
    with pytest.raises(NetworkError, match=r"^whether a range is narrow must be a bool, not 1$"):
        replace(Rounding(0, 2), narrow=1)
