"""Oil over time: registration of follow-ups, deposits, iodine mass, retention, patterns, kinetics.

`course.follow_lesions` tells the story; each step has its own file.
"""

from angio_pipeline.lipiodol.course import LipiodolParams, follow_lesions

__all__ = ["LipiodolParams", "follow_lesions"]
