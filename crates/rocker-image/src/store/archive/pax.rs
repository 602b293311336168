//! Pax extended headers: what did not fit into an entry's own header.

use super::entry::{Mtime, Xattr};
use super::number::parse_decimal;

/// The records of a pax header that rocker understands; the others change nothing here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: PaxSparse,
}

/// The `GNU.sparse.*` records of formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) block_count: Option<u64>,
    /// Format 0.1's comma separated numbers, or format 0.0's repeated records in a row.
    pub(super) numbers: Vec<u64>,
}

impl PaxSparse {
    pub(super) fn is_present(&self) -> bool {
        *self != Self::default()
    }
}

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// A key and its value.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits `bytes` into `"LENGTH KEY=VALUE\n"` records.
pub(super) fn parse_records(bytes: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let space = rest
            .iter()
            .position(|b| *b == b' ')
            .ok_or("a record has no length")?;
        let length = parse_decimal(&rest[..space]).ok_or("a record's length is not a number")?;
        let length = usize::try_from(length).map_err(|_| "a record is longer than its header")?;
        if length > rest.len() || length <= space + 1 {
            return Err("a record is longer than its header, or empty");
        }
        let (record, after) = rest.split_at(length);
        let record = record
            .strip_suffix(b"\n")
            .ok_or("a record does not end with a newline")?;
        let record = record.get(space + 1..).ok_or("a record is empty")?;
        let equals = record
            .iter()
            .position(|b| *b == b'=')
            .ok_or("a record has no equals sign")?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.is_empty() || key.contains(&0) {
            return Err("a key is empty or holds a NUL");
        }
        records.push((key, value));
        rest = after;
    }
    Ok(records)
}

impl Pax {
    /// Reads the records of an `x` header.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        for (key, value) in parse_records(bytes)? {
            pax.set(key, value)?;
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        // An empty value means "as in the header", POSIX.
        match key {
            b"path" => self.path = name(value)?,
            b"linkpath" => self.link_path = name(value)?,
            b"size" => self.size = decimal(value)?,
            b"uid" => self.uid = decimal(value)?,
            b"gid" => self.gid = decimal(value)?,
            b"mtime" => {
                self.mtime = if value.is_empty() {
                    None
                } else {
                    Some(parse_time(value)?)
                }
            }
            _ => {
                if let Some(xattr) = key.strip_prefix(XATTR_PREFIX) {
                    self.xattrs.push((xattr.to_vec(), value.to_vec()));
                } else if let Some(sparse) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(sparse, value)?;
                }
            }
        }
        Ok(())
    }
}

impl PaxSparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"major" => self.major = decimal(value)?,
            b"minor" => self.minor = decimal(value)?,
            b"name" => self.name = name(value)?,
            b"realsize" | b"size" => self.real_size = decimal(value)?,
            b"numblocks" => self.block_count = decimal(value)?,
            b"offset" | b"numbytes" => {
                // Format 0.0 alternates the two keys; anything else is out of step.
                let expects_offset = self.numbers.len().is_multiple_of(2);
                if expects_offset != (key == b"offset") {
                    return Err("sparse offsets and sizes do not alternate");
                }
                self.numbers
                    .push(parse_decimal(value).ok_or("a sparse number is not a number")?);
            }
            b"map" => {
                let numbers = value.split(|b| *b == b',').map(parse_decimal);
                let numbers: Option<Vec<u64>> = if value.is_empty() {
                    Some(Vec::new())
                } else {
                    numbers.collect()
                };
                self.numbers =
                    numbers.ok_or("a sparse map holds something that is not a number")?;
            }
            _ => return Err("a sparse record is of an unknown kind"),
        }
        Ok(())
    }
}

fn name(value: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if value.contains(&0) {
        return Err("a name holds a NUL");
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn decimal(value: &[u8]) -> Result<Option<u64>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    parse_decimal(value)
        .map(Some)
        .ok_or("a number is not a number")
}

/// Seconds since the epoch, possibly negative, with a decimal fraction.
fn parse_time(value: &[u8]) -> Result<Mtime, &'static str> {
    const BAD: &str = "a time is not a number";
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let dot = digits.iter().position(|b| *b == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (&digits[..dot], &digits[dot + 1..]),
        None => (digits, &b""[..]),
    };
    let seconds = i64::try_from(parse_decimal(whole).ok_or(BAD)?).map_err(|_| BAD)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let nanoseconds = (0..9).fold(0u32, |value, index| {
        value * 10
            + fraction
                .get(index)
                .map_or(0, |digit| u32::from(digit - b'0'))
    });
    Ok(match (negative, nanoseconds) {
        (false, _) => Mtime {
            seconds,
            nanoseconds,
        },
        (true, 0) => Mtime {
            seconds: -seconds,
            nanoseconds,
        },
        // −1.25 s is two seconds before the epoch and 0.75 s after that.
        (true, _) => Mtime {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Vec<u8> {
        // The length counts its own digits.
        let length = (1..)
            .find(|n: &usize| n.to_string().len() + 1 + text.len() + 1 == *n)
            .unwrap();
        format!("{length} {text}\n").into_bytes()
    }

    #[test]
    fn records_override_fields_and_empty_values_do_not() {
        let bytes = [
            record("path=a/b"),
            record("size=9"),
            record("uid="),
            record("comment=x=y\nz"),
        ]
        .concat();

        let pax = Pax::parse(&bytes).unwrap();

        assert_eq!(
            pax,
            Pax {
                path: Some(b"a/b".to_vec()),
                size: Some(9),
                ..Pax::default()
            }
        );
    }

    #[test]
    fn times_have_a_sign_and_a_fraction() {
        let cases = [
            ("0", 0, 0),
            ("1700000000.5", 1_700_000_000, 500_000_000),
            ("1.000000001999", 1, 1),
            ("-1.25", -2, 750_000_000),
            ("-3", -3, 0),
            ("-0.5", -1, 500_000_000),
        ];
        for (text, seconds, nanoseconds) in cases {
            assert_eq!(
                parse_time(text.as_bytes()),
                Ok(Mtime {
                    seconds,
                    nanoseconds
                }),
                "{text}"
            );
        }
        for text in ["", "-", "x", "1.x", "1e9", "--1", "9223372036854775808"] {
            assert!(parse_time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn malformed_records_are_errors() {
        let cases: [&[u8]; 11] = [
            b"x",
            b"5 a=b",
            b"999 path=a\n",
            b"0 path=a\n",
            b"-9 path=a\n",
            b"10 path=ab",
            b"8 pathx\n",
            b"4 =\n",
            b"12 path=a\0b\n",
            b"99999999999999999999999 path=a\n",
            b"9 size=x\n",
        ];
        for bytes in cases {
            assert!(Pax::parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn sparse_formats_collect_the_same_numbers() {
        let v00 = [
            "GNU.sparse.offset=0",
            "GNU.sparse.numbytes=4",
            "GNU.sparse.offset=9",
            "GNU.sparse.numbytes=1",
        ];
        let v00: Vec<u8> = v00.iter().flat_map(|text| record(text)).collect();
        let v01 = record("GNU.sparse.map=0,4,9,1");

        for bytes in [v00, v01] {
            assert_eq!(Pax::parse(&bytes).unwrap().sparse.numbers, [0, 4, 9, 1]);
        }
        assert!(Pax::parse(&record("GNU.sparse.numbytes=4")).is_err());
    }
}
