//! Schema of the live database, one script a version.

pub(super) const SCRIPTS: &[&str] = &[
    "
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE containers(
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- 0: --rm, forgotten with its end
    kept INTEGER NOT NULL,
    image_id TEXT,
    definition TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    status TEXT NOT NULL,
    pid INTEGER,
    pid_start INTEGER,
    monitor_pid INTEGER,
    monitor_start INTEGER,
    started_ns INTEGER,
    finished_ns INTEGER,
    exit_code INTEGER NOT NULL DEFAULT 0,
    oom_killed INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    restarts INTEGER NOT NULL DEFAULT 0,
    -- a person said stop (1) or restart (2): no restart policy applies
    stop_requested INTEGER NOT NULL DEFAULT 0,
    -- whether a definition was written to the durable database
    durable INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX containers_by_image ON containers(image_id);
CREATE TABLE networks(
    name TEXT PRIMARY KEY,
    bridge TEXT NOT NULL,
    -- IPv4 as numbers, host order
    subnet INTEGER NOT NULL,
    prefix_len INTEGER NOT NULL,
    gateway INTEGER NOT NULL,
    last_lease INTEGER NOT NULL
) STRICT;
CREATE TABLE leases(
    network TEXT NOT NULL REFERENCES networks(name),
    address INTEGER NOT NULL,
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY(network, address)
) STRICT;
CREATE INDEX leases_by_container ON leases(container);
CREATE TABLE ports(
    protocol TEXT NOT NULL,
    host_ip INTEGER NOT NULL,
    host_port INTEGER NOT NULL,
    container_port INTEGER NOT NULL,
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY(protocol, host_ip, host_port)
) STRICT;
CREATE INDEX ports_by_container ON ports(container);
CREATE TABLE volume_users(
    volume TEXT NOT NULL,
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY(volume, container)
) STRICT;
CREATE INDEX volume_users_by_container ON volume_users(container);
-- external resources of work under way; written before the resource is made
CREATE TABLE intents(
    seq INTEGER PRIMARY KEY,
    container TEXT NOT NULL,
    kind TEXT NOT NULL,
    resource TEXT NOT NULL
) STRICT;
CREATE INDEX intents_by_container ON intents(container);
",
    "
-- images that somebody has mounted to look into them, and how often
CREATE TABLE image_mounts(
    image TEXT NOT NULL,
    -- number of the mount namespace
    namespace INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY(image, namespace)
) STRICT;
",
];
