import json
import re
import sys
from dataclasses import replace

import pytest

from tests.boards.test_report import ECP5_LOG, ICE40_LOG, path, report
from tests.boards.test_top import tiny_design
from xnorflow.boards import build as build_module
from xnorflow.boards.build import Stage, build, place
from xnorflow.boards.plan import link_resources
from xnorflow.boards.report import Usage
from xnorflow.boards.targets import ICEBREAKER, TARGETS, ULX3S_85F, find_target
from xnorflow.errors import DesignError, FormatError, ToolError
from xnorflow.hw.compile.estimate import estimate
from xnorflow.hw.families.device import Cell
from xnorflow.hw.families.ice40 import UP5K


REPORT = report([path("posedge clk", "posedge clk")], clk=(36.29, 12.0))


def write(**files):
    """Body of a tool that writes files; ``__`` in a name stands for a dot."""
    return "".join(
        f"open({name.replace('__', '.')!r}, 'w').write({text!r})\n" for name, text in files.items()
    )


GOOD = {
    "yosys": write(top__json=json.dumps({"modules": {}})),
    "nextpnr": write(top__tim=ICE40_LOG, timing__json=REPORT, top__asc="", top__config=""),
    "pack": write(top__bin="bits", top__bit="bits", top__fs="bits"),
}


