"""What tests of our custom resource definitions share: their schemas, and what the API server says of an object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane import ControlPlaneError

Spec = dict[str, Any]
CRDS = Path(__file__).parents[2] / "crds"
SAMPLES = sorted((CRDS / "samples").glob("*.yaml"))


def definition(plural: str) -> Any:
    """The CustomResourceDefinition of one of our kinds."""
    return yaml.safe_load((CRDS / f"hookline.dev_{plural}.yaml").read_text())


def schema_of(plural: str) -> Any:
    """The schema of its only version."""
    return definition(plural)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def merged(base: Spec, patch: Spec) -> Spec:
    """A JSON merge patch (RFC 7396): null removes."""
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key, {}), value)
        else:
            result[key] = value
    return result


def causes(error: ControlPlaneError) -> list[tuple[str, str]]:
    """Field and words of each complaint in a 422, less the remark that there may be more of them."""
    _, found, answer = str(error).partition(": 422 ")
    assert found, error
    complaints = [(cause["field"], cause["message"]) for cause in json.loads(answer)["details"]["causes"]]
    return [complaint for complaint in complaints if "some validation rules were not checked" not in complaint[1]]


def assert_refused(send: Callable[[], Any], field: str, words: str) -> None:
    """The API server answers 422 with this one complaint about this field, in these words."""
    with pytest.raises(ControlPlaneError) as refusal:
        send()
    [(at, message)] = causes(refusal.value)
    assert at == field
    assert message == words or message.endswith(f": {words}")


def walk(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema in the schema, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


def unbounded(schema: Mapping[str, Any]) -> list[str]:
    """What a schema leaves open that it should bound."""
    needed = {
        "boolean": [],
        "string": [] if {"enum", "format"} & schema.keys() else ["maxLength"],
        "array": ["maxItems", "x-kubernetes-list-type"],
        "integer": ["format", "minimum"],
        "object": ["maxProperties"] if "additionalProperties" in schema else ["properties"],
    }
    return [key for key in needed[schema["type"]] if key not in schema]


def rules(schema: Mapping[str, Any]) -> set[str]:
    """The messages of all CEL rules."""
    return {rule["message"] for _, inner in walk(schema) for rule in inner.get("x-kubernetes-validations", ())}
