//! What every store engine must do, as checks against the traits of [`taut_core::log`].
//!
//! [`checks`] lists them; each opens a fresh store through an [`Engine`]. They panic with the promise that broke.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use taut_core::log::{
    Append, AttemptNote, Change, DeadLetter, DeadLettersError, DeadReason, FullReason, Log, NewEntry,
    Outcome, Overflow, QueueLimits, TenantFacts,
};
use taut_core::{Clock, DedupKey, Kind, RouteBits, RouteName, Seq, WallMs};

use crate::testing::{Bounds, Engine, Opened, event, request, tenant};

/// A promise by name, and its check.
pub type Check = (&'static str, fn(&dyn Engine));

/// Every check; each wants a store of its own.
pub fn checks() -> Vec<Check> {
    macro_rules! named {
        ($($check:ident),* $(,)?) => { vec![$((stringify!($check), $check as fn(&dyn Engine))),*] };
    }
    named![
        a_stored_entry_is_in_the_backlog_and_read_back_whole,
        a_copy_is_a_duplicate_of_the_stored_one,
        a_copy_in_the_same_batch_shares_its_fate,
        a_key_is_forgotten_after_its_window,
        an_entry_without_a_key_goes_past_dedup,
        an_entry_nobody_wants_leaves_only_its_key,
        an_entry_goes_when_its_last_route_is_done,
        a_request_is_held_back_until_released,
        full_backlog_is_not_acked_and_leaves_no_key,
        requests_have_a_share_of_their_own,
        the_oldest_becomes_a_dead_letter_for_each_route,
        an_entry_with_an_attempt_under_way_is_not_let_go,
        full_dead_letters_refuse,
        at_the_total_limit_the_largest_tenant_yields,
        everything_is_found_after_a_restart,
        an_open_request_is_expired_after_a_restart,
        keys_of_delivered_entries_survive_a_restart,
        tenants_never_meet,
        a_subscriber_is_woken,
        a_panicking_subscriber_harms_nobody,
        dead_letters_are_listed_in_order_and_removed,
        dead_letters_are_bounded_and_expire,
        facts_and_route_numbers_are_kept,
    ]
}

const LIMITS: QueueLimits = QueueLimits {
    envelopes_max: 1000,
    bytes_max: 1 << 20,
    overflow: Overflow::Refuse,
    request_reserve_percent: 0,
    dedup_entries_max: 1000,
};

const LONG: usize = 1000;

/// Appends one entry.
pub fn append(log: &dyn Log, entry: NewEntry) -> Append {
    let answers = block_on(log.append(vec![entry]));
    assert_eq!(answers.len(), 1, "one answer for each entry");
    answers[0]
}

fn stored(answer: Append) -> Seq {
    match answer {
        Append::Stored(seq) => seq,
        Append::Duplicate(_) | Append::Full(_) | Append::Unavailable => panic!("not stored: {answer:?}"),
    }
}

fn commit(seq: Seq, routes: RouteBits) -> Change {
    Change::Commit { seq, routes, outcome: Outcome::Delivered }
}

fn change(log: &dyn Log, name: &str, change: Change) {
    block_on(log.change(&tenant(name), vec![change])).expect("the store is writable");
}

fn backlog(log: &dyn Log, name: &str) -> Vec<Seq> {
    log.backlog(&tenant(name), Seq(0), usize::MAX).into_iter().map(|entry| entry.seq).collect()
}

fn open(engine: &dyn Engine, limits: QueueLimits) -> Opened {
    let opened = engine.open(Bounds::default());
    opened.log.set_limits(&tenant("acme"), limits);
    opened
}

fn a_stored_entry_is_in_the_backlog_and_read_back_whole(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let at = engine.clock().wall();
    let entry = event("acme", "hello", at);
    let seq = stored(append(&*opened.log, entry.clone()));
    assert_ne!(seq, Seq(0));
    let listed = opened.log.backlog(&tenant("acme"), Seq(0), 10);
    assert_eq!(listed.len(), 1);
    let first = listed[0];
    assert_eq!((first.seq, first.kind, first.order), (seq, entry.kind, entry.order));
    assert_eq!((first.routes, first.bytes, first.received_at), (entry.routes, 5, at));
    assert_eq!(opened.log.read(&tenant("acme"), seq), Ok(Some(Bytes::from_static(b"hello"))));
    assert_eq!(opened.log.read(&tenant("acme"), Seq(seq.0 + 1)), Ok(None));
    let stats = opened.log.stats(&tenant("acme"));
    assert_eq!((stats.envelopes, stats.bytes, stats.oldest), (1, 5, Some(at)));
    assert!(opened.log.backlog(&tenant("acme"), seq, 10).is_empty());
    assert_eq!(opened.log.tenants(), [tenant("acme")]);
    (opened.close)();
}

fn a_copy_is_a_duplicate_of_the_stored_one(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let entry = event("acme", "hello", engine.clock().wall());
    let seq = stored(append(&*opened.log, entry.clone()));
    assert_eq!(append(&*opened.log, entry.clone()), Append::Duplicate(seq));
    change(&*opened.log, "acme", commit(seq, RouteBits::one(0)));
    assert_eq!(append(&*opened.log, entry), Append::Duplicate(seq), "delivered, and known all the same");
    assert_eq!(opened.log.knows(&tenant("acme"), DedupKey::of("hello")), Some(seq));
    (opened.close)();
}

fn a_copy_in_the_same_batch_shares_its_fate(engine: &dyn Engine) {
    let opened = open(engine, QueueLimits { envelopes_max: 1, ..LIMITS });
    let at = engine.clock().wall();
    let batch = ["a", "a", "b", "b"].map(|text| event("acme", text, at)).to_vec();
    let answers = block_on(opened.log.append(batch));
    let seq = stored(answers[0]);
    let full = Append::Full(FullReason::Envelopes);
    assert_eq!(answers[1..], [Append::Duplicate(seq), full, full]);
    assert_eq!(backlog(&*opened.log, "acme"), [seq]);
    (opened.close)();
}

fn a_key_is_forgotten_after_its_window(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let first = stored(append(&*opened.log, event("acme", "hello", engine.clock().wall())));
    engine.clock().advance(Bounds::default().dedup_window);
    assert_eq!(opened.log.knows(&tenant("acme"), DedupKey::of("hello")), None);
    let second = stored(append(&*opened.log, event("acme", "hello", engine.clock().wall())));
    assert!(second > first);
    (opened.close)();
}

fn an_entry_without_a_key_goes_past_dedup(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let replayed = NewEntry { dedup: None, ..event("acme", "hello", engine.clock().wall()) };
    let seqs = [append(&*opened.log, replayed.clone()), append(&*opened.log, replayed)].map(stored);
    assert_eq!(backlog(&*opened.log, "acme"), seqs);
    (opened.close)();
}

fn an_entry_nobody_wants_leaves_only_its_key(engine: &dyn Engine) {
    let opened = open(engine, QueueLimits { envelopes_max: 0, ..LIMITS });
    let entry = NewEntry { routes: RouteBits::NONE, ..event("acme", "hello", engine.clock().wall()) };
    let seq = stored(append(&*opened.log, entry.clone()));
    assert_eq!(opened.log.stats(&tenant("acme")).envelopes, 0);
    assert_eq!(opened.log.read(&tenant("acme"), seq), Ok(None));
    (opened.close)();
    let opened = open(engine, LIMITS);
    assert_eq!(append(&*opened.log, entry), Append::Duplicate(seq), "the key was durable");
    (opened.close)();
}

fn an_entry_goes_when_its_last_route_is_done(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let both = RouteBits::one(0) | RouteBits::one(5);
    let entry = NewEntry { routes: both, ..event("acme", "hello", engine.clock().wall()) };
    let seq = stored(append(&*opened.log, entry));
    change(&*opened.log, "acme", commit(seq, RouteBits::one(0)));
    assert_eq!(opened.log.backlog(&tenant("acme"), Seq(0), 1)[0].routes, RouteBits::one(5));
    change(&*opened.log, "acme", commit(seq, RouteBits::one(0)));
    assert_eq!(backlog(&*opened.log, "acme"), [seq], "a second commit changes nothing");
    change(&*opened.log, "acme", commit(seq, both));
    assert_eq!(backlog(&*opened.log, "acme"), []);
    assert_eq!(opened.log.read(&tenant("acme"), seq), Ok(None));
    assert_eq!(opened.log.stats(&tenant("acme")), taut_core::log::Backlog::default());
    change(&*opened.log, "acme", commit(Seq(99), both));
    (opened.close)();
}

fn a_request_is_held_back_until_released(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let at = engine.clock().wall();
    let answered = stored(append(&*opened.log, request("acme", "/a", at)));
    let owed = stored(append(&*opened.log, request("acme", "/b", at)));
    assert_eq!(backlog(&*opened.log, "acme"), []);
    assert_eq!(opened.log.stats(&tenant("acme")).envelopes, 2);
    change(&*opened.log, "acme", commit(answered, RouteBits::one(0)));
    change(&*opened.log, "acme", Change::Release { seq: owed });
    assert_eq!(backlog(&*opened.log, "acme"), [owed]);
    (opened.close)();
    let opened = open(engine, LIMITS);
    assert_eq!(backlog(&*opened.log, "acme"), [owed], "a release is durable");
    (opened.close)();
}

fn full_backlog_is_not_acked_and_leaves_no_key(engine: &dyn Engine) {
    let opened = open(engine, QueueLimits { envelopes_max: 2, bytes_max: 10, ..LIMITS });
    let at = engine.clock().wall();
    let first = stored(append(&*opened.log, event("acme", "1234", at)));
    assert_eq!(append(&*opened.log, event("acme", "1234567", at)), Append::Full(FullReason::Bytes));
    stored(append(&*opened.log, event("acme", "123456", at)));
    assert_eq!(append(&*opened.log, event("acme", "x", at)), Append::Full(FullReason::Envelopes));
    assert_eq!(opened.log.knows(&tenant("acme"), DedupKey::of("x")), None);
    change(&*opened.log, "acme", commit(first, RouteBits::one(0)));
    stored(append(&*opened.log, event("acme", "x", at)));
    (opened.close)();
}

fn requests_have_a_share_of_their_own(engine: &dyn Engine) {
    let opened = open(engine, QueueLimits { envelopes_max: 10, request_reserve_percent: 20, ..LIMITS });
    let at = engine.clock().wall();
    for n in 0..8 {
        stored(append(&*opened.log, event("acme", &n.to_string(), at)));
    }
    assert_eq!(append(&*opened.log, event("acme", "x", at)), Append::Full(FullReason::Envelopes));
    stored(append(&*opened.log, request("acme", "/a", at)));
    stored(append(&*opened.log, request("acme", "/b", at)));
    assert_eq!(append(&*opened.log, request("acme", "/c", at)), Append::Full(FullReason::Envelopes));
    (opened.close)();
}

fn the_oldest_becomes_a_dead_letter_for_each_route(engine: &dyn Engine) {
    let limits = QueueLimits { envelopes_max: 2, overflow: Overflow::DeadLetterOldest, ..LIMITS };
    let opened = open(engine, limits);
    let names = ["bot", "audit"].map(|name| RouteName::new(name).expect("a proper name"));
    let numbers =
        opened.registry.route_numbers(&tenant("acme"), &names).expect("a writable database").current;
    let both = RouteBits::one(numbers[0]) | RouteBits::one(numbers[1]);
    let at = engine.clock().wall();
    let entry = |text: &str| NewEntry { routes: both, ..event("acme", text, at) };
    // A request in flight is not pushed out, however old.
    let held = stored(append(&*opened.log, request("acme", "/a", at)));
    let oldest = stored(append(&*opened.log, entry("1")));
    let answers = block_on(opened.log.append(["2", "3"].map(entry).to_vec()));
    let last = stored(answers[1]);
    assert_eq!(backlog(&*opened.log, "acme"), [last]);
    let letters = opened.dead_letters.list(Some(&tenant("acme")), None, 10).expect("a readable database");
    let dead: Vec<_> = letters.iter().map(|letter| (letter.seq, letter.route.as_str())).collect();
    let second = stored(answers[0]);
    assert_eq!(dead, [(oldest, "audit"), (oldest, "bot"), (second, "audit"), (second, "bot")]);
    assert!(letters.iter().all(|letter| letter.reason == DeadReason::Overflow && letter.bytes == 1));
    let (_, frame) =
        opened.dead_letters.get(&tenant("acme"), oldest, &names[0]).expect("readable").expect("there");
    assert_eq!(frame, "1");
    change(&*opened.log, "acme", commit(held, RouteBits::one(0)));
    (opened.close)();
    let opened = open(engine, limits);
    assert_eq!(backlog(&*opened.log, "acme"), [last], "what left stays away");
    assert_eq!(append(&*opened.log, entry("1")), Append::Duplicate(oldest));
    (opened.close)();
}

fn an_entry_with_an_attempt_under_way_is_not_let_go(engine: &dyn Engine) {
    let limits = QueueLimits { envelopes_max: 2, overflow: Overflow::DeadLetterOldest, ..LIMITS };
    let opened = open(engine, limits);
    let (acme, at, route) = (tenant("acme"), engine.clock().wall(), RouteBits::one(0));
    let first = stored(append(&*opened.log, event("acme", "1", at)));
    let second = stored(append(&*opened.log, event("acme", "2", at)));
    assert!(opened.log.attempt(&acme, first, route, true));
    let third = stored(append(&*opened.log, event("acme", "3", at)));
    assert_eq!(backlog(&*opened.log, "acme"), [first, third], "the oldest without an attempt went");
    assert!(!opened.log.attempt(&acme, second, route, true), "what is gone gets none");
    assert!(opened.log.attempt(&acme, third, route, true));
    let fourth = event("acme", "4", at);
    assert_eq!(append(&*opened.log, fourth.clone()), Append::Full(FullReason::Envelopes));
    assert!(opened.log.attempt(&acme, first, route, false));
    let fourth = stored(append(&*opened.log, fourth));
    assert_eq!(backlog(&*opened.log, "acme"), [third, fourth], "an attempt that ended protects no more");
    opened.log.subscribe(&acme, Arc::new(|| {}));
    let fifth = stored(append(&*opened.log, event("acme", "5", at)));
    assert_eq!(backlog(&*opened.log, "acme"), [fourth, fifth], "a new subscriber has no attempts yet");
    (opened.close)();
}

fn full_dead_letters_refuse(engine: &dyn Engine) {
    let opened = engine.open(Bounds { dead_letters_bytes_max: 5, ..Bounds::default() });
    let limits = QueueLimits { envelopes_max: 1, overflow: Overflow::DeadLetterOldest, ..LIMITS };
    opened.log.set_limits(&tenant("acme"), limits);
    let at = engine.clock().wall();
    stored(append(&*opened.log, event("acme", "123", at)));
    let kept = stored(append(&*opened.log, event("acme", "456", at)));
    let full = Append::Full(FullReason::DeadLetters);
    assert_eq!(append(&*opened.log, event("acme", "789", at)), full);
    assert_eq!(opened.log.knows(&tenant("acme"), DedupKey::of("789")), None);
    assert_eq!(backlog(&*opened.log, "acme"), [kept]);
    (opened.close)();
}

fn at_the_total_limit_the_largest_tenant_yields(engine: &dyn Engine) {
    let opened = engine.open(Bounds { total_bytes_max: 30, ..Bounds::default() });
    let yielding = QueueLimits { overflow: Overflow::DeadLetterOldest, ..LIMITS };
    for name in ["acme", "globex", "initech"] {
        opened.log.set_limits(&tenant(name), yielding);
    }
    let at = engine.clock().wall();
    for n in 0..5 {
        stored(append(&*opened.log, event("acme", &format!("acme{n}"), at)));
    }
    stored(append(&*opened.log, event("globex", "12345", at)));
    let quiet = stored(append(&*opened.log, event("initech", "12345", at)));
    assert_eq!(backlog(&*opened.log, "acme").len(), 4, "the largest made room");
    assert_eq!(backlog(&*opened.log, "initech"), [quiet]);
    assert_eq!(opened.dead_letters.stats(&tenant("acme")).count, 1);
    stored(append(&*opened.log, event("acme", "acme6", at)));
    assert_eq!(backlog(&*opened.log, "acme").len(), 4, "its own oldest made room");
    opened.log.set_limits(&tenant("acme"), LIMITS);
    assert_eq!(append(&*opened.log, event("acme", "acme7", at)), Append::Full(FullReason::Total));
    (opened.close)();
}

fn everything_is_found_after_a_restart(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let (at, epoch) = (engine.clock().wall(), opened.log.epoch());
    let batch: Vec<_> = (0..20).map(|n| event("acme", &format!("event {n}"), at)).collect();
    let seqs: Vec<_> = block_on(opened.log.append(batch)).into_iter().map(stored).collect();
    change(&*opened.log, "acme", commit(seqs[3], RouteBits::one(0)));
    let before = opened.log.backlog(&tenant("acme"), Seq(0), usize::MAX);
    (opened.close)();
    let opened = open(engine, LIMITS);
    assert_eq!(opened.log.backlog(&tenant("acme"), Seq(0), usize::MAX), before);
    assert_eq!(opened.log.read(&tenant("acme"), seqs[7]), Ok(Some(Bytes::from_static(b"event 7"))));
    assert!(opened.log.epoch() > epoch, "the epoch grows at each opening");
    let next = stored(append(&*opened.log, event("acme", "next", at)));
    assert!(seqs.iter().all(|seq| *seq < next), "no seq is used twice");
    (opened.close)();
}

fn an_open_request_is_expired_after_a_restart(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let at = engine.clock().wall();
    let lone = request("acme", "/lone", at);
    let copied = NewEntry { routes: RouteBits::one(1), ..request("acme", "/copied", at) };
    let seqs = [lone.clone(), copied].map(|entry| stored(append(&*opened.log, entry)));
    (opened.close)();
    let opened = open(engine, LIMITS);
    let listed = opened.log.backlog(&tenant("acme"), Seq(0), 10);
    assert_eq!(listed.len(), 1, "only the copy for another route is left");
    assert_eq!((listed[0].seq, listed[0].routes), (seqs[1], RouteBits::one(1)));
    assert_eq!(append(&*opened.log, lone), Append::Duplicate(seqs[0]), "its key is kept");
    (opened.close)();
}

fn keys_of_delivered_entries_survive_a_restart(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let entry = event("acme", "hello", engine.clock().wall());
    let seq = stored(append(&*opened.log, entry.clone()));
    change(&*opened.log, "acme", commit(seq, RouteBits::one(0)));
    // Enough to have the log compacted several times.
    for round in 0..40 {
        let texts = (0..10).map(|n| format!("{round}-{n}-{}", "x".repeat(LONG)));
        let batch = texts.map(|text| event("globex", &text, engine.clock().wall())).collect();
        let seqs = block_on(opened.log.append(batch)).into_iter().map(stored);
        let changes = seqs.map(|seq| commit(seq, RouteBits::one(0))).collect();
        block_on(opened.log.change(&tenant("globex"), changes)).expect("the store is writable");
    }
    assert_eq!(append(&*opened.log, entry.clone()), Append::Duplicate(seq));
    (opened.close)();
    let opened = open(engine, LIMITS);
    assert_eq!(append(&*opened.log, entry), Append::Duplicate(seq));
    (opened.close)();
}

fn tenants_never_meet(engine: &dyn Engine) {
    let opened = open(engine, QueueLimits { envelopes_max: 1, ..LIMITS });
    opened.log.set_limits(&tenant("globex"), LIMITS);
    let at = engine.clock().wall();
    let acme = stored(append(&*opened.log, event("acme", "same", at)));
    let globex = stored(append(&*opened.log, event("globex", "same", at)));
    assert_eq!(append(&*opened.log, event("acme", "more", at)), Append::Full(FullReason::Envelopes));
    stored(append(&*opened.log, event("globex", "more", at)));
    assert_eq!(opened.log.read(&tenant("globex"), acme), Ok(None));
    change(&*opened.log, "acme", commit(globex, RouteBits::one(0)));
    assert_eq!(backlog(&*opened.log, "globex").len(), 2);
    (opened.close)();
}

fn a_subscriber_is_woken(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let (woken, seen) = std::sync::mpsc::channel();
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let wake = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        woken.send(()).unwrap_or_default();
    };
    opened.log.subscribe(&tenant("acme"), Arc::new(wake));
    let wait = || seen.recv_timeout(Duration::from_secs(10)).expect("the subscriber is woken");
    let at = engine.clock().wall();
    let held = stored(append(&*opened.log, request("acme", "/a", at)));
    stored(append(&*opened.log, event("globex", "other", at)));
    assert_eq!(count.load(Ordering::SeqCst), 0, "nothing of this tenant is deliverable");
    stored(append(&*opened.log, event("acme", "hello", at)));
    wait();
    change(&*opened.log, "acme", Change::Release { seq: held });
    wait();
    (opened.close)();
}

