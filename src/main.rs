//! The `taut` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    taut::cli::main()
}
