"""The README's example is true: the API server takes it, it compiles, and it yields what the text says."""

import re
from pathlib import Path
from typing import Any

import yaml

from hookline.api.parse import parse
from support.cluster import Kubectl
from support.evaluating import evaluating
from support.samples import DEPLOYMENTS, change

README = (Path(__file__).parents[2] / "README.md").read_text()
MANIFESTS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
EXAMPLE = MANIFESTS[0]


def test_every_manifest_is_accepted(crds: object, kubectl: Kubectl, namespace: str) -> None:
    for manifest in MANIFESTS:
        kubectl.apply(manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}})
    parse(kubectl.json("get", "whsub", "failing-orders", "-n", namespace))


async def test_the_example_fires_for_a_failing_deployment_and_names_it() -> None:
    def deployment(**status: object) -> dict[str, Any]:
        metadata = {"name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": "7"}
        return {"metadata": metadata, "spec": {"replicas": 3}, "status": status}

    fires, says = EXAMPLE["spec"]["filter"]["expression"], EXAMPLE["spec"]["payload"]["transform"]
    seen = [
        change(obj=deployment(**status), resource=DEPLOYMENTS)
        for status in ({"availableReplicas": 2}, {"availableReplicas": 3}, {})
    ]
    async with evaluating() as cel:
        await cel.check(fires, "", boolean=True)
        assert [await cel.holds(fires, one) for one in seen] == [True, False, True]
        assert await cel.value(says, seen[0]) == {"text": "orders is failing"}


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (Path(__file__).parents[2] / link).exists()] == []
