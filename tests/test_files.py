"""Files are written whole or not at all, and what is no file stays what it is."""

import os
import re
import stat
import subprocess
import sys

import pytest

from xnorflow.errors import FormatError
from xnorflow.files import check_output, locked, make_folder, remove_file, write_atomically


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_pipe_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, b"data")
    assert os.read(reader, 10) == b"data"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_a_full_device_is_no_reason_to_replace_it(tmp_path):
    # One of our own, because a wrong program would leave nothing of the system's.
    device = tmp_path / "full"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        device.open("wb").close()
    except OSError:
        pytest.skip("only root can make devices")
    with pytest.raises(FormatError, match=f"^{device} cannot be written: No space left on device$"):
        write_atomically(device, b"data")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert names(tmp_path) == ["full"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path, there):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to(target)
    if there:
        target.write_bytes(b"old")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert names(tmp_path / "folder") == ["target"]


def test_links_in_a_circle_are_refused(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(link)
    with pytest.raises(FormatError, match=f"^{link} cannot be written: Too many levels of symbol"):
        write_atomically(link, b"data")


@pytest.mark.parametrize("function", [lambda path: write_atomically(path, b""), check_output])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", "Is a directory"),
        ("..", "Is a directory"),
        ("/", "Is a directory"),
        ("none/file", "No such file or directory"),
        ("file/file", "Not a directory"),
    ],
)
def test_says_why_a_file_cannot_be_written(tmp_path, monkeypatch, function, path, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FormatError, match=f"^{re.escape(path)} cannot be written: {reason}$"):
        function(path)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("path", ["new", "file", "/dev/null"])
def test_an_output_that_can_be_written_is_left_alone(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"old")
    check_output(path)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_removes_files_and_nothing_else(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    remove_file(tmp_path / "file")
    remove_file(tmp_path / "file")
    with pytest.raises(FormatError, match=f"^{tmp_path} cannot be removed: Is a directory$"):
        remove_file(tmp_path)


def test_one_run_at_a_time_writes_to_a_folder(tmp_path):
    folder = tmp_path / "new" / "folder"
    message = f"^another run is writing to the folder {folder}: wait for its end, or give another "
    with locked(folder) as given:
        assert given == folder
        with pytest.raises(FormatError, match=message), locked(folder):
            pytest.fail("two runs at once")
    with locked(folder):
        pass


def test_the_lock_of_a_killed_run_ends_with_it(tmp_path):
    code = (
        "import os, sys; from xnorflow.files import locked\n"
        "with locked(sys.argv[1]): print('locked', flush=True); os.read(0, 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(FormatError), locked(tmp_path):
            pytest.fail("two runs at once")
        other.kill()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_locked_is_refused(tmp_path):
    (tmp_path / ".xnorflow.lock").mkdir()
    with (
        pytest.raises(FormatError, match=f"^the folder {tmp_path} cannot be written to: Is a dir"),
        locked(tmp_path),
    ):
        pytest.fail("no lock")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FormatError, match=r"cannot be created: File exists$"):
        make_folder(tmp_path / "file")
