"""Files that Python imports instead of the library of the same name."""

import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder


def find_shadowing_file(error: BaseException) -> str | None:
    """
    Return a sentence about the file that hides a library and so caused an error, or None.

    Python prefers the folders of PYTHONPATH to its own, and so it does the current one with `python -m` or `--rules`.
    """
    try:
        current = os.getcwd()
    except OSError:  # it was removed
        current = os.devnull
    typed = {os.path.abspath(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each}
    preferred = (typed | {current}) & set(map(os.path.abspath, sys.path))
    others = [each for each in sys.path if os.path.abspath(each) not in preferred]
    for file in _involved_files(error):
        folder, name = os.path.split(file)
        if name == "__init__.py":
            folder, name = os.path.split(folder)
        name = name.partition(".")[0]
        if folder in preferred and name != "tradepipe" and PathFinder.find_spec(name, others) is not None:
            advice = "unset PYTHONPATH" if folder in typed else "run the command in another folder"
            return f"{file} hides the module {name} that tradepipe needs: rename it, or {advice}"
    return None


def _involved_files(error: BaseException | None) -> Iterator[str]:
    """Yield the files of the modules that an error and its causes name, or in which they were raised."""
    while error is not None:
        words = re.findall(r"\w+", str(error))
        files = [getattr(sys.modules.get(word), "__file__", None) for word in words]
        if isinstance(error, SyntaxError):
            files.append(error.filename)
        trace = error.__traceback__
        while trace is not None:
            files.append(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        yield from (os.path.abspath(file) for file in files if file)
        error = error.__cause__ or error.__context__
