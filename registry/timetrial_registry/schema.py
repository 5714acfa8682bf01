"""The tables of registry.db, and the triggers that keep what is published as it is."""

from __future__ import annotations

SCHEMA_VERSION = 1
APPLICATION_ID = 0x74745231
"""Written into the file's header: "ttR1"."""

NOW = "(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))"
"""The time of a transaction is the database's."""

TABLES = f"""
CREATE TABLE model (
    name TEXT PRIMARY KEY,
    created_at TEXT NOT NULL DEFAULT {NOW},
    description TEXT
);
CREATE TABLE version (
    name TEXT NOT NULL REFERENCES model (name),
    version INTEGER NOT NULL CHECK (version > 0),
    digest TEXT NOT NULL,
    tensor_digest TEXT NOT NULL,
    manifest TEXT NOT NULL,
    stage TEXT,
    size INTEGER NOT NULL,
    created_at TEXT NOT NULL DEFAULT {NOW},
    created_by TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'deleted')),
    deleted_at TEXT,
    PRIMARY KEY (name, version),
    UNIQUE (name, digest)
);
CREATE INDEX version_digest ON version (digest);
CREATE TABLE edge (
    child TEXT NOT NULL,
    role TEXT NOT NULL,
    ref TEXT NOT NULL,
    parent TEXT,
    revision TEXT,
    PRIMARY KEY (child, role, ref)
);
CREATE INDEX edge_parent ON edge (parent);
CREATE TABLE alias (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated_at TEXT NOT NULL DEFAULT {NOW},
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES version (name, version)
);
CREATE TABLE alias_log (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    old INTEGER,
    new INTEGER,
    at TEXT NOT NULL DEFAULT {NOW},
    by TEXT NOT NULL,
    reason TEXT
);
CREATE TABLE metric (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    dataset TEXT NOT NULL,
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    revision TEXT,
    split TEXT,
    stderr REAL,
    n INTEGER,
    params TEXT NOT NULL,
    run_digest TEXT,
    at TEXT NOT NULL DEFAULT {NOW},
    FOREIGN KEY (name, version) REFERENCES version (name, version)
);
CREATE UNIQUE INDEX metric_of_run ON metric (
    name, version, run_digest, dataset, metric, coalesce(revision, ''), coalesce(split, ''), params
) WHERE run_digest IS NOT NULL;
CREATE INDEX metric_of_version ON metric (name, version);
CREATE TABLE tag (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name, version, key),
    FOREIGN KEY (name, version) REFERENCES version (name, version)
);
CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    text TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT {NOW},
    by TEXT NOT NULL,
    FOREIGN KEY (name, version) REFERENCES version (name, version)
);
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT {NOW},
    by TEXT NOT NULL
);
CREATE TABLE checked_blob (
    sha256 TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL
) WITHOUT ROWID;
"""
"""`edge`, `stage`, `size` and `tensor_digest` repeat what manifests say, for queries; `verify` compares them.

`checked_blob` says which blobs were hashed when they had this size, time and inode.
"""

_IMMUTABLE_COLUMNS = "name, version, digest, tensor_digest, manifest, stage, size, created_at, created_by"
_APPEND_ONLY = ("alias_log", "metric", "note", "event")


def _refusal(name: str, action: str, table: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {action} ON {table} BEGIN SELECT RAISE(ABORT, '{table} is immutable'); END;\n"


TRIGGERS = (
    _refusal("version_is_immutable", f"UPDATE OF {_IMMUTABLE_COLUMNS}", "version")
    + _refusal("version_is_kept", "DELETE", "version")
    + "".join(_refusal(f"{table}_is_not_changed", "UPDATE", table) for table in _APPEND_ONLY)
    + "".join(_refusal(f"{table}_is_kept", "DELETE", table) for table in _APPEND_ONLY)
)
