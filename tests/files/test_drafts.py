"""Files that commands write."""

import os
import stat

import pytest

from tradepipe.files.drafts import Draft, write_file
from tradepipe.files.errors import InvalidOption


def write(path, text="new", *, overwrite=False, private=True):
    with write_file(path, overwrite=overwrite, private=private, option="--output") as file:
        file.write(text)


def test_a_file_is_readable_by_its_owner_alone(tmp_path):
    write(tmp_path / "a")

    assert (0o600, "new") == (stat.S_IMODE((tmp_path / "a").stat().st_mode), (tmp_path / "a").read_text())


def test_a_schema_is_written_with_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        write(tmp_path / "a", private=False)
    finally:
        os.umask(before)

    assert 0o644 == stat.S_IMODE((tmp_path / "a").stat().st_mode)


def test_no_other_user_can_place_a_link_at_the_name_of_a_draft(tmp_path):
    """Another user of the folder cannot guess it, and a file that is there already is not opened."""
    drafts = [Draft(tmp_path / "a", overwrite=False, private=True, option="--output") for _ in range(2)]
    names = {draft.name for draft in drafts}
    for draft in drafts:
        draft.close()

    assert 2 == len(names)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_only_a_regular_file_is_replaced(kind, overwrite, tmp_path):
    path, other = tmp_path / "a", tmp_path / "other"
    other.write_text("theirs")
    match kind:
        case "link":
            path.symlink_to(other)
        case "dangling":
            path.symlink_to(tmp_path / "missing")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
    before = path.lstat()

    with pytest.raises(InvalidOption, match="choose another file"):
        write(path, overwrite=overwrite)

    assert (before.st_ino, "theirs") == (path.lstat().st_ino, other.read_text())
    assert not (tmp_path / "missing").exists()


def test_an_existing_file_is_replaced_only_on_request(tmp_path):
    (tmp_path / "a").write_text("theirs")

    with pytest.raises(InvalidOption, match="already exists"):
        write(tmp_path / "a")
    assert "theirs" == (tmp_path / "a").read_text()
    write(tmp_path / "a", overwrite=True)
    assert "new" == (tmp_path / "a").read_text()


def test_a_file_created_meanwhile_stays(tmp_path):
    path = tmp_path / "a"

    def write_while_another_does():
        with write_file(path, overwrite=False, private=True, option="--output") as file:
            path.write_text("theirs")
            file.write("new")

    with pytest.raises(InvalidOption, match="already exists"):
        write_while_another_does()
    assert (["a"], "theirs") == (os.listdir(tmp_path), path.read_text())


def test_a_failure_changes_nothing(tmp_path):
    (tmp_path / "a").write_text("old")

    def fail():
        with write_file(tmp_path / "a", overwrite=True, private=True, option="--output") as file:
            file.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (["a"], "old") == (os.listdir(tmp_path), (tmp_path / "a").read_text())
