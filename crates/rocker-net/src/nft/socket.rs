//! Conversations with nf_tables.

use super::encode::{Attributes, Family};
use super::expression::Expression;
use super::table::{ChainPlan, Element, FORWARD_CHAIN, SetName, TablePlan};
use crate::netlink::{Batch, NetlinkError, Reply, Socket, attributes_of, flag};
use rustix::io::Errno;

/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of a message's type.
const SUBSYSTEM: u8 = 10;
/// `NFNL_MSG_BATCH_BEGIN` and `…_END`.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// `NFT_MSG_…`
const NEWTABLE: u8 = 0;
const DELTABLE: u8 = 2;
const NEWCHAIN: u8 = 3;
const GETCHAIN: u8 = 4;
const NEWRULE: u8 = 6;
const GETRULE: u8 = 7;
const DELRULE: u8 = 8;
const NEWSET: u8 = 9;
const NEWSETELEM: u8 = 12;
const GETSETELEM: u8 = 13;
const DELSETELEM: u8 = 14;

/// `NFTA_SET_ELEM_LIST_…` and `NFTA_SET_ELEM_…` and `NFTA_DATA_VALUE`.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEM: u16 = 1;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;

const fn message(kind: u8) -> u16 {
    u16::from_be_bytes([SUBSYSTEM, kind])
}

/// What a base chain says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainFacts {
    /// `NF_DROP` is 0; none for a chain without a hook.
    pub(super) policy: Option<u32>,
    /// How many rules it has and jumps lead to it.
    pub(super) uses: u32,
}

/// A rule that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleFacts {
    pub(super) handle: u64,
    pub(super) comment: Option<String>,
}

/// A socket to nf_tables in the network namespace where it was opened.
#[derive(Debug)]
pub(crate) struct NftSocket(Socket);

