//! Rows of passwd and group files. Pure; what does not parse is no row.

/// A row of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserRow {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// A row of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupRow {
    pub(super) name: String,
    pub(super) gid: u32,
    pub(super) members: Vec<String>,
}

/// No honest file has more.
const MAX_LINES: usize = 10_000;

/// Ids above this are refused: −1 means "leave alone" to the kernel.
const MAX_ID: u32 = i32::MAX as u32;

pub(super) fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = digits.then(|| text.parse().ok()).flatten()?;
    (id <= MAX_ID).then_some(id)
}

fn rows(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take(MAX_LINES);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

pub(super) fn users(text: &str) -> impl Iterator<Item = UserRow> {
    rows(text).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = parse_id(fields.nth(1)?)?;
        let gid = parse_id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or("").to_owned();
        Some(UserRow {
            name,
            uid,
            gid,
            home,
        })
    })
}

pub(super) fn groups(text: &str) -> impl Iterator<Item = GroupRow> {
    rows(text).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let gid = parse_id(fields.nth(1)?)?;
        let members = fields.next().unwrap_or("").split(',');
        Some(GroupRow {
            name,
            gid,
            members: members.filter(|m| !m.is_empty()).map(Into::into).collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_rows_count() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\n# no\nshort:x:1\nbig:x:4294967296:0:::\n\
                    neg:x:-1:0:::\nplus:x:+5:0:::\nnohome:x:7:8\n";
        let found: Vec<_> = users(text)
            .map(|row| (row.name, row.uid, row.home))
            .collect();
        let want = [("root", 0, "/root"), ("nohome", 7, "")];
        assert_eq!(found, want.map(|(n, u, h)| (n.to_owned(), u, h.to_owned())));
    }

    #[test]
    fn members_are_split() {
        let found: Vec<_> = groups("wheel:x:10:root,me,\nbad:x:y:\nalone:x:5\n").collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].members, ["root", "me"]);
        assert!(found[1].members.is_empty());
    }
}
