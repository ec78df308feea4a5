"""Traces a process that a traced test has started; imported by the interpreter at its start."""

import atexit
import os

if folder := os.environ.get("TRADEPIPE_TRACE_INTO"):
    import coverage

    traced = coverage.Coverage(
        data_file=os.path.join(folder, f"{os.getpid()}.coverage"),
        config_file=False,
        context=os.environ.get("TRADEPIPE_TRACED_TEST", ""),
        include=[os.environ["TRADEPIPE_TRACED_FILES"]],
    )
    traced.start()
    atexit.register(traced.save)
    atexit.register(traced.stop)