fn a_panicking_subscriber_harms_nobody(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    opened.log.subscribe(&tenant("acme"), Arc::new(|| panic!("a tenant's own fault")));
    let at = engine.clock().wall();
    stored(append(&*opened.log, event("acme", "hello", at)));
    stored(append(&*opened.log, event("globex", "hello", at)));
    assert!(opened.log.store_stats().writable);
    (opened.close)();
}

pub(crate) fn letter(name: &str, seq: u64, route: &str, died_at: u64) -> (DeadLetter, Bytes) {
    let letter = DeadLetter {
        tenant: tenant(name),
        seq: Seq(seq),
        route: RouteName::new(route).expect("a proper name"),
        kind: Kind::EventsApi,
        reason: DeadReason::Poison,
        received_at: WallMs(1),
        died_at: WallMs(died_at),
        attempts: vec![AttemptNote { at: WallMs(2), what: "status 400".into() }],
        bytes: 4,
    };
    (letter, Bytes::from_static(b"body"))
}

fn dead_letters_are_listed_in_order_and_removed(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let dead_letters = &opened.dead_letters;
    let letters = [
        letter("acme", 2, "bot", 5),
        letter("acme", 10, "bot", 5),
        letter("acme", 2, "audit", 5),
        letter("globex", 1, "bot", 5),
    ];
    dead_letters.put(letters.to_vec()).expect("there is room");
    dead_letters.put(letters[..1].to_vec()).expect("again changes nothing");
    let keys = |listed: Vec<DeadLetter>| -> Vec<String> {
        listed.iter().map(|letter| format!("{} {} {}", letter.tenant, letter.seq, letter.route)).collect()
    };
    let all = dead_letters.list(None, None, 10).expect("readable");
    assert_eq!(all[0], letters[2].0, "everything is kept");
    let key = |letter: &DeadLetter| (letter.tenant.clone(), letter.seq, letter.route.clone());
    let second = key(&all[1]);
    assert_eq!(keys(all), ["acme 2 audit", "acme 2 bot", "acme 10 bot", "globex 1 bot"]);
    assert_eq!(keys(dead_letters.list(None, Some(second), 1).expect("readable")), ["acme 10 bot"]);
    assert_eq!(
        keys(dead_letters.list(Some(&tenant("globex")), None, 9).expect("readable")),
        ["globex 1 bot"]
    );
    let gone = [key(&letters[0].0), (tenant("acme"), Seq(77), letters[0].0.route.clone())];
    assert_eq!(dead_letters.remove(&gone).expect("writable"), 1);
    let stats = dead_letters.stats(&tenant("acme"));
    assert_eq!((stats.count, stats.bytes), (2, 8));
    (opened.close)();
    let opened = open(engine, LIMITS);
    assert_eq!(opened.dead_letters.stats(&tenant("acme")), stats);
    (opened.close)();
}

