CREATE TABLE IF NOT EXISTS handled ( -- the key of each message whose effect is in this database
	owner    TEXT NOT NULL,
	key      TEXT NOT NULL,
	at       TIMESTAMP NOT NULL,
	first_by TEXT NOT NULL,          -- how it came: push, backfill
	last_by  TEXT NOT NULL,
	times    INTEGER NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX IF NOT EXISTS handled_once ON handled (owner, key);

CREATE TABLE IF NOT EXISTS events (
	owner   TEXT NOT NULL,
	about   TEXT NOT NULL, -- a device or a space
	key     TEXT NOT NULL,
	payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counts ( -- of events: wrong as soon as one is counted twice
	owner  TEXT NOT NULL,
	about  TEXT NOT NULL,
	events INTEGER NOT NULL,
	PRIMARY KEY (owner, about)
);
CREATE TABLE IF NOT EXISTS states ( -- the newest of each device
	owner   TEXT NOT NULL,
	device  TEXT NOT NULL,
	at      INTEGER NOT NULL, -- nanoseconds since 1970
	payload BLOB NOT NULL,
	PRIMARY KEY (owner, device)
);
CREATE TABLE IF NOT EXISTS dead_letters (
	owner   TEXT NOT NULL,
	digest  TEXT NOT NULL,
	why     TEXT NOT NULL,
	payload BLOB,
	PRIMARY KEY (owner, digest)
);
