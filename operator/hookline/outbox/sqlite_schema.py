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
_VERSION_1 = """
CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    sequence INTEGER NOT NULL,
    pending INTEGER NOT NULL DEFAULT 0 CHECK (pending >= 0),
    delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered >= 0),
    dead INTEGER NOT NULL DEFAULT 0 CHECK (dead >= 0)
) STRICT;

CREATE TABLE messages (
    row INTEGER PRIMARY KEY,
    subscription INTEGER NOT NULL,
    id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    object_uid TEXT NOT NULL,
    event_type TEXT NOT NULL,
    observed REAL NOT NULL,
    stored REAL NOT NULL,
    state INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)),
    due REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    status_code INTEGER,
    finished REAL,
    UNIQUE (subscription, id),
    CHECK ((state = 0) = (due IS NOT NULL)),
    CHECK ((state = 0) = (finished IS NULL))
) STRICT;
CREATE INDEX messages_pending ON messages (subscription, due) WHERE state = 0;
CREATE INDEX messages_finished ON messages (state, finished) WHERE finished IS NOT NULL;

CREATE TABLE contents (
    row INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

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
    UNIQUE (scope, uid)
) STRICT;

CREATE TABLE attachments (
    subscription TEXT NOT NULL,
    scope_key TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (subscription, scope_key)
) STRICT, WITHOUT ROWID;
"""

MIGRATIONS = (_VERSION_1,)
