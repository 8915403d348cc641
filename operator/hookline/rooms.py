"""All rooms, made and joined: which of them knows which, and nothing of when they start (``hookline.app`` has that).

In: settings, the API client, the opened store. Out: ``Rooms``, of which nothing runs yet.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from hookline import reasons
from hookline.api.parse import parse
from hookline.api.replay import parse_replay
from hookline.controller.access import Access
from hookline.controller.listener import Listener
from hookline.controller.quota import Quota
from hookline.controller.ranges import ClusterRanges
from hookline.controller.reconciler import Reconciler
from hookline.controller.replays import Replays
from hookline.controller.reviews import Reviews
from hookline.deliver.client import Client
from hookline.deliver.consents import Consents
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.handshake import origin_of
from hookline.deliver.profiles import Profiles
from hookline.deliver.proxy import Proxy
from hookline.deliver.verdict import judge
from hookline.deliver.worker import Dispatcher
from hookline.flow import Flow
from hookline.kube import KubeClient
from hookline.model import Grant
from hookline.observe.metrics import Metrics
from hookline.observe.tracing import Tracer
from hookline.outbox.schedule import next_attempt
from hookline.outbox.store import Store
from hookline.scopes import scope_keys, scopes_of
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
        self,
        settings: Settings,
        kube: KubeClient,
        store: Store,
        metrics: Metrics,
        sequences: Mapping[str, int],
        tracer: Tracer | None = None,
    ) -> None:
        self._metrics = metrics
        policy = AddressPolicy.parse(
            allowed_cidrs=settings.allow_cidrs,
            refused_cidrs=settings.refuse_cidrs,
            allowed_hosts=settings.allow_hosts,
            http_hosts=settings.allow_http_hosts,
        )
        bundle = Path(settings.ca_bundle).read_text() if settings.ca_bundle else None
        proxy = Proxy.parse(
            settings.egress_proxy, settings.egress_proxy_connect, settings.egress_proxy_credentials_file
        )
        self.client = Client(
            policy,
            tls_context(bundle),
            api=kube,
            extra_ca=bundle,
            proxy=proxy,
            refused=metrics.destination_refused,
        )
        self.ranges = ClusterRanges(kube, kube.server, policy.learn)
        pace = Pace(idle=settings.watch_idle_seconds, audit=settings.audit_seconds)
        self.namespaces = NamespaceIndex(kube, clock=time.time, random=random.random, pace=pace)
        self.discovery = discovery = Discovery(kube, clock=time.monotonic)
        on_error = metrics.status_patch_failed
        self.status = StatusWriter(kube, settings.status_interval_seconds, time.time, on_error)
        self.flow = flow = Flow(
            settings, store, sequences, self.namespaces, discovery, self.status, metrics, tracer=tracer
        )
        reviews = Reviews(kube, settings.access_reviews_per_second, time.monotonic, metrics.reviewed)
        self.access = Access(reviews, scopes_of, time.monotonic, self._granted, self._turned)
        judged = partial(judge, rand=random.random, next_attempt=next_attempt)
        self.dispatcher = Dispatcher(
            store,
            self.client,
            judged,
            flow.attempted,
            time.time,
            on_breaker=self.status.breaker,
            namespace_rate=settings.max_rate_per_namespace,
            may_send=self.access.may_send,
            standing=self.access.standing,
            trace=None if tracer is None else tracer.headers,
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
        origin = origin_of(settings.cluster_name)
        self.consents = Consents(self.client, origin, time.time, random.random, flow.consent)
        flow.join(self.watches, self.dispatcher, self.consents)
        self.reconciler = Reconciler(
            kube,
            flow,
            parse,
            discovery.resource,
            self.client.check_url,
            self.access,
            settings.namespaces,
            Quota(settings.max_subscriptions_per_namespace, settings.max_informers_per_namespace),
            scope_keys,
            Profiles().admit,
            settings.key_overlap_seconds,
            secret_metadata=settings.allow_secret_metadata,
            service_account_tokens=settings.allow_service_account_tokens,
        )
        self.replays = Replays(
            kube,
            store,
            parse_replay,
            self.reconciler.uid_of,
            self.access.owe,
            lambda uid: self.dispatcher.notify([uid]),
            ReplayStatus(self.status, time.time).show,
            settings.namespaces,
        )
        observers = {reasons.PLURAL: self.reconciler.observe, reasons.REPLAY_PLURAL: self.replays.observe}
        self.listener = Listener(kube.access, settings.namespaces, observers)

    def _granted(self, uid: str, grant: Grant) -> None:
        """What a ServiceAccount may do was found out. A subscription without rights has no place in any watch."""
        if self.status.access(uid, grant):
            self._metrics.dropped("gap")
        if grant.granted is False:
            self.watches.drop(uid)

    def _turned(self, uids: Iterable[str], flipped: bool) -> None:
        """They may, or may not any more, or (not ``flipped``) that is known again: what was held may go on."""
        for uid in uids:
            if flipped:
                self.reconciler.enqueue(uid)
            self.dispatcher.notify([uid])
