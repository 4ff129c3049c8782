"""The tables of a catalogue: every column with its type and what it means.

The words go into the database itself (comments) and into the documentation: they are written once, here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DERIVED", "READ", "TABLES", "VERSION", "Table", "comments_sql", "create_sql", "reference"]

VERSION = "angio-pipeline/catalogue/1"
"""Changes with the meaning of a column or the rule of roles: an older catalogue is then read anew."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what a row is, and name -> (type, meaning) of its columns."""

    meaning: str
    columns: dict[str, tuple[str, str]]


_UID = "as in the file"
READ: dict[str, Table] = {
    "files": Table(
        "A row a file that was looked at, members of archives included.",
        {
            "file_id": ("VARCHAR", "keyed hash of the file's whole path; members: of the archive's path and theirs"),
            "source_id": ("VARCHAR", "keyed hash of the SOURCE below which it was found first"),
            "folder_id": ("VARCHAR", "keyed hash of its folder's path"),
            "archive_id": ("VARCHAR", "file_id of the outermost archive that holds it; null outside of archives"),
            "suffix": ("VARCHAR", "what follows the name's last dot, if it is one of the usual ones"),
            "size_bytes": ("BIGINT", "bytes"),
            "mtime_ns": ("BIGINT", "last change, nanoseconds since 1970; null in archives"),
            "inode": ("BIGINT", "number of the file on its disk (its lower 63 bits); null in archives"),
            "content": ("VARCHAR", "dicom, dicomdir, archive or other"),
            "reason": ("VARCHAR", "why it cannot be used, a code as in refused.csv; null where nothing is wrong"),
            "header_digest": ("VARCHAR", "keyed hash of everything before the pixels, of its first 32 KiB at most"),
            "content_sha256": ("VARCHAR", "SHA-256 of the whole file, where it was needed; see Identity"),
            "quick": ("BOOLEAN", "whether the plain reader was enough; false where pydicom read the header"),
            "scan": ("INTEGER", "the scan that read it"),
        },
    ),
    "headers": Table(
        "A row a DICOM file: what its header says, copies included.",
        {
            "file_id": ("VARCHAR", "the file"),
            "sop_instance_uid": ("VARCHAR", _UID),
            "sop_class_uid": ("VARCHAR", _UID),
            "series_instance_uid": ("VARCHAR", _UID),
            "study_instance_uid": ("VARCHAR", _UID),
            "subject": ("VARCHAR", "the patient's pseudonym, the same as in the results of angio run"),
            "person_id": ("VARCHAR", "row of persons"),
            "modality": ("VARCHAR", "code, such as XA"),
            "date": ("VARCHAR", "YYYYMMDD of acquisition, else series, study, content; null where none is valid"),
            "acquired": ("TIMESTAMP", "start of the acquisition, the scanner's local time"),
            "series_number": ("BIGINT", _UID),
            "acquisition_number": ("BIGINT", _UID),
            "instance_number": ("BIGINT", _UID),
            "frames": ("BIGINT", "number of frames, 1 where the file tells none"),
            "rows": ("BIGINT", "height of a frame, pixels"),
            "columns": ("BIGINT", "width of a frame, pixels"),
            "transfer_syntax": ("VARCHAR", _UID),
            "vendor": ("VARCHAR", "maker from a fixed list, or other"),
            "role": ("VARCHAR", "see Roles"),
            "phase": ("VARCHAR", "passage of contrast in a CT: plain, arterial, portal_venous, delayed, contrast"),
            "stage": ("VARCHAR", "before or after, where the names of series or protocol say so"),
            "primary_deg": ("DOUBLE", "primary angle of the C-arm, degrees"),
            "secondary_deg": ("DOUBLE", "secondary angle of the C-arm, degrees"),
            "evidence": ("VARCHAR", "tags and values that role and phase rest on; never text from the file"),
        },
    ),
    "persons": Table(
        "A row a way in which files name a patient; keyed hashes only.",
        {
            "person_id": ("VARCHAR", "keyed hash of number, issuer, name and birth date together"),
            "subject": ("VARCHAR", "the pseudonym that number and issuer give"),
            "number_key": ("VARCHAR", "keyed hash of the patient's number; null where there is none"),
            "loose_number_key": ("VARCHAR", "the same without punctuation, leading zeros and case"),
            "person_key": ("VARCHAR", "keyed hash of name (parts sorted, no accents or case) and birth date"),
        },
    ),
    "listed": Table(
        "A row an entry of a DICOMDIR.",
        {
            "file_id": ("VARCHAR", "the DICOMDIR"),
            "sop_instance_uid": ("VARCHAR", "the object that it lists"),
        },
    ),
    "sources": Table(
        "A row a SOURCE.",
        {
            "source_id": ("VARCHAR", "keyed hash of its path"),
            "listing_digest": ("VARCHAR", "keyed hash of all that its folders list: unchanged, nothing is to be read"),
            "files": ("BIGINT", "files that its folders list"),
        },
    ),
    "scans": Table(
        "A row a scan that changed the catalogue.",
        {
            "scan": ("INTEGER", "its number"),
            "version": ("VARCHAR", "version of these tables"),
            "key_check": ("VARCHAR", "tells whether the pseudonym key is still the same one"),
            "sources": ("VARCHAR", "source_id of each SOURCE, in order"),
            "started": ("TIMESTAMP", "when it began, UTC"),
            "seconds": ("DOUBLE", "how long it took; null while it runs or when it was ended"),
            "found": ("BIGINT", "files that the folders list"),
            "read": ("BIGINT", "files that were opened"),
            "removed": ("BIGINT", "files that were in the catalogue and are gone or changed"),
        },
    ),
}

