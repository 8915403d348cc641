"""Specs that the API server must refuse, in exactly these words, and odd ones that it must accept.

Each is a JSON merge patch of the smallest spec. A refusal names the field and the words that follow the field and its
value in the answer.
"""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]

SMALLEST: Spec = {
    "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
    "destination": {"url": "https://hooks.example.com/x"},
}


def source(**fields: Any) -> Spec:
    return {"sources": [{"apiVersion": "v1", "kind": "ConfigMap", **fields}]}


def header(**fields: Any) -> Spec:
    return {"destination": {"headers": [fields]}}


def url(text: str) -> Spec:
    return {"destination": {"url": text}}


FROM_SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
IN_SOURCE = "spec.sources[0]"
IN_HEADER = "spec.destination.headers[0]"
NO_HEADER = (
    "must not be a header that HTTP or Hookline sets; choose another name than those listed by "
    "`kubectl explain whsub.spec.destination.headers.name`"
)
NO_SECRET_VALUES = (
    'must be "Metadata" with a source of kind "Secret", unless there is a `transform`; '
    "the values of Secrets are never sent"
)
NO_LABEL_VALUE = 'must be a label value, of letters, digits, "-", "_" and "."'
NO_PATH = (
    'must be a path such as "status.availableReplicas" or '
    "\"metadata.annotations['example.com/owner']\", without indexes of lists"
)
NO_PLAIN_HTTP = (
    'must begin with "https://"; plain http is possible only by `urlFrom`, and where the administrator allows it'
)
NO_USER = (
    "must not contain a user name or password; put them into a Secret, and send them as a header, by "
    "`headers[].valueFrom`"
)
NO_HOST = 'must have a host after "https://", as in "https://hooks.example.com/orders"'
NO_PORT = 'must have a port from 1 to 65535 after the ":", or no ":" there'
NO_ODD_CHARACTERS = (
    "must not contain white space, backslashes, or characters other than ASCII; percent-encode them, and write an "
    'international host name in its "xn--" form'
)
NO_HEADER_VALUE = "must be printable ASCII characters, without line breaks, and without spaces at the ends"
ONE_VALUE = "must have exactly one of `value` and `valueFrom`"
ONE_URL = "must have exactly one of `url` and `urlFrom`"
NO_SECRET_NAME = 'must be the name of a Secret in the same namespace, of lower-case letters, digits, "-" and "."'
NO_TYPE = 'must be words of letters, digits and "_", separated by full stops, such as "com.example.orders.degraded"'
NO_CHANGED = 'must not be "Changes" without `spec.filter.changed`, which lists the fields to report'
NO_VALUES = (
    'must have values when `operator` is "In" or "NotIn", and must not be set when it is "Exists" or "DoesNotExist"'
)
NO_PATTERN = (
    'must be the exact name of an object; patterns such as "web-*" must be written as a `labelSelector` or as '
    "`spec.filter.expression`"
)
NO_FIELD_SELECTOR = 'must be requirements such as "status.phase=Failed", separated by commas, without spaces'

