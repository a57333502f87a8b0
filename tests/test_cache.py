"""Where compiled things are kept, and what stands in where nothing can be written."""

import os
import stat
import sys

import platformdirs
import pytest

from xnorflow import cache
from xnorflow.cache import cache_folder, redirect_tools, user_cache
from xnorflow.errors import ToolError


NAMES = "XNORFLOW_CACHE", "XNORFLOW_DATA", "XDG_CACHE_HOME", "YOWASP_CACHE_DIR"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A user without any variables, and a folder of temporary files, for the time of a test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in NAMES:
        os.environ.pop(name, None)
    os.environ["HOME"] = str(tmp_path / "home")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))


@pytest.fixture
def read_only(tmp_path):
    """A cache of the user's in which nothing can be written, not even by root."""
    (tmp_path / "home").write_bytes(b"")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_the_cache_is_the_users(tmp_path):
    assert user_cache() == cache_folder() == tmp_path / "home" / ".cache" / "xnorflow"
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "caches")
    assert user_cache() == cache_folder() == tmp_path / "caches" / "xnorflow"
    os.environ["XNORFLOW_CACHE"] = str(tmp_path / "mine")
    assert user_cache() == cache_folder() == tmp_path / "mine"
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("read_only")
def test_a_folder_of_our_own_stands_in(tmp_path):
    folder = cache_folder()
    assert folder == tmp_path / "tmp" / f"xnorflow-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert cache_folder() == folder
    # Whoever names a folder is told that it cannot be written, when that is tried.
    os.environ["XNORFLOW_CACHE"] = "/nowhere"
    assert str(cache_folder()) == "/nowhere"


@pytest.mark.usefixtures("read_only")
def test_programs_of_others_are_not_run(tmp_path, monkeypatch):
    folder = cache_folder()
    refusal = f"^the user's cache cannot be written to, and neither can {folder}"
    folder.chmod(0o777)
    with pytest.raises(ToolError, match=f"{refusal}, which others may write to: set XNORFLOW_CACH"):
        cache_folder()
    folder.chmod(0o700)
    other = folder.stat().st_uid + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    folder.rename(tmp_path / "tmp" / f"xnorflow-{os.getuid()}")
    with pytest.raises(ToolError, match=", which others may write to: set XNORFLOW_CACHE to a "):
        cache_folder()


@pytest.mark.usefixtures("read_only")
def test_a_link_does_not_stand_in(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "tmp" / f"xnorflow-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ToolError, match=", which others may write to"):
        cache_folder()


@pytest.mark.usefixtures("read_only")
def test_says_that_there_is_no_cache_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "none"))
    with pytest.raises(ToolError, match=": No such file or directory: set XNORFLOW_CACHE to a fo"):
        cache_folder()


def test_tools_that_can_write_are_left_alone():
    before = dict(os.environ)
    redirect_tools()
    assert os.environ == before


@pytest.mark.usefixtures("read_only")
def test_tools_keep_what_they_compile_elsewhere(tmp_path):
    data = user_cache()
    redirect_tools()
    folder = tmp_path / "tmp" / f"xnorflow-{os.getuid()}"
    assert os.environ["YOWASP_CACHE_DIR"] == os.environ["XDG_CACHE_HOME"] == str(folder / "tools")
    # Ours stay where they are: data sets can be read from there.
    assert cache_folder() == folder
    assert os.environ["XNORFLOW_DATA"] == str(data)


@pytest.mark.usefixtures("read_only")
def test_variables_of_the_user_count():
    os.environ["YOWASP_CACHE_DIR"] = "/mine"
    os.environ["XNORFLOW_DATA"] = "/data"
    redirect_tools()
    assert os.environ["YOWASP_CACHE_DIR"] == "/mine"
    assert os.environ["XNORFLOW_DATA"] == "/data"


@pytest.mark.parametrize("tool", cache._TOOLS)
def test_the_folder_of_one_tool_is_enough(tool):
    """Such as one that a run as root has left behind."""
    folder = platformdirs.user_cache_path()
    folder.mkdir(parents=True)
    (folder / tool).write_bytes(b"")
    redirect_tools()
    assert "YOWASP_CACHE_DIR" in os.environ