fn dead_letters_are_bounded_and_expire(engine: &dyn Engine) {
    let opened = engine.open(Bounds { dead_letters_bytes_max: 8, ..Bounds::default() });
    let dead_letters = &opened.dead_letters;
    dead_letters.put(vec![letter("acme", 1, "bot", 5)]).expect("there is room");
    let two = vec![letter("acme", 2, "bot", 6), letter("acme", 3, "bot", 6)];
    assert_eq!(dead_letters.put(two), Err(DeadLettersError::Full));
    assert_eq!(dead_letters.stats(&tenant("acme")).count, 1, "none of them was kept");
    assert_eq!(dead_letters.list(None, None, 9).expect("readable").len(), 1, "and none is listed");
    dead_letters.put(vec![letter("acme", 2, "bot", 6)]).expect("there is room");
    assert_eq!(dead_letters.expire(WallMs(6)).expect("writable"), 1);
    assert_eq!(dead_letters.list(None, None, 9).expect("readable")[0].seq, Seq(2));
    (opened.close)();
}

fn facts_and_route_numbers_are_kept(engine: &dyn Engine) {
    let opened = open(engine, LIMITS);
    let acme = tenant("acme");
    assert_eq!(opened.registry.facts(&acme), Ok(TenantFacts::default()));
    let facts = TenantFacts {
        app_id: None,
        last_frame_at: Some(WallMs(5)),
        wanted: true,
        paused: true,
        paused_routes: vec![RouteName::new("bot").expect("a plain name")],
    };
    opened.registry.save_facts(&[(acme.clone(), facts.clone())]).expect("writable");
    let name = |text: &str| RouteName::new(text).expect("a proper name");
    let first = opened.registry.route_numbers(&acme, &[name("a"), name("b")]).expect("writable");
    (opened.close)();
    let opened = open(engine, LIMITS);
    assert_eq!(opened.registry.facts(&acme), Ok(facts));
    let second = opened.registry.route_numbers(&acme, &[name("b"), name("c")]).expect("writable");
    assert_eq!(second.current[0], first.current[1], "a number is stable");
    assert!(!first.current.contains(&second.current[1]), "a removed route's number is not given away");
    assert_eq!(second.removed, [(first.current[0], name("a"))]);
    let globex = (tenant("globex"), vec![name("a"), name("b")]);
    let all = [(acme.clone(), vec![name("b"), name("c")]), globex.clone()];
    opened.registry.number_routes(&all).expect("writable");
    assert_eq!(opened.registry.route_numbers(&acme, &all[0].1), Ok(second), "what has its number keeps it");
    assert_eq!(opened.registry.route_numbers(&globex.0, &globex.1).expect("readable").current, [0, 1]);
    (opened.close)();
}
