"""Wrong requests: each gets one sentence, and loses nothing."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "none.xnf"], "none.xnf cannot be read: No such file or directory"),
        (["info", "frames.npy"], "frames.npy is not a valid .xnf file: "),
        (["info", "zoo:none"], "the zoo has no 'none': choose from "),
        (["eval", "net.xnf"], "give either --data or --input"),
        (
            ["eval", "net.xnf", "--data", "svhn"],
            "'svhn' is no file or folder, and no data set: choose from mnist, fashion-mnist",
        ),
        (["eval", "net.xnf", "--input", "none.npy"], "none.npy cannot be read: No such file"),
        (["eval", "net.xnf", "--input", "net.xnf"], "net.xnf is not a .npy file of plain numbers"),
        (
            ["eval", "net.xnf", "--input", "wide.npy"],
            "frames must be an array of integers of shape (n, 4, 4, 1), "
            "not of uint8 of shape (2, 5, 5, 1)",
        ),
        (["eval", "net.xnf", "--input", "empty.npy"], "empty.npy has no frames"),
        (
            ["eval", "net.xnf", "--input", "frames.npy", "--output", "none/scores.npy"],
            "none/scores.npy cannot be written: No such file or directory",
        ),
        (["generate", "net.xnf", "-o", "net.xnf"], "the folder net.xnf cannot be created"),
        (
            ["generate", "net.xnf", "-o", "rtl", "--board", "basys"],
            "there is no board 'basys'; those that are known: icesugar-nano, ",
        ),
        (
            ["generate", "net.xnf", "-o", "rtl", "--cycles", "3", "--fastest"],
            "give only one of cycles, frames a second and fastest",
        ),
        (
            ["generate", "net.xnf", "-o", "rtl", "--fps", "1e12"],
            "frames a second must be more than 0 and at most the clock, 50000000, not 1e+12",
        ),
        (
            ["generate", "net.xnf", "-o", "rtl", "--fps", "0"],
            "frames a second must be more than 0 and at most the clock, 50000000, not 0",
        ),
        (
            ["generate", "net.xnf", "-o", "rtl", "--fps", "nan"],
            "frames a second must be more than 0 and at most the clock, 50000000, not nan",
        ),
        (["eval", "net.xnf", "--input", "zip.npy"], "zip.npy is not a .npy file"),
        (
            ["eval", "net.xnf", "--input", "huge.npy"],
            "huge.npy is not a .npy file of plain numbers",
        ),
        (["train", "huge", "-o", "run"], "'huge' is not a model: choose from tfc,"),
        (
            ["train", "-o", "run", "--method", "x"],
            "'x' is not a method of tfc: choose from sign, adabin,",
        ),
        (
            ["train", "-o", "run", "--hidden", "a,b"],
            "'a,b' is no list of whole numbers such as 96,64,64",
        ),
        (
            ["train", "-o", "run", "--hidden", "64,0"],
            "the neurons of a hidden layer must be an integer of at least 1, not 0",
        ),
        (["lower", "net.xnf", "-o", "x.xnf"], "net.xnf is not a valid checkpoint: "),
        (["lower", "net.xnf", "-o", "."], ". cannot be written: Is a directory"),
        (["lower", "net.xnf", "-o", "no/x.xnf"], "no/x.xnf cannot be written: No such file or dir"),
        (["import", "adabin-resnet20", "net.xnf", "-o", "folder.xnf"], "Is a directory"),
        (["data", "fetch", "mnist", "--from", "/nowhere"], "there is no folder /nowhere"),
        (
            ["simulate", "net.xnf", "--input", "frames.npy", "--output", "."],
            ". cannot be written: Is a directory",
        ),
        (["data", "fetch", "svhn"], "'svhn' is not a data set: choose from mnist, fashion-mnist"),
        (["run", "net.xnf", "--port", "none", "--input", "frames.npy"], "none cannot be opened: "),
    ],
)
def test_a_wrong_request_gets_one_sentence(cli, files, mnist, arguments, message):
    np.save("wide.npy", np.zeros((2, 5, 5, 1), np.uint8))
    np.save("empty.npy", np.zeros((0, 4, 4, 1), np.uint8))
    (files / "zip.npy").write_bytes(b"PK\x03\x04 and no more")
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 4, 4, 1), np.uint8))
    with (files / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (10**13, 4, 4, 1)})
    (files / "folder.xnf").mkdir()
    before = sorted(files.iterdir())

    code, out, err = cli(*arguments)

    assert code == 1
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--limit", "x"], ["--nonsense"]])
def test_options_out_of_range_are_refused(cli, files, arguments):
    code, _, err = cli("eval", "net.xnf", "--input", "frames.npy", *arguments)
    assert code == 2
    assert "Invalid value" in err or "No such option" in err
