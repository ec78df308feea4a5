"""Kinds of input files, detected by their first bytes and their names."""

import os
import stat
import zipfile
from pathlib import PurePath
from typing import BinaryIO, Final, Literal, cast

from tradepipe.files.errors import InvalidOption, translate_open_errors, unusable

Form = Literal["csv", "jsonl", "json", "xlsx", "parquet"]

_ENDINGS: Final[dict[str, Form]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
}

ZIP: Final = b"PK\x03\x04"
_PARQUET: Final = b"PAR1"
_COMPOUND: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""First bytes of Excel 97's files, and of workbooks with a password."""

_OTHERS: Final[dict[bytes, str]] = {
    b"%PDF": "a PDF: export the trades as CSV",
    b"7z\xbc\xaf": "a 7z archive: extract it first",
    b"Rar!": "a RAR archive: extract it first",
    b"BZh": "compressed by bzip2: decompress it first",
    b"\xfd7zXZ": "compressed by xz: decompress it first",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: decompress it first",
    b"ARROW1": "an Arrow (Feather) file: save it as Parquet or CSV",
    b"Obj\x01": "an Avro file: save it as Parquet, CSV or JSON lines",
    b"{\\rtf": "a text document (RTF): save it as CSV UTF-8",
    b"SQLite format 3": "an SQLite database: export the trades as CSV",
}

MAX_RATIO: Final = 200
MAX_SMALL_BYTES: Final = 100 << 20
"""An archive may expand more than `MAX_RATIO` times only up to this size; trades expand 5 to 30 times."""

MAX_WORKBOOK_BYTES: Final = 4 << 30
MAX_PART_BYTES: Final = 256 << 20
"""Limit of a workbook's parts that are read into memory, such as its texts."""


def form_of(path: str) -> Form:
    """
    Derive the format from a file's name.

    >>> form_of("trades.csv.gz")
    'csv'

    Raises:
        InvalidOption: the name has no known ending.
    """
    name = path.lower().removesuffix(".gz").removesuffix(".zip")
    for ending, form in _ENDINGS.items():
        if name.endswith(ending):
            return form
    subject = "the format of stdin is unknown" if path == "-" else f"the name {path!r} has no known ending"
    raise InvalidOption(f"{subject}: pass --input-format csv or --input-format jsonl", "--input-format")


def identify(path: str, form: Form | None) -> Form:
    """
    Return a file's format: what its first bytes show, else `form`, else what its name says.

    Raises:
        InvalidOption: the file is of an unsupported kind; the message says what to do.
    """
    # open() would report a missing file, which is no help.
    if "://" in path:
        raise unusable(path, "is a URL: download it, or pipe it to --input -")
    if os.path.isdir(path):
        raise unusable(path, "is a folder: name one of its files")
    found, name = _look_into(path)
    form = found or form or form_of(name)
    if form in {"xlsx", "parquet"} and found is None:
        kind = "a workbook (.xlsx)" if form == "xlsx" else "a Parquet file"
        why = "it is read from a pipe: pass the path of a file" if path == "-" else f"it is not {kind}"
        raise unusable("stdin" if path == "-" else path, why)
    return form


def open_member(name: str, file: BinaryIO) -> BinaryIO:
    """Open the only file in a zip archive; several, or a damaged, encrypted or huge one, are an `InvalidOption`."""
    archive = open_archive(name, file)
    (member,) = _members(archive)
    # zipfile would only say that a password is required.
    if member.flag_bits & 1:
        raise unusable(name, "the zip archive is encrypted: extract it first")
    try:
        return cast(BinaryIO, archive.open(member))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise unusable(name, f"the zip archive is unreadable: {error}; extract it first") from None


def open_archive(name: str, file: BinaryIO) -> zipfile.ZipFile:
    """
    Open a zip archive, after checking its sizes; Python reads no more of a member than the size it declares.

    Raises:
        InvalidOption: the archive is damaged or a bomb.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise unusable(name, f"the file is truncated or damaged: {error}") from None
    size = sum(member.file_size for member in archive.infolist())
    packed = os.fstat(file.fileno()).st_size
    if size > MAX_SMALL_BYTES and size > MAX_RATIO * packed:
        raise unusable(name, f"it would expand to {size:,} bytes, {size // packed} times its size; extract it first")
    return archive


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files in an archive, without folders and what macOS adds."""
    return [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]


def _look_into(path: str) -> tuple[Form | None, str]:
    """Return the format that a file's content shows, if any, and the name whose ending shows it otherwise."""
    with translate_open_errors(path):
        # Opening a pipe to look into it would wait for its writer, and take its first bytes.
        if path == "-" or not stat.S_ISREG(os.stat(path).st_mode):
            return None, path
        with open(path, "rb") as file:
            head = file.read(16)
            if head.startswith(ZIP):
                return _look_into_zip(path, file)
            if head.startswith(_COMPOUND):
                what = "an Excel 97 workbook (.xls) or has a password: save it as .xlsx without one"
                raise unusable(path, f"the file is {what}, or as CSV UTF-8")
    for start, kind in _OTHERS.items():
        if head.startswith(start):
            raise unusable(path, f"the file is {kind}")
    return "parquet" if head.startswith(_PARQUET) else None, path


def _look_into_zip(path: str, file: BinaryIO) -> tuple[Form | None, str]:
    members = _members(open_archive(path, file))
    names = [member.filename for member in members]
    if "xl/workbook.xml" in names:
        return "xlsx", path
    if "xl/workbook.bin" in names:
        raise unusable(path, "the file is a binary workbook (.xlsb): save it as .xlsx or as CSV UTF-8")
    if "content.xml" in names:
        raise unusable(path, "the file is an OpenDocument sheet (.ods): save it as .xlsx or as CSV")
    if len(members) != 1:
        raise unusable(path, f"the zip archive has {len(members)} files: extract the one with the trades")
    # The archive itself may be named by --input-format; a workbook in an archive would need a copy in memory.
    if PurePath(names[0]).suffix.lower() in {".xlsx", ".xlsm", ".xls", ".parquet", ".zip"}:
        raise unusable(path, f"the zip archive holds {names[0]!r}: extract it first")
    return None, names[0] if PurePath(names[0]).suffix else path
