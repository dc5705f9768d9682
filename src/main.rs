//! The `taut` binary.

use std::process::ExitCode;

/// jemalloc: thousands of TLS handshakes leave glibc's heap in holes, half as much again as what is in use
/// (docs/decisions/0012). Its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    taut::cli::main()
}
