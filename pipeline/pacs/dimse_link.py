"""Associations that we ask a PACS for: who with, what for, and within which limits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pydicom.uid import UID
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from pipeline.errors import ConfigError, PacsError
from pipeline.pacs.limits import Limits
from pipeline.pacs.meter import MeteredSocket
from pipeline.pacs.network import COMPRESSED, STORAGE_CLASSES, UNCOMPRESSED, ae_title
from pipeline.pacs.reception import drop_unfinished, end_oversized

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{last}" for last in (1, 2, 3))  # study root
MOST_CONTEXTS = 128  # PS3.8 7.1.1.13
ACSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Node:
    """A DICOM application on the network: AE title, host and port."""

    aet: str
    host: str
    port: int


def parse_node(url: str) -> Node:
    """Read `dicom://AET@host:port`.

    Raises:
        ConfigError: If it is no such address.
    """
    try:
        where = urlsplit(url)
        port = where.port
    except ValueError as error:
        raise ConfigError("--from: dicom://AET@host:port would be right") from error
    if where.scheme != "dicom" or not where.username or not where.hostname or not port:
        raise ConfigError("--from: dicom://AET@host:port would be right")
    return Node(ae_title(unquote(where.username)), where.hostname, port)


@dataclass(frozen=True, slots=True)
class Dialler:
    """Asks one PACS for associations.

    Attributes:
        node: The PACS.
        aet: Our AE title.
        limits: What one association may do.
    """

    node: Node
    aet: str
    limits: Limits

    @contextmanager
    def associated(self, model: str, *, storing: Sequence[evt.EventHandlerType] = ()) -> Iterator[Association]:
        """An association, released at the end, or aborted after an error.

        Args:
            model: FIND, MOVE or GET.
            storing: Handlers of objects that come back on it; with them it is offered to take images.

        Raises:
            PacsError: If none is established.
        """
        entity = AE(ae_title=self.aet)
        entity.maximum_pdu_size = self.limits.pdu_bytes
        entity.acse_timeout = entity.connection_timeout = ACSE_SECONDS
        entity.dimse_timeout = entity.network_timeout = self.limits.idle_seconds
        entity.add_requested_context(model, UNCOMPRESSED[:2])
        images = image_classes() if storing else []
        for image in images:
            entity.add_requested_context(image, UNCOMPRESSED[:2])
        association = entity.associate(
            self.node.host,
            self.node.port,
            contexts=[*entity.requested_contexts, *_compressed(images)],
            ae_title=self.node.aet,
            ext_neg=[build_role(image, scp_role=True) for image in images],
            evt_handlers=[(evt.EVT_CONN_OPEN, self._meter), (evt.EVT_PDU_RECV, end_oversized), *storing],
        )
        if not association.is_established:
            raise PacsError(f"no association with {self.node.aet}: {_why(association)}", again=True)
        try:
            yield association
            association.release()
        finally:
            if association.is_established:
                association.abort()
            drop_unfinished(association)

    def _meter(self, event: evt.Event) -> None:
        link = event.assoc.dul.socket
        if link is not None and link.socket is not None:
            link.socket = meter = MeteredSocket(link.socket, self.limits)
            meter.admit()  # we called it


def image_classes() -> list[str]:
    """SOP classes of images, as many as fit twice into one association: videos are none."""
    names = {storage_class: UID(storage_class).name for storage_class in STORAGE_CLASSES}
    images = [uid for uid, name in names.items() if ("Image" in name or "Volume St" in name) and "Video" not in name]
    return images[: (MOST_CONTEXTS - 1) // 2]


def _compressed(images: Sequence[str]) -> Iterator[PresentationContext]:
    """A second context for each class, for a PACS that sends compressed what it holds compressed."""
    return (build_context(image, COMPRESSED) for image in images)


def _why(association: Association) -> str:
    if association.is_rejected:
        return "rejected; is our AE title known there, and theirs right?"
    return "aborted" if association.is_aborted else "not reached"
