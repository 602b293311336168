//! Networks, address leases and published ports.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use rocker_types::{ContainerId, Protocol, PublishedPort};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::containers::strings;
use super::rows::parse;
use super::{Intent, LiveDb, LiveTransaction};
use crate::DbError;

/// A network of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRow {
    /// Its name, `bridge` for the default one.
    pub name: String,
    /// Its bridge interface.
    pub bridge: String,
    /// First address of the subnet.
    pub subnet: Ipv4Addr,
    /// Length of the subnet's prefix in bits.
    pub prefix_len: u8,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
}

/// What a container needs before its resources are made.
#[derive(Clone, Copy, Debug)]
pub struct StartClaim<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// The network that gives it an address.
    pub network: Option<&'a str>,
    /// The ports to publish; a host port of 0 is not recorded until it is known.
    pub ports: &'a [PublishedPort],
    /// What will be made.
    pub intents: &'a [Intent],
}

/// What the claim won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartGrant {
    /// The container's address, if it asked for a network.
    pub address: Option<Ipv4Addr>,
}

impl LiveDb {
    /// The network of this name.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn network(&self, name: &str) -> Result<Option<NetworkRow>, DbError> {
        network(&self.db, name)
    }

    /// Reads every network, for who wants to know whether that can be done.
    pub(super) fn read_networks(&self) -> Result<(), DbError> {
        let failed = DbError::query("read a network");
        for name in strings(&self.db, "SELECT name FROM networks", &[])? {
            self.network(&name)?;
            let sql = "SELECT last_lease FROM networks WHERE name = ?1";
            let read = self.db.query_row(sql, [name], |row| row.get::<_, u32>(0));
            read.map_err(&failed)?;
        }
        Ok(())
    }

    /// The address that a container holds.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn address_of(&self, id: &ContainerId) -> Result<Option<Ipv4Addr>, DbError> {
        self.db
            .query_row(
                "SELECT address FROM leases WHERE container = ?1",
                [id.as_str()],
                |row| row.get::<_, u32>(0),
            )
            .optional()
            .map(|address| address.map(Ipv4Addr::from))
            .map_err(DbError::query("read a lease"))
    }

    /// The ports that a container publishes right now.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn ports_of(&self, id: &ContainerId) -> Result<Vec<PublishedPort>, DbError> {
        let ports = ports(&self.db, "WHERE container = ?1", params![id.as_str()])?;
        Ok(ports.into_iter().map(|(_, port)| port).collect())
    }

    /// The address of every container that holds one.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn addresses(&self) -> Result<HashMap<ContainerId, Ipv4Addr>, DbError> {
        let failed = DbError::query("read leases");
        let mut statement = self
            .db
            .prepare("SELECT container, address FROM leases")
            .map_err(&failed)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?)))
            .map_err(&failed)?;
        rows.map(|row| {
            let (id, address) = row.map_err(&failed)?;
            Ok((parse("a container id", id)?, Ipv4Addr::from(address)))
        })
        .collect()
    }

    /// The published ports of every container that has some.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`] and [`DbError::Corrupt`].
    pub fn ports(&self) -> Result<HashMap<ContainerId, Vec<PublishedPort>>, DbError> {
        let mut of = HashMap::<_, Vec<_>>::new();
        for (id, port) in ports(&self.db, "", params![])? {
            of.entry(parse("a container id", id)?)
                .or_default()
                .push(port);
        }
        Ok(of)
    }
}

