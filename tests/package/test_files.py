"""Files appear whole and together; what another process is writing stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyadx import files
from pyadx.files import remove_partial, replacing, together


def write(path, text):
    with replacing(path) as (partial,):
        partial.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_of_one_block_appear_at_its_end(tmp_path):
    (tmp_path / "a").write_text("old")
    with together():
        write(tmp_path / "a", "new")
        write(tmp_path / "b", "new")
        assert (tmp_path / "a").read_text() == "old"
        assert not (tmp_path / "b").exists()
    assert names(tmp_path) == ["a", "b"]
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_changes_nothing(tmp_path, error):
    (tmp_path / "a").write_text("old")

    def fails():
        with together():
            write(tmp_path / "a", "new")
            with together():
                write(tmp_path / "b", "new")
            raise error

    with pytest.raises(error):
        fails()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"
    write(tmp_path / "a", "later")  # the block is over
    assert (tmp_path / "a").read_text() == "later"


@pytest.mark.parametrize("links", [True, False])
def test_a_rename_that_fails_takes_the_earlier_ones_back(tmp_path, links, monkeypatch):
    """The last target turns into a folder, which no file can be renamed over."""
    (tmp_path / "a").write_text("old")
    (tmp_path / "link").symlink_to("a")
    if not links:
        monkeypatch.setattr(files.os, "link", lambda *a, **k: (_ for _ in ()).throw(OSError("no links")))

    def fails():
        with together():
            for name in ("a", "b", "link", "c"):
                write(tmp_path / name, "new")
            (tmp_path / "c").mkdir()

    with pytest.raises(OSError):
        fails()
    assert names(tmp_path) == ["a", "c", "link"]
    assert (tmp_path / "a").read_text() == "old"
    assert os.readlink(tmp_path / "link") == "a"


def test_several_targets_of_one_writer_are_renamed_all_or_none(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()

    def fails():
        with replacing(tmp_path / "a", tmp_path / "b") as partial:
            for path in partial:
                path.write_text("new")

    with pytest.raises(OSError):
        fails()
    assert names(tmp_path) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "old"


def test_two_blocks_for_one_target_have_files_of_their_own(tmp_path):
    with replacing(tmp_path / "a") as (one,), replacing(tmp_path / "a") as (other,):
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"
    assert names(tmp_path) == ["a"]


WRITER = """
import sys, time
from pathlib import Path
from pyadx.files import replacing
with replacing(Path(sys.argv[1])) as (partial,):
    partial.write_text("half")
    print(partial.name, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path):
    """Another process, in the middle of writing ``heat.nii.gz``."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "heat.nii.gz")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    partial = tmp_path / process.stdout.readline().strip()
    assert partial.is_file()
    yield process, partial
    process.kill()
    process.communicate()


def test_what_a_living_process_writes_is_not_removed(tmp_path, writer):
    process, partial = writer
    os.utime(partial, (0, 0))  # however long it has been at it
    remove_partial(tmp_path / "heat.nii.gz")
    assert partial.is_file()
    process.communicate("go on\n")
    assert process.returncode == 0
    assert (tmp_path / "heat.nii.gz").read_text() == "half"


def test_what_a_killed_process_left_is_removed(tmp_path, writer):
    process, partial = writer
    process.kill()
    process.communicate()
    remove_partial(tmp_path / "heat.nii.gz")
    assert not partial.exists()


def test_what_this_process_is_writing_stays_and_what_an_earlier_one_of_its_number_left_goes(tmp_path):
    target = tmp_path / "heat.nii.gz"
    with replacing(target) as (partial,):
        partial.write_text("half")
        left = tmp_path / partial.name.replace(partial.name.split("-")[3], "0123abcd")
        left.write_text("of another life")
        remove_partial(target)
        assert names(tmp_path) == [partial.name]
    assert names(tmp_path) == ["heat.nii.gz"]


def test_what_another_host_may_be_writing_stays_for_a_day(tmp_path, monkeypatch):
    target = tmp_path / "heat.nii.gz"
    with monkeypatch.context() as patch:
        patch.setattr(files, "_here", lambda: "0badcafe")
        partial = files.temporary_name(target)
    partial.write_text("half")
    remove_partial(target)
    assert partial.is_file()
    long_ago = time.time() - 25 * 3600
    os.utime(partial, (long_ago, long_ago))
    remove_partial(target)
    assert not partial.exists()


def test_files_beside_targets_of_longer_names_stay(tmp_path, writer):
    process, partial = writer
    process.kill()
    process.communicate()
    other = Path(tmp_path, partial.name.replace("-heat", "-my-heat"))
    partial.rename(other)
    remove_partial(tmp_path / "heat.nii.gz")
    assert other.is_file()
    remove_partial(tmp_path / "my-heat.nii.gz")
    assert not other.exists()