REFUSED: dict[str, tuple[Spec, str, str]] = {
    "no sources": (
        {"sources": []},
        "spec.sources",
        'must have at least one source, with an `apiVersion` such as "apps/v1" and a `kind` such as "Deployment"',
    ),
    "17 sources": (source() | {"sources": source()["sources"] * 17}, "spec.sources", "must have at most 16 items"),
    "no destination": ({"destination": None}, "spec.destination", "Required value"),
    "resource for apiVersion": (
        source(apiVersion="apps/v1/deployments"),
        f"{IN_SOURCE}.apiVersion",
        'must be a group and version such as "apps/v1", or "v1" for the core group',
    ),
    "kind with a slash": (
        source(kind="apps/Deployment"),
        f"{IN_SOURCE}.kind",
        'must be the kind of a resource, such as "Deployment"',
    ),
    "secrets": (source(kind="Secret"), "spec.payload.content", NO_SECRET_VALUES),
    "whole secrets": (
        source(kind="Secret") | {"payload": {"content": "Full"}},
        "spec.payload.content",
        NO_SECRET_VALUES,
    ),
    "namespaces from nowhere": (
        source(namespaces={"from": "Team"}),
        f"{IN_SOURCE}.namespaces.from",
        'supported values: "Same", "All", "Names", "Selector"',
    ),
    "names without from": (
        source(namespaces={"names": ["shop"]}),
        f"{IN_SOURCE}.namespaces.names",
        'must be set when `from` is "Names", and must not be set otherwise',
    ),
    "from Names without names": (
        source(namespaces={"from": "Names"}),
        f"{IN_SOURCE}.namespaces.names",
        'must be set when `from` is "Names", and must not be set otherwise',
    ),
    "from Names of none": (
        source(namespaces={"from": "Names", "names": []}),
        f"{IN_SOURCE}.namespaces.names",
        "must name at least one namespace",
    ),
    "namespace pattern": (
        source(namespaces={"from": "Names", "names": ["team-*"]}),
        f"{IN_SOURCE}.namespaces.names[0]",
        'must be the name of a namespace, such as "shop"; patterns such as "team-*" must be written as a `selector`',
    ),
    "from Selector without selector": (
        source(namespaces={"from": "Selector"}),
        f"{IN_SOURCE}.namespaces.selector",
        'must be set when `from` is "Selector", and must not be set otherwise',
    ),
    "from Selector of nothing": (
        source(namespaces={"from": "Selector", "selector": {}}),
        f"{IN_SOURCE}.namespaces.selector",
        'must have `matchLabels` or `matchExpressions`; to listen in every namespace, set `from` to "All" instead',
    ),
    "empty label selector": (
        source(labelSelector={"matchLabels": {}}),
        f"{IN_SOURCE}.labelSelector",
        "must have `matchLabels` or `matchExpressions`; to listen to every object, leave it out",
    ),
    "label key with a space": (
        source(labelSelector={"matchLabels": {"a b": "c"}}),
        f"{IN_SOURCE}.labelSelector.matchLabels",
        'must have label keys such as "app" or "app.kubernetes.io/name"',
    ),
    "label value with a space": (
        source(labelSelector={"matchLabels": {"app": "a b"}}),
        f"{IN_SOURCE}.labelSelector.matchLabels[app]",
        NO_LABEL_VALUE,
    ),
    "expression key with a space": (
        source(labelSelector={"matchExpressions": [{"key": "a b", "operator": "Exists"}]}),
        f"{IN_SOURCE}.labelSelector.matchExpressions[0].key",
        'must be a label key such as "app" or "app.kubernetes.io/name"',
    ),
    "expression value with a space": (
        source(labelSelector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["a b"]}]}),
        f"{IN_SOURCE}.labelSelector.matchExpressions[0].values[0]",
        NO_LABEL_VALUE,
    ),
    "In without values": (
        source(labelSelector={"matchExpressions": [{"key": "app", "operator": "In"}]}),
        f"{IN_SOURCE}.labelSelector.matchExpressions[0].values",
        NO_VALUES,
    ),
    "Exists with values": (
        source(labelSelector={"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["x"]}]}),
        f"{IN_SOURCE}.labelSelector.matchExpressions[0].values",
        NO_VALUES,
    ),
    "names of none": (
        source(names=[]),
        f"{IN_SOURCE}.names",
        "must have at least one name; to listen to every name, leave it out",
    ),
    "name pattern": (
        source(names=["web-*"]),
        f"{IN_SOURCE}.names[0]",
        NO_PATTERN,
    ),
    "name twice": (source(names=["a", "a"]), f"{IN_SOURCE}.names[1]", '"a"'),
    "field selector without value": (
        source(fieldSelector="status.phase"),
        f"{IN_SOURCE}.fieldSelector",
        NO_FIELD_SELECTOR,
    ),
    "empty field selector": (source(fieldSelector=""), f"{IN_SOURCE}.fieldSelector", NO_FIELD_SELECTOR),
    "no operations": (
        source(operations=[]),
        f"{IN_SOURCE}.operations",
        'must have at least one of "Created", "Updated" and "Deleted"; for all of them, leave it out',
    ),
    "operation in lower case": (
        source(operations=["created"]),
        f"{IN_SOURCE}.operations[0]",
        'supported values: "Created", "Updated", "Deleted"',
    ),
    "empty filter": (
        {"filter": {}},
        "spec.filter",
        "must have `changed` or `expression`; for every change, leave `filter` out",
    ),
    "nothing changed": (
        {"filter": {"changed": []}},
        "spec.filter.changed",
        "must have at least one path; for every change, leave it out",
    ),
    "path with an index": ({"filter": {"changed": ["spec.containers[0]"]}}, "spec.filter.changed[0]", NO_PATH),
    "path that begins with a full stop": ({"payload": {"exclude": [".spec"]}}, "spec.payload.exclude[0]", NO_PATH),
    "empty expression": (
        {"filter": {"expression": ""}},
        "spec.filter.expression",
        "spec.filter.expression in body should be at least 1 chars long",
    ),
    "unknown format": (
        {"payload": {"format": "Slack"}},
        "spec.payload.format",
        'supported values: "CloudEvents", "CloudEventsBinary", "StandardWebhooks", "Raw"',
    ),
    "type with a hyphen": ({"payload": {"type": "com.my-shop.order"}}, "spec.payload.type", NO_TYPE),
    "empty type": ({"payload": {"type": ""}}, "spec.payload.type", NO_TYPE),
    "type of a raw payload": (
        {"payload": {"format": "Raw", "type": "a.b"}},
        "spec.payload.type",
        'must not be set when `format` is "Raw", which has no place for a type',
    ),
    "content beside transform": (
        {"payload": {"content": "Full", "transform": "object"}},
        "spec.payload.content",
        "must not be set together with `transform`, which alone decides what is sent",
    ),
    "changes of nothing": ({"payload": {"content": "Changes"}}, "spec.payload.content", NO_CHANGED),
    "changes of an expression": (
        {"payload": {"content": "Changes"}, "filter": {"expression": "true"}},
        "spec.payload.content",
        NO_CHANGED,
    ),
    "neither url nor urlFrom": ({"destination": {"url": None}}, "spec.destination", ONE_URL),
    "url and urlFrom": ({"destination": {"urlFrom": FROM_SECRET}}, "spec.destination", ONE_URL),
    "http": (url("http://hooks.example.com/x"), "spec.destination.url", NO_PLAIN_HTTP),
    "url without scheme": (url("hooks.example.com/x"), "spec.destination.url", NO_PLAIN_HTTP),
    "empty url": (url(""), "spec.destination.url", NO_PLAIN_HTTP),
    "unguessable path of one's own": (
        {"destination": {"unguessablePath": "abc"}},
        "spec.destination.unguessablePath",
        'supported values: "Disabled", "Generated"',
    ),
    "url too long for a generated path": (
        {"destination": {"url": "https://hooks.example.com/" + "x" * 1975, "unguessablePath": "Generated"}},
        "spec.destination.url",
        'must have at most 2000 characters when `unguessablePath` is "Generated", which adds 44',
    ),
    "handshake of another kind": (
        {"destination": {"handshake": "WebSub"}},
        "spec.destination.handshake",
        'supported values: "Disabled", "CloudEvents"',
    ),
    "user and password": (url("https://me:secret@hooks.example.com/"), "spec.destination.url", NO_USER),
    "user alone": (url("https://me@hooks.example.com"), "spec.destination.url", NO_USER),
    "fragment": (
        url("https://hooks.example.com/x#y"),
        "spec.destination.url",
        'must not contain "#", since a fragment is never sent; write "%23" for the character itself',
    ),
    "space in url": (url("https://hooks.example.com/a b"), "spec.destination.url", NO_ODD_CHARACTERS),
    "line break in url": (url("https://hooks.example.com/\r\nX: y"), "spec.destination.url", NO_ODD_CHARACTERS),
    "backslash in url": (url("https://hooks.example.com\\x"), "spec.destination.url", NO_ODD_CHARACTERS),
    "umlaut in url": (url("https://hooks.example.com/ä"), "spec.destination.url", NO_ODD_CHARACTERS),
    "no host": (url("https:///x"), "spec.destination.url", NO_HOST),
    "nothing after the scheme": (url("https://"), "spec.destination.url", NO_HOST),
    "percent-encoded host": (url("https://%6cocalhost/"), "spec.destination.url", NO_HOST),
    "port 0": (url("https://hooks.example.com:0/"), "spec.destination.url", NO_PORT),
    "port 65536": (url("https://hooks.example.com:65536"), "spec.destination.url", NO_PORT),
    "port by name": (url("https://hooks.example.com:https/"), "spec.destination.url", NO_PORT),
    "secret name in upper case": (
        {"destination": {"url": None, "urlFrom": {"secretKeyRef": {"name": "S", "key": "k"}}}},
        "spec.destination.urlFrom.secretKeyRef.name",
        NO_SECRET_NAME,
    ),
    "secret key with a slash": (
        {"destination": {"url": None, "urlFrom": {"secretKeyRef": {"name": "s", "key": "a/b"}}}},
        "spec.destination.urlFrom.secretKeyRef.key",
        'must be a key of the Secret\'s data, of letters, digits, "-", "_" and "."',
    ),
    "secret without key": (
        {"destination": {"url": None, "urlFrom": {"secretKeyRef": {"name": "s"}}}},
        "spec.destination.urlFrom.secretKeyRef.key",
        "Required value",
    ),
    "header name with a space": (
        header(name="X Team", value="a"),
        f"{IN_HEADER}.name",
        'must be a header name, such as "X-Team", without spaces or colons',
    ),
    "header twice": (
        {"destination": {"headers": [{"name": "X-Team", "value": "a"}, {"name": "x-team", "value": "b"}]}},
        "spec.destination.headers",
        "must not have two headers whose names differ only in upper and lower case",
    ),
    "header with a line break": (header(name="X-Team", value="a\r\nb: c"), f"{IN_HEADER}.value", NO_HEADER_VALUE),
    "header with a space at the end": (header(name="X-Team", value="a "), f"{IN_HEADER}.value", NO_HEADER_VALUE),
    "header without value": (header(name="X-Team"), IN_HEADER, ONE_VALUE),
    "header with two values": (header(name="X-Team", value="a", valueFrom=FROM_SECRET), IN_HEADER, ONE_VALUE),
    "credentials in the open": (
        header(name="Authorization", value="Bearer x"),
        f"{IN_HEADER}.value",
        "must not hold credentials for everyone to read; put them into a Secret, and use `valueFrom`",
    ),
    "signing secret with a slash": ({"signing": {"secretName": "a/b"}}, "spec.signing.secretName", NO_SECRET_NAME),
    "ServiceAccount of another namespace": (
        {"serviceAccountName": "other/default"},
        "spec.serviceAccountName",
        'must be the name of a ServiceAccount in the same namespace, of lower-case letters, digits, "-" and "."',
    ),
    "no v1": (
        {"signing": {"schemes": ["v1a"]}},
        "spec.signing.schemes",
        'must have "v1", which every receiver understands',
    ),
    "timeout above 30": (
        {"delivery": {"timeoutSeconds": 31}},
        "spec.delivery.timeoutSeconds",
        "spec.delivery.timeoutSeconds in body should be less than or equal to 30",
    ),
    "timeout above the age": (
        {"delivery": {"timeoutSeconds": 20, "retry": {"maxAgeSeconds": 10}}},
        "spec.delivery.timeoutSeconds",
        "must not be greater than `retry.maxAgeSeconds`",
    ),
    "schedule and maxAttempts": (
        {"delivery": {"retry": {"schedule": [1], "maxAttempts": 2}}},
        "spec.delivery.retry.maxAttempts",
        "must not be set together with `schedule`, whose length decides the number of attempts",
    ),
    "schedule beyond the age": (
        {"delivery": {"retry": {"schedule": [60, 3600], "maxAgeSeconds": 3600}}},
        "spec.delivery.retry.schedule",
        "must not add up to more than `maxAgeSeconds`, since the last attempts would never be made",
    ),
    "schedule that falls": (
        {"delivery": {"retry": {"schedule": [60, 30]}}},
        "spec.delivery.retry.schedule",
        "must not have a wait that is shorter than the one before it",
    ),
    "empty schedule": (
        {"delivery": {"retry": {"schedule": []}}},
        "spec.delivery.retry.schedule",
        "must have at least one wait; for a single attempt, set `maxAttempts` to 1 instead",
    ),
    "11 attempts of a schedule of 10": (
        {"delivery": {"retry": {"maxAttempts": 11}}},
        "spec.delivery.retry.maxAttempts",
        "spec.delivery.retry.maxAttempts in body should be less than or equal to 10",
    ),
    "65 in flight": (
        {"delivery": {"maxInFlight": 65}},
        "spec.delivery.maxInFlight",
        "spec.delivery.maxInFlight in body should be less than or equal to 64",
    ),
    "ordering of everything": (
        {"delivery": {"ordering": "Global"}},
        "spec.delivery.ordering",
        'supported values: "None", "PerObject"',
    ),
    "rate limit without a rate": (
        {"delivery": {"rateLimit": {}}},
        "spec.delivery.rateLimit.perSecond",
        "Required value",
    ),
    "rate of 0": (
        {"delivery": {"rateLimit": {"perSecond": 0}}},
        "spec.delivery.rateLimit.perSecond",
        "spec.delivery.rateLimit.perSecond in body should be greater than or equal to 1",
    ),
    "rate above 1000": (
        {"delivery": {"rateLimit": {"perSecond": 1001}}},
        "spec.delivery.rateLimit.perSecond",
        "spec.delivery.rateLimit.perSecond in body should be less than or equal to 1000",
    ),
    "burst above 1000": (
        {"delivery": {"rateLimit": {"perSecond": 1, "burst": 1001}}},
        "spec.delivery.rateLimit.burst",
        "spec.delivery.rateLimit.burst in body should be less than or equal to 1000",
    ),
    "disabled before it began": (
        {"delivery": {"disableAfterSeconds": -1}},
        "spec.delivery.disableAfterSeconds",
        "spec.delivery.disableAfterSeconds in body should be greater than or equal to 0",
    ),
    "disabled after 31 days": (
        {"delivery": {"disableAfterSeconds": 31 * 86_400}},
        "spec.delivery.disableAfterSeconds",
        "spec.delivery.disableAfterSeconds in body should be less than or equal to 2592000",
    ),
} | {
    f"header {name}": (header(name=name, value="a"), f"{IN_HEADER}.name", NO_HEADER)
    for name in (
        *(
            "Webhook-Id",
            "CE-Type",
            "hookline-x",
            "Proxy-Authorization",
            "TraceParent",
            "tracestate",
            "Accept-Encoding",
            "Connection",
            "Content-Type",
        ),
        *("content-encoding", "CONTENT-LENGTH", "Expect", "Host", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding"),
        *("Upgrade", "User-Agent", "Content-Language"),
    )
}

ACCEPTED: dict[str, Spec] = {
    "the highest port and a query": url("https://hooks.example.com:65535?x=y"),
    "an at sign and a colon in the path": url("https://hooks.example.com/@team/a:99999@b"),
    "an IPv6 address": url("https://[2001:db8::1]:8443/x"),
    "a fully qualified host": url("https://hooks.example.com."),
    "a generated path, and a handshake": {
        "destination": {
            "url": "https://hooks.example.com/" + "x" * 1974,
            "unguessablePath": "Generated",
            "handshake": "CloudEvents",
        }
    },
    "a url from a Secret": {"destination": {"url": None, "urlFrom": FROM_SECRET}},
    "credentials from a Secret": header(name="Authorization", valueFrom=FROM_SECRET),
    "a header that only resembles a reserved one": header(name="X-Webhook-Id", value="a b"),
    "keys with dots and digits": {"filter": {"changed": ["data['app.yaml']", "metadata.labels['a/b'].c", "data.5xx"]}},
    "nothing excluded": {"payload": {"exclude": []}},
    "a kind in lower case": source(apiVersion="example.com/v1beta1", kind="helloworld"),
    "the name of an RBAC role": source(apiVersion="rbac.authorization.k8s.io/v1", kind="Role", names=["system:a"]),
    "a field selector of two": source(fieldSelector="status.phase=Failed,spec.nodeName!="),
    "secrets as metadata": source(kind="Secret") | {"payload": {"content": "Metadata"}},
    "secrets with a transform": source(kind="Secret") | {"payload": {"transform": "object.metadata.name"}},
    "content with raw format": {"payload": {"format": "Raw", "content": "Metadata"}},
    "order, a rate and no end": {
        "delivery": {"ordering": "PerObject", "rateLimit": {"perSecond": 1000, "burst": 1}, "disableAfterSeconds": 0}
    },
    "a single attempt": {"delivery": {"retry": {"maxAttempts": 1}}},
    "a schedule that fills the age": {"delivery": {"retry": {"schedule": [0, 15], "maxAgeSeconds": 15}}},
}
