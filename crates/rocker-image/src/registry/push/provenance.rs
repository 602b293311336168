//! The registries that an image's layers came from: found out about once in a push, and only
//! if a layer has to pass through.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use rocker_types::ImageRef;
use tokio::sync::OnceCell;

use crate::registry::Endpoint;
use crate::registry::fetch::{Errand, Repository};
use crate::registry::retry::Retry;

type Find = dyn Fn(&ImageRef) -> Option<Endpoint> + Send + Sync;

/// Where a repository that a layer came from is, and how to talk to its registry; `None` if it
/// shall not be asked.
///
/// Called from a thread of its own, since it may have to ask a program for a password: a call
/// that is still under way when the push has ended is left alone.
#[derive(Clone)]
pub struct Elsewhere(Arc<Find>);

impl Elsewhere {
    /// Wraps what finds out.
    pub fn new(find: impl Fn(&ImageRef) -> Option<Endpoint> + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Elsewhere")
    }
}

/// What was found out about one repository.
type Found<'a> = Rc<OnceCell<Option<Repository<'a>>>>;

/// All repositories that layers of one push came from.
pub(super) struct Provenance<'a> {
    elsewhere: Elsewhere,
    on_retry: &'a dyn Fn(Retry<'_>),
    known: RefCell<HashMap<String, Found<'a>>>,
}

impl<'a> Provenance<'a> {
    pub(super) fn new(elsewhere: Elsewhere, on_retry: &'a dyn Fn(Retry<'_>)) -> Self {
        Self {
            elsewhere,
            on_retry,
            known: RefCell::default(),
        }
    }

    /// The repository of `origin`, if it can be asked. Whoever comes second waits for what the
    /// first finds out.
    pub(super) async fn find(&self, origin: &ImageRef) -> Found<'a> {
        let name = format!("{}/{}", origin.registry(), origin.repository());
        let found = Rc::clone(self.known.borrow_mut().entry(name).or_default());
        found.get_or_init(|| self.connect(origin)).await;
        found
    }

    async fn connect(&self, origin: &ImageRef) -> Option<Repository<'a>> {
        let (elsewhere, asked) = (self.elsewhere.clone(), origin.clone());
        let place = tokio::task::spawn_blocking(move || (elsewhere.0)(&asked));
        // an error is a panic of that thread, which was told already
        let place = place.await.ok().flatten()?;
        let errand = Errand::pull(&place.registry, &place.repository);
        match Repository::connect(&errand, &place.options, self.on_retry).await {
            Ok(repository) => Some(repository),
            Err(error) => {
                tracing::debug!(%origin, %error, "the layer's registry cannot be asked");
                None
            }
        }
    }
}
