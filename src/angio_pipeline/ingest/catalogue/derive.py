"""What follows from what was read: copies, objects, series, patients, their time, pairs, look-alikes, problems.

All of it is made anew whenever something changed, from the tables `files`, `headers`, `persons` and `listed`
alone, so that no row can be left behind by a file that is gone.
"""

from __future__ import annotations

from typing import Any

from angio_pipeline.core.provenance import Source
from angio_pipeline.core.runs import Stage
from angio_pipeline.embolisation import GeometryParams, PairingParams, RunView, choose_pairs
from angio_pipeline.ingest.catalogue.tables import DERIVED, create_sql

__all__ = ["derive"]

_PERSONS = """
    CREATE OR REPLACE TABLE persons AS
    SELECT DISTINCT * FROM persons WHERE person_id IN (SELECT person_id FROM headers)
"""
# One file stands for all copies: a whole one before a cut one, outside of archives before inside, then by identifier.
_COPIES = """
    INSERT INTO copies
    WITH held AS (
        SELECT f.file_id, h.sop_instance_uid, f.header_digest, f.content_sha256,
               coalesce(h.sop_instance_uid, f.header_digest || f.size_bytes) AS object,
               row_number() OVER (PARTITION BY object
                                  ORDER BY f.reason IS NOT NULL, f.archive_id IS NOT NULL, f.file_id) AS place
        FROM files f JOIN headers h USING (file_id)
    )
    SELECT c.file_id, u.file_id, c.sop_instance_uid,
           CASE WHEN c.content_sha256 IS NULL OR u.content_sha256 IS NULL THEN 'not_compared'
                WHEN c.content_sha256 = u.content_sha256 THEN 'duplicate' ELSE 'conflicting_duplicate' END AS verdict,
           CASE WHEN c.header_digest <> u.header_digest THEN 'header'
                WHEN verdict = 'duplicate' THEN 'none'
                WHEN verdict = 'conflicting_duplicate' THEN 'after_header' END
    FROM held c JOIN held u ON c.object = u.object AND u.place = 1
    WHERE c.place > 1 AND (c.sop_instance_uid IS NOT NULL OR c.content_sha256 = u.content_sha256)
"""
_INSTANCES = """
    INSERT INTO instances
    SELECT h.*, coalesce(c.copies, 0)
    FROM headers h LEFT JOIN (SELECT used_file_id, count(*) AS copies FROM copies GROUP BY ALL) c
        ON c.used_file_id = h.file_id
    WHERE h.file_id NOT IN (SELECT file_id FROM copies)
"""
# Of equally many the first by alphabet: the order of reading decides nothing.
_SERIES = """
    INSERT INTO series
    WITH grouped AS (
        SELECT subject, study_instance_uid, series_instance_uid, list(DISTINCT stage) AS stages,
               min(date) AS date, min(acquired) AS acquired, min(series_number) AS series_number,
               count(*) AS instances, sum(frames) AS frames
        FROM instances GROUP BY ALL
    ), counted AS (
        SELECT subject, study_instance_uid, series_instance_uid, what, value, count(*) AS n, min(evidence) AS evidence
        FROM (SELECT subject, study_instance_uid, series_instance_uid, evidence,
                     unnest(['role', 'phase', 'modality', 'vendor']) AS what,
                     unnest([role, phase, modality, vendor]) AS value FROM instances)
        WHERE value IS NOT NULL GROUP BY ALL
    ), most AS (
        SELECT subject, study_instance_uid, series_instance_uid,
               first(value ORDER BY n DESC, value) FILTER (what = 'role') AS role,
               first(evidence ORDER BY n DESC, value) FILTER (what = 'role') AS evidence,
               string_agg(value || ':' || n, ' ' ORDER BY n DESC, value) FILTER (what = 'role') AS roles,
               first(value ORDER BY n DESC, value) FILTER (what = 'phase') AS phase,
               first(value ORDER BY n DESC, value) FILTER (what = 'modality') AS modality,
               first(value ORDER BY n DESC, value) FILTER (what = 'vendor') AS vendor
        FROM counted GROUP BY ALL
    )
    SELECT g.subject, g.study_instance_uid, g.series_instance_uid, date, acquired, role, phase,
           CASE WHEN len(list_filter(stages, lambda x: x IS NOT NULL)) = 1
                THEN list_filter(stages, lambda x: x IS NOT NULL)[1] END,
           roles, evidence, modality, vendor, series_number, instances, frames
    FROM grouped g JOIN most m ON g.subject = m.subject
        AND g.study_instance_uid IS NOT DISTINCT FROM m.study_instance_uid
        AND g.series_instance_uid IS NOT DISTINCT FROM m.series_instance_uid
"""
_PATIENTS = """
    INSERT INTO patients
    SELECT i.subject, any_value(p.has_number), any_value(p.persons), count(DISTINCT study_instance_uid),
           any_value(s.series), count(*), count(*) FILTER (role = 'dsa_run'), any_value(s.ct_series),
           count(*) FILTER (role = 'radiograph'), min(i.date), max(i.date)
    FROM instances i
    JOIN (SELECT subject, count(*) AS series, count(*) FILTER (role IN ('ct', 'cone_beam_ct')) AS ct_series
          FROM series GROUP BY ALL) s USING (subject)
    JOIN (SELECT subject, bool_or(number_key IS NOT NULL) AS has_number, count(DISTINCT person_key) AS persons
          FROM persons GROUP BY ALL) p USING (subject)
    GROUP BY i.subject
"""
_TIMELINE = """
    INSERT INTO timeline
    WITH projections AS (
        SELECT subject, date, count(*) FILTER (role = 'dsa_run') AS runs,
               count(*) FILTER (role IN ('single_shot', 'fluoroscopy', 'rotation')) AS others,
               count(*) FILTER (role = 'radiograph') AS radiographs
        FROM instances WHERE date IS NOT NULL GROUP BY ALL
    ), scans_of_day AS (
        SELECT subject, date, count(*) FILTER (role = 'ct') AS ct, count(*) FILTER (role = 'cone_beam_ct') AS cone_beam,
               string_agg(DISTINCT phase, ' ' ORDER BY phase) FILTER (role IN ('ct', 'cone_beam_ct')) AS phases
        FROM series WHERE date IS NOT NULL GROUP BY ALL
    ), treated AS (
        SELECT subject, min(date) AS date FROM instances WHERE role = 'dsa_run' GROUP BY ALL
    )
    SELECT p.subject, p.date,
           datediff('day', try_strptime(t.date, '%Y%m%d'), try_strptime(p.date, '%Y%m%d')),
           runs, others, coalesce(ct, 0), coalesce(cone_beam, 0), phases, radiographs
    FROM projections p LEFT JOIN scans_of_day USING (subject, date) LEFT JOIN treated t ON t.subject = p.subject
    ORDER BY p.subject, p.date
"""
_LOOK_ALIKES = """
    INSERT INTO look_alikes
    WITH found AS (
        SELECT a.subject, b.subject AS other, 'same_name_and_birth_date' AS reason
        FROM persons a JOIN persons b ON a.person_key = b.person_key
        UNION ALL
        SELECT a.subject, b.subject, 'same_number_other_issuer'
        FROM persons a JOIN persons b ON a.number_key = b.number_key
        UNION ALL
        SELECT a.subject, b.subject, 'similar_number'
        FROM persons a JOIN persons b ON a.loose_number_key = b.loose_number_key AND a.number_key <> b.number_key
        UNION ALL
        SELECT a.subject, b.subject, 'same_study'
        FROM (SELECT DISTINCT subject, study_instance_uid FROM headers) a
        JOIN (SELECT DISTINCT subject, study_instance_uid FROM headers) b USING (study_instance_uid)
        UNION ALL
        SELECT a.subject, b.subject, 'same_object'
        FROM headers a JOIN copies c ON c.file_id = a.file_id JOIN headers b ON b.file_id = c.used_file_id
    )
    SELECT DISTINCT least(subject, other), greatest(subject, other), reason FROM found WHERE subject <> other
"""
_PROBLEMS = """
    INSERT INTO problems
    SELECT f.file_id, subject, series_instance_uid, reason
    FROM files f LEFT JOIN headers h USING (file_id) WHERE reason IS NOT NULL
    UNION ALL
    SELECT c.file_id, subject, series_instance_uid, verdict FROM copies c JOIN headers h USING (file_id)
    UNION ALL
    SELECT file_id, NULL, NULL, 'missing_from_set' FROM listed
    WHERE sop_instance_uid NOT IN (SELECT sop_instance_uid FROM headers WHERE sop_instance_uid IS NOT NULL)
    UNION ALL
    SELECT NULL, subject, series_instance_uid, 'too_few_slices' FROM series
    WHERE role IN ('ct', 'cone_beam_ct') AND frames < 3
    UNION ALL
    SELECT NULL, subject, NULL, 'one_number_two_persons' FROM patients WHERE persons > 1
    UNION ALL
    SELECT NULL, subject, NULL, 'no_patient_number' FROM patients WHERE NOT has_number
    UNION ALL
    SELECT file_id, subject, series_instance_uid, 'undated' FROM instances WHERE date IS NULL
"""
_STEPS = (_PERSONS, _COPIES, _INSTANCES, _SERIES, _PATIENTS, _TIMELINE, _LOOK_ALIKES, _PROBLEMS)


