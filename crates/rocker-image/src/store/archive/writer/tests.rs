use proptest::prelude::*;

use super::*;
use crate::store::UnpackLimits;
use crate::store::archive::ArchiveReader;

fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255u8, length)
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        (0..2000u64).prop_map(|size| EntryKind::File { size }),
        (0..99u64, 1..2000u64, 0..99u64).prop_map(|(hole, length, rest)| {
            let offset = hole * 1000;
            let size = offset + length + rest;
            EntryKind::SparseFile {
                size,
                extents: vec![Extent { offset, length }],
            }
        }),
        Just(()).prop_map(|()| EntryKind::Directory),
        bytes(1..300).prop_map(|target| EntryKind::Symlink { target }),
        bytes(1..300).prop_map(|target| EntryKind::HardLink { target }),
        (0..4096u64, 0..0xf_ffffu64)
            .prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        Just(()).prop_map(|()| EntryKind::Fifo),
    ]
}

prop_compose! {
    fn entry()(
        path in bytes(1..300).prop_filter("a name", |path| !path.ends_with(b"/")),
        kind in kind(),
        mode in 0..0o10000u32,
        (uid, gid) in (0..u32::MAX, 0..u32::MAX),
        seconds in -(1i64 << 40)..1i64 << 40,
        nanoseconds in prop_oneof![Just(0), 0..1_000_000_000u32],
        xattrs in prop::collection::vec((prop::collection::vec(b'a'..=b'z', 1..9), prop::collection::vec(any::<u8>(), 0..200)), 0..3),
    ) -> Entry {
        Entry { path, kind, mode, uid, gid, mtime: Mtime { seconds, nanoseconds }, xattrs }
    }
}

proptest::proptest! {
    #[test]
    fn what_is_written_is_read(entries in prop::collection::vec(entry(), 0..5)) {
        let mut writer = ArchiveWriter::new(Vec::new());
        for entry in &entries {
            writer.entry(entry).unwrap();
            let size = match &entry.kind {
                EntryKind::File { size } => Some(*size),
                EntryKind::SparseFile { extents, .. } => Some(extents[0].length),
                EntryKind::Directory
                | EntryKind::Symlink { .. }
                | EntryKind::HardLink { .. }
                | EntryKind::CharDevice { .. }
                | EntryKind::BlockDevice { .. }
                | EntryKind::Fifo => None,
            };
            if let Some(size) = size {
                let data = vec![7; usize::try_from(size).unwrap()];
                writer.data().write_all(&data).unwrap();
                prop_assert!(writer.data().write_all(b"x").is_err());
            }
        }
        let tar = writer.finish().unwrap();
        prop_assert_eq!(tar.len() % 512, 0);
        let mut reader = ArchiveReader::new(tar.as_slice(), &UnpackLimits::default());
        for entry in entries {
            let read = reader.next().unwrap().unwrap();
            prop_assert_eq!(format!("{read:?}"), format!("{entry:?}"));
        }
        prop_assert!(reader.next().unwrap().is_none());
    }
}

#[test]
fn a_file_that_became_shorter_is_an_error() {
    let mut writer = ArchiveWriter::new(Vec::new());
    let entry = Entry::plain(b"f", EntryKind::File { size: 2 });
    writer.entry(&entry).unwrap();
    writer.data().write_all(b"1").unwrap();
    assert!(writer.finish().is_err());
}

#[test]
fn gnu_tar_sees_the_holes_at_the_end() {
    let sparse = |path: &[u8], size, extents: &[Extent]| Entry {
        path: path.to_vec(),
        kind: EntryKind::SparseFile {
            size,
            extents: extents.to_vec(),
        },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Mtime {
            seconds: 0,
            nanoseconds: 0,
        },
        xattrs: Vec::new(),
    };
    let start = Extent {
        offset: 0,
        length: 4096,
    };
    let mut writer = ArchiveWriter::new(Vec::new());
    writer.entry(&sparse(b"start", 100_000, &[start])).unwrap();
    writer.data().write_all(&[7; 4096]).unwrap();
    writer.entry(&sparse(b"hole", 2_000_000, &[])).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("a.tar"), writer.finish().unwrap()).unwrap();

    let mut tar = std::process::Command::new("tar");
    let status = tar.args(["-xf", "a.tar"]).current_dir(dir.path()).status();

    assert!(status.unwrap().success());
    for (name, size) in [("start", 100_000), ("hole", 2_000_000)] {
        let metadata = fs_err::metadata(dir.path().join(name)).unwrap();
        assert_eq!(metadata.len(), size, "{name}");
    }
}
