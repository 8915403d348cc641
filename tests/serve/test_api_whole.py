"""A real operator and a real delivery, read through its API: by list, get and watch."""

from __future__ import annotations

from support.cluster import eventually
from support.live import LiveOperator, running
from support.served import AUDIENCE, BASE, ApiClient, free_port, token_of


def test_a_delivery_is_seen_by_list_get_and_watch(
    make_operator, control_plane, subscriptions, config_map, receiver, namespace
):
    port = free_port()
    operator = make_operator("--api-port", str(port)).start()
    subscriptions.ready()
    api = ApiClient(port, token_of(control_plane, namespace, "default", AUDIENCE))
    path = BASE.format(namespace, "orders")
    stream = api.lines(f"{path}?watch=true")
    assert stream.code == 200

    config_map("a", key="value")
    request = eventually(lambda: receiver.requests, "the delivery arrives")[0]
    eventually(lambda: stream.states(request.id)[-1:] == ["Delivered"], "the stream tells that it was delivered")

    code, listed = api.get(path)
    assert (code, [item["metadata"]["name"] for item in listed["items"]]) == (200, [request.id])
    code, shown = api.get(f"{path}/{request.id}")
    assert code == 200
    assert shown["status"]["state"] == "Delivered"
    assert shown["request"]["body"] == request.body.decode()
    assert {(h["name"], h["value"]) for h in shown["request"]["headers"]} <= {
        (name.lower(), value) for name, value in request.headers.items()
    }
    assert operator.metric('hookline_api_requests_total{code="200",verb="list"}') == 1
    assert operator.metric('hookline_api_requests_total{code="200",verb="watch"}') == 1

    assert operator.stop() == 0
    assert stream.ended.wait(10), "the stream ends cleanly when the operator does"
    stream.close()


def test_a_pod_that_stands_by_says_that_it_does_not_lead(control_plane, make_operator, receiver, namespace, tmp_path):
    election = ("--lease-namespace", namespace)
    make_operator(*election).start()
    port = free_port()
    flags = ("--namespace", namespace, "--api-port", str(port), *election)
    with running(LiveOperator(control_plane.kubeconfig, tmp_path / "standby", receiver.ca_pem, *flags)):
        code, said = ApiClient(port).get(BASE.format(namespace, "orders"))
    assert (code, said["reason"]) == (503, "NotLeader")
