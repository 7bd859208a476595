"""``model``: the DTDL models of the twin types."""

from argparse import Namespace

from twin_actors.commands.output import Result, add_output, listing
from twin_actors.commands.ports import Ports
from twin_actors.commands.verbs import Nouns, add_noun


def add(nouns: Nouns) -> None:
    """Add the noun to the command line."""
    verb = add_noun(nouns, "model", "the DTDL models of the twin types")
    add_output(verb("publish", "upload the models that Azure Digital Twins lacks", publish))


async def publish(ports: Ports, _arguments: Namespace) -> Result:
    """Upload the models that the instance lacks, in one request."""
    graph = ports.graph()
    present = await graph.models()
    documents = ports.registry.models()
    lacking = [document for document in documents if document["@id"] not in present]
    if lacking:
        await graph.upload([dict(document) for document in lacking])
    uploaded = {document["@id"] for document in lacking}
    return listing(
        [
            {"model": document["@id"], "state": "uploaded" if document["@id"] in uploaded else "present"}
            for document in documents
        ]
    )
