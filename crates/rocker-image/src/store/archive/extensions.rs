//! What the headers before an entry say about it, and whom to believe.

use super::ArchiveError;
use super::header::Header;
use super::pax::Pax;
use crate::store::text::printable;

/// What headers before an entry said about it.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) pax: Option<Pax>,
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

pub(super) fn set_once<T>(
    slot: &mut Option<T>,
    value: T,
    header: &Header,
) -> Result<(), ArchiveError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => {
            let path = printable(&header.name());
            Err(ArchiveError::Ambiguous {
                path,
                reason: "two extended headers of one kind describe one entry",
            })
        }
    }
}

/// Go prefers GNU's long name to the pax name, GNU tar the other way round.
pub(super) fn merge_names(
    short: Vec<u8>,
    gnu: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
) -> Result<Vec<u8>, ArchiveError> {
    match (gnu, pax) {
        (Some(gnu), Some(pax)) if gnu != pax => {
            let path = printable(&gnu);
            Err(ArchiveError::Ambiguous {
                path,
                reason: "its GNU name and its pax name differ",
            })
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Ok(short),
    }
}

/// An owner that chown(2) can set: 32 bits, and not the value that means "leave it".
pub(super) fn owner(pax: Option<u64>, header: i64) -> Option<u32> {
    let id = match pax {
        Some(id) => u32::try_from(id).ok()?,
        None => u32::try_from(header).ok()?,
    };
    (id != u32::MAX).then_some(id)
}
