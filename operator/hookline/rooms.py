"""All rooms, made and joined: which of them knows which, and nothing of when they start (``hookline.app`` has that).

In: settings, the API client, the opened store. Out: ``Rooms``, of which nothing runs yet.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hookline import reasons
from hookline.api.parse import parse
from hookline.api.replay import parse_replay
from hookline.controller.listener import Listener
from hookline.controller.reconciler import Reconciler
from hookline.controller.replays import Replays
from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.verdict import judge
from hookline.deliver.worker import Dispatcher
from hookline.flow import Flow
from hookline.kube import KubeClient
from hookline.observe.metrics import Metrics
from hookline.outbox.schedule import next_attempt
from hookline.outbox.store import Store
from hookline.settings import Settings
from hookline.status.replay import ReplayStatus
from hookline.status.writer import StatusWriter
from hookline.watch.discovery import Discovery
from hookline.watch.manager import WatchManager
from hookline.watch.namespaces import NamespaceIndex
from hookline.watch.pace import Pace
from hookline.watch.teller import Hooks


class Rooms:
    """Everything between the API server and the receivers. Make it inside the running event loop.

    ``sequences`` are the highest numbers that the store has given out, by subscription uid. Raises SettingsError.
    """

    def __init__(
        self, settings: Settings, kube: KubeClient, store: Store, metrics: Metrics, sequences: Mapping[str, int]
    ) -> None:
        policy = AddressPolicy.parse(
            allowed_cidrs=settings.allow_cidrs,
            refused_cidrs=settings.refuse_cidrs,
            allowed_hosts=settings.allow_hosts,
            http_hosts=settings.allow_http_hosts,
        )
        bundle = Path(settings.ca_bundle).read_text() if settings.ca_bundle else None
        self.client = Client(policy, tls_context(bundle))
        pace = Pace(idle=settings.watch_idle_seconds, audit=settings.audit_seconds)
        self.namespaces = NamespaceIndex(kube, clock=time.time, random=random.random, pace=pace)
        self.discovery = discovery = Discovery(kube, clock=time.monotonic)
        on_error = metrics.status_patch_failed
        self.status = StatusWriter(kube, settings.status_interval_seconds, time.time, on_error)
        self.flow = flow = Flow(settings, store, sequences, self.namespaces, discovery, self.status, metrics)
        judged = partial(judge, rand=random.random, next_attempt=next_attempt)
        self.dispatcher = Dispatcher(
            store, self.client, judged, flow.attempted, time.time, on_breaker=self.status.breaker
        )
        self.watches = WatchManager(
            kube,
            store,
            Hooks(flow.sink, flow.committed, flow.watch_problem, flow.change_dropped, flow.change_repaired),
            clock=time.time,
            random=random.random,
            on_attached=flow.attached,
            on_gap=flow.missed,
            pace=pace,
        )
        flow.join(self.watches, self.dispatcher)
        self.reconciler = Reconciler(
            kube, flow, parse, discovery.resource, lambda url: policy.check_url(url).origin, settings.namespaces
        )
        self.replays = Replays(
            kube,
            store,
            parse_replay,
            self.reconciler.uid_of,
            lambda uid: self.dispatcher.notify([uid]),
            ReplayStatus(self.status, time.time).show,
            settings.namespaces,
        )
        observers = {reasons.PLURAL: self.reconciler.observe, reasons.REPLAY_PLURAL: self.replays.observe}
        self.listener = Listener(kube.access, settings.namespaces, observers)
