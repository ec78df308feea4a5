"""Tables of plain text, for a person and for grep."""

from collections.abc import Collection, Sequence


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = ()) -> str:
    """
    The rows below their headings, each column as wide as it needs, to the right but for those in `left`.

    >>> print(columns(("partition", "owner"), [("0", "a"), ("10", "bc")], left={1}))
    partition  owner
            0  a
           10  bc
    """
    table = [headings, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )
