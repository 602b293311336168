//! Which system calls a container may make.
//!
//! The default profile is an allow-list. What is not on it is unknown to the container
//! (`ENOSYS`), so that programs fall back as they would on an older kernel; what is known and
//! forbidden, or needs a capability that the container lacks, is `EPERM`. A few calls are
//! judged by their arguments ([`table::Rule`]).
//!
//! Every ABI of the machine is filtered: on x86_64 also i386 (`int 0x80`), with a table of its
//! own; x32 has none, so all of its calls are unknown. A program of any other architecture
//! (32-bit ARM on aarch64) is killed by its first call.
//!
//! The filter is a binary tree over the call number: the kernel runs it once per number when
//! it is loaded, so depth is what a container's start pays for.

mod allowed;
mod architecture;
mod profile;
mod program;
mod restricted;
mod table;
mod tree;

pub use architecture::Architecture;
pub use program::{Program, SeccompPolicy, compile};
