//! What waits to be written to a socket.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;

/// Above this many unwritten bytes a socket gets no further envelopes.
const OUTBOX_BYTES_MAX: usize = 8 << 20;

/// Commands waiting for a socket's task; further ones are dropped.
const COMMANDS_MAX: usize = 1_000;

/// How the server ends a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseStyle {
    /// A close frame with this code; then the client has the word.
    Frame(u16),
    /// An orderly end of TCP without a close frame.
    End,
    /// A TCP reset.
    Reset,
}

/// Orders to a socket's task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Hello, which was held back.
    Hello,
    Close {
        after: Duration,
        style: CloseStyle,
    },
    /// Stop reading, writing and pinging while TCP stays open.
    Silence,
    /// End of the silence or the drip.
    Resume,
    /// Write at most `bytes` every `every`.
    Drip {
        bytes: usize,
        every: Duration,
    },
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
    commands: VecDeque<Command>,
    urgent: Option<Command>,
}

impl Outbox {
    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() < OUTBOX_BYTES_MAX
    }

    pub(super) fn put(&mut self, put: impl FnOnce(&mut BytesMut)) {
        put(&mut self.bytes);
    }

    pub(super) fn command(&mut self, command: Command) {
        if self.commands.len() < COMMANDS_MAX {
            self.commands.push_back(command);
        }
    }

    /// Obeyed at once, even when the client does not read; a second one replaces the first.
    pub(super) fn urgent(&mut self, command: Command) {
        self.urgent = Some(command);
    }

    pub(super) fn take_urgent(&mut self) -> Option<Command> {
        self.urgent.take()
    }

    /// Swaps the bytes out against the empty, already allocated `spare`.
    pub(super) fn take_bytes(&mut self, spare: &mut BytesMut) {
        std::mem::swap(&mut self.bytes, spare);
    }

    /// Moves the bytes behind those that are on their way already.
    pub(super) fn append_bytes(&mut self, to: &mut BytesMut) {
        to.unsplit(self.bytes.split());
    }

    pub(super) fn take_commands(&mut self, into: &mut VecDeque<Command>) {
        into.append(&mut self.commands);
    }
}