@pytest.fixture
def fake_tools(tmp_path, monkeypatch):
    """Replace the tools by Python programs; a call changes some of them."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def replace(**changes):
        bodies = {**GOOD, **changes}
        paths = {
            "yosys": "yosys",
            "nextpnr-ice40": "nextpnr",
            "nextpnr-ecp5": "nextpnr",
            "nextpnr-himbaechel-gowin": "nextpnr",
            "nextpnr-himbaechel-gatemate": "nextpnr",
            "icepack": "pack",
            "ecppack": "pack",
            "gowin_pack": "pack",
            "gmpack": "pack",
        }
        for name, body in paths.items():
            path = folder / name
            path.write_text(f"#!{sys.executable}\nimport sys\n{bodies[body]}")
            path.chmod(0o755)
        monkeypatch.setattr(
            build_module, "find_tools", lambda names: {name: folder / name for name in names}
        )

    replace()
    return replace


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_builds(tmp_path, fake_tools, target):
    report = REPORT.replace("36.29", "136.29")
    fake_tools(nextpnr=GOOD["nextpnr"] + write(timing__json=report))
    stages = []
    directory = tmp_path / "new" / "folder"

    built = build(tiny_design(target), target, directory, progress=stages.append)

    assert stages == list(Stage)
    assert built.bitstream.read_text() == "bits"
    assert built.bitstream.stem == target.name
    assert built.usage[Cell.LUT] == Usage(1383, 5280)
    assert built.timing.fmax == 136.29e6
    assert built.cycles_per_frame == 96
    assert built.frames_per_second == built.clock / 96
    assert built.peak_frames_per_second == 136.29e6 / 96


def test_passes_options_to_the_tools(tmp_path, fake_tools):
    fake_tools(nextpnr=GOOD["nextpnr"] + "open('arguments', 'w').write(' '.join(sys.argv[1:]))")
    build(tiny_design(ULX3S_85F), ULX3S_85F, tmp_path, clock=25_000_000, seed=7)
    arguments = (tmp_path / "arguments").read_text()
    assert "--placer static --seed 7 --freq 25 --timing-allow-fail" in arguments
    assert "--report timing.json" in arguments
    assert arguments.endswith(" --write top.pnr.json")
    assert "--85k --package CABGA381 --speed 6" in arguments
    assert "synth_ecp5 -nowidelut -top top" in (tmp_path / "top.ys").read_text()


@pytest.mark.parametrize(
    ("target", "without", "command"),
    [
        (ICEBREAKER, {"multipliers": 0}, "synth_ice40 -dffe_min_ce_use 4 -top top"),
        (ICEBREAKER, {"block_rams": 0}, "synth_ice40 -dffe_min_ce_use 4 -dsp -nobram -top top"),
        (ULX3S_85F, {"multipliers": 0}, "synth_ecp5 -nowidelut -nodsp -top top"),
        (ULX3S_85F, {"block_rams": 0}, "synth_ecp5 -nowidelut -nobram -top top"),
    ],
)
@pytest.mark.usefixtures("fake_tools")
def test_uses_nothing_that_the_device_lacks(tmp_path, target, without, command):
    target = replace(target, device=replace(target.device, **without))
    clock = 25_000_000 if target.name == ULX3S_85F.name else None
    build(tiny_design(target), target, tmp_path, clock=clock)
    script = " ".join((tmp_path / "top.ys").read_text().split())
    assert command in script


def fails(directory, error, message, *, target=ICEBREAKER):
    """Check that a build fails, and leaves no bitstream, not even an old one."""
    directory.mkdir(exist_ok=True)
    bitstreams = [directory / f"{target.name}.{suffix}" for suffix in ("bin", "bit")]
    for bitstream in bitstreams:
        bitstream.write_text("old")
    with pytest.raises(error, match=f"^{message}$"):
        build(tiny_design(target), target, directory)
    assert [b.exists() for b in bitstreams].count(False) == 1
    assert not (directory / "top.bin").exists()


def test_says_what_does_not_fit(tmp_path, fake_tools):
    fake_tools(nextpnr=write(top__tim=ECP5_LOG) + "sys.exit('ERROR: no BELs remaining')")
    fails(
        tmp_path / "build",
        DesignError,
        r"random-mlp-1 does not fit the ULX3S 85F: "
        r"it takes 90044 look-up tables of 83640 \(6404 too many\)",
        target=ULX3S_85F,
    )


def test_says_all_that_does_not_fit(tmp_path, fake_tools):
    log = ICE40_LOG.replace(" 1383/", " 6000/").replace(" 1/     30", "32/     30")
    fake_tools(nextpnr=write(top__tim=log) + "sys.exit(1)")
    fails(
        tmp_path / "build",
        DesignError,
        r"random-mlp-1 does not fit the iCEBreaker: it takes 6000 look-up tables of 5280 "
        r"\(720 too many\) and 32 block RAMs of 30 \(2 too many\)",
    )


def test_says_that_no_place_is_found(tmp_path, fake_tools):
    log = ICE40_LOG + "ERROR: Unable to find legal placement, probably at utilisation limit."
    fake_tools(nextpnr=write(top__tim=log) + "sys.exit(1)")
    message = (
        "random-mlp-1 does not fit the iCEBreaker: no place is found for all of its 1383 look-up "
        "tables among 5280"
    )
    fails(tmp_path / "build", DesignError, message)


def test_says_that_the_clock_is_missed(tmp_path, fake_tools):
    slow = REPORT.replace("36.29", "11.5")
    fake_tools(nextpnr=write(top__tim=ICE40_LOG, timing__json=slow))
    fails(
        tmp_path / "build",
        DesignError,
        r"random-mlp-1 is too slow: routed for the iCEBreaker it reaches 11\.50 MHz, "
        r"not 12 MHz, because of the path from fc1\.count to act1\.level: 5\.0 ns, "
        r"of which 2\.0 logic and 3\.0 routing; try another seed, or a lower clock",
    )


def test_keeps_a_margin_where_the_timing_is_not_exact(tmp_path, fake_tools):
    board = find_target("tang-nano-9k")
    for fmax, fits in (("33.7", False), ("33.8", True)):
        fake_tools(nextpnr=GOOD["nextpnr"] + write(timing__json=REPORT.replace("36.29", fmax)))
        if fits:
            assert build(tiny_design(board), board, tmp_path).timing.fmax == 33.8e6
        else:
            with pytest.raises(DesignError, match="not 27 MHz with the margin of 25% that is kept"):
                build(tiny_design(board), board, tmp_path)


# The static placer goes on for ever.
CIRCLING = """
import time
if 'static' in sys.argv:
    lines = [f'Info: iter={n} steplen=1.9' for n in range(LAST + 1)]
    open('top.tim', 'w').write('\\n'.join(lines))
    time.sleep(60 if LAST > 2000 else 2)
