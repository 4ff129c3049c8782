"""Storage commitment as it is asked for: an archive vouches for what it was sent.

Its report may come over the association that asked or over one that it opens; both are waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import generate_uid
from pynetdicom import build_context, evt

from angio_pipeline.core.errors import PacsError
from angio_pipeline.pacs.dimse import associate, status_of, status_words
from angio_pipeline.pacs.listener import listening, only_for
from angio_pipeline.pacs.settings import Listener, Server
from angio_pipeline.pacs.vouching import COMMITMENT, COMMITMENT_INSTANCE, Report, reference, report_of

if TYPE_CHECKING:
    from pynetdicom.association import Association

__all__ = ["request_commitment"]


def request_commitment(
    server: Server,
    instances: Iterable[tuple[str, str]],
    listener: Listener,
    *,
    wait_s: float | None = None,
) -> Report:
    """Return what a server vouches for of these instances (class and UID).

    Raises
    ------
    PacsError
        When it does not know storage commitment, or sends no report in time (by default the server's time-out).
    """
    asked, transaction = list(instances), generate_uid()
    answers: list[Report] = []
    there = threading.Event()

    def take(report: Report) -> None:
        if report.transaction == transaction:
            answers.append(report)
            there.set()

    def over_the_same(event: Any) -> tuple[int, None]:
        take(report_of(event))
        return 0x0000, None

    handlers = [(evt.EVT_N_EVENT_REPORT, over_the_same)]
    ours = only_for(server, listener)
    with listening(ours, None, on_report=take):
        with associate(server, [build_context(COMMITMENT)], handlers=handlers) as association:
            _ask(server, association, transaction, asked)
            there.wait(0.5)  # one that reports at once does so before it is left
        if not there.wait(server.timeout_s if wait_s is None else wait_s):
            raise PacsError(
                f"Expected {server.place(web=False)} to report what it vouches for, found no report in time; see that "
                f"it knows {ours.aet} at this host and port {ours.port}."
            )
    return answers[0]


def _ask(server: Server, association: Association, transaction: str, asked: list[tuple[str, str]]) -> None:
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = DicomSequence(reference(*one) for one in asked)
    answer, _ = association.send_n_action(request, 1, COMMITMENT, COMMITMENT_INSTANCE)
    status = status_of(server, answer)
    if status != 0:
        place = server.place(web=False)
        raise PacsError(f"Expected {place} to take a request of commitment, found {status_words(status)}.")
