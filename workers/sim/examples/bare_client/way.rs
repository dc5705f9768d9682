//! The whole way of one event with nothing around it: write, sync, ack, POST, read the answer, one call after the
//! other on one thread. What a lone event costs at least, of the kernel's calls and of the signature.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use http::Uri;

/// The file is written over from its start beyond this: it has its blocks from the beginning, as a log's segment that
/// is used again.
const FILE_BYTES: u64 = 64 << 20;

/// A file, and a kept connection to the handler.
pub(crate) struct Way {
    file: File,
    end: u64,
    handler: TcpStream,
    head: String,
    key: hmac::Key,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Way {
    pub(crate) fn new(file: &Path, handler: &Uri, signing_secret: &str) -> Result<Self> {
        let authority = handler.authority().ok_or_else(|| Error::other("the handler's url has no host"))?;
        let stream = TcpStream::connect(authority.as_str())?;
        stream.set_nodelay(true)?;
        let file = File::create(file)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n",
            handler.path()
        );
        Ok(Self {
            file,
            end: 0,
            handler: stream,
            head,
            key: hmac::Key::new(hmac::HMAC_SHA256, signing_secret.as_bytes()),
            request: Vec::new(),
            answer: vec![0; 16 << 10],
        })
    }

    /// Writes and syncs one frame. Blocks.
    pub(crate) fn store(&mut self, frame: &[u8]) -> Result<()> {
        if self.end + frame.len() as u64 > FILE_BYTES {
            self.end = 0;
        }
        self.file.write_all_at(frame, self.end)?;
        self.end += frame.len() as u64;
        self.file.sync_data()
    }

    /// Signs and posts the frame and reads the answer's head and its empty body. Blocks.
    pub(crate) fn deliver(&mut self, frame: &[u8]) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Error::other)?.as_secs().to_string();
        let mut context = hmac::Context::with_key(&self.key);
        for part in [b"v0:", now.as_bytes(), b":", frame] {
            context.update(part);
        }
        let mut head = self.head.clone();
        write!(head, "content-length: {}\r\nx-slack-request-timestamp: {now}\r\n", frame.len())
            .and_then(|()| head.write_str("x-slack-signature: v0="))
            .and_then(|()| context.sign().as_ref().iter().try_for_each(|byte| write!(head, "{byte:02x}")))
            .map_err(Error::other)?;
        self.request.clear();
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(b"\r\n\r\n");
        self.request.extend_from_slice(frame);
        self.handler.write_all(&self.request)?;
        self.read_answer()
    }

    fn read_answer(&mut self) -> Result<()> {
        let mut filled = 0;
        while !self.answer[..filled].ends_with(b"\r\n\r\n") {
            match self.handler.read(&mut self.answer[filled..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => filled += more,
            }
        }
        if self.answer[..filled].starts_with(b"HTTP/1.1 200") {
            Ok(())
        } else {
            Err(Error::other("the handler refused an event"))
        }
    }
}
