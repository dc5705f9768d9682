//! What a line's tasks hold while they wait: thousands of tenants hold it at once, so it must not creep up.

use crate::{socket, tenant};

#[test]
fn an_idle_line_and_its_socket_stay_small() {
    let line = size_of::<tenant::Tenant>() + of_one(tenant::Tenant::run);
    let socket = of_two(socket::run);
    assert!(line <= 1_100, "a line takes {line} bytes: box what is rare, in its futures and in its fields");
    assert!(
        socket <= 1_200,
        "a socket takes {socket} bytes: box what is rare, in its futures and in its fields"
    );
}

/// The size of an async function's future, in bytes.
fn of_one<A, F>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

fn of_two<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
    size_of::<F>()
}
