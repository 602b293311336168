//! The side of `rocker logs`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use jiff::Timestamp;
use rustix::io::Errno;

use super::decode::RawEntry;
use super::follow::{Generation, LogDirectory, Watch, Woken};
use super::lines::LineBuffer;
use super::tail::{LastLines, last_lines};
use super::time::{PaddedTime, Window};
use super::{LogFiles, LogReadError, Stream};

/// Which part of a log is wanted.
#[derive(Debug, Default)]
pub struct ReadOptions {
    /// How many entries, counted before `since` and `until` are looked at.
    pub tail: Tail,
    /// Nothing that was written before this.
    pub since: Option<Timestamp>,
    /// Nothing that was written after this.
    pub until: Option<Timestamp>,
    /// What to do at the end.
    pub follow: Follow,
    /// Whether [`LogReader::copy_to`] puts the time, in nanoseconds, before every line.
    pub timestamps: bool,
}

/// How many of the last entries are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// Every one that is kept.
    #[default]
    All,
    /// So many.
    Last(u64),
}

/// What a reader does when it has read everything.
#[derive(Debug, Default)]
pub enum Follow {
    /// It ends.
    #[default]
    No,
    /// It waits for more, until this fd is readable: a pidfd of the process that writes the log.
    /// What was written until then is still read.
    WhileAlive(OwnedFd),
}

/// One entry of a log: a line, or a part of a line that is longer than 16 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// Where the container wrote it.
    pub stream: Stream,
    /// When, as RFC 3339 text.
    pub time: &'a str,
    /// What, with the newline if the container wrote one.
    pub text: &'a [u8],
}

/// Reads a container's log, across all its files, while it may be written.
///
/// Lines that are not whole entries (the writer was killed, the disk was full) are skipped.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    directory: LogDirectory,
    /// The files still to be read; the first is being read.
    generations: VecDeque<Generation>,
    lines: LineBuffer,
    window: Window,
    timestamps: bool,
    watch: Option<Watch>,
    writer: Writer,
    text: Vec<u8>,
}

/// What is known of the writing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// More may come, if somebody waits for it.
    Alive,
    /// What is in the files now is all.
    Gone,
}

/// What there is to do next.
enum Step {
    /// Look at this line.
    Line(Range<usize>),
    /// Wait for the writer.
    Wait,
    End,
}

impl LogReader {
    /// Opens the log of `files`.
    ///
    /// # Errors
    ///
    /// [`LogReadError::Read`], for instance if there is no log.
    pub fn open(files: LogFiles, options: ReadOptions) -> Result<Self, LogReadError> {
        let path = files.current();
        let failed = |attempt| {
            let path = path.clone();
            move |errno: Errno| LogReadError::Read {
                attempt,
                path,
                source: errno.into(),
            }
        };
        let watch = match options.follow {
            Follow::No => None,
            Follow::WhileAlive(writer) => Some(Watch::new(&files, writer)),
        };
        let watch = watch.transpose().map_err(failed("watch"))?;
        let directory = LogDirectory::open(files).map_err(failed("find the directory of"))?;
        let mut generations = directory.snapshot().map_err(failed("open"))?;
        if let Tail::Last(wanted) = options.tail {
            skip_to_last(&mut generations, wanted).map_err(failed("read the end of"))?;
        }
        Ok(Self {
            path,
            directory,
            generations: generations.into(),
            lines: LineBuffer::default(),
            window: Window::new(options.since, options.until),
            timestamps: options.timestamps,
            watch,
            writer: Writer::Alive,
            text: Vec::new(),
        })
    }

