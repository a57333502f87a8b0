import pytest

from tests.hw.loading import DESIGN, OTHER
from xnorflow.errors import DesignError
from xnorflow.hw.compile.kept import keep_design, kept_design
from xnorflow.hw.compile.plan import plan
from xnorflow.hw.compile.weights import load_image
from xnorflow.hw.families.device import Cell


@pytest.mark.parametrize("memories", [{}, {"fc1": Cell.BLOCK_RAM}])
def test_a_kept_design_takes_the_same_loads(tmp_path, memories):
    facts = DESIGN.network, DESIGN.foldings, DESIGN.input_lanes, DESIGN.device
    design = plan(*facts, memories=memories)
    keep_design(design, tmp_path)
    assert load_image(kept_design(tmp_path), OTHER) == load_image(design, OTHER)


def test_a_folder_without_a_design_is_refused(tmp_path):
    with pytest.raises(DesignError, match="has no design whose weights can be loaded"):
        kept_design(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"foldings": 3}', '{"foldings": {"a": 1}}'])
def test_a_damaged_design_is_refused(tmp_path, text):
    (tmp_path / "loading.json").write_text(text)
    with pytest.raises(DesignError, match=r"loading\.json is damaged"):
        kept_design(tmp_path)
