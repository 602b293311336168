//! What can go wrong when the kernel is asked for something.

use std::io;

/// Why the kernel did not do what a netlink request asked for.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be opened.
    #[error("cannot open a netlink socket")]
    Open {
        /// What the kernel said.
        source: io::Error,
    },
    /// The batch could not be sent or its answer not be read.
    #[error("cannot talk to the kernel over netlink")]
    Talk {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused one request of the batch.
    #[error("{request}{}", explanation(.detail))]
    Refused {
        /// What was asked for.
        request: String,
        /// The kernel's own words, empty when it gave none.
        detail: String,
        /// The error number.
        source: io::Error,
    },
    /// The answer is not one that this kernel should give.
    #[error("the kernel's netlink answer is malformed ({what})")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
}

fn explanation(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}

impl NetlinkError {
    /// The error number of a refusal.
    pub(crate) fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            Self::Refused { source, .. } => rustix::io::Errno::from_io_error(source),
            Self::Open { .. } | Self::Talk { .. } | Self::Malformed { .. } => None,
        }
    }
}
