use rocker_types::{DiffId, Digest, Layout};

use super::*;
use crate::document::Compression;
use crate::store::{ExpectedLayer, PullStaging, Store, UnpackLimits, Wants};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn bytes_arrive_in_order_whatever_the_pieces() {
    let expected: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (writer, mut reader) = pipe(None);
    let consumer = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map(|_| all)
    });
    block_on(async {
        let mut rest = Bytes::from(expected.clone());
        for size in (1..).map(|n: usize| n * n * 7 % 70_000 + 1) {
            if rest.is_empty() {
                break;
            }
            let size = size.min(rest.len());
            writer.write(rest.split_to(size)).await.unwrap();
        }
        writer.finish();
    });
    assert!(consumer.join().unwrap().unwrap() == expected);
}

/// A file that a pipe may use, and the directory where it lies.
fn blob() -> (tempfile::TempDir, Arc<PartialBlob>) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path().join("root"), directory.path().join("run"));
    let store = Store::open(&layout).unwrap();
    let digest = Digest::from_sha256([7; 32]);
    let layer = ExpectedLayer {
        blob: digest.clone(),
        size_bytes: 1 << 20,
        compression: Compression::None,
        diff_id: DiffId(digest),
    };
    let mut staging = PullStaging::new();
    let wants = Wants {
        chain: &[],
        layers: std::slice::from_ref(&layer),
        limits: &UnpackLimits::default(),
    };
    staging.claim(&store, wants).unwrap();
    let blob = staging.new_blob(&layer);
    (directory, blob.unwrap())
}

#[test]
fn with_a_file_a_writer_never_waits_and_the_reader_misses_nothing() {
    let (_directory, file) = blob();
    let expected: Vec<u8> = (0..5 * CAPACITY)
        .map(|n| u8::try_from(n % 241).unwrap())
        .collect();
    let (writer, mut reader) = pipe(Some(file));
    let mut all = vec![0; expected.len()];
    let (early, late) = all.split_at_mut(CAPACITY / 2);
    let mut rest = Bytes::from(expected.clone());
    let mut write = |bytes: usize| {
        let written = block_on(async {
            let piece = rest.split_to(bytes.min(rest.len()));
            let mut write = std::pin::pin!(writer.write(piece));
            futures_util::poll!(write.as_mut())
        });
        assert_eq!(written, std::task::Poll::Ready(Ok(())));
    };

    // beyond what the queue takes, then level again, then both by turns
    (0..30).for_each(|_| write(100_000));
    reader.read_exact(early).unwrap();
    let mut read = 0;
    for turn in 0..100 {
        write(50_000 + turn);
        let most = (60_000 - turn).min(late.len() - read);
        read += reader.read(&mut late[read..read + most]).unwrap();
    }
    write(usize::MAX);
    writer.finish();
    reader.read_exact(&mut late[read..]).unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);

    assert!(all == expected);
}

#[test]
fn a_full_pipe_makes_the_writer_wait() {
    let (writer, mut reader) = pipe(None);
    block_on(async {
        let piece = Bytes::from(vec![0; CAPACITY / 4]);
        for _ in 0..4 {
            writer.write(piece.clone()).await.unwrap();
        }
        let mut fifth = std::pin::pin!(writer.write(piece.clone()));
        let waiting = futures_util::poll!(fifth.as_mut());
        assert!(waiting.is_pending());
        let mut buffer = vec![0; CAPACITY / 4];
        reader.read_exact(&mut buffer).unwrap();
        fifth.await.unwrap();
    });
}

#[test]
fn a_writer_that_dies_is_an_error_not_an_end() {
    let (writer, mut reader) = pipe(None);
    block_on(writer.write(Bytes::from_static(b"abc"))).unwrap();
    drop(writer);
    assert_eq!(
        reader.read(&mut [0; 8]).unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn a_reader_that_dies_wakes_a_waiting_writer() {
    let (writer, reader) = pipe(None);
    block_on(async {
        writer.write(Bytes::from(vec![0; CAPACITY])).await.unwrap();
        let write = writer.write(Bytes::from_static(b"x"));
        let mut write = std::pin::pin!(write);
        assert!(futures_util::poll!(write.as_mut()).is_pending());
        drop(reader);
        assert_eq!(write.await, Err(ReaderGone));
        writer.reader_gone().await;
    });
}
