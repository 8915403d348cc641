"""Secrets come as metadata alone: what they hold is never asked for, whoever watches them and why.

In: a resource, and objects as decoded. Out: what to ask the API server for, and objects without the places where their
data may be found all the same. ``wire`` and ``informer`` ask here for each list and each stream; other resources pass.
"""

from __future__ import annotations

from hookline.model import Object, Resource

LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
WATCH = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
COPIES = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "kapp.k14s.io/original",
        "objectset.rio.cattle.io/applied",
        "banzaicloud.com/last-applied",
    }
)
"""Annotations in which tools keep a copy of the whole object: kubectl, kapp, Rancher, Banzai Cloud's operators."""


def is_bare(resource: Resource) -> bool:
    """Whether only metadata of this resource may come in. By the path, which decides what the API server sends."""
    return (resource.api_version, resource.plural) == ("v1", "secrets")


def accept_list(resource: Resource, wanted: str) -> str:
    """The Accept header of a list: the wanted one, or for Secrets metadata without an alternative."""
    return LIST if is_bare(resource) else wanted


def accept_watch(resource: Resource) -> str:
    """The Accept header of a watch: whole objects, or for Secrets metadata without an alternative."""
    return WATCH if is_bare(resource) else "application/json"


def bare(obj: Object, resource: Resource) -> Object:
    """A Secret as its metadata, under its own apiVersion and kind; an object of another resource as it is.

    Without ``COPIES``, and without ``managedFields``, which name the keys of the data. Whatever else came is dropped,
    too: something between here and the API server may not know of metadata. ``obj`` must have a map as ``metadata``.
    """
    if not is_bare(resource):
        return obj
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        metadata["annotations"] = {key: value for key, value in annotations.items() if key not in COPIES}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
