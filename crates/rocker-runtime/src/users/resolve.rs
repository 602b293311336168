//! From `--user` to numbers, by docker's rules.

use rocker_types::{Principal, UserSpec};

use super::table::{GroupRow, UserRow, groups, parse_id, users};
use crate::process::{InitFailure, InitStep};

/// Whom the program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups: exact, the primary one first.
    pub(crate) groups: Vec<u32>,
    /// `/` if the container's passwd file does not say.
    pub(crate) home: String,
}

/// The texts in which names are looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) passwd: &'a str,
    pub(crate) group: &'a str,
}

impl Lookup<'_> {
    /// Resolves `user` and adds the groups in `extra`.
    ///
    /// A number without a row gets group 0, or the group that was given, and no other: rows
    /// are never searched for a *name* made of digits (CVE-2024-40635). The groups in which
    /// the user is a member are added unless a group was given.
    pub(crate) fn resolve(
        &self,
        user: &UserSpec,
        extra: &[String],
    ) -> Result<Identity, InitFailure> {
        let row = self.user(user.user.as_ref())?;
        let uid = match (&row, &user.user) {
            (Some(row), _) => row.uid,
            (None, Some(Principal::Id(uid))) => *uid,
            (None, _) => 0,
        };
        let gid = match &user.group {
            Some(group) => self.group(group)?,
            None => row.as_ref().map_or(0, |row| row.gid),
        };
        let mut all = vec![gid];
        if let (Some(row), None) = (&row, &user.group) {
            let member = |group: &GroupRow| group.members.contains(&row.name);
            all.extend(groups(self.group).filter(member).map(|group| group.gid));
        }
        for name in extra {
            all.push(self.extra_group(name)?);
        }
        let mut unique = Vec::new();
        for gid in all {
            if !unique.contains(&gid) {
                unique.push(gid);
            }
        }
        let home = row.map(|row| row.home).filter(|home| !home.is_empty());
        Ok(Identity {
            uid,
            gid,
            groups: unique,
            home: home.unwrap_or_else(|| "/".to_owned()),
        })
    }

    fn user(&self, user: Option<&Principal>) -> Result<Option<UserRow>, InitFailure> {
        match user {
            Some(Principal::Name(name)) => users(self.passwd)
                .find(|row| row.name == *name)
                .map(Some)
                .ok_or_else(|| InitFailure::refusal(InitStep::FindUser, name)),
            Some(Principal::Id(uid)) => Ok(users(self.passwd).find(|row| row.uid == *uid)),
            None => Ok(users(self.passwd).find(|row| row.uid == 0)),
        }
    }

    fn group(&self, group: &Principal) -> Result<u32, InitFailure> {
        match group {
            Principal::Id(gid) => Ok(*gid),
            Principal::Name(name) => groups(self.group)
                .find(|row| row.name == *name)
                .map(|row| row.gid)
                .ok_or_else(|| InitFailure::refusal(InitStep::FindGroup, name)),
        }
    }

    fn extra_group(&self, text: &str) -> Result<u32, InitFailure> {
        let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match parse_id(text) {
            Some(gid) => Ok(gid),
            None if all_digits => Err(InitFailure::refusal(InitStep::FindGroup, text)),
            None => self.group(&Principal::Name(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        me:x:1000:1000::/home/me:/bin/sh\n\
        4294967296:x:0:0::/root:/bin/sh\n\
        12:x:0:0::/root:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root\nme:x:1000:\nextra:x:2000:me\n77:x:0:\n";

    fn resolve(user: &str, extra: &[&str]) -> Result<Identity, InitFailure> {
        let lookup = Lookup {
            passwd: PASSWD,
            group: GROUP,
        };
        let extra: Vec<String> = extra.iter().map(|text| (*text).to_owned()).collect();
        lookup.resolve(&user.parse().unwrap(), &extra)
    }

    #[test]
    fn users_and_groups_follow_dockers_rules() {
        type Row = (
            &'static str,
            &'static [&'static str],
            u32,
            u32,
            &'static [u32],
            &'static str,
        );
        let table: [Row; 8] = [
            ("", &[], 0, 0, &[0, 10], "/root"),
            ("me", &[], 1000, 1000, &[1000, 2000], "/home/me"),
            ("1000", &[], 1000, 1000, &[1000, 2000], "/home/me"),
            ("me:wheel", &[], 1000, 10, &[10], "/home/me"),
            ("5", &[], 5, 0, &[0], "/"),
            ("5:6", &["wheel", "7", "7"], 5, 6, &[6, 10, 7], "/"),
            ("12", &[], 12, 0, &[0], "/"),
            (":77", &[], 0, 77, &[77], "/root"),
        ];
        for (user, extra, uid, gid, groups, home) in table {
            let found = resolve(user, extra).unwrap();
            let found = (found.uid, found.gid, found.groups, found.home);
            assert_eq!(
                found,
                (uid, gid, groups.to_vec(), home.to_owned()),
                "{user}"
            );
        }
    }

    #[test]
    fn unknown_names_are_errors() {
        assert_eq!(resolve("nobody", &[]).unwrap_err().step, InitStep::FindUser);
        assert_eq!(resolve("me:no", &[]).unwrap_err().step, InitStep::FindGroup);
        for extra in ["no", "4294967296", ""] {
            let error = resolve("me", &[extra]).unwrap_err();
            assert_eq!(error.step, InitStep::FindGroup, "{extra:?}");
        }
    }
}
