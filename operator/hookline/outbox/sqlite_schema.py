"""The tables of the SQLite outbox, as a list of migrations.

In: nothing. Out: ``MIGRATIONS`` (entry *n* brings ``PRAGMA user_version`` from *n* to *n + 1*) and the states' numbers.
Released entries are never edited: a change of the schema is a new entry. ``sqlite_file`` applies them.
"""

from __future__ import annotations

APPLICATION_ID = 0x686F6F6B
"""``PRAGMA application_id``: ASCII "hook", so that ``file(1)`` and we know our own files."""

PENDING, DELIVERED, DEAD = range(3)
"""Values of ``messages.state``."""

# What changes with every attempt (messages) is kept apart from what never changes (contents): an UPDATE rewrites the
# whole record, and recording a verdict would otherwise write each body a second time.
# Constraints say what the code relies on: a bug in the counters fails the call instead of being stored.
# A message is the head of its object when no older one of the object is pending: in an ordered subscription only heads
# are handed out, whose index finds them however many wait behind. Triggers keep it (NULL where nobody needs it), so
# that it holds whatever makes a message pending or finished.
# ``seal`` is the number of the key that a body or a last-seen object is sealed with (``sealing``), NULL where it is
# clear: then its indexes are empty.
# Replays are counted by triggers, so that each way in which a message ends counts, also one that is added later. Their
# numbers are never used again (AUTOINCREMENT): messages keep that of a replay which is forgotten.
_VERSION_1 = """
CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    sequence INTEGER NOT NULL,
    ordered INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0 CHECK (pending >= 0),
    delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered >= 0),
    dead INTEGER NOT NULL DEFAULT 0 CHECK (dead >= 0),
    pending_bytes INTEGER NOT NULL DEFAULT 0 CHECK (pending_bytes >= 0),
    delivered_bytes INTEGER NOT NULL DEFAULT 0 CHECK (delivered_bytes >= 0),
    dead_bytes INTEGER NOT NULL DEFAULT 0 CHECK (dead_bytes >= 0)
) STRICT;

CREATE TABLE messages (
    row INTEGER PRIMARY KEY,
    subscription INTEGER NOT NULL,
    id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    object_uid TEXT NOT NULL,
    event_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    observed REAL NOT NULL,
    stored REAL NOT NULL,
    state INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),
    due REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    tried INTEGER GENERATED ALWAYS AS (attempts > 0) VIRTUAL,
    head INTEGER,
    reason TEXT,
    status_code INTEGER,
    finished REAL,
    replay INTEGER,
    replayed REAL,
    UNIQUE (subscription, id),
    CHECK ((state = 0) = (due IS NOT NULL)),
    CHECK ((state = 0) = (finished IS NULL)),
    CHECK ((replay IS NULL) = (replayed IS NULL))
) STRICT;
CREATE INDEX messages_pending ON messages (subscription, tried, due) WHERE state = 0;
CREATE INDEX messages_heads ON messages (subscription, tried, due) WHERE state = 0 AND head = 1;
CREATE INDEX messages_objects ON messages (subscription, object_uid) WHERE state = 0 AND head IS NOT NULL;
CREATE INDEX messages_finished ON messages (subscription, state, finished) WHERE finished IS NOT NULL;

CREATE TABLE contents (
    row INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    seal INTEGER,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX contents_sealed ON contents (seal) WHERE seal IS NOT NULL;

CREATE TRIGGER head_added AFTER INSERT ON messages
WHEN (SELECT ordered FROM subscriptions WHERE id = new.subscription) BEGIN
    UPDATE messages SET head = NOT EXISTS (SELECT 1 FROM messages INDEXED BY messages_objects
        WHERE state = 0 AND head IS NOT NULL AND subscription = new.subscription AND object_uid = new.object_uid)
    WHERE row = new.row;
END;
CREATE TRIGGER head_finished AFTER UPDATE OF state ON messages
WHEN old.state = 0 AND new.state <> 0 AND new.head = 1 BEGIN
    UPDATE messages SET head = 1 WHERE row = (SELECT row FROM messages INDEXED BY messages_objects
        WHERE state = 0 AND head IS NOT NULL AND subscription = new.subscription AND object_uid = new.object_uid
        ORDER BY row LIMIT 1);
END;
CREATE TRIGGER head_again AFTER UPDATE OF state ON messages WHEN old.state <> 0 AND new.state = 0 BEGIN
    UPDATE messages SET head = 0 WHERE row = (SELECT row FROM messages INDEXED BY messages_objects
        WHERE state = 0 AND head IS NOT NULL AND subscription = new.subscription AND object_uid = new.object_uid
        AND row > new.row ORDER BY row LIMIT 1);
    UPDATE messages SET head = CASE WHEN (SELECT ordered FROM subscriptions WHERE id = new.subscription)
        THEN NOT EXISTS (SELECT 1 FROM messages INDEXED BY messages_objects
            WHERE state = 0 AND head IS NOT NULL AND subscription = new.subscription
            AND object_uid = new.object_uid AND row < new.row) END
    WHERE row = new.row;
END;
CREATE TRIGGER heads_wanted AFTER UPDATE OF ordered ON subscriptions WHEN new.ordered AND NOT old.ordered BEGIN
    UPDATE messages SET head = 0 WHERE subscription = new.id AND state = 0;
    UPDATE messages SET head = 1 WHERE row IN (SELECT min(row) FROM messages INDEXED BY messages_objects
        WHERE state = 0 AND head IS NOT NULL AND subscription = new.id GROUP BY object_uid);
END;
CREATE TRIGGER heads_unwanted AFTER UPDATE OF ordered ON subscriptions WHEN old.ordered AND NOT new.ordered BEGIN
    UPDATE messages SET head = NULL WHERE subscription = new.id AND state = 0;
END;

CREATE TABLE replays (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    started REAL NOT NULL,
    total INTEGER NOT NULL DEFAULT 0,
    replayed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    CHECK (replayed + failed <= total)
) STRICT;
CREATE TRIGGER replay_finished AFTER UPDATE OF state ON messages
WHEN new.replay IS NOT NULL AND old.state = 0 AND new.state <> 0 BEGIN
    UPDATE replays SET replayed = replayed + (new.state = 1), failed = failed + (new.state = 2) WHERE id = new.replay;
END;
CREATE TRIGGER replay_dropped AFTER DELETE ON messages WHEN old.replay IS NOT NULL AND old.state = 0 BEGIN
    UPDATE replays SET failed = failed + 1 WHERE id = old.replay;
END;

CREATE TABLE scopes (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    resource_version TEXT
) STRICT;

CREATE TABLE seen (
    id INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL REFERENCES scopes ON DELETE CASCADE,
    uid TEXT NOT NULL,
    resource_version TEXT NOT NULL,
    projection BLOB NOT NULL,
    is_full INTEGER NOT NULL,
    seal INTEGER,
    UNIQUE (scope, uid)
) STRICT;
CREATE INDEX seen_sealed ON seen (seal) WHERE seal IS NOT NULL;

CREATE TABLE attachments (
    subscription TEXT NOT NULL,
    scope_key TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (subscription, scope_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE epoch (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO epoch VALUES (0, 0);
"""

# ``ground`` is what a message rests on (``Message.ground``); NULL where it is nothing, or from before. ``whole`` says
# that a seal holds all of a message together, not only its body and its name. The index serves whoever pages through.
_VERSION_2 = """
ALTER TABLE contents ADD COLUMN ground TEXT;
ALTER TABLE contents ADD COLUMN whole INTEGER NOT NULL DEFAULT 0 CHECK (whole IN (0, 1));
CREATE INDEX messages_sequence ON messages (subscription, sequence);
"""

MIGRATIONS = (_VERSION_1, _VERSION_2)
