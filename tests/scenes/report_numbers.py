"""Which number of `analysis.json` a run's report has under which concept and unit."""

from angio_pipeline.outputs.schemas import RunDocument

# By the field of the document: the concept and unit that the report has it under.
RUN = {
    "image.frames": ("121140", "1"),
    "image.frame_interval_s": ("FRAME_INTERVAL", "s"),
    "image.spacing_mm.0": ("ROW_SPACING", "mm"),
    "image.spacing_mm.1": ("COL_SPACING", "mm"),
    "image.pose_deg.0": ("112011", "deg"),
    "image.pose_deg.1": ("112012", "deg"),
    "subtraction.reference_frame": ("REFERENCE_FRAME", "1"),
    "subtraction.residual_before": ("RESIDUAL_BEFORE", "1"),
    "subtraction.residual_after": ("RESIDUAL_AFTER", "1"),
    "subtraction.noise_sd": ("NOISE_SD", "1"),
    "vessels.branches": ("BRANCHES", "1"),
    "vessels.length_mm": ("410668003", "mm"),
    "vessels.length_px": ("410668003", "{pixels}"),
    "catheter_tip.probability": ("CATHETER_TIP", "1"),
}
TUMOUR = {
    "probability": ("122157", "1"),
    "area_mm2": ("42798000", "mm2"),
    "area_px": ("42798000", "{pixels}"),
}
TARGET = {
    "bifurcations": ("BIFURCATIONS", "1"),
    "diameter_mm": ("TARGET_DIAMETER", "mm"),
    "diameter_px": ("TARGET_DIAMETER", "{pixels}"),
    "path_length_mm": ("121211", "mm"),
    "path_length_px": ("121211", "{pixels}"),
    "tortuosity": ("15690004", "1"),
    "non_target_fraction": ("NON_TARGET", "1"),
    "beyond_last_branch_mm": ("BEYOND_BRANCH", "mm"),
    "beyond_last_branch_px": ("BEYOND_BRANCH", "{pixels}"),
}
FEEDER = {
    "probability": ("122157", "1"),
    "rank": ("RANK", "1"),
    "contribution": ("CONTRIBUTION", "1"),
    "diameter_mm": ("81827009", "mm"),
    "diameter_px": ("81827009", "{pixels}"),
    "arrival_s": ("126371", "s"),
    **{f"target.{name}": code for name, code in TARGET.items()},
}
SHUNT = {"probability": ("122157", "1"), "arrival_s": ("126371", "s")}


def value_at(document, path):
    for key in path.split("."):
        if document is None:
            return None
        document = document[int(key)] if key.isdigit() else document[key]
    return document


def expected(document, fields):
    values = {code: value_at(document, path) for path, code in fields.items()}
    return {code: [value] for code, value in values.items() if value is not None}


def check_numbers(document: RunDocument, groups) -> int:
    """Every number of the document is in the report and no other one; returns how many there are."""
    plain = document.model_dump(mode="json")
    wanted = {"run": expected(plain, RUN)}
    for tumour in plain["tumours"]:
        wanted[tumour["id"]] = expected(tumour, TUMOUR)
        for feeder in tumour["feeders"]:
            wanted[feeder["id"]] = expected(feeder, FEEDER) | turns(feeder["target"])
        for number, target in enumerate(tumour["targets"], start=1):
            wanted[f"{tumour['id']} target {number}"] = expected(target, TARGET) | turns(target)
    for number, shunt in enumerate(plain["shunts"], start=1):
        wanted[f"shunt {number}"] = expected(shunt, SHUNT)
    assert {group["id"]: group["numbers"] for group in groups} == wanted
    return sum(len(values) for group in wanted.values() for values in group.values())


def turns(target):
    return {("TURN", "deg"): target["turns_deg"]} if target["turns_deg"] else {}
