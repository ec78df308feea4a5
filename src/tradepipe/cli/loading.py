"""Commands that are loaded when they are asked for: one of them need not wait for what only others use."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer.main

from tradepipe.cli.app import Group


class Commands(Mapping[str, Any]):
    """Commands by name, each made of its module's `app`."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            command = typer.main.get_command(import_module(self._modules[name]).app)
            command.name = name
            self._loaded[name] = command
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def loading(modules: Mapping[str, str]) -> type[Group]:
    """A group of the commands in these modules."""

    class Loading(Group):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = Commands(modules)  # type: ignore[assignment]  # a group only reads it

    return Loading
