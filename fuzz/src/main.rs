//! One fuzzer for all checks: `TAUT_FUZZ_CHECK` names the one to run.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use taut::fuzzing::{Check, checks};

static CHECK: OnceLock<Check> = OnceLock::new();

fn chosen() -> Check {
    let name = std::env::var("TAUT_FUZZ_CHECK").unwrap_or_default();
    let checks = checks();
    let known: Vec<_> = checks.keys().copied().collect();
    match checks.get(&*name) {
        Some(check) => *check,
        None => panic!("TAUT_FUZZ_CHECK must be one of: {}", known.join(" ")),
    }
}

fuzz_target!(|data: &[u8]| CHECK.get_or_init(chosen)(data));
