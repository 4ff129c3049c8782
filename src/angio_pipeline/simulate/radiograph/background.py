"""Everything on a radiograph that is not contrast medium, in layers that move differently.

Each layer is drawn once, wider than the picture so that nothing is missing where it moves, and is
then carried along by its own flow field in each frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from angio_pipeline.core.params import Params
from angio_pipeline.simulate.radiograph.body import Body, Layer, Part
from angio_pipeline.simulate.radiograph.motion import Breathing, flow_field, warp_layer
from angio_pipeline.simulate.radiograph.projection import (
    CArm,
    Ellipsoids,
    Tubes,
    project_ellipsoids,
    project_tubes,
    project_union,
)
from angio_pipeline.simulate.radiograph.texture import folds, grain, mottle, uneven

__all__ = ["Background", "BackgroundParams", "draw_background", "project_devices"]

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
WATER_PER_MM = 0.0185
_BONE_HU = 100.0
_MARGIN_MM = 12.0
_RIB_MOST = 0.45
_SOFT_MM = 0.9
# Attenuation of metal, per mm of the way through it: platinum saturates, titanium does not.
_COIL_PER_MM, _CLIP_PER_MM = 3.0, 0.35


class BackgroundParams(Params):
    """How busy the picture is behind the vessels."""

    gas: float = Field(0.6, ge=0, le=3, description="volume of bowel gas, relative")
    texture: float = Field(0.035, ge=0, le=0.3, description="standard deviation of soft mottle, attenuation")
    bone: float = Field(2.0, ge=0.5, le=3, description="attenuation of bone beyond that of its Hounsfield units")
    bone_grain: float = Field(0.09, ge=0, le=0.6, description="standard deviation of bone's unevenness, relative")
    outline_mm: float = Field(2.6, ge=0, le=10, description="how uneven the outlines of organs are, sd in mm")
    edge_mm: float = Field(0.9, ge=0, le=5, description="softness of the outlines of organs, sd in mm")
    folds: int = Field(6, ge=0, le=40, description="folds of skin and planes of fat")
    fold_depth: float = Field(0.035, ge=0, le=0.3, description="attenuation of a fold")
    strands: int = Field(150, ge=0, le=3000, description="fat planes, fasciae and bowel folds seen edge-on")
    strand_depth: float = Field(0.045, ge=0, le=0.3, description="mean attenuation of a strand")
    wedge: float = Field(0.5, ge=0, le=1, description="share of over-bright lung that filters take away")
    wires: int = Field(1, ge=0, le=5, description="greatest number of monitor leads on the skin")
    table_half_width_mm: float = Field(225.0, ge=100, le=400, description="from the table's middle to its edge, mm")
    table_shift_mm: float = Field(0.0, ge=-150, le=150, description="table's middle to the patient's left, mm")


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Layers of attenuation (rows, columns) float32 seen by `carm`, which is `margin` pixels wider on each side."""

    carm: CArm
    margin: int
    layers: dict[Layer, Image]

    def at(self, breathing: Breathing, frame: int) -> Image:
        """Return (H, W) the attenuation of everything as it stands in `frame`."""
        total = np.zeros((self.carm.rows, self.carm.columns), np.float32)
        for layer, image in self.layers.items():
            if breathing.moves(layer):
                total += warp_layer(image, *flow_field(breathing, self.carm, frame, layer))
            else:
                total += image
        return self._cropped(total)

    def still(self) -> Image:
        """Return (H, W) the attenuation of everything at rest."""
        return self._cropped(np.sum(list(self.layers.values()), axis=0, dtype=np.float32))

    def with_added(self, layer: Layer, image: npt.NDArray[np.floating]) -> Background:
        """Return the background with `image`, seen by `self.carm`, added to one layer."""
        added = self.layers[layer] + np.asarray(image, np.float32)
        return replace(self, layers={**self.layers, layer: added})

    def _cropped(self, image: Image) -> Image:
        m = self.margin
        return image[m : image.shape[0] - m, m : image.shape[1] - m].copy()


