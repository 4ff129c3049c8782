"""Make pictures of the documentation again: overlay and flow of the sample's first run, as `angio run` draws them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "data" / "sample" / "case-000" / "dicom" / "day000" / "frontal.dcm"
IMAGES = ROOT / "docs" / "images"


def main() -> int:
    """Return 0 when the pictures were written."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "angio_pipeline", "run", str(RUN), "--out", folder, "--quiet"]
        subprocess.run(command, check=True)
        for name in ("overlay", "flow"):
            (drawn,) = Path(folder).glob(f"subjects/*/*/*/{name}.png")
            with Image.open(drawn) as picture:  # small, because it is fetched with every clone
                picture.save(IMAGES / f"{name}.webp", quality=88, method=6)
            print(IMAGES / f"{name}.webp")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
