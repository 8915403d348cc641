"""Which keys sign a subscription's messages now, which not any more, and the change from one to the next.

In: the signing Secret, the time, the overlap. Out: ``Signing``, for the target and the status. The Secret alone says
when a key came, so that a restart changes nothing: its entry ``v1`` is the oldest HMAC key, and ``v1.20260131T120000Z``
one that came then (``v1a`` likewise). A key signs from the moment it is there, and until a newer one was there for the
whole overlap. In a Secret of its own Hookline writes these entries itself; in others it writes nothing.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from hookline import keys, reasons
from hookline.controller.secrets import ROTATED_FOR, Secret, Secrets, signing_secret_name, text_of
from hookline.errors import ApiError, Conflict, InvalidKey, NotReadyError
from hookline.model import KeyTime, SigningKeys
from hookline.spec import Subscription

log = logging.getLogger(__name__)
MOST = 4
"""Keys of one scheme that sign at the same time: each makes every request longer."""
RETRY_SECONDS = 30.0
_STAMP = "%Y%m%dT%H%M%SZ"
_DATED = re.compile(r"(v1a?)\.(\d{8}T\d{6}Z)")
_PUBLIC = "v1a.pub"
_PARSERS: Mapping[str, Callable[[str], bytes]] = {"v1": keys.parse_hmac, "v1a": keys.parse_ed25519_private}


@dataclass(frozen=True, slots=True)
class Held:
    """One key of a Secret: its entry, its text, when it came, and until when it signs (None: it is the newest)."""

    entry: str
    text: str = field(repr=False)
    began: float = float("-inf")
    until: float | None = None

    def signs(self, now: float) -> bool:
        """Whether it signs."""
        return self.until is None or self.until > now


@dataclass(frozen=True, slots=True)
class Signing:
    """The keys that sign, and what the status says of them. ``again`` is when this must be looked at again."""

    secret: str
    keys: SigningKeys
    public: tuple[str, ...]
    times: tuple[KeyTime, ...]
    rotated: str = ""
    problem: str = ""
    again: float | None = None


def new_keys() -> dict[str, str]:
    """The entries of a fresh signing Secret."""
    seed = keys.new_ed25519()
    return {
        "v1": keys.encode_hmac(keys.new_hmac()),
        "v1a": keys.encode_ed25519_private(seed),
        _PUBLIC: keys.encode_ed25519_public(seed),
    }


async def signing_keys(subscription: Subscription, secrets: Secrets) -> Signing:
    """The keys of a subscription. Makes its Secret when it names none, and changes the keys when somebody asked for it.

    Raises NotReadyError when there is no key to sign with.
    """
    if subscription.signing_secret:
        name = subscription.signing_secret
        secret = await secrets.read(subscription, name)
        asked = bool(subscription.rotate_key) and secret.rotated != subscription.rotate_key
        problem = f"{reasons.ROTATE_KEY}: the Secret is yours, so add a key to it instead" if asked else ""
        return _signing(subscription, name, secret, secrets, problem)
    name = signing_secret_name(subscription.name)
    asked_for = {ROTATED_FOR: subscription.rotate_key} if subscription.rotate_key else {}
    secret = await secrets.own(subscription, name, "signing-key", new_keys, asked_for)
    problem = ""
    try:
        secret, problem = await _kept(subscription, name, secret, secrets)
    except Conflict:  # somebody else wrote: look again soon
        problem = "somebody else changed the Secret at the same time; it is tried again"
    except ApiError as error:
        problem = f"the Secret can't be changed: {error}"
        about = {"subscription": "/".join(subscription.key), "secret": name}
        log.warning("the signing keys can't be changed: %s", error, extra=about)
    return _signing(subscription, name, secret, secrets, problem)


async def _kept(subscription: Subscription, name: str, secret: Secret, secrets: Secrets) -> tuple[Secret, str]:
    """Change the operator's own Secret where that is due. Returns it as it is then, and what stands in the way."""
    now, overlap = secrets.clock(), secrets.overlap
    rotate = bool(subscription.rotate_key) and secret.rotated != subscription.rotate_key
    found = {scheme: held(secret, scheme, overlap) for scheme in _PARSERS}
    over = any(not key.signs(now) for key in (*found["v1"], *found["v1a"]))
    if not rotate and not over:
        return secret, ""
    if not (secret.managed and subscription.uid in secret.owners):
        return secret, f"Secret {name!r} was not made by Hookline, which leaves it as it is: add a key to it yourself"
    changes = dropped(found, now) if over else {}
    problem = ""
    if rotate and any(sum(key.signs(now) for key in of) >= MOST for of in found.values()):
        rotate, problem = False, f"{reasons.ROTATE_KEY}: {MOST} keys sign already; another comes when the oldest ends"
    if rotate:
        changes |= added(found, now)
    if not changes:
        return secret, problem
    annotations = {ROTATED_FOR: subscription.rotate_key} if rotate else {}
    changed = await secrets.change(subscription.namespace, name, secret, _encoded(changes), annotations)
    about = {"subscription": "/".join(subscription.key), "secret": name, "new": rotate}
    log.info("the signing keys are changed", extra=about)
    return changed, problem


