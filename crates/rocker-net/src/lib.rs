//! Gives a network namespace an address, a name and a way out.
//!
//! ```text
//!   engine            PortForwarder::bind   reserves the host's ports, before the container is made
//!   monitor           attach                bridge, veth pair, address, route, nftables elements
//!                     PortForwarder::drive  traffic from this host to 127.0.0.1
//!                     withdraw              no port is published any more
//!                     depart                its very last act, when nobody waits any more: the veth
//!                                           pair, and the bridge if nobody comes for a while
//!   recovery          leave, sweep          the same for one that died
//! ```
//!
//! Everything here is synchronous, runs no other program (but `iptables-legacy`, where that is
//! what drops forwarded packets), and keeps no record: what is there, the kernel knows.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod address;
mod attach;
mod bridge;
pub mod check;
mod conntrack;
mod detach;
pub mod files;
mod forward;
mod forwarding;
pub mod host;
mod legacy;
mod lock;
mod name;
mod netlink;
mod netns;
mod nft;
mod subnet;
mod sweep;

pub use address::{InvalidNet, Ipv4Net, Mac};
pub use attach::{AttachError, Attached, Attachment, LoopbackError, attach, loopback_up, restore};
pub use bridge::{BridgeConfig, DEFAULT_BRIDGE};
pub use detach::{
    HostInterface, TeardownError, UndoError, detach, has_interface, interface_of, leave,
    remove_interface_of, withdraw,
};
pub use forward::{PortError, PortForwarder};
pub use legacy::LegacyError;
pub use lock::LockError;
pub use name::{InterfaceName, InvalidInterfaceName};
pub use netlink::NetlinkError;
pub use netns::NetnsError;
pub use subnet::{NoFreeSubnet, choose_subnet};
pub use sweep::{Census, depart, sweep};
