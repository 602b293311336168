//! An installation for tests of the use-cases that need no kernel: databases in a directory of
//! their own, images and containers that are only rows.

use rocker_db::{NewContainer, NewImage};
use rocker_types::{ContainerId, Digest, ImageRef, Layout};
use tempfile::TempDir;

use crate::engine::{Engine, new_id, random};

/// An empty installation; it goes with the directory.
pub(crate) fn installation() -> (TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("root"), dir.path().join("run"));
    let engine = Engine::open(&layout).unwrap();
    (dir, engine)
}

/// Records a new image without layers that is called `name` from now on.
pub(crate) fn image(engine: &mut Engine, name: &str) -> Digest {
    let id = Digest::from_sha256(random().unwrap());
    let reference: ImageRef = name.parse().unwrap();
    let new = NewImage {
        id: &id,
        config: r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}}"#,
        manifest_digest: None,
        layers: &[],
        reference: Some(&reference),
        repo_digest: None,
        pulled_ns: 1,
    };
    engine.record_image(&new).unwrap();
    id
}

/// Records a kept container that has never been started.
pub(crate) fn container(engine: &mut Engine, name: &str, image_id: Option<&Digest>) -> ContainerId {
    container_of(engine, name, image_id, "{}")
}

/// The same of a given definition.
pub(crate) fn container_of(
    engine: &mut Engine,
    name: &str,
    image_id: Option<&Digest>,
    definition: &str,
) -> ContainerId {
    let id = new_id().unwrap();
    let tx = engine.live.begin().unwrap();
    tx.insert(&NewContainer {
        id: &id,
        name: &name.parse().unwrap(),
        kept: true,
        image_id,
        definition,
        created_ns: 1,
        volumes: &[],
    })
    .unwrap();
    tx.mark_durable(&id).unwrap();
    tx.commit().unwrap();
    id
}
