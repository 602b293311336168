//! The monitor's side of a log.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::entry_end::EntryEnd;
use super::{LogFiles, LogLimits, LogWriteError, Stream, encode};

/// Writes a container's output into its log.
///
/// Never more than about 200 KiB in memory, whatever is written, and nothing before the first line; no
/// call fails, see the policy in the module's documentation.
#[derive(Debug)]
pub struct LogWriter {
    directory: OwnedFd,
    files: LogFiles,
    limits: LogLimits,
    /// `None` after a failure to open: the next write tries again.
    file: Option<OwnedFd>,
    /// The size of `file`, in bytes; always at the end of a line.
    size: u64,
    /// Whole lines that are to be written.
    out: Vec<u8>,
    unfinished: [Unfinished; 2],
    drops: Drops,
}

/// The beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
struct Unfinished {
    text: Vec<u8>,
    /// When the first piece of this line was written, if one was: all its pieces bear that time.
    since: Option<EntryEnd>,
}

/// Lines that could not be written.
#[derive(Debug, Default)]
struct Drops {
    total: u64,
    /// How many of them the log does not tell of yet.
    untold: u64,
    last: Option<Errno>,
}

/// Whether a line's text is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Last,
    More,
}

/// The most text in one entry, in bytes; a longer line becomes several, and only the last of them
/// ends in `\n`. Docker's figure.
const MAX_TEXT: usize = 16 * 1024;

/// The most that an entry adds to its escaped text, in bytes.
const MAX_OVERHEAD: usize = 128;

/// How much is gathered before it is written, in bytes, if one batch has so much.
const FLUSH_AT: usize = 64 * 1024;

