//! The library that makes the real worker's disk fail, and the words by which a test gives it orders.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A count that never ends.
pub const FOREVER: u32 = u32::MAX;

/// `EIO` and `ENOSPC`.
pub const EIO: u32 = 5;
pub const ENOSPC: u32 = 28;

/// Orders to a worker's disk.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    FailSyncs(u32),
    FailWrites(u32),
    Errno(u32),
    HalveWrites(bool),
    InterruptWrites(u32),
}

/// The library, and the file it shares with the test.
pub struct Shim {
    library: PathBuf,
    control: PathBuf,
}

impl Shim {
    /// Builds the library; `None`, said aloud, where there is no C compiler or no Linux on x86-64.
    pub fn build(directory: &Path) -> Option<Self> {
        let (library, control) = (directory.join("shim.so"), directory.join("shim.words"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk/shim.c");
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-D_LARGEFILE64_SOURCE", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output();
        if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) || compiler.is_err() {
            eprintln!("SKIPPED: the preloaded library needs Linux on x86-64 and a C compiler");
            return None;
        }
        let built = compiler.expect("checked above");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        std::fs::write(&control, [0; 32]).expect("the file is written");
        Some(Self { library, control })
    }

    /// What the worker's environment needs.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.to_str().expect("temporary paths are text").to_owned();
        [("LD_PRELOAD", text(&self.library)), ("TAUT_SHIM", text(&self.control))]
    }

    pub fn order(&self, order: Order) {
        let (word, value) = match order {
            Order::FailSyncs(count) => (0, count),
            Order::FailWrites(count) => (1, count),
            Order::Errno(errno) => (2, errno),
            Order::HalveWrites(on) => (3, u32::from(on)),
            Order::InterruptWrites(count) => (4, count),
        };
        let file = std::fs::File::options().write(true).open(&self.control).expect("it is there");
        file.write_all_at(&value.to_ne_bytes(), word * 4).expect("a word is written");
    }

    /// Syncs that failed, and writes that failed, were cut or interrupted.
    pub fn hits(&self) -> (u32, u32) {
        let bytes = std::fs::read(&self.control).expect("it is there");
        let word = |at: usize| u32::from_ne_bytes(bytes[at * 4..at * 4 + 4].try_into().expect("four bytes"));
        (word(5), word(6))
    }
}
