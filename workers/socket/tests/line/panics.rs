//! A bug of ours ends one socket or one line, and nothing else.

use taut_sim::Sample;
use taut_socket::LineEnd;

use crate::rig::{Rig, Setup};

#[tokio::test]
async fn a_panic_in_a_sockets_task_costs_that_socket() {
    let rig = Rig::connected().await;
    rig.handler.script.lock().expect("no panic holds it").panics = true;
    let _pushed = rig.app.push(Sample::SlashCommand);
    rig.until("the next socket", |rig| rig.opens() == 2).await;
    rig.handler.script.clear_poison();
    rig.handler.answer(taut_core::request::AckChoice::Bare, std::time::Duration::ZERO);
    rig.wait("connected").await;
    rig.acked(Sample::Message).await;
    rig.acked(Sample::SlashCommand).await;
}

#[tokio::test]
async fn a_panic_in_a_lines_task_is_told_to_its_owner_and_leaves_no_socket() {
    let mut rig = Rig::start(Setup { ours: None, ..Setup::default() }).await;
    assert_eq!(rig.line.join().await, LineEnd::Panicked);
    rig.until("no socket", |rig| rig.app.connections().is_empty()).await;
}