def draw_background(
    carm: CArm,
    body: Body,
    params: BackgroundParams,
    rng: np.random.Generator,
    *,
    coils: Tubes | None = None,
    clips: Tubes | None = None,
) -> Background:
    """Return the layers that a C-arm sees of a body, relative to air."""
    margin = 8 * int(np.ceil(_MARGIN_MM / carm.isocentre_pixel_mm / 8))
    wide = replace(carm, rows=carm.rows + 2 * margin, columns=carm.columns + 2 * margin)
    soft, bone = _soft_parts(_coarser(wide), body, params), _bones(wide, body, params)
    soft = {layer: _resized(image, wide) for layer, image in soft.items()}
    layers = {layer: np.zeros((wide.rows, wide.columns), np.float32) for layer in Layer}
    for layer, image in _shaped(soft, wide, params, rng).items():
        layers[layer] += image
    for layer, image in bone.items():
        factor = grain(image.shape, wide.isocentre_pixel_mm, rng, sd=params.bone_grain)
        ragged = uneven(_blurred(image, 0.4, wide), wide.isocentre_pixel_mm, rng, sd_mm=0.5, wave_mm=9.0)
        layers[layer] += ragged * factor
    _texture(layers, wide, params, rng)
    for layer, image in _strands(wide, params, rng).items():
        layers[layer] += image
    layers[Layer.VISCERA] += project_devices(wide, coils, clips).astype(np.float32)
    layers[Layer.TABLE] += _table(wide, params, rng)
    layers[Layer.TABLE] += params.wedge * _wedge(np.sum(list(layers.values()), axis=0))
    layers[Layer.CHEST] += _wires(wide, params.wires, rng)
    return Background(wide, margin, layers)


def _texture(layers: dict[Layer, Image], carm: CArm, params: BackgroundParams, rng: np.random.Generator) -> None:
    # Broad unevenness, and a third as much down to the pixel: what is fine in a radiograph is mostly
    # lines and edges, not mottle. The liver itself is even, so most of it stands still.
    shape, pixel = (carm.rows, carm.columns), carm.isocentre_pixel_mm
    for layer, share in ((Layer.STATIC, 0.8), (Layer.CHEST, 0.3), (Layer.VISCERA, 0.4), (Layer.BOWEL, 0.3)):
        broad = mottle(shape, pixel, rng, slope=2.8, shortest_mm=7.0)
        layers[layer] += share * params.texture * broad
    layers[Layer.STATIC] += 0.12 * params.texture * mottle(shape, pixel, rng, slope=1.6, longest_mm=6.0)
    layers[Layer.STATIC] += folds(shape, pixel, rng, count=params.folds, depth=params.fold_depth)


def _strands(carm: CArm, params: BackgroundParams, rng: np.random.Generator) -> dict[Layer, Image]:
    # Fat planes, fasciae and folds of bowel, which show where a sheet is seen edge-on; specks of calcium.
    images: dict[Layer, Image] = {}
    for layer, count, low, high in (
        (Layer.STATIC, 0.6, (-150, -115, -190), (220, 115, 190)),
        (Layer.BOWEL, 0.4, (-90, -80, -170), (150, 30, -55)),
    ):
        lines = [_strand(rng, np.array(low), np.array(high)) for _ in range(round(count * params.strands))]
        if not lines:
            continue
        start, end = np.vstack([line[:-1] for line in lines]), np.vstack([line[1:] for line in lines])
        pieces = np.array([len(line) - 1 for line in lines])
        radius = np.repeat(0.3 + rng.gamma(2.0, 0.22, len(lines)), pieces)
        depth = (
            params.strand_depth * rng.exponential(1.0, len(lines)).clip(0.15, 2.5) * rng.choice([-0.6, 1.0], len(lines))
        )
        weight = np.repeat(depth, pieces) / (2 * radius) * _fading(pieces)
        # A sheet that runs along the ray is no deeper for it than a few of its own depths.
        most, drawn = 3 * params.strand_depth + 1e-9, project_tubes(carm, Tubes(start, end, radius), weight)
        images[layer] = _blurred((most * np.tanh(drawn / most)).astype(np.float32), 0.35, carm)
    return images


def _strand(rng: np.random.Generator, low: Array, high: Array) -> Array:
    # A smooth walk of 15 to 70 mm through a box.
    pieces = int(rng.integers(8, 24))
    heading = rng.normal(0, 1, 3)
    turns = np.cumsum(rng.normal(0, 0.16, (pieces, 3)), axis=0) + heading
    steps = rng.uniform(1.8, 3.2) * turns / np.linalg.norm(turns, axis=1)[:, None]
    return np.asarray(rng.uniform(low, high) + np.vstack([np.zeros(3), np.cumsum(steps, axis=0)]))


