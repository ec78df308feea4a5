"""The words of a command, as a shell reads them."""

import subprocess


def shell_words(command: str) -> list[str]:
    """Return the words of a command that was copied from a terminal."""
    script = f"set -- {command}\nprintf '%s\\n' \"$@\""
    return subprocess.run(["sh", "-fc", script], capture_output=True, text=True, check=True).stdout.splitlines()
