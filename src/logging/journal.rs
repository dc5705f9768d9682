//! The systemd journal as a sink: one datagram for each log line, with fields.
//!
//! Nothing waits for it: a line that it does not take at once, because it is full or gone, is counted, and the next
//! line that it takes says how many are missing. Each datagram names the socket anew, so that a journal which was
//! restarted is found again. Deliberately absent: entries beyond a datagram, which the protocol passes as a sealed
//! memory file; they are cut instead ([`entry`]).

mod entry;

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use self::entry::Entry;

/// Where log lines become entries of the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Lines that could not be written since the last one that could.
    lost: AtomicU64,
}

impl Journal {
    /// The journal that listens at `path`.
    ///
    /// # Errors
    /// None listens there, or this process may not talk to it.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        // Asks whether anybody is there without sending anything; the socket that stays is not connected.
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_owned(), lost: AtomicU64::new(0) })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Taken first: of two threads only one reports the loss, and gives it back if it fails as well.
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let bytes = Entry::of(event, lost).into_bytes();
        if self.socket.send_to(&bytes, &self.path).is_err() {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
            metrics::counter!(taut_core::metric::LOG_LINES_LOST.name).increment(1);
        }
    }
}

/// Whether this process's stderr leads to the journal.
pub(super) fn holds_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stderr| is_stream(&stream, stderr.st_dev, stderr.st_ino))
}

/// Whether systemd's `JOURNAL_STREAM` means the file of this device and inode. A process further down may have
/// inherited the variable and have its stderr elsewhere.
fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    let parts = stream.split_once(':').map(|(device, inode)| (device.parse(), inode.parse()));
    parts == Some((Ok(device), Ok(inode)))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn received(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = vec![0; 1 << 17];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn journal_stream_names_the_device_and_inode_of_stderr() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "8:x", "8:1234:1"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }

    #[test]
    fn where_nobody_listens_there_is_no_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert_eq!(Journal::at(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(UnixDatagram::bind(&path).unwrap());
        assert_eq!(Journal::at(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_full_or_absent_journal_holds_nobody_up_and_learns_what_it_missed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::at(&path).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            // Far more than any queue of datagrams holds; were it waited for, this would not end.
            const LINES: usize = 5_000;
            (0..LINES).for_each(|number| tracing::info!(number, "flooding"));
            let taken = std::iter::from_fn(|| received(&listener)).count();
            assert!((1..LINES).contains(&taken), "{taken}");
            drop(listener);
            tracing::info!("nobody listens");
            std::fs::remove_file(&path).unwrap();
            tracing::info!("nobody is there");

            let listener = UnixDatagram::bind(&path).unwrap();
            tracing::info!("back");
            let lost = LINES - taken + 2;
            let back = received(&listener).unwrap();
            assert!(
                back.contains(&format!("MESSAGE=back ({lost} lines before this one are lost)\n")),
                "{back}"
            );
            assert!(back.contains(&format!("LINES_LOST={lost}\n")), "{back}");
            tracing::info!("and on");
            assert!(!received(&listener).unwrap().contains("LINES_LOST"));
        });
    }
}
