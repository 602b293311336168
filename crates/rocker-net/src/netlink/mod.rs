//! Synchronous netlink: one socket, one send, the acknowledgements.
//!
//! `rtnetlink` with its runtime would cost more than all messages of a container together;
//! it serves [`crate::host`] instead. The encoding of routes, links and addresses is
//! `netlink-packet-route`'s, the one of nftables is [`crate::nft`]'s.

mod error;
mod route;
mod socket;

pub use error::NetlinkError;
pub(crate) use route::{
    BridgePort, CONTAINER_INTERFACE, RouteSocket, VethPlan, add_address, add_default_route,
    create_bridge, create_veth, delete_link, delete_link_at, set_link_up, set_port_hairpin,
};
pub(crate) use socket::{Batch, Reply, Socket, attributes_of, flag};
