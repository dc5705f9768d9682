//! What commands print: `say!` a line, `show!` a text. A reader that goes away, as `taut doctor | head` does, ends the
//! command, not its good name: `println!` would panic.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _, stdout};

/// Exit code of a command whose reader has gone: a shell's for SIGPIPE.
const READER_GONE: i32 = 141;

/// Prints a line.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a text as it is.
macro_rules! show {
    ($($text:tt)*) => { $crate::cli::say::print(format_args!($($text)*)) };
}

/// Writes to standard output. Ends the process where nobody reads it, or it cannot be written.
pub(super) fn print(text: Arguments<'_>) {
    let mut out = stdout().lock();
    let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(READER_GONE);
    }
    eprintln!("taut: standard output cannot be written: {error}");
    std::process::exit(1);
}
