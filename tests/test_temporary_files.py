"""Where the tests create temporary files."""

from tests.temporary_files import has_room


def test_a_folder_that_takes_no_files_is_not_used(tmp_path):
    assert not has_room(str(tmp_path / "missing"))
    assert not has_room("/proc")
