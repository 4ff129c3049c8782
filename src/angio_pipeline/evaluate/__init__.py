"""Results against the truth: the metrics of the contract, with what is missing counted as wrong."""

from angio_pipeline.evaluate.documents import LipiodolTruth, RunTruthDocument
from angio_pipeline.evaluate.evaluation import Evaluation, Score, evaluate

__all__ = ["Evaluation", "LipiodolTruth", "RunTruthDocument", "Score", "evaluate"]