def held(secret: Secret, scheme: str, overlap: float) -> list[Held]:
    """All keys of one scheme, the newest first, each value once. ``overlap`` is in seconds."""
    found = sorted(_entries(secret, scheme), key=lambda key: (key.began, key.entry), reverse=True)
    distinct: dict[str, Held] = {}
    for key in found:
        distinct.setdefault(key.text, key)
    ends = [None, *(key.began + overlap for key in distinct.values())]
    return [replace(key, until=end) for key, end in zip(distinct.values(), ends, strict=False)]


def added(found: Mapping[str, Sequence[Held]], now: float) -> dict[str, str]:
    """The entries of a new key of each scheme, later than all that are there, whatever the clock says."""
    newest = max([now, *(key.began + 1 for of in found.values() for key in of)])
    stamp = datetime.fromtimestamp(newest, UTC).strftime(_STAMP)
    made = new_keys()
    return {f"{scheme}.{stamp}": made[scheme] for scheme in _PARSERS}


def dropped(found: Mapping[str, Sequence[Held]], now: float) -> dict[str, str | None]:
    """The changes (None: removed) after which what signs no more is gone, and the oldest left has the plain name."""
    changes: dict[str, str | None] = {}
    for scheme, of in found.items():
        live = [key for key in of if key.signs(now)]
        changes |= {key.entry: None for key in of if not key.signs(now)}
        if live and live[-1].entry != scheme:
            changes |= {live[-1].entry: None, scheme: live[-1].text}
            if scheme == "v1a":
                changes[_PUBLIC] = keys.encode_ed25519_public(keys.parse_ed25519_private(live[-1].text))
    return changes


def _signing(subscription: Subscription, name: str, secret: Secret, secrets: Secrets, problem: str) -> Signing:
    now = secrets.clock()
    raw: dict[str, tuple[bytes, ...]] = {"v1": (), "v1a": ()}
    times: list[KeyTime] = []
    for scheme in raw:
        if scheme not in subscription.schemes:
            continue
        all_keys = held(secret, scheme, secrets.overlap)
        if not all_keys:
            text_of(secret, name, scheme)  # says what is missing
        live = [key for key in all_keys if key.signs(now)]
        if len(live) > MOST:
            message = f"Secret {name!r}: more than {MOST} {scheme} keys would sign: remove the oldest"
            raise NotReadyError(reasons.SECRET_INVALID, message)
        raw[scheme] = tuple(_parsed(name, scheme, key) for key in live)
        times += [KeyTime(key.entry, key.until) for key in all_keys]
    unused = sorted(entry for entry in secret.data if _misnamed(entry))
    if unused and not problem:
        problem = f"the entry {unused[0][:64]!r} is not used: name it {unused[0].partition('.')[0]}.YYYYMMDDTHHMMSSZ"
    ends = [key.until for key in times if key.until is not None and key.until > now]
    again = [now + RETRY_SECONDS] if problem and not subscription.signing_secret else []
    signing = SigningKeys(raw["v1"], raw["v1a"])
    public = tuple(map(keys.encode_ed25519_public, signing.ed25519))
    return Signing(name, signing, public, tuple(times), secret.rotated, problem, min([*ends, *again], default=None))


def _entries(secret: Secret, scheme: str) -> Iterator[Held]:
    for entry, value in secret.data.items():
        dated = _DATED.fullmatch(entry)
        if entry != scheme and (dated is None or dated[1] != scheme):
            continue
        try:
            text = value.decode().strip()
        except UnicodeDecodeError:
            text = ""  # reading it as a key says what is wrong
        began = float("-inf") if dated is None else max(_seconds(dated[2]), secret.since.get(entry, 0.0))
        yield Held(entry, text, began)


def _misnamed(entry: str) -> bool:
    dated = _DATED.fullmatch(entry)
    return entry != _PUBLIC and entry.startswith(("v1.", "v1a.")) and (dated is None or not _seconds(dated[2]))


def _seconds(stamp: str) -> float:
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:  # no such day
        return 0.0


def _parsed(name: str, scheme: str, key: Held) -> bytes:
    try:
        return _PARSERS[scheme](key.text)
    except InvalidKey as error:
        raise NotReadyError(reasons.SECRET_INVALID, f"Secret {name!r}, {key.entry!r}: {error}") from None


def _encoded(changes: Mapping[str, str | None]) -> dict[str, str | None]:
    return {
        entry: None if text is None else base64.b64encode(text.encode()).decode() for entry, text in changes.items()
    }
