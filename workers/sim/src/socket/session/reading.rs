//! What a client's frames mean to a socket: acks, pings, pongs, closes and nonsense.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use uuid::Uuid;

use super::{CLOSE_LINGER, CloseStyle, Command, Finish, Phase, Session, finish};
use crate::app::AckFrame;
use crate::frame::{self, Incoming};
use crate::journal::AckFlaw;

/// Largest message read from a client; a larger one is closed with 1009.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A message whose last fragment has not come.
pub(super) struct Fragments {
    text: Vec<u8>,
    frame_bytes: usize,
}

#[derive(Deserialize)]
struct AckText<'a> {
    envelope_id: Option<Uuid>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl Session {
    /// Handles `bytes` newly read bytes; 0 means the client is gone.
    pub(super) fn read(&mut self, bytes: usize) -> Option<Finish> {
        if bytes == 0 {
            let orderly = self.phase != Phase::Open;
            return Some(finish(if orderly { "closed" } else { "the client is gone" }, orderly));
        }
        loop {
            match frame::take(&mut self.incoming, MESSAGE_BYTES_MAX) {
                Ok(None) => return None,
                Ok(Some(incoming)) => {
                    if let Some(end) = self.frame(incoming) {
                        return Some(end);
                    }
                }
                Err(violation) => {
                    self.incoming.clear();
                    if self.close(CloseStyle::Frame(violation.close_code)).is_none()
                        && self.phase == Phase::Closed
                    {
                        return Some(finish("bytes after the close", true));
                    }
                    return None;
                }
            }
        }
    }

    fn frame(&mut self, incoming: Incoming) -> Option<Finish> {
        match incoming.opcode {
            OpCode::Control(Control::Ping) => {
                let payload = incoming.payload;
                self.connection
                    .send_with(|out| frame::put_frame(out, OpCode::Control(Control::Pong), &payload));
            }
            OpCode::Control(Control::Pong) => self.unanswered_ping = None,
            OpCode::Control(Control::Close) => return self.client_closes(&incoming.payload),
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                return self.close(CloseStyle::Frame(1002));
            }
            OpCode::Data(Data::Text | Data::Binary) if incoming.is_final && self.fragments.is_none() => {
                self.ack(&incoming.payload, incoming.frame_bytes, false);
            }
            OpCode::Data(Data::Text | Data::Binary | Data::Continue) => self.fragment(&incoming),
        }
        None
    }

    fn fragment(&mut self, incoming: &Incoming) {
        let mut fragments = self.fragments.take().unwrap_or(Fragments { text: Vec::new(), frame_bytes: 0 });
        if fragments.text.len() + incoming.payload.len() > MESSAGE_BYTES_MAX {
            return; // the rest of it will read as an unreadable ack
        }
        fragments.text.extend_from_slice(&incoming.payload);
        fragments.frame_bytes += incoming.frame_bytes;
        if incoming.is_final {
            self.ack(&fragments.text, fragments.frame_bytes, true);
        } else {
            self.fragments = Some(fragments);
        }
    }

    fn ack(&self, text: &[u8], frame_bytes: usize, fragmented: bool) {
        let Ok(AckText { envelope_id: Some(envelope_id), payload }) = serde_json::from_slice(text) else {
            return self.sim.journal.flawed_ack(&self.app.id, None, Some(AckFlaw::Unreadable), frame_bytes);
        };
        // A copy, so that the journal does not hold on to whole read buffers.
        let payload = payload.map(|raw| Bytes::copy_from_slice(raw.get().as_bytes()));
        let frame = AckFrame { envelope_id, payload, frame_bytes, fragmented };
        self.app.acked(&self.sim, &self.connection, frame);
    }

    /// The client's close frame: an answer to ours, or the first one.
    fn client_closes(&mut self, payload: &Bytes) -> Option<Finish> {
        let began_here = self.phase == Phase::CloseSent;
        let switches = &self.sim.switches;
        self.app.leave(&self.sim, &self.connection, true);
        self.timers.ping = None;
        self.timers.linger = Some(Instant::now() + CLOSE_LINGER);
        if !began_here && switches.answer_close {
            let code = &payload[..payload.len().min(2)];
            frame::put_frame(&mut self.outgoing, OpCode::Control(Control::Close), code);
        }
        if switches.close_tcp_after_handshake {
            self.connection.command(Command::Close { after: Duration::ZERO, style: CloseStyle::End });
        }
        self.phase = Phase::Closed;
        None
    }
}
