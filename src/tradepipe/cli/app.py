"""The form all our command lines have."""

import typer


def command_line(about: str | None = None, *, completion: bool = False) -> typer.Typer:
    """A command line; `about` describes one that has commands of its own."""
    return typer.Typer(
        help=about,
        no_args_is_help=about is not None,
        add_completion=completion,
        # Boxes would cut the names of environment variables at 80 columns.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
