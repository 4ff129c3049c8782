"""Lesions before and after treatment, as wide as they are asked for."""

from dataclasses import replace

from angio_pipeline.core.response import Extent, LesionAtDate, LesionHistory, Necrosis, OilConvention, OutlineOrigin


def ball(mm):
    return Extent(mm, mm, mm * mm, 0.5236e-3 * mm**3, mm)


def lesion(name, before, after, missing=""):
    first = LesionAtDate("20240301", -3.0, ball(before), dict.fromkeys(OilConvention, ball(before)), 90.0, "arterial")
    first = replace(first, outline=OutlineOrigin.DRAWN, holds_oil=False)
    necrosis = Necrosis(None, None, 2.5, 1.0, None, {}, "no scan in the arterial phase at this date")
    whole = None if missing else ball(after)
    second = LesionAtDate("20240401", 28.0, whole, holds_oil=True, necrosis=necrosis, outline=OutlineOrigin.FITTED,
                          missing=missing, viable_missing="no scan in the arterial phase at this date")  # fmt: skip
    return LesionHistory(name, (first, second))