    /// The next entry; waits for one if the log is followed.
    ///
    /// # Errors
    ///
    /// [`LogReadError::Read`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an entry borrows the reader's buffer, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<LogEntry<'_>>, LogReadError> {
        let line = loop {
            match self.step()? {
                Step::Line(line) if self.decode(line.clone()).is_some() => break line,
                Step::Line(_) => (),
                Step::Wait => self.wait()?,
                Step::End => return Ok(None),
            }
        };
        let entry = RawEntry::parse(self.lines.get(line));
        Ok(entry.map(|raw| LogEntry {
            stream: raw.stream,
            time: raw.time,
            text: &self.text,
        }))
    }

    /// Puts the text of a wanted entry into `self.text`.
    fn decode(&mut self, line: Range<usize>) -> Option<()> {
        let raw = RawEntry::parse(self.lines.get(line))?;
        let time = PaddedTime::parse(raw.time)?;
        if self.window.is_over(&time) {
            self.writer = Writer::Gone;
            self.generations.clear();
            self.lines.clear();
            return None;
        }
        self.text.clear();
        self.window
            .admits(&time)
            .then(|| raw.unescape(&mut self.text))?
    }

    /// Copies everything that is wanted to where it belongs.
    ///
    /// # Errors
    ///
    /// [`LogReadError::Output`] if one of the writers fails.
    pub fn copy_to(
        &mut self,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<(), LogReadError> {
        let output = |source: io::Error| LogReadError::Output { source };
        let mut outlet = Outlet::new(stdout, stderr);
        loop {
            match self.step()? {
                Step::Line(line) => self.copy_line(line, &mut outlet).map_err(output)?,
                Step::Wait => {
                    outlet.flush().map_err(output)?;
                    self.wait()?;
                }
                Step::End => return outlet.flush().map_err(output),
            }
        }
    }

    fn copy_line(&mut self, line: Range<usize>, outlet: &mut Outlet<'_>) -> io::Result<()> {
        let Some(raw) = RawEntry::parse(self.lines.get(line)) else {
            return Ok(());
        };
        if !self.timestamps && self.window.is_open() {
            return outlet.put(&raw, None);
        }
        let Some(time) = PaddedTime::parse(raw.time) else {
            return Ok(());
        };
        if self.window.is_over(&time) {
            self.writer = Writer::Gone;
            self.generations.clear();
            self.lines.clear();
            return Ok(());
        }
        if !self.window.admits(&time) {
            return Ok(());
        }
        outlet.put(&raw, self.timestamps.then_some(&time))
    }

    fn step(&mut self) -> Result<Step, LogReadError> {
        loop {
            if let Some(line) = self.lines.next_line() {
                return Ok(Step::Line(line));
            }
            let read = match self.generations.front() {
                Some(generation) => self.lines.fill(&generation.file),
                None => Ok(0),
            };
            if read.map_err(|errno| self.failed("read", errno))? == 0 && !self.advance()? {
                return Ok(match (self.writer, &self.watch) {
                    (Writer::Alive, Some(_)) => Step::Wait,
                    _ => Step::End,
                });
            }
        }
    }

    /// Goes on to the next file after the end of one; false if there is none (yet).
    fn advance(&mut self) -> Result<bool, LogReadError> {
        if self.generations.len() > 1 {
            // A file that has a successor was read to its end after it got one: it is done.
            self.generations.pop_front();
            self.lines.clear();
            return Ok(true);
        }
        if self.watch.is_none() {
            return Ok(false);
        }
        let before = self.generations.len();
        self.find_successors()
            .map_err(|errno| self.failed("follow", errno))?;
        Ok(self.generations.len() > before)
    }

    fn find_successors(&mut self) -> Result<(), Errno> {
        let newer = match self.generations.front() {
            Some(current) if self.directory.is_current(current)? => return Ok(()),
            Some(rotated) => self.directory.successors(rotated)?,
            None => self.directory.snapshot()?,
        };
        self.generations.extend(newer);
        Ok(())
    }

    fn wait(&mut self) -> Result<(), LogReadError> {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        let woken = watch.wait(self.window.remaining());
        match woken.map_err(|errno| self.failed("wait for", errno))? {
            Woken::Changed => (),
            // The rest is read before the end.
            Woken::Ended | Woken::Timeout => self.writer = Writer::Gone,
        }
        Ok(())
    }

    fn failed(&self, attempt: &'static str, errno: Errno) -> LogReadError {
        LogReadError::Read {
            attempt,
            path: self.path.clone(),
            source: errno.into(),
        }
    }
}

/// Leaves of `generations`, the oldest first, what holds the last `wanted` entries, and positions
/// the oldest that is left at the first of them.
fn skip_to_last(generations: &mut Vec<Generation>, wanted: u64) -> Result<(), Errno> {
    let mut missing = wanted;
    for at in (0..generations.len()).rev() {
        match last_lines(&generations[at].file, missing)? {
            LastLines::Fewer(lines) => missing -= lines,
            LastLines::At(offset) => {
                let file = &generations[at].file;
                rustix::fs::seek(file, rustix::fs::SeekFrom::Start(offset))?;
                generations.drain(..at);
                break;
            }
        }
    }
    Ok(())
}

/// Text on its way out, in the order of the log whichever stream it belongs to.
struct Outlet<'a> {
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    pending: Vec<u8>,
    /// Where `pending` belongs.
    stream: Stream,
    /// Which stream's last entry was a part of a line that goes on.
    within_line: [bool; 2],
}

impl<'a> Outlet<'a> {
    const FLUSH_AT: usize = 64 * 1024;

    fn new(stdout: &'a mut dyn Write, stderr: &'a mut dyn Write) -> Self {
        Self {
            stdout,
            stderr,
            pending: Vec::new(),
            stream: Stream::Stdout,
            within_line: [false; 2],
        }
    }

    fn put(&mut self, raw: &RawEntry<'_>, time: Option<&PaddedTime>) -> io::Result<()> {
        if raw.stream != self.stream || self.pending.len() >= Self::FLUSH_AT {
            self.flush()?;
            self.stream = raw.stream;
        }
        let start = self.pending.len();
        let within = match raw.stream {
            Stream::Stdout => &mut self.within_line[0],
            Stream::Stderr => &mut self.within_line[1],
        };
        if let Some(time) = time.filter(|_| !*within) {
            self.pending.extend_from_slice(time.as_bytes());
            self.pending.push(b' ');
        }
        if raw.unescape(&mut self.pending).is_none() {
            self.pending.truncate(start);
            return Ok(());
        }
        *within = self.pending.last() != Some(&b'\n');
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let writer = match self.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        writer.write_all(&self.pending)?;
        self.pending.clear();
        writer.flush()
    }
}
