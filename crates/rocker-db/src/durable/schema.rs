//! Schema of the durable database, one script a version.

pub(super) const SCRIPTS: &[&str] = &[
    "
CREATE TABLE images(
    -- digest of the config: docker's image id
    id TEXT PRIMARY KEY,
    config TEXT NOT NULL,
    manifest_digest TEXT,
    size_bytes INTEGER NOT NULL,
    pulled_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE layers(
    diff_id TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    -- the compressed blob it came from; NULL for an import
    blob_digest TEXT,
    blob_size INTEGER
) STRICT;
CREATE TABLE image_layers(
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL REFERENCES layers(diff_id),
    PRIMARY KEY(image_id, position)
) STRICT;
CREATE INDEX image_layers_by_layer ON image_layers(diff_id);
-- what `repository:tag` means here, in canonical spelling
CREATE TABLE tags(
    reference TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images(id)
) STRICT;
CREATE INDEX tags_by_image ON tags(image_id);
-- `repository@digest` as pulled
CREATE TABLE repo_digests(
    reference TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) STRICT;
CREATE INDEX repo_digests_by_image ON repo_digests(image_id);
CREATE TABLE volumes(
    name TEXT PRIMARY KEY,
    created_ns INTEGER NOT NULL,
    labels TEXT NOT NULL,
    anonymous INTEGER NOT NULL
) STRICT;
CREATE TABLE containers(
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    image_id TEXT,
    definition TEXT NOT NULL,
    volumes TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    status TEXT NOT NULL,
    exit_code INTEGER NOT NULL,
    oom_killed INTEGER NOT NULL,
    error TEXT NOT NULL,
    started_ns INTEGER,
    finished_ns INTEGER
) STRICT;
",
    "
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
-- grows with every change, so that a copy of a row tells whether this file has forgotten something
INSERT INTO meta VALUES('generation', 0);
-- what the layer takes on disk with all that belongs to it; NULL until it was measured
ALTER TABLE layers ADD COLUMN disk_bytes INTEGER;
",
    "
-- 1 where an archive chose the name: another archive may give it to another image
ALTER TABLE tags ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
-- what was pulled as NAME:TAG@DIGEST has its digest beside this
DELETE FROM tags WHERE instr(reference, '@') > 0;
",
    "
-- 1 where somebody asked for the image by this digest: that is a name of it, as a tag is
ALTER TABLE repo_digests ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
",
];