def derive(connection: Any) -> None:
    """Make the tables anew that follow from what was read."""
    for name in DERIVED:
        connection.execute(f'DROP TABLE IF EXISTS "{name}"')
        connection.execute(create_sql(name))
    for step in _STEPS:
        connection.execute(step)
    _add_pairs(connection)


_RUNS = """
    SELECT subject, sop_instance_uid, coalesce(series_instance_uid, ''), date, acquired, stage,
           primary_deg, secondary_deg
    FROM instances WHERE role = 'dsa_run' AND acquired IS NOT NULL AND sop_instance_uid IS NOT NULL
    AND subject IN (SELECT subject FROM patients WHERE dsa_runs > 1)
    ORDER BY subject, acquired, sop_instance_uid
"""


def _add_pairs(connection: Any) -> None:
    by_subject: dict[str, list[tuple[Any, ...]]] = {}
    for subject, *run in connection.execute(_RUNS).fetchall():
        by_subject.setdefault(subject, []).append(tuple(run))
    if not by_subject:
        return
    rows = [row for subject, runs in by_subject.items() for row in _pairs_of(subject, runs)]
    if rows:
        connection.executemany("INSERT INTO pairs VALUES (?, ?, ?, ?, ?, ?)", rows)


def _pairs_of(subject: str, runs: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    views = [
        RunView(
            Source(sop, series, acquired=acquired),
            None if primary is None or secondary is None else (primary, secondary),
            None if stage is None else Stage(stage),
        )
        for sop, series, _, acquired, stage, primary, secondary in runs
    ]
    pairs = choose_pairs(views, angle_deg=GeometryParams().angle_deg, params=PairingParams())
    rows = []
    for pair in pairs:
        before, after = runs[pair.before], runs[pair.after]
        minutes = (after[3] - before[3]).total_seconds() / 60
        rows.append((subject, before[2], before[0], after[0], pair.by.value, minutes))
    return rows
