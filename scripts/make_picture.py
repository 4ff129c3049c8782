"""Make the README's picture again: the overlay of the sample's first run, as `angio run` draws it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "data" / "sample" / "case-000" / "dicom" / "day000" / "frontal.dcm"
PICTURE = ROOT / "docs" / "images" / "overlay.webp"


def main() -> int:
    """Return 0 when the picture was written."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "angio_pipeline", "run", str(RUN), "--out", folder, "--quiet"]
        subprocess.run(command, check=True)
        (overlay,) = Path(folder).glob("subjects/*/*/*/overlay.png")
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(overlay) as picture:  # small, because it is fetched with every clone
            picture.save(PICTURE, quality=88, method=6)
    print(PICTURE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
