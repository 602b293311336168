//! The loop's part that gives the container its input.

use rustix::io::Errno;

use super::InputEnd;
use super::event_loop::EventLoop;
use super::input::{Input, Written};
use super::poller::{Interest, Token};

impl EventLoop<'_> {
    /// Gives the container as much input as it takes.
    pub(super) fn feed(&mut self) {
        if self.feed_orphaned() && self.feed_from_clients() {
            let _ = self.watch_input(Interest::Nothing);
        }
    }

    /// False if the container takes no more now.
    fn feed_orphaned(&mut self) -> bool {
        while !self.orphaned.pending().is_empty() {
            match self.input.write(self.orphaned.pending()) {
                Written::Bytes(len) => self.orphaned.take(len),
                Written::NotNow => return self.wait_for_container(),
                Written::Closed => self.close_input(),
            }
        }
        if std::mem::take(&mut self.orphaned.ended) {
            self.end_input();
        }
        true
    }

    /// False if the container takes no more now.
    fn feed_from_clients(&mut self) -> bool {
        for slot in self.clients.slots() {
            while let Some(client) = self.clients.get(slot) {
                if client.input.pending().is_empty() {
                    break;
                }
                match self.input.write(client.input.pending()) {
                    Written::Bytes(len) => {
                        client.input.take(len);
                        client.owe_stdin_taken(len);
                        self.send(slot);
                    }
                    Written::NotNow => return self.wait_for_container(),
                    Written::Closed => self.close_input(),
                }
            }
            let ended = self.clients.get(slot).map(|client| &mut client.input.ended);
            if ended.is_some_and(std::mem::take) && self.input_end == InputEnd::WithFirstClient {
                self.end_input();
            }
        }
        true
    }

    fn wait_for_container(&mut self) -> bool {
        if self.watch_input(Interest::Write).is_err() {
            self.close_input();
        }
        false
    }

    /// A pipe is always watched: its error says that the container closed it. A terminal only while
    /// there is something to write.
    pub(super) fn watch_input(&mut self, interest: Interest) -> Result<(), Errno> {
        let Some(fd) = self.input.fd() else {
            return Ok(());
        };
        let is_pipe = matches!(self.input, Input::Pipe(_));
        let wanted = (is_pipe || interest != Interest::Nothing).then_some(interest);
        match (self.input_interest, wanted) {
            (now, wanted) if now == wanted => (),
            (None, Some(interest)) => self.poller.add(fd, Token::Input, interest)?,
            (Some(_), Some(interest)) => self.poller.modify(fd, Token::Input, interest)?,
            (_, None) => self.poller.remove(fd),
        }
        self.input_interest = wanted;
        Ok(())
    }

    /// No client has more input.
    fn end_input(&mut self) {
        self.input.end();
        if matches!(self.input, Input::Closed) {
            self.close_input();
        }
    }

    /// The container takes no more input: nor do we.
    pub(super) fn close_input(&mut self) {
        if let Some(fd) = self.input.fd() {
            self.poller.remove(fd);
        }
        self.input = Input::Closed;
        self.input_interest = None;
        self.orphaned.clear();
        for client in self.clients.iter_mut() {
            client.input.clear();
            client.owe_stdin_closed();
        }
        for slot in self.clients.slots() {
            self.send(slot);
        }
    }
}
