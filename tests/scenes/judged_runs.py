"""A truth and a result of one run on disk, small enough to be judged by hand: one vessel into one tumour."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIZE = 64


def box(row: int, col: int, half: int = 6) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[row - half : row + half + 1, col - half : col + half + 1] = 255
    return mask


def vessel() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[30:33, 2:44] = 255
    return mask


LINE = [[31.0, float(c)] for c in range(2, 45)]


def write_truth(root: Path, case: str, uid: str, **changes: Any) -> Path:
    folder = root / case / "truth" / uid
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "artery.png"), vessel())
    cv2.imwrite(str(folder / "ignore.png"), box(10, 10, 3))
    cv2.imwrite(str(folder / "tumour-T1.png"), box(31, 50))
    cv2.imwrite(str(folder / "tumour-T9.png"), box(55, 55, 4))
    feeder = {
        "centreline": LINE,
        "branch_start": [31.0, 20.0],
        "contribution": 1.0,
        "non_target_along": [0.8] * 18 + [0.0] * 25,
    }
    document = {
        "schema": "angio-pipeline/truth/1",
        "artery_mask": "artery.png",
        "vein_mask": None,
        "ignore_mask": "ignore.png",
        "reference_frame": 2,
        "catheter_tip": [31, 2],
        "arrival_s": "arrival.npy",
        "motion_px": [[0, 0], [1, 0], [2, 0]],
        "tumours": [{"id": "T1", "mask": "tumour-T1.png", "feeders": [feeder]}],
        "tumours_not_visible": [{"id": "T9", "mask": "tumour-T9.png"}],
        "shunts": [],
    }
    (folder / "truth.json").write_text(json.dumps(document | changes))
    return folder


def write_result(root: Path, uid: str, **changes: Any) -> Path:
    folder = root / "subjects" / "s" / "20240304" / uid
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "artery.png"), vessel() | box(10, 10, 2))
    cv2.imwrite(str(folder / "tumour-T1.png"), box(31, 50))
    cv2.imwrite(str(folder / "tumour-T2.png"), box(8, 50, 3))
    cv2.imwrite(str(folder / "tumour-T3.png"), box(55, 55, 4))
    feeder = {"id": "T1-F1", "rank": 1, "probability": 0.9, "contribution": 1.0, "centreline": LINE}
    target = {"row": 31.0, "col": 30.0, "covers": ["T1-F1"], "non_target_fraction": 0.1}
    document = {
        "schema": "angio-pipeline/run/1",
        "source": {"sop_instance_uid": uid},
        "image": {"spacing_mm": [1.0, 1.0], "spacing_plane": "isocentre"},
        "subtraction": {
            "mask_frames": [0, 1],
            "motion_px": [[-0.5, 0], [0.5, 0], [1.5, 4]],
            "residual_before": 0.2,
            "residual_after": 0.1,
        },
        "vessels": {"artery_mask": "artery.png"},
        "tumours": [
            {"id": "T1", "mask": "tumour-T1.png", "origin": "detected", "feeders": [feeder], "targets": [target]}
        ],
        "shunts": [],
    }
    (folder / "analysis.json").write_text(json.dumps(document | changes))
    return folder


def tumour(mask: str, **more: Any) -> dict[str, Any]:
    return {"id": mask[7:9], "mask": mask, "origin": "detected", "feeders": [], "targets": []} | more
