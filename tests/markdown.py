"""Markdown documents and their code blocks, for tests."""

import re
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced code block."""

    language: str
    text: str


class Document:
    """A Markdown file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        self.code = [Block(language, text) for language, text in blocks]

    def blocks(self, language: str, containing: str = "") -> list[str]:
        """Return the blocks of a language that contain a text."""
        return [block.text for block in self.code if block.language == language and containing in block.text]

    def __str__(self) -> str:
        return self.path.name
