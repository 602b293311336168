//! What an error tells beyond its text: which kind it is, and what would help.

/// What sort of failure an error is; behaviour follows the kind, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// The thing exists already, or is in a state that forbids the action.
    Conflict,
    /// The kernel or a registry said no.
    Denied,
    /// This host, kernel or version of rocker cannot do it.
    Unsupported,
    /// Bytes are not what a digest promised, or a path tried to leave its root.
    Tampered,
    /// A remote side did not answer, or not in time.
    Unavailable,
    /// The caller's input is malformed.
    Invalid,
    /// The user interrupted the operation.
    Interrupted,
    /// Something of rocker's own failed.
    Internal,
}

/// What the command line needs of every public error besides its text.
///
/// `hint` is a cure in the user's words; it is printed after the chain of causes, once.
pub trait Diagnose: std::error::Error {
    /// The sort of failure.
    fn kind(&self) -> ErrorKind;

    /// What the user could do about it, without a trailing full stop.
    fn hint(&self) -> Option<String> {
        None
    }
}
