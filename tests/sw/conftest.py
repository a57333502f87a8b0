import sys

import pytest
import torch

from xnorflow.sw.data import ImageData


@pytest.fixture(scope="module")
def data():
    """Images of which each class has its own part bright, with noise."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(300) % 3
    images = torch.randint(0, 160, (300, 28, 28, 1), dtype=torch.uint8, generator=generator)
    for image, label in zip(images, labels, strict=True):
        image[9 * label : 9 * label + 9] += 60
    return ImageData(
        name="stripes",
        train_images=images[:240],
        train_labels=labels[:240],
        test_images=images[240:],
        test_labels=labels[240:],
        classes=("top", "middle", "bottom"),
    )


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs that is all there is on the path."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name, text):
        (folder / name).write_text(f"#!{sys.executable}\nimport os, sys\n{text}")
        (folder / name).chmod(0o755)

    return add