"""


@pytest.mark.parametrize(("last", "placer"), [(2001, "heap"), (2000, "static")])
def test_another_placer_follows_on_one_that_goes_in_circles(tmp_path, fake_tools, last, placer):
    board = find_target("ulx3s-85f")
    used = tmp_path / "used"
    body = CIRCLING.replace("LAST", str(last)) + GOOD["nextpnr"]
    body += f"open({str(used)!r}, 'a').write(sys.argv[sys.argv.index('--placer') + 1] + ' ')\n"
    fake_tools(nextpnr=body)
    build(tiny_design(board), board, tmp_path / "bits", clock=25_000_000)
    assert used.read_text() == f"{placer} "


# Reaches as many MHz as the seed says, but none with seed 3.
SEEDED = f"""
seed = int(sys.argv[sys.argv.index('--seed') + 1])
if seed == 3:
    sys.exit('ERROR: no way')
assert open('top.json').read(), open('top.pcf').read()
open('top.tim', 'w').write({ICE40_LOG!r})
open('timing.json', 'w').write({REPORT!r}.replace('36.29', str({{2: 30, 4: 25}}.get(seed, 20))))
open('top.asc', 'w').write(str(seed))
"""


def test_keeps_the_fastest_of_several_seeds(tmp_path, fake_tools):
    calls = tmp_path / "calls"
    fake_tools(
        nextpnr=SEEDED,
        yosys=f"open({str(calls)!r}, 'a').write('x')\n" + GOOD["yosys"],
        pack="open('top.bin', 'w').write(open('top.asc').read())",
    )
    design, folder = tiny_design(ICEBREAKER), tmp_path / "bits"
    report = build(design, ICEBREAKER, folder, seeds=4, workers=2)
    found = [(each.seed, each.timing.fmax) for each in report.seeds]
    assert found == [(2, 30e6), (4, 25e6), (1, 20e6)]
    assert (report.timing.fmax, report.bitstream.read_text()) == (30e6, "2")
    assert calls.read_text() == "x"
    assert '"achieved": 30' in (folder / "timing.json").read_text()
    assert not list(folder.glob("seed-*"))

    placed = place(design, ICEBREAKER, tmp_path / "placed", clock=39_750_000, seeds=(3, 5))
    assert [(each.seed, each.timing.fmax) for each in placed] == [(5, 20e6)]
    with pytest.raises(ToolError, match=r"^nextpnr-ice40 failed in .*seed-3: ERROR: no way$"):
        place(design, ICEBREAKER, tmp_path / "placed", seeds=(3, 3))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit('Warning: strange\\nERROR: no such cell\\nbye')", "ERROR: no such cell"),
        ("raise MemoryError", "MemoryError"),
        ("sys.exit(3)", "exit code 3"),
    ],
)
@pytest.mark.parametrize("tool", ["yosys", "nextpnr", "pack"])
def test_says_which_tool_failed(tmp_path, fake_tools, tool, body, reason):
    fake_tools(**{tool: body})
    name = {"yosys": "yosys", "nextpnr": "nextpnr-ice40", "pack": "icepack"}[tool]
    directory = tmp_path / "build"
    fails(directory, ToolError, f"{name} failed in {re.escape(str(directory))}: {reason}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (write(top__rpt="Warning: strange\nERROR: no wire\n"), "ERROR: no wire"),
        ("", "exit code 3"),  # and not what an earlier one said
    ],
)
def test_says_what_only_the_log_of_yosys_says(tmp_path, fake_tools, body, reason):
    directory = tmp_path / "build"
    directory.mkdir()
    (directory / "top.rpt").write_text("ERROR: old\n")
    fake_tools(yosys=body + "sys.exit(3)")
    fails(directory, ToolError, f"yosys failed in .*: {reason}")


@pytest.mark.usefixtures("fake_tools")
def test_no_name_looks_like_a_bit_of_another(tmp_path):
    """abc9 mistakes the wires lanes[1] and lanes for each other."""
    build(tiny_design(ICEBREAKER), ICEBREAKER, tmp_path)
    rtlil = (tmp_path / "top.il").read_text()
    assert "lanes.0" in rtlil
    assert not re.search(r"\\\S+\[\d+\]", rtlil)


def test_an_old_log_does_not_explain_a_new_failure(tmp_path, fake_tools):
    directory = tmp_path / "build"
    directory.mkdir()
    (directory / "top.tim").write_text(ICE40_LOG.replace(" 1383/", " 9999/"))
    fake_tools(nextpnr="sys.exit('ERROR: sick')")
    fails(directory, ToolError, r"nextpnr-ice40 failed in .*: ERROR: sick")


def test_can_be_interrupted_and_started_again(tmp_path, fake_tools):
    def interrupt(stage):
        if stage is Stage.PACK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tiny_design(ICEBREAKER), ICEBREAKER, tmp_path / "b", progress=interrupt)
    assert not (tmp_path / "b" / "icebreaker.bin").exists()
    assert build(tiny_design(ICEBREAKER), ICEBREAKER, tmp_path / "b").bitstream.exists()


@pytest.mark.usefixtures("fake_tools")
def test_says_that_files_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    directory = tmp_path / "file" / "folder"
    message = f"^the folder {re.escape(str(directory))} cannot be created: Not a directory$"
    with pytest.raises(FormatError, match=message):
        build(tiny_design(ICEBREAKER), ICEBREAKER, directory)


def test_two_builds_do_not_share_a_folder(tmp_path, fake_tools):
    def build_again(stage):
        if stage is Stage.PLACE_AND_ROUTE:
            with pytest.raises(FormatError, match=r"^another run is writing to the folder "):
                build(tiny_design(ICEBREAKER), ICEBREAKER, tmp_path / "b")

    # The first one is not disturbed, and leaves the folder to others.
    report = build(tiny_design(ICEBREAKER), ICEBREAKER, tmp_path / "b", progress=build_again)
    assert report.bitstream.read_text() == "bits"
    assert build(tiny_design(ICEBREAKER), ICEBREAKER, tmp_path / "b").bitstream.exists()


def test_what_cannot_fit_is_refused_before_it_is_synthesised(tmp_path, fake_tools):
    design = tiny_design(ICEBREAKER)
    need = estimate(design) + link_resources(design)
    least = replace(ICEBREAKER, device=replace(UP5K, luts=need.luts))
    stages = []
    build(design, least, tmp_path / "fits", progress=stages.append)
    assert stages == list(Stage)

    small = replace(ICEBREAKER, device=replace(UP5K, luts=int(need.luts / 1.2)))
    with pytest.raises(
        DesignError,
        match=f"^random-mlp-1 does not fit the iCEBreaker: with the link to the host, it would "
        f"take about {need.luts} look-up tables of {small.device.luts}$",
    ):
        build(design, small, tmp_path / "not", progress=pytest.fail)
    assert not (tmp_path / "not").exists()


def test_a_real_bitstream(tmp_path):
    report = build(tiny_design(ICEBREAKER), ICEBREAKER, tmp_path)
    content = report.bitstream.read_bytes()
    assert b"\x7e\xaa\x99\x7e" in content[:200]  # the synchronisation word
    assert len(content) == 104090
    assert 500 < report.usage[Cell.LUT].used < 2500
    assert 300 < report.usage[Cell.FLIP_FLOP].used < 1500
    assert report.usage[Cell.BLOCK_RAM] == Usage(1, 30)
    assert 25e6 < report.timing.fmax < 60e6


@pytest.mark.slow
def test_a_real_bitstream_with_a_pll(tmp_path):
    report = build(tiny_design(ULX3S_85F), ULX3S_85F, tmp_path)
    assert report.bitstream.stat().st_size > 100_000
    assert report.clock == 50_000_000
    assert 120e6 < report.timing.fmax < 300e6