def _fading(pieces: npt.NDArray[np.int64]) -> Array:
    # Each strand comes and goes along its length.
    return np.concatenate([np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 0.5 for n in pieces])


def _radiographic(hu: float, bone: float) -> float:
    # Calcium attenuates more in the softer beam of a radiograph than at the kilovoltage of CT.
    return hu if hu <= _BONE_HU else _BONE_HU + bone * (hu - _BONE_HU)


def _weight(part: Part, bone: float) -> float:
    return WATER_PER_MM * (_radiographic(part.hu, bone) - _radiographic(part.host_hu, bone)) / 1000


def _is_bone(part: Part) -> bool:
    return part.hu > _BONE_HU or part.host_hu > _BONE_HU


def _chord(carm: CArm, part: Part, weight: float) -> Image:
    if isinstance(part.solids, Tubes):
        return project_tubes(carm, part.solids, np.full(len(part.solids.radius), weight)).astype(np.float32)
    return (weight * project_union(carm, part.solids)).astype(np.float32)


def _coarser(carm: CArm) -> CArm:
    # Outlines of soft parts are no sharper than a millimetre: they are drawn on pixels of about that size.
    step = int(2 ** np.floor(np.log2(max(_SOFT_MM / carm.isocentre_pixel_mm, 1.0))))
    if carm.rows % step or carm.columns % step:
        return carm
    return replace(carm, rows=carm.rows // step, columns=carm.columns // step, pixel_mm=carm.pixel_mm * step)


def _resized(image: Image, carm: CArm) -> Image:
    if image.shape == (carm.rows, carm.columns):
        return image
    return np.asarray(cv2.resize(image, (carm.columns, carm.rows), interpolation=cv2.INTER_CUBIC))


def _bones(carm: CArm, body: Body, params: BackgroundParams) -> dict[Layer, Image]:
    images = {layer: np.zeros((carm.rows, carm.columns), np.float32) for layer in (Layer.STATIC, Layer.CHEST)}
    for part in body.parts:
        if _is_bone(part):
            images[part.layer] += _chord(carm, part, _weight(part, params.bone))
    # Where a rib runs along the ray its strands add up to more bone than there is: such chords saturate.
    images[Layer.CHEST] = np.asarray(_RIB_MOST * (1 - np.exp(-images[Layer.CHEST] / _RIB_MOST)), np.float32)
    return images


def _soft_parts(carm: CArm, body: Body, params: BackgroundParams) -> dict[Layer, Image]:
    images = {layer: np.zeros((carm.rows, carm.columns), np.float32) for layer in Layer}
    for part in body.parts:
        weight = _weight(part, params.bone)
        if not _is_bone(part) and weight != 0:
            images[part.layer] += _chord(carm, part, weight)
    lung = body.part("lungs")
    _displace_lung(images, carm, body, _weight(lung, params.bone))
    # Vessels of the lung show only where there is lung to show them in.
    seen = np.clip(project_union(carm, body.lungs) / 25 - _pushed(carm, body, body.lobes) / 25, 0, 1)
    weight = WATER_PER_MM * (35 - lung.hu) / 1000
    vessels = project_tubes(carm, body.markings, np.full(len(body.markings.radius), weight))
    images[Layer.VISCERA] += (seen * vessels).astype(np.float32)
    return images


def _pushed(carm: CArm, body: Body, *solids: Ellipsoids) -> Array:
    both = Ellipsoids(np.vstack([s.centre for s in solids]), np.concatenate([s.shape for s in solids]))
    return project_union(carm, both, within=body.lungs)


def _displace_lung(images: dict[Layer, Image], carm: CArm, body: Body, lung_weight: float) -> None:
    # Lung was added as if alone; liver, left dome and heart push it away, each in its own layer, and
    # what two of them share is taken once.
    heart = body.part("heart").solids
    assert isinstance(heart, Ellipsoids)
    liver = _pushed(carm, body, body.lobes)
    below = _pushed(carm, body, body.lobes, body.under_lung)
    whole = _pushed(carm, body, body.lobes, body.under_lung, heart)
    images[Layer.VISCERA] -= (lung_weight * liver).astype(np.float32)
    images[Layer.BOWEL] -= (lung_weight * (below - liver)).astype(np.float32)
    images[Layer.HEART] -= (lung_weight * (whole - below)).astype(np.float32)


def _shaped(
    images: dict[Layer, Image], carm: CArm, params: BackgroundParams, rng: np.random.Generator
) -> dict[Layer, Image]:
    # Outlines uneven and soft; how much, and over what length, differs between organs.
    shaped = dict(images)
    for layer, size, wave_mm in ((Layer.VISCERA, 0.9, 52.0), (Layer.HEART, 0.8, 30.0), (Layer.BOWEL, 0.65, 20.0)):
        image = _blurred(images[layer], params.edge_mm, carm)
        pixel = carm.isocentre_pixel_mm
        shaped[layer] = uneven(image, pixel, rng, sd_mm=size * params.outline_mm, wave_mm=wave_mm)
    return shaped


def _blurred(image: Image, sd_mm: float, carm: CArm) -> Image:
    sd = sd_mm / carm.isocentre_pixel_mm
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sd)) if sd > 0.1 else image


