"""A catalogue in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

__all__ = ["Summary", "summarise"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a catalogue holds.

    Attributes
    ----------
    series : dict
        How many series have which role.
    problems, look_alikes : dict
        How many of which kind.
    """

    files: int
    patients: int
    studies: int
    instances: int
    series: dict[str, int]
    pairs: int
    problems: dict[str, int]
    look_alikes: dict[str, int]


def summarise(catalogue: Path) -> Summary:
    """Return what a catalogue holds, in numbers."""
    with duckdb.connect(str(catalogue), read_only=True, config={"threads": 1}) as connection:

        def count(what: str) -> int:
            return int(connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])

        def kinds(column: str, table: str) -> dict[str, int]:
            rows = connection.execute(
                f"SELECT {column}, count(*) FROM {table} GROUP BY 1 ORDER BY 2 DESC, 1"
            ).fetchall()
            return {kind or "unknown": number for kind, number in rows}

        return Summary(
            files=count("files"),
            patients=count("patients"),
            studies=count("(SELECT DISTINCT subject, study_instance_uid FROM instances)"),
            instances=count("instances"),
            series=kinds("role", "series"),
            pairs=count("pairs"),
            problems=kinds("code", "problems"),
            look_alikes=kinds("reason", "look_alikes"),
        )
