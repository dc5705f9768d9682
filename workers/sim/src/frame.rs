//! WebSocket frames as bytes: what a server writes (unmasked) and reads (masked).
//!
//! The message-level API of tungstenite hides what matters here: whether an ack came in fragments, and how long its
//! frame was. So this module uses its header codec and keeps frames as they are.

use std::io::Cursor;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Appends one whole text frame.
pub(crate) fn put_text(out: &mut BytesMut, text: &[u8]) {
    put_header(out, OpCode::Data(Data::Text), true, text.len());
    out.put_slice(text);
}

/// Appends one whole frame of any kind.
pub(crate) fn put_frame(out: &mut BytesMut, opcode: OpCode, payload: &[u8]) {
    put_header(out, opcode, true, payload.len());
    out.put_slice(payload);
}

/// Appends a text message cut into `pieces` frames of about equal length (at least one byte each).
pub(crate) fn put_fragments(out: &mut BytesMut, text: &[u8], pieces: usize) {
    let piece = text.len().div_ceil(pieces.max(1)).max(1);
    let count = text.len().div_ceil(piece);
    for (index, chunk) in text.chunks(piece).enumerate() {
        let opcode = if index == 0 { Data::Text } else { Data::Continue };
        put_header(out, OpCode::Data(opcode), index + 1 == count, chunk.len());
        out.put_slice(chunk);
    }
}

/// Appends a close frame with `code` and no reason.
pub(crate) fn put_close(out: &mut BytesMut, code: u16) {
    put_frame(out, OpCode::Control(Control::Close), &code.to_be_bytes());
}

/// Appends the header of an unmasked frame whose payload of `len` bytes follows.
pub(crate) fn put_header(out: &mut BytesMut, opcode: OpCode, is_final: bool, len: usize) {
    let header = FrameHeader { is_final, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None };
    header.format(len as u64, &mut out.writer()).expect("writing to memory cannot fail");
}

/// One frame from a client, unmasked.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub opcode: OpCode,
    pub is_final: bool,
    pub payload: Bytes,
    /// Length on the wire, header included.
    pub frame_bytes: usize,
}

/// Why a client's bytes are not a frame; the socket is closed with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub close_code: u16,
}

/// Takes the next whole frame out of `buffer`, or `None` until more bytes come.
pub(crate) fn take(buffer: &mut BytesMut, payload_max: usize) -> Result<Option<Incoming>, Violation> {
    let mut cursor = Cursor::new(&buffer[..]);
    let Some((header, len)) = FrameHeader::parse(&mut cursor).map_err(|_| Violation { close_code: 1002 })?
    else {
        return Ok(None);
    };
    let head_bytes = usize::try_from(cursor.position()).map_err(|_| Violation { close_code: 1009 })?;
    let len =
        usize::try_from(len).ok().filter(|len| *len <= payload_max).ok_or(Violation { close_code: 1009 })?;
    let Some(mask) = header.mask else {
        return Err(Violation { close_code: 1002 }); // RFC 6455, 5.1: clients mask
    };
    if buffer.len() < head_bytes + len {
        return Ok(None);
    }
    buffer.advance(head_bytes);
    let mut payload = buffer.split_to(len);
    unmask(&mut payload, mask);
    Ok(Some(Incoming {
        opcode: header.opcode,
        is_final: header.is_final,
        payload: payload.freeze(),
        frame_bytes: head_bytes + len,
    }))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for chunk in payload.chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(payload: &[u8], mask: [u8; 4]) -> BytesMut {
        let mut out = BytesMut::new();
        let header = FrameHeader {
            is_final: true,
            rsv1: false,
            rsv2: false,
            rsv3: false,
            opcode: OpCode::Data(Data::Text),
            mask: Some(mask),
        };
        header.format(payload.len() as u64, &mut (&mut out).writer()).unwrap();
        let start = out.len();
        out.put_slice(payload);
        unmask(&mut out[start..], mask);
        out
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_a_violation_or_a_wait(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = take(&mut buffer, 64) {
                prop_assert!(frame.payload.len() <= 64);
            }
        }

        #[test]
        fn what_a_client_masks_is_read_back(payload in proptest::collection::vec(any::<u8>(), 0..70_000), mask: [u8; 4]) {
            let mut buffer = masked(&payload, mask);
            let wire = buffer.len();
            let frame = take(&mut buffer, 1 << 20).unwrap().unwrap();
            prop_assert_eq!(&frame.payload[..], &payload[..]);
            prop_assert_eq!(frame.frame_bytes, wire);
        }
    }

    #[test]
    fn fragments_cover_the_text_and_only_the_last_is_final() {
        let mut out = BytesMut::new();
        put_fragments(&mut out, b"abcdefg", 3);
        assert_eq!(&out[..], b"\x01\x03abc\x00\x03def\x80\x01g");
    }

    #[test]
    fn unmasked_and_oversized_frames_are_violations() {
        let mut plain = BytesMut::new();
        put_text(&mut plain, b"{}");
        assert_eq!(take(&mut plain, 100).unwrap_err().close_code, 1002);
        assert_eq!(take(&mut masked(&[0; 101], [1; 4]), 100).unwrap_err().close_code, 1009);
    }
}
