//! nftables without the `nft` program: our own nfnetlink messages.
//!
//! One call of `nft` costs 3.5 to 15 ms, one transaction here some tens of microseconds.
//! What is to be there is a value ([`TablePlan`]), compared in tests without root; putting it
//! there is one transaction, compared with what `nft -j` makes of it.

mod encode;
mod expression;
mod expression_bytes;
mod foreign;
mod message;
mod socket;
mod table;

pub(crate) use foreign::{DroppingChain, ForwardPolicy};
pub(crate) use socket::NftSocket;
pub(crate) use table::{Element, TablePlan};
