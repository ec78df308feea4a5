"""Small files: read at once, whatever they are."""

import os
import re
import threading

import pytest

from tradepipe.small_files import is_endless, read_small_file

LIMIT = 100_000
"""More than a pipe holds."""


@pytest.fixture
def pipe(tmp_path):
    """A named pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_file_is_read_up_to_the_limit(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)

    assert b"x" * size == read_small_file(path, LIMIT)


def test_the_output_of_another_program_is_waited_for():
    """Bash names it by its descriptor, as in `--mapping <(command)`."""
    reader, writer = os.pipe()

    def write() -> None:
        with open(writer, "wb", buffering=0) as file:
            for _ in range(LIMIT // 10):
                file.write(b"0123456789")

    threading.Thread(target=write).start()

    assert b"0123456789" * (LIMIT // 10) == read_small_file(f"/dev/fd/{reader}", LIMIT)
    os.close(reader)


def test_a_pipe_without_a_writer_is_not_waited_for(pipe):
    with pytest.raises(OSError, match="it is a pipe that nothing writes to"):
        read_small_file(pipe, LIMIT)


def test_a_device_and_a_disk_image_are_not_read_to_their_ends(tmp_path):
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(1 << 41)

    for path in ("/dev/zero", image):
        with pytest.raises(OSError, match=re.escape("it is larger than 100,000 bytes")):
            read_small_file(path, LIMIT)


def test_what_a_library_would_read_without_an_end_is_known(pipe, tmp_path):
    endless = [path for path in ("/dev/zero", pipe, "/dev/null", "/dev/stdin", tmp_path, "a\0", "") if is_endless(path)]

    assert ["/dev/zero", pipe] == endless
