"""50 changes a second to a receiver that answers 503 to one request in a hundred: memory, descriptors, and no loss.

Short: 20 s. Full: 20 minutes.
"""

import statistics
import time

from support.cluster import eventually
from support.load import Changes, Mix
from support.receiver import Answer
from support.scale import note, scale, seeded
from support.told import account
from support.vitals import descriptors, memory

SECONDS = scale(20, 1200)
PER_SECOND = 50
WARM_UP = scale(8, 300)
WINDOW = scale(4, 60)
GROWTH = 1.05
FAULTY = 0.01
IN_FLIGHT = 4


def watch_vitals(pid, changes):
    """Once a second, while the load lasts: (seconds since the begin, memory, descriptors)."""
    samples = []
    begun = time.monotonic()
    while changes.working:
        samples.append((time.monotonic() - begun, memory(pid), descriptors(pid)))
        time.sleep(1)  # a sampling rate: nothing is waited for
    return samples


def test_memory_and_descriptors_stay_constant_and_nothing_is_lost(
    operator, control_plane, namespace, subscriptions, receiver
):
    rng = seeded()
    count = SECONDS * PER_SECOND
    answers = [Answer(503 if rng.random() < FAULTY else 200) for _ in range(2 * count)]
    receiver.do(lambda live: live.answers(*answers))
    subscriptions.ready(delivery={"maxInFlight": IN_FLIGHT, "retry": {"schedule": [1] * 20}})
    # As many come as go, once the first are there: what is watched does not grow, so nothing else has a reason to.
    mix = Mix(create=0.2, update=0.6, delete=0.2, per_second=PER_SECOND)
    changes = Changes(control_plane.kubeconfig, namespace, rng, mix)
    changes.allow(count)
    changes.finish_soon()
    samples = watch_vitals(operator.process.pid, changes)
    journal = changes.finish()
    eventually(lambda: len(set(receiver.ids)) >= count, "everything arrived", 60)
    eventually(lambda: operator.metric('hookline_outbox_messages{state="pending"}') == 0, "everything is delivered", 60)
    warm = [sample for sample in samples if WARM_UP <= sample[0] < WARM_UP + WINDOW]
    last = [sample for sample in samples if sample[0] >= samples[-1][0] - WINDOW]
    (_, rss, open_), (_, rss_end, open_end) = (
        tuple(map(statistics.median, zip(*part, strict=True))) for part in (warm, last)
    )
    most, most_end = (max(sample[2] for sample in part) for part in (warm, last))
    refused = operator.metric('hookline_delivery_attempts_total{outcome="retry"}')
    note(
        f"{count} changes in {samples[-1][0]:.0f} s, {refused:.0f} answered 503; RSS {rss:.1f} -> {rss_end:.1f} MiB "
        f"({(rss_end / rss - 1) * 100:+.1f} %), descriptors {open_:g} -> {open_end:g}, at most {most} -> {most_end}"
    )
    found = account(journal, receiver.requests, "/orders")
    assert found.expected == count
    assert found.wrong == {}
    assert refused > 0
    assert found.duplicates == refused, "a retry for each 503, and nothing else twice"
    assert rss_end <= rss * GROWTH
    assert max(open_end - open_, most_end - most) <= IN_FLIGHT, "connections to the receiver come and go, nothing else"
