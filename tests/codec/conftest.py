"""Which files are collected: those of the compiled core only where it is built."""

from tradepipe.compiled_core import executor_name

collect_ignore_glob = [] if executor_name() == "compiled" else ["test_native_*.py"]
