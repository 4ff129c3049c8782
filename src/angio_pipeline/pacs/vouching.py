"""Storage commitment as it is answered: what a station vouches for is on the disk, whole, and reported.

To a peer whose address is known the report goes over a new association, as most archives have it, else over the
one that asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID
from pynetdicom import build_context, build_role

from angio_pipeline.core.errors import PacsError
from angio_pipeline.pacs.dimse import associate
from angio_pipeline.pacs.inbox import Inbox, is_uid
from angio_pipeline.pacs.settings import Server

if TYPE_CHECKING:
    from pynetdicom.association import Association

__all__ = ["COMMITMENT", "COMMITMENT_INSTANCE", "VERIFICATION", "Report", "answer_commitment", "reference", "report_of"]

VERIFICATION = UID("1.2.840.10008.1.1")
COMMITMENT = UID("1.2.840.10008.1.20.1")
COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1.1")
_NO_SUCH_OBJECT = 0x0112


@dataclass(frozen=True, slots=True)
class Report:
    """What the other side says of one request.

    Attributes
    ----------
    failed : dict of str to int
        By UID of the instance, why it is not vouched for.
    """

    transaction: str
    committed: frozenset[str]
    failed: dict[str, int]


def report_of(event: Any) -> Report:
    """Return what a received N-EVENT-REPORT says."""
    told = event.event_information
    failed = {
        str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", 0x0110))
        for item in told.get("FailedSOPSequence") or []
    }
    good = {str(item.ReferencedSOPInstanceUID) for item in told.get("ReferencedSOPSequence") or []}
    return Report(str(told.TransactionUID), frozenset(good), failed)


def reference(sop_class: str, uid: str, reason: int | None = None) -> Dataset:
    """Return the item that names an instance, with the reason where it is not vouched for."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if reason is not None:
        item.FailureReason = reason
    return item


def answer_commitment(event: Any, inbox: Inbox, peers: Mapping[str, Server], aet: str) -> tuple[int, Dataset | None]:
    """Return the status of a request of commitment; what is vouched for is reported from another thread."""
    try:
        told = event.action_information
        transaction = str(told.TransactionUID)
        asked = [
            (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in told.ReferencedSOPSequence
        ]
    except Exception:  # whatever came
        return 0x0110, None
    if not is_uid(transaction) or event.action_type != 1:
        return 0x0115, None
    peer = peers.get(str(event.assoc.requestor.ae_title).strip())
    send = _over_a_new_one(peer, aet) if peer is not None else _over_this_one(event.assoc)
    threading.Thread(target=_vouch, args=(inbox, transaction, asked, send), daemon=True).start()
    return 0x0000, None


def _vouch(
    inbox: Inbox, transaction: str, asked: list[tuple[str, str]], send: Callable[[Dataset, int], object]
) -> None:
    held = [one for one in asked if _secure(inbox, one[1])]
    lacking = [one for one in asked if one not in held]
    report = Dataset()
    report.TransactionUID = transaction
    if held:
        report.ReferencedSOPSequence = DicomSequence(reference(*one) for one in held)
    if lacking:
        report.FailedSOPSequence = DicomSequence(reference(*one, _NO_SUCH_OBJECT) for one in lacking)
    try:
        send(report, 2 if lacking else 1)
    except (PacsError, RuntimeError, ValueError, OSError):
        return  # who asked is gone: it asks again


def _secure(inbox: Inbox, uid: str) -> bool:
    try:
        return inbox.secure(uid)
    except OSError:
        return False


def _over_this_one(association: Association) -> Callable[[Dataset, int], object]:
    return lambda report, kind: association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)


def _over_a_new_one(peer: Server, aet: str) -> Callable[[Dataset, int], object]:
    def send(report: Dataset, kind: int) -> None:
        role = build_role(COMMITMENT, scp_role=True)
        ours = peer.model_copy(update={"calling_aet": aet})
        with associate(ours, [build_context(COMMITMENT)], roles=[role]) as association:
            association.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)

    return send
