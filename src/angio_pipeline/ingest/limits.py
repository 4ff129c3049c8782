"""How much one input may ask for: the numbers behind every refusal of hostile or absurd files.

One class for all of them, so that a reader of the settings sees what is refused and can move it.
"""

from __future__ import annotations

from pydantic import Field

from angio_pipeline.core.errors import InputRefused
from angio_pipeline.core.params import Params

__all__ = ["Limits", "too_many_regions"]


class Limits(Params):
    """Beyond these a file or an archive is refused by name, before it costs memory, disk or time."""

    file_seconds: float = Field(default=60.0, gt=0, description="seconds to look at one file before it is refused")
    archive_seconds: float = Field(default=3600.0, gt=0, description="seconds to unpack one archive")
    reading_bytes: int = Field(
        default=8 << 30, ge=256 << 20, description="memory that looking at one file may take, in bytes"
    )
    least_bytes_out: int = Field(
        default=256 << 20, ge=1, description="bytes that anything compressed may unpack to, however small it is"
    )
    ratio_out: int = Field(default=200, ge=1, description="bytes out for each compressed byte, beyond that")
    archive_bytes_out: int = Field(
        default=64 << 30, ge=1, description="bytes that one archive, with those inside it, may unpack to"
    )
    archive_members: int = Field(
        default=200_000, ge=1, description="members of one archive, with those of archives inside it"
    )
    archive_depth: int = Field(default=2, ge=1, description="archives within each other")
    member_folders: int = Field(default=32, ge=1, description="folders above one member of an archive")
    inflated_bytes: int = Field(default=1 << 30, ge=1, description="bytes of one deflated file, inflated")
    header_bytes: int = Field(default=128 << 20, ge=1, description="bytes before the pixels of a file")
    nested_sequences: int = Field(default=32, ge=1, description="sequences within each other in a header")
    frame_px: int = Field(default=1 << 26, ge=1, description="pixels of one frame")
    total_px: int = Field(default=1 << 30, ge=1, description="pixels of all frames of a run or slices of a scan")
    regions: int = Field(default=1000, ge=1, description="regions of interest in one file")
    regions_px: int = Field(default=1 << 31, ge=1, description="pixels or voxels of all regions of one file together")

    def bytes_out(self, compressed: int, most: int) -> int:
        """Return how many bytes may come out of so many compressed ones, `most` at most."""
        return min(most, max(self.least_bytes_out, self.ratio_out * compressed))


def too_many_regions(limits: Limits) -> InputRefused:
    """Return the refusal of a file with more, or larger, regions than are read."""
    return InputRefused(
        f"Expected at most {limits.regions} regions of {limits.regions_px} pixels in all, found more; split the file.",
        reason="too_large",
    )
