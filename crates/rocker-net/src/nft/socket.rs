//! Conversations with nf_tables.

use super::encode::{Attributes, Family};
use super::expression::Expression;
use super::message::{
    BATCH_BEGIN, BATCH_END, DATA_VALUE, DELRULE, DELSETELEM, ELEM_DATA, GETCHAIN, GETRULE,
    GETSETELEM, LIST_ELEM, LIST_ELEMENTS, NEWSETELEM, Place, RulePlace, SUBSYSTEM, message,
    push_chain, push_delete_table, push_element, push_element_as, push_new_table, push_rule,
    push_set,
};
use super::table::{Element, FORWARD_CHAIN, SetName, TablePlan};
use crate::netlink::{Batch, NetlinkError, Reply, Socket, attributes_of, flag};
use rustix::io::Errno;

/// What a base chain says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainFacts {
    /// `NF_DROP` is 0; none for a chain without a hook.
    pub(super) policy: Option<u32>,
    /// How many rules it has and jumps lead to it.
    pub(super) uses: u32,
}

/// A chain that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedChain {
    /// `NFPROTO_…`.
    pub(super) family: u8,
    pub(super) table: String,
    pub(super) name: String,
    /// `NF_INET_…`; none for a chain that is only jumped to.
    pub(super) hook: Option<u32>,
    pub(super) facts: ChainFacts,
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

    /// Whether the table is there with all its rules. Somebody may have flushed them, or have
    /// added some, which is their right.
    pub(crate) fn is_whole(&self, plan: &TablePlan) -> Result<bool, NetlinkError> {
        let facts = self.chain(Family::Inet, &plan.name, FORWARD_CHAIN)?;
        let expected = u32::try_from(plan.forward_rule_count()).unwrap_or(u32::MAX);
        Ok(facts.is_some_and(|facts| facts.uses >= expected))
    }

    /// Makes the table in one transaction, in place of whatever carries its name; elements
    /// of its sets are lost with it.
    pub(crate) fn create_table(&self, plan: &TablePlan) -> Result<(), NetlinkError> {
        // Not simply "delete, then create": after a deletion the kernel has closing this
        // socket wait for what is deleted, some 10 ms.
        match self.fill_table(plan, |batch| push_new_table(batch, &plan.name)) {
            Err(error) if error.errno() == Some(Errno::EXIST) => self.fill_table(plan, |batch| {
                push_delete_table(batch, &plan.name);
                push_new_table(batch, &plan.name);
            }),
            other => other,
        }
    }

    fn fill_table(
        &self,
        plan: &TablePlan,
        make: impl FnOnce(&mut Batch),
    ) -> Result<(), NetlinkError> {
        self.transaction(|batch| {
            make(batch);
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
            push_delete_table(batch, name);
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

    /// Every chain of every family and table.
    pub(super) fn chains(&self) -> Result<Vec<ListedChain>, NetlinkError> {
        let mut batch = Batch::default();
        batch.push("list all chains", message(GETCHAIN), flag::DUMP, |body| {
            Attributes::of_message(body, Family::Unspecified, 0);
        });
        let replies = self.0.exchange(batch)?;
        Ok(replies.iter().filter_map(listed_chain).collect())
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

fn listed_chain(reply: &Reply) -> Option<ListedChain> {
    let find = |wanted| attributes(reply).find(|(kind, _)| *kind == wanted);
    let text = |wanted| {
        let (_, value) = find(wanted)?;
        Some(String::from_utf8_lossy(value.strip_suffix(&[0])?).into_owned())
    };
    // NFTA_CHAIN_TABLE 1, _NAME 3, _HOOK 4 (_HOOKNUM 1).
    let hook = find(4).and_then(|(_, nest)| attributes_of(nest).find(|(kind, _)| *kind == 1));
    Some(ListedChain {
        family: *reply.body.first()?,
        table: text(1)?,
        name: text(3)?,
        hook: hook.and_then(|(_, value)| number(value)),
        facts: chain_facts(reply),
    })
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
    use super::super::message::comment_data;
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
