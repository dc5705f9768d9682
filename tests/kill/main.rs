//! `kill -9` of the real process, again and again, at moments nobody chose, on one store: afterwards every acked
//! envelope has its end with every route that wanted it.
//!
//! In the suite 20 times; `tests/long kill --times 500 --seed 7` as often as you like.

mod ledger;
mod rig;
#[path = "../support/mod.rs"]
mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use rig::Rig;

/// A number from the environment, as `tests/long` gives it.
fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_every_acked_envelope_has_its_end_after_kill_9_at_random_moments() {
    let times = given("TAUT_LONG_TIMES").unwrap_or(20);
    let seed = given("TAUT_LONG_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        now.as_secs() ^ u64::from(now.subsec_nanos())
    });
    println!("seed {seed}, {times} kills");
    let mut rig = Rig::start(seed).await;
    for number in 1..=times {
        rig.kill_once().await;
        if number % 50 == 0 {
            println!("{number} kills: {}", rig.so_far());
        }
    }
    let account = rig.settle().await;
    println!("seed {seed}, {times} kills: {account}");
    assert_eq!(account.breaches, Vec::<String>::new(), "seed {seed}: {account}");
    assert!(account.is_telling(), "too little happened to tell: seed {seed}: {account}");
}
