"""From a module and an .npz file of your own to Verilog, its simulation, and a bitstream.

    python examples/own_model.py DATA.npz OUT [--bitstream]

The file has x_train, y_train, x_test and y_test. Training takes a few minutes for small data.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

import xnorflow
from xnorflow import nn as xnn
from xnorflow.sw.recipes import OWN


class Net(torch.nn.Module):
    """Two binary convolutions and a dense layer, as one writes them in PyTorch."""

    def __init__(self, channels: int, pixels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = xnn.BinaryConv2d(channels, 16, 3, xnn.SignWeight(), xnn.InputThreshold())
        self.norm1 = torch.nn.BatchNorm2d(16)
        self.conv2 = xnn.BinaryConv2d(16, 32, 3, xnn.AdaBinWeight(), xnn.Sign(), padding=1)
        self.norm2 = torch.nn.BatchNorm2d(32)
        scores = xnn.SignWeight(shared_scale=True)
        self.fc = xnn.BinaryLinear(32 * pixels, classes, scores, xnn.Sign())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, channels, height, width)."""
        x = self.norm1(self.conv1(x))
        x = torch.nn.functional.max_pool2d(self.norm2(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


def main(source: Path, out: Path, *, bitstream: bool = False, epochs: int = 20) -> None:
    """Train, lower, generate and simulate; build if there is to be a ``bitstream``."""
    data = xnorflow.load_data(source)
    pixels = (data.frame.height - 2) // 2 * ((data.frame.width - 2) // 2)
    trained = xnorflow.train(
        lambda: Net(data.frame.channels, pixels, len(data.classes)),
        replace(OWN, epochs=epochs), data, out / "training",
    )  # fmt: skip
    network = xnorflow.lower(trained.model, input=data.frame, labels=data.classes)
    print(xnorflow.compare(trained.model, network, data.test_images))
    xnorflow.save(network, out / "net.xnf")
    target = xnorflow.find_target("ulx3s-85f")
    design = xnorflow.choose_for(network, target)
    expected = xnorflow.golden(network, data.test_images)
    rtl = xnorflow.simulate(xnorflow.generate(design, out / "rtl").parent, data.test_images.numpy())
    print(f"accuracy {(expected.labels == data.test_labels).float().mean():.2%}")
    print("RTL = golden:", (rtl.scores == expected.scores.numpy()).all())
    if bitstream:
        print(xnorflow.build(design, target, out / "build"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), bitstream="--bitstream" in sys.argv)
