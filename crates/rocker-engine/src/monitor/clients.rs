//! All clients of a running container.

use std::time::Instant;

use rustix::io::Errno;

use super::client::{Client, Unsent};
use super::poller::{Interest, Poller, Token};
use crate::logs::Stream;

/// The clients, each in a slot that is its name in the poller.
#[derive(Debug, Default)]
pub(super) struct Clients {
    slots: Vec<Option<Client>>,
}

impl Clients {
    /// How many there may be at once: a bound for memory.
    pub(super) const MAX: usize = 64;

    /// Takes a client in and watches it; one too many is hung up on.
    pub(super) fn add(&mut self, client: Client, poller: &Poller) -> Result<(), Errno> {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.slots.len());
        if slot >= Self::MAX {
            return Ok(());
        }
        poller.add(&client, Token::Client(slot), Interest::Read)?;
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(client);
        Ok(())
    }

    pub(super) fn get(&mut self, slot: usize) -> Option<&mut Client> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Takes a client out and stops watching it.
    pub(super) fn remove(&mut self, slot: usize, poller: &Poller) -> Option<Client> {
        let client = self.slots.get_mut(slot)?.take()?;
        poller.remove(&client);
        Some(client)
    }

    /// The names of all slots, used or not.
    pub(super) fn slots(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().flatten()
    }

    pub(super) fn into_clients(self) -> Vec<Client> {
        self.slots.into_iter().flatten().collect()
    }

    /// Sends a client what it lacks, and watches for room if it is full.
    pub(super) fn send(
        &mut self,
        slot: usize,
        (stream, output): (Stream, &[u8]),
        poller: &Poller,
    ) -> Result<(), Unsent> {
        let Some(client) = self.get(slot) else {
            return Ok(());
        };
        let was_blocked = client.is_blocked();
        let sent = client.send(stream, output);
        if client.is_blocked() != was_blocked {
            let interest = match sent {
                Ok(()) => Interest::Read,
                Err(_) => Interest::ReadAndWrite,
            };
            let watched = poller.modify(&*client, Token::Client(slot), interest);
            watched.map_err(|_| Unsent::HungUp)?;
        }
        sent
    }

    /// Whether some client lacks part of `output`.
    pub(super) fn lack(&self, output: &[u8]) -> bool {
        let lacks = |client: &Client| client.wants_output() && client.sent() < output.len();
        self.slots.iter().flatten().any(lacks)
    }

    pub(super) fn want_output(&self) -> bool {
        self.slots.iter().flatten().any(Client::wants_output)
    }

    /// When the first of the clients that take nothing is to be dropped.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.slots
            .iter()
            .flatten()
            .filter_map(Client::deadline)
            .min()
    }

    /// A client that took nothing for too long.
    pub(super) fn find_stalled(&self, now: Instant) -> Option<usize> {
        let stalled = |client: &Client| client.deadline().is_some_and(|deadline| deadline <= now);
        self.slots
            .iter()
            .position(|slot| slot.as_ref().is_some_and(stalled))
    }
}
