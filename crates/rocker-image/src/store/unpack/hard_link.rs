//! Second names for files.

use std::rc::Rc;

use rustix::fs::{AtFlags, linkat};

use super::name::EntryPath;
use super::place::{Existing, Place};
use super::unpacker::Unpacker;
use crate::store::UnpackError;

/// A hard link whose target the layer does not have: some layer below must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingLink {
    /// Plain path without links of the new name.
    pub(crate) path: Vec<u8>,
    /// Plain path of the target.
    pub(crate) target: Vec<u8>,
}

impl Unpacker<'_> {
    /// The target is looked for in this layer, links in the middle of its name resolved as
    /// everywhere; a link as the last component is linked to itself, never followed.
    pub(super) fn add_hard_link(
        &mut self,
        place: &Place<'_>,
        target: &[u8],
    ) -> Result<(), UnpackError> {
        let target = EntryPath::parse(target, self.limits)?;
        let path = place.path();
        let Some((above, leaf)) = target.split() else {
            return place.refuse("it is a hard link to a directory");
        };
        let source = self
            .directories
            .find(above)?
            .map(|directory| Place { directory, leaf });
        let named = source.as_ref().map(Place::path);
        let existing = match &source {
            Some(source) if source.path() == path => {
                return place.refuse("it is a hard link to itself");
            }
            Some(source) => source.inspect()?,
            None => None,
        };
        match (existing, source) {
            (Some(Existing::Directory), _) => place.refuse("it is a hard link to a directory"),
            (Some(Existing::Whiteout), _) => {
                place.refuse("it is a hard link to a file that the layer deletes")
            }
            (Some(Existing::Link | Existing::Content | Existing::Other), Some(source)) => self
                .replacing(place, "create hard link", |place| {
                    linkat(
                        &source.directory,
                        source.leaf,
                        &place.directory,
                        place.leaf,
                        AtFlags::empty(),
                    )
                }),
            _ => {
                // A link to a link that waits for the layers below waits for the same file.
                let waiting = named.and_then(|path| self.pending.get(&path).cloned());
                let target = waiting.unwrap_or_else(|| target.as_bytes().into());
                self.add_pending_link(place, target)
            }
        }
    }

    fn add_pending_link(&mut self, place: &Place<'_>, target: Rc<[u8]>) -> Result<(), UnpackError> {
        if let Some(existing) = place.inspect()? {
            self.clear(place, existing)?;
        }
        let link = PendingLink {
            path: place.path(),
            target: target.to_vec(),
        };
        let indexed = size_of::<(Vec<u8>, Rc<[u8]>)>() + link.path.len() + target.len();
        let listed = size_of::<PendingLink>() + link.path.len() + target.len();
        self.directories.charge(indexed + listed)?;
        self.pending.insert(link.path.clone(), target);
        self.links.push(link);
        Ok(())
    }
}
