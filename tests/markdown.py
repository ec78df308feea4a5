"""Markdown as tests read it: a document's code blocks, and its text."""

import re
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block: its language, and what is in it."""

    language: str
    text: str


class Document:
    """A Markdown file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()
        found = re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        self.code = [Block(language, text) for language, text in found]

    def blocks(self, language: str, holding: str = "") -> list[str]:
        """The blocks of a language that hold a text."""
        return [block.text for block in self.code if block.language == language and holding in block.text]

    def __str__(self) -> str:
        return self.path.name