impl LogWriter {
    /// Opens the log for writing, behind what it holds already. If the last writer died in the
    /// middle of a line, that line is removed.
    ///
    /// # Errors
    ///
    /// [`LogWriteError`] names the step; the directory must exist.
    pub fn open(files: LogFiles, limits: LogLimits) -> Result<Self, LogWriteError> {
        let failed = |attempt| {
            let path = files.current();
            move |errno: Errno| LogWriteError {
                attempt,
                path,
                source: errno.into(),
            }
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(files.directory(), flags, Mode::empty())
            .map_err(failed("find the directory of"))?;
        let mut writer = Self {
            directory,
            files: files.clone(),
            limits: LogLimits {
                max_files: limits.max_files.max(1),
                ..limits
            },
            file: None,
            size: 0,
            out: Vec::new(),
            unfinished: [Unfinished::default(), Unfinished::default()],
            drops: Drops::default(),
        };
        let file = writer.open_current().map_err(failed("open"))?;
        writer.size = remove_torn_line(&file).map_err(failed("repair"))?;
        writer.file = Some(file);
        Ok(writer)
    }

    /// Appends output of the container, as it came: lines may be in parts, and need not be text.
    ///
    /// Whole lines are in the file when this returns, the rest waits for its end.
    pub fn write(&mut self, stream: Stream, output: &[u8]) {
        let end = EntryEnd::now(stream);
        let mut rest = output;
        while !rest.is_empty() {
            rest = self.take_line(stream, rest, end);
        }
        self.flush();
    }

    /// Writes the lines that never got their end. They stay without `\n`, as they were.
    pub fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut unfinished = std::mem::take(self.unfinished(stream));
            if !unfinished.text.is_empty() {
                let end = unfinished.since.unwrap_or_else(|| EntryEnd::now(stream));
                self.append(&unfinished.text, Piece::More, end);
                unfinished.text.clear();
            }
        }
        self.flush();
    }

    /// How many lines were lost because they could not be written.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.drops.total
    }

    fn unfinished(&mut self, stream: Stream) -> &mut Unfinished {
        match stream {
            Stream::Stdout => &mut self.unfinished[0],
            Stream::Stderr => &mut self.unfinished[1],
        }
    }

    /// Takes the first line of `output`, or the part of it that is there, and returns the rest.
    fn take_line<'a>(&mut self, stream: Stream, output: &'a [u8], end: EntryEnd) -> &'a [u8] {
        let unfinished = self.unfinished(stream);
        let room = MAX_TEXT - unfinished.text.len();
        let within = &output[..output.len().min(room)];
        let newline = memchr::memchr(b'\n', within);
        if newline.is_none() && within.len() < room {
            unfinished.text.extend_from_slice(within);
            return &[];
        }

        let mut held = std::mem::take(&mut unfinished.text);
        let since = unfinished.since.take().unwrap_or(end);
        let (line, rest) = match newline {
            Some(at) => (&output[..at], &output[at + 1..]),
            None => output.split_at(room),
        };
        let text = if held.is_empty() {
            line
        } else {
            held.extend_from_slice(line);
            &held
        };
        if newline.is_some() {
            self.append(text, Piece::Last, since);
            held.clear();
        } else {
            let whole = encode::whole_characters(text);
            self.append(&text[..whole], Piece::More, since);
            let begun: [u8; 4] = std::array::from_fn(|i| text.get(whole + i).copied().unwrap_or(0));
            let begun_len = text.len() - whole;
            held.clear();
            held.extend_from_slice(&begun[..begun_len]);
            self.unfinished(stream).since = Some(since);
        }
        // The memory is kept for the next line.
        self.unfinished(stream).text = held;
        rest
    }

    /// Adds an entry to what is to be written, and writes when that is enough.
    fn append(&mut self, text: &[u8], piece: Piece, end: EntryEnd) {
        if self.out.capacity() == 0 {
            self.out
                .reserve_exact(FLUSH_AT + 6 * MAX_TEXT + MAX_OVERHEAD);
        }
        let start = self.out.len();
        self.out.extend_from_slice(br#"{"log":""#);
        encode::escape(text, &mut self.out);
        if piece == Piece::Last {
            self.out.extend_from_slice(b"\\n");
        }
        self.out.extend_from_slice(end.as_bytes());

        if self.size + self.out.len() as u64 > self.limits.max_bytes {
            self.flush_first(start);
            self.rotate();
        }
        if self.out.len() >= FLUSH_AT {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.flush_first(self.out.len());
    }

    /// Writes the first `len` bytes of what is to be written, whole lines.
    fn flush_first(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        if self.drops.untold > 0 {
            self.tell_drops();
        }
        let mut out = std::mem::take(&mut self.out);
        let lines = &out[..len];
        if let Err((written, errno)) = self.write_lines(lines) {
            let lost = memchr::memchr_iter(b'\n', &lines[written..]).count() as u64;
            self.drops.total += lost;
            self.drops.untold += lost;
            self.drops.last = Some(errno);
        }
        out.drain(..len);
        self.out = out;
    }

    /// Writes `lines`; on failure, says how many bytes of them, whole lines, are in the file.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), (usize, Errno)> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.reopen().map_err(|errno| (0, errno))?,
        };
        let file = self.file.insert(file);
        let mut done = 0;
        let failure = loop {
            match rustix::io::write(&*file, &lines[done..]) {
                Ok(0) => break Errno::IO,
                Ok(len) => done += len,
                Err(Errno::INTR) => (),
                Err(errno) => break errno,
            }
            if done == lines.len() {
                self.size += lines.len() as u64;
                return Ok(());
            }
        };
        let whole = memchr::memrchr(b'\n', &lines[..done]).map_or(0, |at| at + 1);
        self.size += whole as u64;
        // Should this fail too, then a torn line stays, which readers skip.
        let _ = rustix::fs::ftruncate(&*file, self.size);
        Err((whole, failure))
    }

    /// Says in the log how many lines are missing there.
    fn tell_drops(&mut self) {
        let cause = self.drops.last.map(std::io::Error::from);
        let cause = cause.map(|error| error.to_string()).unwrap_or_default();
        let text = format!(
            "rocker: {} log lines could not be written: {cause}",
            self.drops.untold
        );
        let mut line = br#"{"log":""#.to_vec();
        encode::escape(text.as_bytes(), &mut line);
        line.extend_from_slice(b"\\n");
        line.extend_from_slice(EntryEnd::now(Stream::Stderr).as_bytes());
        if self.size + line.len() as u64 > self.limits.max_bytes {
            self.rotate();
        }
        if self.write_lines(&line).is_ok() {
            self.drops.untold = 0;
        }
    }

    fn open_current(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        rustix::fs::openat(&self.directory, self.files.name(0), flags, mode)
    }

    /// Opens the current file after a failure; one that is full is renamed away first.
    fn reopen(&mut self) -> Result<OwnedFd, Errno> {
        let file = self.open_current()?;
        self.size = rustix::fs::fstat(&file).map(|stat| stat.st_size.unsigned_abs())?;
        if self.size < self.limits.max_bytes {
            return Ok(file);
        }
        self.shift_files()?;
        self.size = 0;
        self.open_current()
    }

    /// Makes the current file the one before, and begins a new one.
    fn rotate(&mut self) {
        if self.size == 0 {
            return;
        }
        self.file = None;
        // After a failure nothing is written until `reopen` succeeds: the bound holds.
        if self.shift_files().is_ok() {
            self.file = self.open_current().ok();
            self.size = 0;
        }
    }

    /// Gives every file the name of the next older one; the oldest goes if there are too many.
    ///
    /// No rename replaces a file: ext4 would start to write the new one out at once
    /// (`auto_da_alloc`), while most of what is logged never needs to reach the disk.
    fn shift_files(&self) -> Result<(), Errno> {
        let oldest = self.limits.max_files - 1;
        let mut free = 0;
        while free < oldest && self.exists(free)? {
            free += 1;
        }
        if free == oldest {
            let name = self.files.name(oldest);
            match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => (),
                Err(errno) => return Err(errno),
            }
        }
        for age in (0..free).rev() {
            let (from, to) = (self.files.name(age), self.files.name(age + 1));
            rustix::fs::renameat(&self.directory, from, &self.directory, to)?;
        }
        Ok(())
    }

    fn exists(&self, age: u32) -> Result<bool, Errno> {
        let name = self.files.name(age);
        match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// Cuts off what follows the last newline of `file`, and returns the size then.
fn remove_torn_line(file: &OwnedFd) -> Result<u64, Errno> {
    let size = rustix::fs::fstat(file)?.st_size.unsigned_abs();
    let mut whole = size;
    let mut block = [0; 4096];
    while whole > 0 {
        let start = whole.saturating_sub(block.len() as u64);
        let wanted = usize::try_from(whole - start).unwrap_or(block.len());
        let len = rustix::io::pread(file, &mut block[..wanted], start)?;
        if let Some(at) = memchr::memrchr(b'\n', &block[..len]) {
            whole = start + at as u64 + 1;
            break;
        }
        whole = start;
    }
    if whole < size {
        rustix::fs::ftruncate(file, whole)?;
    }
    Ok(whole)
}
