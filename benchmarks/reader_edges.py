"""Measure how far out readers draw a vessel, as a share of the contrast on its centreline.

The frame network should draw what readers draw, and the truth of simulated frames is made so
(`training/frame_batches.py`). Only images that the frame network learns from are looked at.

    .venv/bin/python benchmarks/reader_edges.py FOLDER     (vessels_dca: N.png, N_gt.png)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

from angio_pipeline.numerics.filters import gaussian
from angio_pipeline.training import load_recipe

# Vessels narrower than this have no middle that blur leaves alone.
_LEAST_RADIUS_PX = 2.0
_BROADEST_PX = 25
_LEAST_CONTRAST = 10.0


def edge_shares(folder: Path, name: str) -> tuple[float, float]:
    """Return the median share of contrast on the outermost pixels inside a reader's mask and on those just outside."""
    image, truth = (cv2.imread(str(folder / f"{name}{end}.png"), cv2.IMREAD_GRAYSCALE) for end in ("", "_gt"))
    if image is None or truth is None:
        raise SystemExit(f"Expected {name}.png and {name}_gt.png in {folder.name}, found no such pair.")
    mask = truth > 127
    around = np.ones((_BROADEST_PX, _BROADEST_PX), np.uint8)
    contrast = cv2.morphologyEx(gaussian(image.astype(np.float32), 0.7), cv2.MORPH_BLACKHAT, around)
    inward, outward = distance_transform_edt(mask), distance_transform_edt(~mask)
    nearest = distance_transform_edt(~skeletonize(mask), return_distances=False, return_indices=True)
    core, radius = contrast[tuple(nearest)], inward[tuple(nearest)]
    clear = (core > _LEAST_CONTRAST) & (radius >= _LEAST_RADIUS_PX)
    share = contrast / np.maximum(core, 1)
    inside, outside = (mask & (inward <= 1) & clear), (~mask & (outward <= 1) & clear)
    return float(np.median(share[inside])), float(np.median(share[outside]))


def main() -> int:
    """Print the shares, and return 0."""
    parser = argparse.ArgumentParser(description="How far out readers draw a vessel.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    real = load_recipe("frame").real
    assert real is not None
    inside, outside = np.median([edge_shares(folder, name) for name in real.train], axis=0)
    print(f"{len(real.train)} images, of the centreline's contrast: {inside:.2f} just inside, {outside:.2f} outside")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
