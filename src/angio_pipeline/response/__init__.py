"""Response to treatment: lesions measured over time, what each criterion says of them, and what of them died.

`story.judge_response` tells it; each step has its own file.
"""

from angio_pipeline.response.story import ResponseParams, judge_lesions, judge_response

__all__ = ["ResponseParams", "judge_lesions", "judge_response"]
