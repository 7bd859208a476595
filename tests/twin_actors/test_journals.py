"""Both journals keep the contract; and Azurite enforces what the blob journal builds on."""

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import ContainerClient

from tests.twin_actors.journal_contract import PROMISES, Promise
from twin_actors.errors import PartitionStopped, Unanswered, Unavailable
from twin_actors.journals.blob import BlobJournal
from twin_actors.journals.memory import MemoryJournal

# aiohttp would rather be given a stream; handing four mebibytes to the loop takes a millisecond.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

each_promise = pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)


@each_promise
async def test_memory(promise: Promise) -> None:
    """The journal in memory."""
    await promise(MemoryJournal())


@each_promise
async def test_blob(promise: Promise, blob_journal: BlobJournal) -> None:
    """The journal in Blob storage."""
    await promise(blob_journal)


async def test_azurite_enforces_the_append_position(container: ContainerClient) -> None:
    """Asked of the SDK itself: without this the fencing would be tested against nothing."""
    blob = container.get_blob_client("segment")
    await blob.create_append_blob()
    await blob.append_block(b"12345", appendpos_condition=0)
    for position in (0, 4, 6):
        with pytest.raises(HttpResponseError) as refused:
            await blob.append_block(b"x", appendpos_condition=position)
        assert refused.value.status_code == 412
    assert (await blob.get_blob_properties()).size == 5


async def test_azurite_enforces_if_match(container: ContainerClient) -> None:
    """And If-None-Match."""
    blob = container.get_blob_client("object")
    first = await blob.upload_blob(b"1")
    await blob.upload_blob(b"2", overwrite=True)
    with pytest.raises(HttpResponseError) as refused:
        await blob.upload_blob(b"3", overwrite=True, etag=first["etag"], match_condition=MatchConditions.IfNotModified)
    assert refused.value.status_code == 412
    with pytest.raises(HttpResponseError) as refused:
        await blob.upload_blob(b"3", overwrite=False)
    assert refused.value.status_code == 409


async def test_a_container_that_is_gone_stops_writers(blob_journal: BlobJournal, container: ContainerClient) -> None:
    """It is no conflict with another owner and no matter of waiting."""
    await container.delete_container()
    with pytest.raises(PartitionStopped):
        await blob_journal.create_segment("segments/0/a")
    with pytest.raises(PartitionStopped):
        await blob_journal.append("segments/0/a", 0, b"x")


async def test_no_storage_is_unanswered_or_unavailable() -> None:
    """A write may have happened, for all its sender knows; a read has not."""
    nowhere = ContainerClient("http://127.0.0.1:1/account", "container", retry_total=0)
    journal = BlobJournal(nowhere)
    try:
        with pytest.raises(Unanswered):
            await journal.append("segments/0/a", 0, b"x")
        with pytest.raises(Unanswered):
            await journal.create_segment("segments/0/a")
        with pytest.raises(Unanswered):
            await journal.write("manifests/0", b"x")
        for read in (journal.read("a"), journal.read_segment("a", 0), journal.names("a"), journal.delete("a")):
            with pytest.raises(Unavailable):
                await read
    finally:
        await journal.close()
