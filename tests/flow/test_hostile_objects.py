"""Objects that are too large, or named to hurt: delivered, or dropped with a counted reason, and never a crash."""

import json
from pathlib import Path

from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, running
from support.rights import EVERYBODY_SEES_EVERYTHING

LARGEST = 2 * 1024 * 1024 - 4096
"""The API server sends at most 2 MiB to etcd, whatever etcd would take; the rest is for metadata."""

CRD = Path(__file__).parents[2] / "crds" / "hookline.dev_webhooksubscriptions.yaml"

ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
BLOBS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "blobs.test.example"},
    "spec": {
        "group": "test.example",
        "scope": "Namespaced",
        "names": {"plural": "blobs", "singular": "blob", "kind": "Blob", "listKind": "BlobList"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": ANYTHING}}],
    },
}


def test_a_name_made_to_break_out_of_a_header_stays_a_value(
    operator, subscriptions, receiver, control_plane, namespace
):
    subscriptions.ready(
        sources=[{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}],
        payload={"format": "CloudEventsBinary"},
    )
    hostile = 'x" y: ü;\\ $(id)'
    body = {"metadata": {"name": hostile}, "rules": []}
    control_plane.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles", body)
    request = eventually(lambda: receiver.requests, "a request")[0]
    assert request.headers["ce-subject"] == "x%22%20y:%20%C3%BC;\\%20$(id)"
    assert json.loads(request.body)["object"]["metadata"]["name"] == hostile


def test_the_largest_object_that_an_api_server_stores_arrives_whole(tmp_path, receiver):
    with ControlPlane(max_request_bytes=8 * 1024 * 1024) as plane:
        kubectl = Kubectl(plane)
        kubectl("apply", "-f", str(CRD))
        kubectl.apply(BLOBS, *EVERYBODY_SEES_EVERYTHING)
        kubectl(
            "wait", "--for=condition=Established", "crd/webhooksubscriptions.hookline.dev", "crd/blobs.test.example"
        )
        kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
        subscription = {
            "apiVersion": "hookline.dev/v1alpha1",
            "kind": "WebhookSubscription",
            "metadata": {"name": "blobs"},
            "spec": {
                "sources": [{"apiVersion": "test.example/v1", "kind": "Blob"}],
                "destination": {"url": receiver.url()},
            },
        }
        operator = LiveOperator(plane.kubeconfig, tmp_path / "operator", receiver.ca_pem)
        with running(operator):
            kubectl.apply(subscription, namespace="default")
            kubectl("wait", "--for=condition=Ready", "whsub/blobs", "--timeout=30s")
            blob = {
                "apiVersion": "test.example/v1",
                "kind": "Blob",
                "metadata": {"name": "large"},
                "blob": "x" * LARGEST,
            }
            plane.request("POST", "/apis/test.example/v1/namespaces/default/blobs", blob)
            request = eventually(lambda: receiver.requests, "the large object's event")[0]
            assert json.loads(request.body)["data"]["object"]["blob"] == "x" * LARGEST