def _wedge(total: Image) -> Image:
    # Semi-transparent filters that the operator slides over lung and beside the flank.
    rows, columns = total.shape
    middle = np.median(total[rows // 4 : 3 * rows // 4, columns // 4 : 3 * columns // 4])
    small = cv2.resize(total, (columns // 8, rows // 8), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), 5.0)
    return np.asarray(cv2.resize(np.maximum(middle - soft, 0.0), (columns, rows), interpolation=cv2.INTER_LINEAR))


def _table(carm: CArm, params: BackgroundParams, rng: np.random.Generator) -> Image:
    # A carbon-fibre top with denser edges, and a mattress with its seams; both behind the patient.
    x, half = params.table_shift_mm + 38.0, params.table_half_width_mm
    rails = [
        (x - half, 134.0, 7.0),
        (x + half, 134.0, 7.0),
        (x - 0.93 * half, 128.0, 2.5),
        (x + 0.93 * half, 128.0, 2.5),
    ]
    at = np.array([rail[:2] for rail in rails])
    ends = [np.column_stack([at, np.full(len(at), z)]) for z in (-300.0, 300.0)]
    tubes = Tubes(ends[0], ends[1], np.array([rail[2] for rail in rails]))
    image = project_tubes(carm, tubes, np.array([0.03, 0.03, 0.02, 0.02])).astype(np.float32)
    return image + np.float32(0.012) * mottle(image.shape, carm.isocentre_pixel_mm, rng, slope=2.2, longest_mm=30.0)


def project_devices(carm: CArm, coils: Tubes | None, clips: Tubes | None) -> Array:
    """Return (rows, columns) attenuation of coils (platinum) and surgical clips (titanium)."""
    image = np.zeros((carm.rows, carm.columns))
    for tubes, weight in ((coils, _COIL_PER_MM), (clips, _CLIP_PER_MM)):
        if tubes is not None and len(tubes.radius):
            image += project_tubes(carm, tubes, np.full(len(tubes.radius), weight))
    return image


def _wires(carm: CArm, count: int, rng: np.random.Generator) -> Image:
    # Leads from the shoulders to electrodes on the skin, each with a snap in a conducting disc.
    image = np.zeros((carm.rows, carm.columns))
    for _ in range(int(rng.integers(0, count + 1))):
        start = np.array([rng.uniform(-110, 130), -118, 160])
        end = np.array([rng.uniform(-110, 130), -118, rng.uniform(-60, 60)])
        line = _slack(start, end, rng)
        image += project_tubes(
            carm, Tubes(line[:-1], line[1:], np.full(len(line) - 1, 0.4)), np.full(len(line) - 1, 0.28)
        )
        disc = Ellipsoids.aligned(np.stack([end, end]), [[9.0, 0.5, 9.0], [3.6, 1.2, 3.6]])
        image += project_ellipsoids(carm, disc, np.array([0.03, 0.22]))
    return image.astype(np.float32)


def _slack(start: Array, end: Array, rng: np.random.Generator) -> Array:
    t = np.linspace(0, 1, 61)[:, None]
    bow = sum((rng.normal(0, 26 / k, 3) * [1, 0, 0.5] * np.sin(np.pi * k * t) for k in (1, 2, 3, 4)), np.zeros((61, 3)))
    return np.asarray(start + t * (end - start) + bow)
