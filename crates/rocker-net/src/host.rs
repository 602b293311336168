//! Which networks this host knows already: asked once in a bridge's life, so `rtnetlink` and
//! its runtime are affordable here. Never on the way to a running container.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::RouteMessageBuilder;

use crate::address::Ipv4Net;

/// Why the host's networks could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The connection to the kernel could not be opened.
    #[error("cannot ask the kernel about this host's networks")]
    Open {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel did not answer the question.
    #[error("cannot list this host's {what}")]
    List {
        /// What was asked for.
        what: &'static str,
        /// What went wrong.
        source: rtnetlink::Error,
    },
}

impl rocker_types::Diagnose for HostError {
    fn kind(&self) -> rocker_types::ErrorKind {
        rocker_types::ErrorKind::Internal
    }
}

/// Every IPv4 network that an address or a route of this host is in, without the routes to
/// "everything" (prefixes of 0 or 1 bit). For [`crate::choose_subnet`].
///
/// Runs a private runtime in the calling thread, which is gone when it returns.
///
/// # Errors
///
/// [`HostError`].
pub fn occupied_networks() -> Result<Vec<Ipv4Net>, HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|source| HostError::Open { source })?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|source| HostError::Open { source })?;
        let task = tokio::spawn(connection);
        let networks = list(&handle).await;
        task.abort();
        networks
    })
}

async fn list(handle: &rtnetlink::Handle) -> Result<Vec<Ipv4Net>, HostError> {
    let addresses: Vec<AddressMessage> = handle
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(|source| HostError::List {
            what: "addresses",
            source,
        })?;
    let routes: Vec<RouteMessage> = handle
        .route()
        .get(RouteMessageBuilder::<Ipv4Addr>::new().build())
        .execute()
        .try_collect()
        .await
        .map_err(|source| HostError::List {
            what: "routes",
            source,
        })?;
    let networks = addresses
        .iter()
        .filter_map(of_address)
        .chain(routes.iter().filter_map(of_route));
    Ok(networks.filter(|net| net.prefix_len() > 1).collect())
}

fn of_address(message: &AddressMessage) -> Option<Ipv4Net> {
    message.attributes.iter().find_map(|attribute| {
        let AddressAttribute::Address(IpAddr::V4(address)) = attribute else {
            return None;
        };
        Ipv4Net::containing(*address, message.header.prefix_len).ok()
    })
}

fn of_route(message: &RouteMessage) -> Option<Ipv4Net> {
    message.attributes.iter().find_map(|attribute| {
        let RouteAttribute::Destination(RouteAddress::Inet(address)) = attribute else {
            return None;
        };
        Ipv4Net::containing(*address, message.header.destination_prefix_length).ok()
    })
}
