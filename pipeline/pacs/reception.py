"""What is done with one object received by C-STORE, and which status the peer gets (PS3.4 B.2.3, PS3.7 C)."""

import contextlib
import queue
from pathlib import Path
from typing import NamedTuple

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF

from pipeline.errors import ScanError
from pipeline.pacs.meter import MeteredSocket
from pipeline.pacs.object_ids import read_ids
from pipeline.pacs.store import IncomingStore, Kept

SUCCESS = 0x0000
FAILURE = 0x0110  # processing failure: the disk did not take it
DUPLICATE = 0x0111  # another object of this UID lies here
NO_ROOM = 0xA700  # out of resources: the peer may try again later
MISMATCH = 0xA900  # the data set is not what the request calls it
NOT_UNDERSTOOD = 0xC000
HELD_AT_MOST = 2**20  # bytes of a command, or of a data set that goes to no file


class Received(NamedTuple):
    """The answer to one C-STORE request.

    Attributes:
        status: DIMSE status.
        outcome: `stored`, `repeated`, `different` or `refused`, that with a reason code if the object itself is wrong.
        size: Bytes stored.
    """

    status: int
    outcome: str
    size: int = 0


def receive(event: evt.Event, store: IncomingStore, *, series: str = "", refusal: int = SUCCESS) -> Received:
    """Keep the object of a C-STORE request; success is answered only for what is whole and on disk.

    Args:
        event: The request; its data set lies in a file of the store's `receiving` folder.
        store: Where it goes.
        series: Series Instance UID that was asked for; an object of another one is refused. Empty for any.
        refusal: A status that was decided before; the object is dropped.
    """
    part = Path(event.dataset_path)
    try:
        if refusal:
            return Received(refusal, "refused")
        ids = read_ids(part)
        if _called(event) != (ids.sop_class, ids.sop_instance) or (series and ids.series != series):
            return Received(MISMATCH, "refused")
        size = part.stat().st_size
        kept = store.keep(part, ids)
    except ScanError as error:
        return Received(NOT_UNDERSTOOD, f"refused ({error.code})")
    except OSError:
        return Received(FAILURE, "refused")
    finally:
        _drop(part, event)
    if kept is Kept.DIFFERENT:
        return Received(DUPLICATE, "different")
    return Received(SUCCESS, kept.value, size if kept is Kept.STORED else 0)


def meter_of(association: Association) -> MeteredSocket | None:
    """The metered connection of an association; None once it is closed."""
    link = association.dul.socket
    connection = link.socket if link is not None else None
    return connection if isinstance(connection, MeteredSocket) else None


def end_oversized(event: evt.Event) -> None:
    """Hang up on a message that pynetdicom would gather in memory without end, or in more than one file.

    To be bound to EVT_PDU_RECV, which comes before the unit's fragments are added to the message.
    """
    if not isinstance(event.pdu, P_DATA_TF):
        return
    message = event.assoc.dimse.message
    commands = sum(item.message_control_header_byte.endswith("11") for item in event.pdu.presentation_data_value_items)
    files = commands + (message is not None and message._data_set_file is not None)
    held = 0
    if message is not None:
        held = message.encoded_command_set.tell() + (message.data_set.tell() if message.data_set else 0)
    meter = meter_of(event.assoc)
    if meter is not None and (files > 1 or held > HELD_AT_MOST):
        event.pdu.presentation_data_value_items.clear()
        meter.hang_up()


def drop_unfinished(association: Association) -> None:
    """Delete what an association that ended had received of its last object, and objects that it never came to."""
    message = association.dimse.message
    left = [message._data_set_file] if message is not None else []
    with contextlib.suppress(queue.Empty):
        while True:
            _, request = association.dimse.msg_queue.get_nowait()
            left.append(getattr(request, "_dataset_file", None))
    for file in left:
        if file is not None:
            file.close()
            Path(file.name).unlink(missing_ok=True)


def _called(event: evt.Event) -> tuple[str, str]:
    """SOP Class and SOP Instance UID that the request names."""
    request = event.request
    if not isinstance(request, C_STORE):
        raise TypeError("no C-STORE request")
    return str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)


def _drop(part: Path, event: evt.Event) -> None:
    """Close and delete it: pynetdicom leaves its file open after an error, and in a C-GET lets it lie."""
    file = event.request._dataset_file
    if file is not None:
        file.close()
    part.unlink(missing_ok=True)
