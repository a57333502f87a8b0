"""What Ctrl-C says and keeps."""

from dataclasses import replace

import pytest

from xnorflow.sw import fit
from xnorflow.sw.data import published


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "place", "sentence"),
    [
        (
            ["eval", "net.xnf", "--input", "frames.npy"],
            "xnorflow.sw.golden.golden",
            "nothing has been written; the same command starts again",
        ),
        (
            ["simulate", "net.xnf", "--input", "frames.npy"],
            "xnorflow.sim.simulate.simulate",
            "nothing is kept but what has been compiled; the same command starts again",
        ),
        (
            ["simulate", "net.xnf", "--input", "frames.npy", "--workers", "1"],
            "xnorflow.sim.shards.simulate",
            "what has been simulated is kept; the same command goes on",
        ),
        (
            ["explore", "net.xnf", "--board", "icebreaker", "--points", "2", "--workers", "1"],
            "xnorflow.explore.placing.place",
            "what has been placed is kept; the same command goes on",
        ),
        (
            ["build", "net.xnf", "-o", "bits", "--board", "icebreaker"],
            "xnorflow.boards.build._make",
            "there is no bitstream, and the tools' files so far are in bits; the same command "
            "starts again",
        ),
        (
            ["train", "-o", "run", "--hidden", "8,8", "--fresh"],
            "xnorflow.sw.train.fit",
            "no epoch is done, so nothing is kept; `xnorflow train -o run --hidden 8,8 --fresh` "
            "starts again",
        ),
        (
            ["data", "fetch", "mnist"],
            "xnorflow.sw.data.fetch",
            "nothing has been written; the same command starts again",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_ctrl_c_says_what_is_kept(cli, files, mnist, monkeypatch, arguments, place, sentence):
    monkeypatch.setattr(place, interrupt)
    code, _, err = cli(*arguments)
    assert code == 130
    assert err == f"interrupted: {sentence}\n"


def test_ctrl_c_says_how_a_training_goes_on(cli, tmp_path, monkeypatch, mnist):
    few = replace(
        mnist, train_images=mnist.train_images[:600], train_labels=mnist.train_labels[:600]
    )
    monkeypatch.setattr(published, "load", lambda _: few)
    step = fit._Training.training_step

    def stop(self, batch, index):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    train = "train", "-o", "my run", "--hidden", "8,8", "--epochs", 2
    goes_on = "`xnorflow train -o 'my run' --hidden 8,8 --epochs 2` goes on with the next one\n"
    with monkeypatch.context() as patch:
        patch.setattr(fit._Training, "training_step", stop)
        code, _, err = cli(*train, "--fresh")
        assert code == 130
        assert err == f"interrupted: the epochs that are done are kept in my run; {goes_on}"
        # It has not yet begun, and the other one is still there.
        patch.setattr("xnorflow.sw.train.fit", interrupt)
        code, _, err = cli(*train, "--fresh")
        assert code == 130
        assert err == (
            "interrupted: the former training is still in my run; `xnorflow train -o 'my run' "
            "--hidden 8,8 --epochs 2 --fresh` starts afresh\n"
        )
        code, _, err = cli(*train)
        assert err == f"interrupted: the epochs that are done are kept in my run; {goes_on}"
    epochs = []
    monkeypatch.setattr(
        fit._Training, "training_step",
        lambda self, batch, index: epochs.append(self.current_epoch) or step(self, batch, index),
    )  # fmt: skip
    assert cli(*train)[0] == 0
    assert set(epochs) == {1}
