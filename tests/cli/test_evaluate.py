"""What `angio evaluate` is asked for is what is judged."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from judged_runs import LINE, tumour, write_result, write_truth

from angio_pipeline.cli.main import main


def asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, *options: str) -> Any:
    words = ["angio", "evaluate", "--truth", str(root / "truth"), "--results", str(root / "out"), "--json", *options]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


def test_runs_and_both_views_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = {"probability": 0.4, "centreline": LINE, "two_views": {"probability": 0.8}}
    for uid in ("1.2", "1.3", "1.4"):
        write_truth(tmp_path / "truth", f"case-{uid}", uid)
        write_result(tmp_path / "out", uid, tumours=[tumour("tumour-T1.png", feeders=[joined])])
    plain = asked(monkeypatch, capsys, tmp_path, "--run", "1.2", "--run", "1.4")
    assert [row["sop_instance_uid"] for row in plain["per_run"]] == ["1.2", "1.4"]
    assert plain["metrics"]["feeders"]["sensitivity"]["value"] == 0
    assert plain["per_run"][0]["feeders_missed_because"] == {"listed, improbable": 1}
    both = asked(monkeypatch, capsys, tmp_path, "--run", "1.2", "--both-views")
    assert both["metrics"]["feeders"]["sensitivity"]["value"] == 1


def test_a_folder_without_results_is_no_table_of_noughts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_truth(tmp_path / "truth", "case-1", "1.2")
    write_result(tmp_path / "elsewhere" / "out", "1.2")
    words = ["angio", "evaluate", "--truth", str(tmp_path / "truth"), "--results", str(tmp_path / "elsewhere")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "Expected --results to name a folder that angio run wrote" in capsys.readouterr().err
