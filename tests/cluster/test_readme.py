"""The README's example is true: the API server takes it, it compiles, and it yields what the text says."""

import re
from pathlib import Path

import yaml

from hookline.api.parse import parse
from hookline.expressions import Bindings, compile_filter, compile_value
from support.samples import DEPLOYMENTS, change

README = (Path(__file__).parents[2] / "README.md").read_text()
MANIFESTS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
EXAMPLE = MANIFESTS[0]


def test_every_manifest_is_accepted(crds, kubectl, namespace):
    for manifest in MANIFESTS:
        kubectl.apply(manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}})
    parse(kubectl.json("get", "whsub", "failing-orders", "-n", namespace))


def test_the_example_fires_for_a_failing_deployment_and_names_it():
    def deployment(**status):
        metadata = {"name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": "7"}
        return {"metadata": metadata, "spec": {"replicas": 3}, "status": status}

    fires = compile_filter(EXAMPLE["spec"]["filter"]["expression"], "")
    seen = [
        Bindings(change(obj=deployment(**status), resource=DEPLOYMENTS))
        for status in ({"availableReplicas": 2}, {"availableReplicas": 3}, {})
    ]
    assert [bindings.holds(fires) for bindings in seen] == [True, False, True]
    said = seen[0].value(compile_value(EXAMPLE["spec"]["payload"]["transform"], ""))
    assert said == {"text": "orders is failing"}


def test_every_file_that_the_readme_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (Path(__file__).parents[2] / link).exists()] == []
