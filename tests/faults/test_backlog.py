"""A backlog of many messages, kept while its subscriptions are suspended, then drained: memory and rate.

Short: 3,000 messages. Full: 100,000.
"""

from support.cluster import eventually
from support.load import create_config_maps
from support.scale import note, scale
from support.vitals import memory

SUBSCRIPTIONS = scale(3, 5)
OBJECTS = scale(1000, 20_000)
COUNT = SUBSCRIPTIONS * OBJECTS
MOST_MIB = 300
PATIENCE = scale(60, 600)


def test_a_backlog_is_kept_and_drained_within_bounded_memory(
    operator, control_plane, namespace, subscriptions, receiver
):
    names = [f"sub-{number}" for number in range(SUBSCRIPTIONS)]
    for name in names:
        subscriptions.ready(name, delivery={"maxInFlight": 16})
        subscriptions.apply(name, delivery={"maxInFlight": 16}, suspend=True)
        subscriptions.wait("Suspended", name)
    pid = operator.process.pid
    idle = memory(pid)
    create_config_maps(control_plane.kubeconfig, namespace, [f"web-{number}" for number in range(OBJECTS)])
    eventually(
        lambda: operator.metric('hookline_outbox_messages{state="pending"}') == COUNT, "all messages wait", PATIENCE
    )
    assert receiver.requests == [], "the control: it is a backlog"
    filled = memory(pid)
    for name in names:
        subscriptions.apply(name, delivery={"maxInFlight": 16}, suspend=False)
    eventually(lambda: len(receiver.requests) >= COUNT, "the backlog is drained", PATIENCE)
    eventually(
        lambda: operator.metric('hookline_outbox_messages{state="delivered"}') == COUNT, "all are recorded", PATIENCE
    )
    requests = receiver.requests
    most = memory(pid, "VmHWM")
    seconds = requests[-1].arrived - requests[0].arrived
    note(
        f"{COUNT} messages drained in {seconds:.1f} s: {COUNT / seconds:.0f}/s with a receiver in Python on the same "
        f"cores; RSS {idle:.0f} MiB idle, {filled:.0f} with the backlog, {most:.0f} at most"
    )
    assert len({(request.target, request.id) for request in requests}) == len(requests) == COUNT
    assert most <= MOST_MIB