DERIVED: dict[str, Table] = {
    "copies": Table(
        "A row a file whose SOP instance another file holds too (that one stands for both).",
        {
            "file_id": ("VARCHAR", "the file that is set aside"),
            "used_file_id": ("VARCHAR", "the file that is used"),
            "sop_instance_uid": ("VARCHAR", "the object; null where it has no UID"),
            "verdict": ("VARCHAR", "duplicate, conflicting_duplicate, or not_compared (a disk that was not there)"),
            "difference": ("VARCHAR", "none, header, or after_header"),
        },
    ),
    "instances": Table(
        "A row an object: the header of the file that stands for it.",
        {**READ["headers"].columns, "copies": ("BIGINT", "further files that hold it")},
    ),
    "series": Table(
        "A row a series of a patient.",
        {
            "subject": ("VARCHAR", "pseudonym"),
            "study_instance_uid": ("VARCHAR", _UID),
            "series_instance_uid": ("VARCHAR", _UID),
            "date": ("VARCHAR", "first date of its objects"),
            "acquired": ("TIMESTAMP", "first acquisition"),
            "role": ("VARCHAR", "the role of most of its objects; of equally many the first by alphabet"),
            "phase": ("VARCHAR", "likewise"),
            "stage": ("VARCHAR", "before or after, null where its objects say nothing or both"),
            "roles": ("VARCHAR", "how many objects have which role"),
            "evidence": ("VARCHAR", "of one object with the series' role"),
            "modality": ("VARCHAR", "of most objects"),
            "vendor": ("VARCHAR", "of most objects"),
            "series_number": ("BIGINT", "least"),
            "instances": ("BIGINT", "objects"),
            "frames": ("BIGINT", "frames of all objects"),
        },
    ),
    "patients": Table(
        "A row a patient: a number with its issuer. Without a number each study stands for itself.",
        {
            "subject": ("VARCHAR", "pseudonym"),
            "has_number": ("BOOLEAN", "whether files tell a patient's number"),
            "persons": ("BIGINT", "different names or birth dates under this number"),
            "studies": ("BIGINT", "studies"),
            "series": ("BIGINT", "series"),
            "instances": ("BIGINT", "objects"),
            "dsa_runs": ("BIGINT", "DSA runs"),
            "ct_series": ("BIGINT", "CT series, cone-beam included"),
            "radiographs": ("BIGINT", "radiographs"),
            "first_date": ("VARCHAR", "YYYYMMDD"),
            "last_date": ("VARCHAR", "YYYYMMDD"),
        },
    ),
    "timeline": Table(
        "A row a patient and date, in order.",
        {
            "subject": ("VARCHAR", "pseudonym"),
            "date": ("VARCHAR", "YYYYMMDD"),
            "days": ("BIGINT", "days since the first day with DSA runs; null for a patient without any"),
            "dsa_runs": ("BIGINT", "DSA runs of the date"),
            "other_projections": ("BIGINT", "single shots, fluoroscopy and rotations"),
            "ct_series": ("BIGINT", "CT series"),
            "cone_beam_ct_series": ("BIGINT", "cone-beam CT series"),
            "phases": ("VARCHAR", "phases of contrast among its CT"),
            "radiographs": ("BIGINT", "radiographs"),
        },
    ),
    "pairs": Table(
        "A row two DSA runs of one view, before and after embolisation, by the rule of angio run.",
        {
            "subject": ("VARCHAR", "pseudonym"),
            "date": ("VARCHAR", "YYYYMMDD"),
            "before_sop_instance_uid": ("VARCHAR", "the run before"),
            "after_sop_instance_uid": ("VARCHAR", "the run after"),
            "paired_by": ("VARCHAR", "label: a file says so; order: first and last run of a view"),
            "minutes": ("DOUBLE", "between them"),
        },
    ),
    "look_alikes": Table(
        "A row two patients that may be one; they are not merged.",
        {
            "subject": ("VARCHAR", "pseudonym"),
            "other_subject": ("VARCHAR", "pseudonym"),
            "reason": ("VARCHAR", "see Look-alikes"),
        },
    ),
    "problems": Table(
        "A row something that a person should look at.",
        {
            "file_id": ("VARCHAR", "the file, null where it is about more than one"),
            "subject": ("VARCHAR", "pseudonym, null where unknown"),
            "series_instance_uid": ("VARCHAR", _UID),
            "code": ("VARCHAR", "what it is"),
        },
    ),
}
TABLES = {**READ, **DERIVED}


def create_sql(name: str) -> str:
    """Return the statement that makes an empty table."""
    columns = ", ".join(f'"{column}" {kind}' for column, (kind, _) in TABLES[name].columns.items())
    return f'CREATE TABLE "{name}" ({columns})'


def comments_sql() -> str:
    """Return the statements that tell the database what its tables and columns mean."""
    told = []
    for name, table in TABLES.items():
        told.append(f"COMMENT ON TABLE \"{name}\" IS '{_quoted(table.meaning)}'")
        for column, (_, meaning) in table.columns.items():
            told.append(f'COMMENT ON COLUMN "{name}"."{column}" IS \'{_quoted(meaning)}\'')
    return ";".join(told)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def reference() -> str:
    """Return the reference of tables and columns in Markdown."""
    parts = []
    for name, table in TABLES.items():
        rows = [f"| `{column}` | {kind} | {meaning} |" for column, (kind, meaning) in table.columns.items()]
        head = f"### `{name}`\n\n{table.meaning}\n\n| column | type | meaning |\n| --- | --- | --- |\n"
        parts.append(head + "\n".join(rows))
    return "\n\n".join(parts)