fn ports(
    db: &Connection,
    clause: &str,
    values: &[&dyn ToSql],
) -> Result<Vec<(String, PublishedPort)>, DbError> {
    let failed = DbError::query("read ports");
    let sql = format!(
        "SELECT host_ip, host_port, container_port, protocol, container FROM ports {clause}
         ORDER BY container_port, host_port"
    );
    let mut statement = db.prepare(&sql).map_err(&failed)?;
    let rows = statement
        .query_map(values, |row| {
            let port = PublishedPort {
                host_ip: Ipv4Addr::from(row.get::<_, u32>(0)?),
                host_port: row.get(1)?,
                container_port: row.get(2)?,
                protocol: if row.get::<_, String>(3)? == "udp" {
                    Protocol::Udp
                } else {
                    Protocol::Tcp
                },
            };
            Ok((row.get(4)?, port))
        })
        .map_err(&failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

impl LiveTransaction<'_> {
    /// Records a network unless it is there, and returns the one that is.
    ///
    /// # Errors
    ///
    /// [`DbError::Query`].
    pub fn ensure_network(&self, wanted: &NetworkRow) -> Result<NetworkRow, DbError> {
        self.tx
            .execute(
                "INSERT OR IGNORE INTO networks(name, bridge, subnet, prefix_len, gateway, last_lease)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?5)",
                params![
                    wanted.name,
                    wanted.bridge,
                    u32::from(wanted.subnet),
                    wanted.prefix_len,
                    u32::from(wanted.gateway)
                ],
            )
            .map_err(DbError::query("record a network"))?;
        network(&self.tx, &wanted.name)?.ok_or_else(|| DbError::Corrupt {
            what: "a network",
            value: wanted.name.clone(),
        })
    }

    /// Takes what a start needs: address, ports, intents. The caller holds the container's
    /// owner lock, so nobody else starts it.
    ///
    /// # Errors
    ///
    /// [`DbError::PortTaken`], [`DbError::AddressesExhausted`].
    pub fn claim(&self, claim: &StartClaim<'_>) -> Result<StartGrant, DbError> {
        let failed = DbError::query("record a start");
        let address = claim
            .network
            .map(|network| self.lease(network, claim.id))
            .transpose()?;
        for port in claim.ports.iter().filter(|port| port.host_port != 0) {
            self.publish(claim.id, port)?;
        }
        for intent in claim.intents {
            self.intend(claim.id, intent)?;
        }
        self.tx
            .execute(
                "UPDATE containers SET stop_requested = 0 WHERE id = ?1",
                [claim.id.as_str()],
            )
            .map_err(failed)?;
        Ok(StartGrant { address })
    }

    /// Records a published port.
    ///
    /// # Errors
    ///
    /// [`DbError::PortTaken`] with the holder's name; `0.0.0.0` overlaps every address.
    pub fn publish(&self, id: &ContainerId, port: &PublishedPort) -> Result<(), DbError> {
        let overlap = "SELECT c.name FROM ports p JOIN containers c ON c.id = p.container
             WHERE p.protocol = ?1 AND p.host_port = ?2 AND (p.host_ip = ?3 OR p.host_ip = 0 OR ?3 = 0)";
        let host_ip = u32::from(port.host_ip);
        if let Some(holder) = strings(
            &self.tx,
            overlap,
            &[&port.protocol.as_str(), &port.host_port, &host_ip],
        )?
        .pop()
        {
            return Err(DbError::PortTaken {
                port: format!("{}:{}/{}", port.host_ip, port.host_port, port.protocol),
                holder,
            });
        }
        self.tx
            .execute(
                "INSERT INTO ports(protocol, host_ip, host_port, container_port, container)
                 VALUES(?1, ?2, ?3, ?4, ?5)",
                params![
                    port.protocol.as_str(),
                    host_ip,
                    port.host_port,
                    port.container_port,
                    id.as_str()
                ],
            )
            .map(drop)
            .map_err(DbError::query("record a port"))
    }

    /// Leases the next free address after the one leased last, so that an address rests
    /// before somebody else gets it.
    fn lease(&self, network: &str, id: &ContainerId) -> Result<Ipv4Addr, DbError> {
        let failed = DbError::query("lease an address");
        let (subnet, prefix_len, gateway, last) = self
            .tx
            .query_row(
                "SELECT subnet, prefix_len, gateway, last_lease FROM networks WHERE name = ?1",
                [network],
                |row| {
                    Ok((
                        row.get::<_, u32>(0)?,
                        row.get::<_, u32>(1)?,
                        row.get::<_, u32>(2)?,
                        row.get::<_, u32>(3)?,
                    ))
                },
            )
            .map_err(&failed)?;
        let size = 1_u32.checked_shl(32 - prefix_len.clamp(1, 32)).unwrap_or(1);
        let taken = "SELECT 1 FROM leases WHERE network = ?1 AND address = ?2";
        for step in 1..=size {
            let address = subnet + (last.wrapping_sub(subnet).wrapping_add(step)) % size;
            // the first and the last address of a subnet are its own name and broadcast
            if address == subnet || address == subnet + (size - 1) || address == gateway {
                continue;
            }
            if self
                .tx
                .query_row(taken, params![network, address], |_| Ok(()))
                .optional()
                .map_err(&failed)?
                .is_some()
            {
                continue;
            }
            self.tx
                .execute(
                    "INSERT INTO leases(network, address, container) VALUES(?1, ?2, ?3)",
                    params![network, address, id.as_str()],
                )
                .map_err(&failed)?;
            // the bridge is made for it; it may stay behind if its remover is killed
            self.tx
                .execute(
                    "INSERT OR IGNORE INTO meta(key, value) VALUES('bridge', '1')",
                    [],
                )
                .map_err(&failed)?;
            self.tx
                .execute(
                    "UPDATE networks SET last_lease = ?2 WHERE name = ?1",
                    params![network, address],
                )
                .map_err(&failed)?;
            return Ok(Ipv4Addr::from(address));
        }
        Err(DbError::AddressesExhausted {
            network: network.to_owned(),
        })
    }
}

fn network(db: &Connection, name: &str) -> Result<Option<NetworkRow>, DbError> {
    db.query_row(
        "SELECT name, bridge, subnet, prefix_len, gateway FROM networks WHERE name = ?1",
        [name],
        |row| {
            Ok(NetworkRow {
                name: row.get(0)?,
                bridge: row.get(1)?,
                subnet: Ipv4Addr::from(row.get::<_, u32>(2)?),
                prefix_len: row.get(3)?,
                gateway: Ipv4Addr::from(row.get::<_, u32>(4)?),
            })
        },
    )
    .optional()
    .map_err(DbError::query("read a network"))
}
