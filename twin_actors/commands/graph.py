"""What operators see of the graph; the SDK's errors end here."""

import contextlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import msgspec
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.digitaltwins.core.aio import DigitalTwinsClient

from twin_actors.commands.errors import NotFound
from twin_actors.errors import Unavailable


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A value as the graph shows it.

    Attributes
    ----------
    value : object
    source_time : str
        When it was so; empty where nobody said.
    updated : str
        When the graph heard of it.
    """

    value: object
    source_time: str = ""
    updated: str = ""


class TwinView(msgspec.Struct, frozen=True, kw_only=True):
    """A twin as the graph shows it.

    Attributes
    ----------
    twin_id, model, etag : str
    properties : dict
        Name → value.
    """

    twin_id: str
    model: str
    etag: str
    properties: dict[str, Shown]

    def value(self, name: str) -> object:
        """Return the value of a property, None where it is not shown."""
        shown = self.properties.get(name)
        return None if shown is None else shown.value


class OperatorsGraph:
    """The graph as operators ask it: any twin, any number, and the models.

    Parameters
    ----------
    client
        Made with ``retry_total=0``: a person decides whether to ask again.
    """

    def __init__(self, client: DigitalTwinsClient) -> None:
        self._client = client

    async def read(self, twin_id: str) -> TwinView:
        """Return a twin.

        Raises
        ------
        NotFound, Unavailable
        """
        with _translated():
            try:
                return _view(await self._client.get_digital_twin(twin_id))
            except ResourceNotFoundError:
                raise NotFound(f"there is no twin {twin_id}; `twin list` lists them") from None

    async def find(self, conditions: list[str], limit: int) -> tuple[list[TwinView], bool]:
        """Return at most so many twins that meet all conditions, in order of their ids, and whether there are more.

        Raises
        ------
        Unavailable
        """
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"SELECT * FROM DIGITALTWINS T{where}"  # noqa: S608  conditions are made of what the parser lets pass
        found: list[TwinView] = []
        has_more = False
        with _translated():
            async for row in self._client.query_twins(query):
                has_more = len(found) == limit
                if has_more:
                    break
                found.append(_view(row))
        return sorted(found, key=lambda twin: twin.twin_id), has_more

    async def models(self) -> set[str]:
        """Return the identifiers of the models of the instance.

        Raises
        ------
        Unavailable
        """
        with _translated():
            return {str(model.id) async for model in self._client.list_models()}

    async def upload(self, documents: list[MutableMapping[str, Any]]) -> None:
        """Upload models, all or none.

        Raises
        ------
        Unavailable
        """
        with _translated():
            await self._client.create_models(documents)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Let a service that does not answer be `Unavailable`."""
    try:
        yield
    except AzureError as error:
        raise Unavailable(f"Azure Digital Twins: {error.message}") from error


def _view(twin: Mapping[str, object]) -> TwinView:
    metadata = twin["$metadata"]
    assert isinstance(metadata, dict)
    return TwinView(
        twin_id=str(twin["$dtId"]),
        model=str(metadata["$model"]),
        etag=str(twin.get("$etag", "")),
        properties={
            name: Shown(
                value=value,
                source_time=str(metadata.get(name, {}).get("sourceTime", "")),
                updated=str(metadata.get(name, {}).get("lastUpdateTime", "")),
            )
            for name, value in twin.items()
            if not name.startswith("$")
        },
    )