impl NftSocket {
    /// Opens it in the caller's network namespace.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        Socket::netfilter().map(Self)
    }

    /// Whether the table is there with all its rules. Somebody may have flushed them.
    pub(crate) fn is_whole(&self, plan: &TablePlan) -> Result<bool, NetlinkError> {
        let facts = self.chain(Family::Inet, &plan.name, FORWARD_CHAIN)?;
        let expected = u32::try_from(plan.forward_rule_count()).unwrap_or(u32::MAX);
        Ok(facts.is_some_and(|facts| facts.uses == expected))
    }

    /// Makes the table in one transaction, in place of whatever carries its name; elements
    /// of its sets are lost with it.
    pub(crate) fn create_table(&self, plan: &TablePlan) -> Result<(), NetlinkError> {
        self.transaction(|batch| {
            // Deleting needs it to exist, so it is made first: what `nft` files do too.
            push_table(
                batch,
                NEWTABLE,
                &plan.name,
                format!("create table {}", plan.name),
            );
            push_table(
                batch,
                DELTABLE,
                &plan.name,
                format!("replace table {}", plan.name),
            );
            push_table(
                batch,
                NEWTABLE,
                &plan.name,
                format!("create table {}", plan.name),
            );
            for (id, set) in (1..).zip(SetName::ALL) {
                push_set(batch, &plan.name, set, id);
            }
            for chain in &plan.chains {
                push_chain(batch, &plan.name, chain);
            }
            for rule in &plan.rules {
                let place = RulePlace {
                    family: Family::Inet,
                    table: &plan.name,
                    chain: rule.chain,
                };
                push_rule(batch, &place, &rule.expressions, Place::Last, None);
            }
        })
    }

    /// Removes the table; that it is not there is no error.
    pub(crate) fn delete_table(&self, name: &str) -> Result<(), NetlinkError> {
        let deleted = self.transaction(|batch| {
            push_table(batch, DELTABLE, name, format!("delete table {name}"));
        });
        absent_is_done(deleted)
    }

    /// Adds one published port. An element of the same key is a leftover of a container that
    /// died without cleaning up, because the caller holds the port's socket; it is replaced.
    pub(crate) fn publish(&self, table: &str, element: &Element) -> Result<(), NetlinkError> {
        let added = self.transaction(|batch| push_element(batch, NEWSETELEM, table, element));
        match added {
            Err(error) if matches!(error.errno(), Some(Errno::EXIST | Errno::BUSY)) => self
                .transaction(|batch| {
                    push_element(batch, DELSETELEM, table, element);
                    push_element(batch, NEWSETELEM, table, element);
                }),
            other => other,
        }
    }

    /// Removes one published port, unless by now it is another container's.
    pub(crate) fn unpublish(&self, table: &str, element: &Element) -> Result<(), NetlinkError> {
        if !self.holds(table, element)? {
            return Ok(());
        }
        let deleted = self.transaction(|batch| push_element(batch, DELSETELEM, table, element));
        absent_is_done(deleted)
    }

    fn holds(&self, table: &str, element: &Element) -> Result<bool, NetlinkError> {
        let mut batch = Batch::default();
        push_element_as(&mut batch, GETSETELEM, 0, table, element);
        match self.0.exchange(batch) {
            Ok(replies) => Ok(replies.iter().any(|reply| value_of(reply) == element.value)),
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn chain(
        &self,
        family: Family,
        table: &str,
        chain: &str,
    ) -> Result<Option<ChainFacts>, NetlinkError> {
        let mut batch = Batch::default();
        batch.push(
            format!("look up chain {table} {chain}"),
            message(GETCHAIN),
            0,
            |body| {
                // NFTA_CHAIN_TABLE 1, _NAME 3.
                Attributes::of_message(body, family, 0)
                    .text(1, table)
                    .text(3, chain);
            },
        );
        match self.0.exchange(batch) {
            Ok(replies) => Ok(replies.first().map(chain_facts)),
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn rules(&self, place: &RulePlace<'_>) -> Result<Vec<RuleFacts>, NetlinkError> {
        let mut batch = Batch::default();
        let what = format!("list the rules of chain {} {}", place.table, place.chain);
        batch.push(what, message(GETRULE), flag::DUMP, |body| {
            // NFTA_RULE_TABLE 1, _CHAIN 2.
            let mut attributes = Attributes::of_message(body, place.family, 0);
            attributes.text(1, place.table).text(2, place.chain);
        });
        Ok(self
            .0
            .exchange(batch)?
            .iter()
            .filter_map(rule_facts)
            .collect())
    }

    /// Puts a rule before all others of a chain.
    pub(super) fn insert_rule(
        &self,
        place: &RulePlace<'_>,
        expressions: &[Expression],
        comment: &str,
    ) -> Result<(), NetlinkError> {
        self.transaction(|batch| {
            push_rule(batch, place, expressions, Place::First, Some(comment));
        })
    }

    pub(super) fn delete_rule(
        &self,
        place: &RulePlace<'_>,
        handle: u64,
    ) -> Result<(), NetlinkError> {
        let deleted = self.transaction(|batch| {
            let what = format!("delete a rule of chain {} {}", place.table, place.chain);
            batch.push(what, message(DELRULE), flag::ACK, |body| {
                let mut attributes = Attributes::of_message(body, place.family, 0);
                attributes
                    .text(1, place.table)
                    .text(2, place.chain)
                    .number64(3, handle);
            });
        });
        absent_is_done(deleted)
    }

    fn transaction(&self, fill: impl FnOnce(&mut Batch)) -> Result<(), NetlinkError> {
        let frame = |body: &mut Vec<u8>| {
            Attributes::of_message(body, Family::Unspecified, u16::from(SUBSYSTEM));
        };
        let mut batch = Batch::default();
        batch.push("begin a transaction of nftables", BATCH_BEGIN, 0, frame);
        fill(&mut batch);
        batch.push("commit a transaction of nftables", BATCH_END, 0, frame);
        self.0.transact(batch).map(drop)
    }
}

fn absent_is_done(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Where a rule is.
#[derive(Clone, Copy, Debug)]
pub(super) struct RulePlace<'a> {
    pub(super) family: Family,
    pub(super) table: &'a str,
    pub(super) chain: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Last,
}

fn push_table(batch: &mut Batch, kind: u8, name: &str, what: String) {
    let flags = if kind == NEWTABLE {
        flag::CREATE | flag::ACK
    } else {
        flag::ACK
    };
    batch.push(what, message(kind), flags, |body| {
        Attributes::of_message(body, Family::Inet, 0).text(1, name);
    });
}

fn push_chain(batch: &mut Batch, table: &str, chain: &ChainPlan) {
    /// `NF_ACCEPT`.
    const ACCEPT: u32 = 1;
    let what = format!("create chain {table} {}", chain.name);
    batch.push(what, message(NEWCHAIN), flag::CREATE | flag::ACK, |body| {
        // NFTA_CHAIN_TABLE 1, _NAME 3, _HOOK 4 (_HOOKNUM 1, _PRIORITY 2), _POLICY 5, _TYPE 7.
        let mut attributes = Attributes::of_message(body, Family::Inet, 0);
        attributes.text(1, table).text(3, chain.name);
        if let Some(hook) = chain.hook {
            attributes.nest(4, |nest| {
                nest.number(1, hook.number).signed(2, hook.priority);
            });
            attributes.number(5, ACCEPT).text(7, hook.kind);
        }
    });
}

fn push_set(batch: &mut Batch, table: &str, set: SetName, id: u32) {
    const NFT_SET_MAP: u32 = 0x8;
    let what = format!("create set {table} {}", set.as_str());
    batch.push(what, message(NEWSET), flag::CREATE | flag::ACK, |body| {
        // NFTA_SET_TABLE 1, _NAME 2, _FLAGS 3, _KEY_TYPE 4, _KEY_LEN 5, _DATA_TYPE 6,
        // _DATA_LEN 7, _ID 10.
        let mut attributes = Attributes::of_message(body, Family::Inet, 0);
        attributes.text(1, table).text(2, set.as_str());
        attributes.number(
            3,
            if set.value_types().is_some() {
                NFT_SET_MAP
            } else {
                0
            },
        );
        let (key_type, key_len) = concatenation(set.key_types());
        attributes.number(4, key_type).number(5, key_len);
        if let Some(types) = set.value_types() {
            let (data_type, data_len) = concatenation(types);
            attributes.number(6, data_type).number(7, data_len);
        }
        attributes.number(10, id);
    });
}

/// nft's number of a concatenated type (six bits a field), and its length: four bytes a field.
fn concatenation(types: &[u32]) -> (u32, u32) {
    types.iter().fold((0, 0), |(number, length), kind| {
        ((number << 6) | kind, length + 4)
    })
}

fn push_element(batch: &mut Batch, kind: u8, table: &str, element: &Element) {
    let flags = if kind == NEWSETELEM {
        flag::CREATE | flag::EXCLUSIVE | flag::ACK
    } else {
        flag::ACK
    };
    push_element_as(batch, kind, flags, table, element);
}

fn push_element_as(batch: &mut Batch, kind: u8, flags: u16, table: &str, element: &Element) {
    let verb = match kind {
        NEWSETELEM => "add an element to",
        DELSETELEM => "delete an element of",
        _ => "look up an element of",
    };
    let what = format!("{verb} set {table} {}", element.set.as_str());
    batch.push(what, message(kind), flags, |body| {
        let mut attributes = Attributes::of_message(body, Family::Inet, 0);
        attributes
            .text(LIST_TABLE, table)
            .text(LIST_SET, element.set.as_str());
        attributes.nest(LIST_ELEMENTS, |list| {
            list.nest(LIST_ELEM, |nest| {
                nest.nest(ELEM_KEY, |key| {
                    key.bytes(DATA_VALUE, &element.key);
                });
                if let Some(value) = element.value.as_ref().filter(|_| kind == NEWSETELEM) {
                    nest.nest(ELEM_DATA, |data| {
                        data.bytes(DATA_VALUE, value);
                    });
                }
            });
        });
    });
}

fn push_rule(
    batch: &mut Batch,
    place: &RulePlace<'_>,
    expressions: &[Expression],
    position: Place,
    comment: Option<&str>,
) {
    let flags = match position {
        Place::First => flag::CREATE | flag::ACK,
        Place::Last => flag::CREATE | flag::APPEND | flag::ACK,
    };
    let what = format!("add a rule to chain {} {}", place.table, place.chain);
    batch.push(what, message(NEWRULE), flags, |body| {
        // NFTA_RULE_TABLE 1, _CHAIN 2, _EXPRESSIONS 4, _USERDATA 7.
        let mut attributes = Attributes::of_message(body, place.family, 0);
        attributes.text(1, place.table).text(2, place.chain);
        attributes.nest(4, |list| {
            for expression in expressions {
                expression.encode(list);
            }
        });
        if let Some(comment) = comment {
            attributes.bytes(7, &comment_data(comment));
        }
    });
}

/// libnftnl's `NFTNL_UDATA_RULE_COMMENT`: type 0, length, text with its NUL.
fn comment_data(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut data = vec![0, length];
    data.extend(comment.bytes().take(usize::from(length) - 1));
    data.push(0);
    data
}

fn comment_of(data: &[u8]) -> Option<String> {
    let length = usize::from(*data.get(1)?);
    let text = data.get(2..2 + length)?.strip_suffix(&[0])?;
    (data.first() == Some(&0)).then(|| String::from_utf8_lossy(text).into_owned())
}

/// Attributes after `struct nfgenmsg`.
fn attributes(reply: &Reply) -> impl Iterator<Item = (u16, &[u8])> {
    attributes_of(reply.body.get(4..).unwrap_or_default())
}

fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn chain_facts(reply: &Reply) -> ChainFacts {
    let mut facts = ChainFacts {
        policy: None,
        uses: 0,
    };
    for (kind, value) in attributes(reply) {
        match kind {
            // NFTA_CHAIN_POLICY, _USE.
            5 => facts.policy = number(value),
            6 => facts.uses = number(value).unwrap_or(0),
            _ => {}
        }
    }
    facts
}

fn rule_facts(reply: &Reply) -> Option<RuleFacts> {
    let mut handle = None;
    let mut comment = None;
    for (kind, value) in attributes(reply) {
        match kind {
            // NFTA_RULE_HANDLE, _USERDATA.
            3 => handle = value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
            7 => comment = comment_of(value),
            _ => {}
        }
    }
    Some(RuleFacts {
        handle: handle?,
        comment,
    })
}

/// The value of the element that a query answered with.
fn value_of(reply: &Reply) -> Option<Vec<u8>> {
    let find = |bytes, wanted| attributes_of(bytes).find(|(kind, _)| *kind == wanted);
    let (_, list) = attributes(reply).find(|(kind, _)| *kind == LIST_ELEMENTS)?;
    let (_, element) = find(list, LIST_ELEM)?;
    let (_, data) = find(element, ELEM_DATA)?;
    find(data, DATA_VALUE).map(|(_, value)| value.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_read_back_as_it_was_written() {
        for comment in ["", "rocker0", "rocker: rk0123456789abc"] {
            assert_eq!(comment_of(&comment_data(comment)).as_deref(), Some(comment));
        }
    }

    #[test]
    fn foreign_user_data_is_not_a_comment() {
        for data in [
            &[][..],
            &[0],
            &[0, 9, b'x'],
            &[1, 2, b'x', 0],
            &[0, 2, b'x', b'y'],
        ] {
            assert_eq!(comment_of(data), None, "{data:?}");
        }
    }
}
