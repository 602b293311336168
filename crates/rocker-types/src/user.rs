//! `--user` and the `User` of an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A user or a group: a number, or a name to be looked up in the container's own files.
///
/// Text of digits only is a number or an error, never a name: a passwd row called
/// `4294967296` must not decide who runs (CVE-2024-40635 and its family).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// A uid or gid, at most 2^31 − 1.
    Id(u32),
    /// A name for `/etc/passwd` or `/etc/group`.
    Name(String),
}

/// Who runs: `USER[:GROUP]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserSpec {
    /// `None` is root.
    pub user: Option<Principal>,
    /// `None` is the user's own group, or 0 for a number without a passwd row.
    pub group: Option<Principal>,
}

/// The text does not name a user.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid user {0:?}: want NAME|UID[:GROUP|GID], ids at most 2147483647")]
pub struct InvalidUser(String);

/// The kernel treats −1 as "leave alone"; docker and podman stop at 2^31 − 1 too.
const MAX_ID: u32 = i32::MAX as u32;

impl Principal {
    /// Reads one side of the colon.
    ///
    /// # Errors
    ///
    /// [`InvalidUser`] for digits that overflow and for characters that no passwd file holds.
    pub fn parse(text: &str) -> Result<Self, InvalidUser> {
        let invalid = || InvalidUser(text.chars().take(80).collect());
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text
                .parse()
                .ok()
                .filter(|id| *id <= MAX_ID)
                .map(Self::Id)
                .ok_or_else(invalid);
        }
        let first_ok = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest_ok = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$' | b'@'));
        if first_ok && rest_ok && text.len() <= 256 {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(invalid())
        }
    }
}

impl FromStr for UserSpec {
    type Err = InvalidUser;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let whole = |_| InvalidUser(text.chars().take(80).collect());
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = if user.is_empty() {
            None
        } else {
            Some(Principal::parse(user).map_err(whole)?)
        };
        let group = group.map(Principal::parse).transpose().map_err(whole)?;
        Ok(Self { user, group })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for UserSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            user.fmt(f)?;
        }
        self.group
            .as_ref()
            .map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_number_or_an_error() {
        let id = |text: &str| text.parse::<UserSpec>().map(|spec| spec.user);
        for (text, want) in [("0", 0), ("1", 1), ("01", 1), ("2147483647", 2_147_483_647)] {
            assert_eq!(id(text), Ok(Some(Principal::Id(want))), "{text}");
        }
        let bad = [
            "+1",
            "-1",
            "2147483648",
            "4294967295",
            "4294967296",
            "1:",
            "0x0",
            "1e0",
            " 1",
            "1 ",
            "a b",
            "a\n",
            "::",
            "a:b:c",
            ":",
        ];
        for text in bad {
            assert!(id(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_and_groups() {
        let spec: UserSpec = "www-data:5".parse().unwrap();
        assert_eq!(
            spec,
            UserSpec {
                user: Some(Principal::Name("www-data".into())),
                group: Some(Principal::Id(5))
            }
        );
        assert_eq!(
            ":5".parse::<UserSpec>().unwrap(),
            UserSpec {
                user: None,
                group: Some(Principal::Id(5))
            }
        );
        assert_eq!("".parse::<UserSpec>().unwrap(), UserSpec::default());
    }
}
