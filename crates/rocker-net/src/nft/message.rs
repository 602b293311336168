//! Messages to nf_tables: what each request looks like in bytes.
//!
//! Numbers: Linux `include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h`.

use super::encode::{Attributes, Family};
use super::expression::Expression;
use super::table::{ChainPlan, Element, SetName};
use crate::netlink::{Batch, flag};

/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of a message's type.
pub(super) const SUBSYSTEM: u8 = 10;
/// `NFNL_MSG_BATCH_BEGIN` and `…_END`.
pub(super) const BATCH_BEGIN: u16 = 0x10;
pub(super) const BATCH_END: u16 = 0x11;

/// `NFT_MSG_…`
const NEWTABLE: u8 = 0;
const DELTABLE: u8 = 2;
pub(super) const NEWCHAIN: u8 = 3;
pub(super) const GETCHAIN: u8 = 4;
pub(super) const NEWRULE: u8 = 6;
pub(super) const GETRULE: u8 = 7;
pub(super) const DELRULE: u8 = 8;
pub(super) const NEWSET: u8 = 9;
pub(super) const NEWSETELEM: u8 = 12;
pub(super) const GETSETELEM: u8 = 13;
pub(super) const DELSETELEM: u8 = 14;

/// `NFTA_SET_ELEM_LIST_…` and `NFTA_SET_ELEM_…` and `NFTA_DATA_VALUE`.
pub(super) const LIST_TABLE: u16 = 1;
pub(super) const LIST_SET: u16 = 2;
pub(super) const LIST_ELEMENTS: u16 = 3;
pub(super) const LIST_ELEM: u16 = 1;
pub(super) const ELEM_KEY: u16 = 1;
pub(super) const ELEM_DATA: u16 = 2;
pub(super) const DATA_VALUE: u16 = 1;

pub(super) const fn message(kind: u8) -> u16 {
    u16::from_be_bytes([SUBSYSTEM, kind])
}

/// Where a rule is.
#[derive(Clone, Copy, Debug)]
pub(super) struct RulePlace<'a> {
    pub(super) family: Family,
    pub(super) table: &'a str,
    pub(super) chain: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Last,
}

pub(super) fn push_new_table(batch: &mut Batch, name: &str) {
    let flags = flag::CREATE | flag::EXCLUSIVE | flag::ACK;
    push_table(
        batch,
        (NEWTABLE, flags),
        name,
        format!("create table {name}"),
    );
}

pub(super) fn push_delete_table(batch: &mut Batch, name: &str) {
    push_table(
        batch,
        (DELTABLE, flag::ACK),
        name,
        format!("delete table {name}"),
    );
}

fn push_table(batch: &mut Batch, (kind, flags): (u8, u16), name: &str, what: String) {
    batch.push(what, message(kind), flags, |body| {
        Attributes::of_message(body, Family::Inet, 0).text(1, name);
    });
}

pub(super) fn push_chain(batch: &mut Batch, table: &str, chain: &ChainPlan) {
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

pub(super) fn push_set(batch: &mut Batch, table: &str, set: SetName, id: u32) {
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
pub(super) fn concatenation(types: &[u32]) -> (u32, u32) {
    types.iter().fold((0, 0), |(number, length), kind| {
        ((number << 6) | kind, length + 4)
    })
}

pub(super) fn push_element(batch: &mut Batch, kind: u8, table: &str, element: &Element) {
    let flags = if kind == NEWSETELEM {
        flag::CREATE | flag::EXCLUSIVE | flag::ACK
    } else {
        flag::ACK
    };
    push_element_as(batch, kind, flags, table, element);
}

pub(super) fn push_element_as(
    batch: &mut Batch,
    kind: u8,
    flags: u16,
    table: &str,
    element: &Element,
) {
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

pub(super) fn push_rule(
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
pub(super) fn comment_data(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut data = vec![0, length];
    data.extend(comment.bytes().take(usize::from(length) - 1));
    data.push(0);
    data
}
