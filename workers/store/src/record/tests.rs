use super::*;
use proptest::prelude::*;

const SEAL: Seal = Seal { seed: 77, synced_to: Place { segment: 3, offset: 64 } };

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn head() -> EntryHead {
    EntryHead {
        kind: Kind::SlashCommands,
        request: true,
        damaged: false,
        epoch: Epoch(4),
        seq: Seq(9),
        received_at: WallMs(1_700_000_000_000),
        dedup: Some(DedupKey::of("Ev1")),
        order: OrderKeys { channel: 5, thread: 6 },
        routes: RouteBits(2),
        held: RouteBits(1),
    }
}

#[test]
fn an_entry_survives_its_bytes() {
    let mut buffer = Vec::new();
    put_entry(&mut buffer, SEAL, &acme(), &head(), b"{}");
    assert_eq!(buffer.len(), entry_bytes("acme", 2));

    let parsed = Head::parse(&buffer, 77, None).unwrap();

    assert_eq!(parsed.what, What::Entry(head()));
    assert_eq!((parsed.tenant, parsed.synced_to), (Some(acme()), SEAL.synced_to));
}

#[test]
fn changes_and_keys_survive_their_bytes() {
    let changes = [
        ChangeItem(Change::Release { seq: Seq(1) }),
        ChangeItem(Change::Commit { seq: Seq(2), routes: RouteBits(3), outcome: Outcome::Expired }),
    ];
    let keys = [KeyItem { key: DedupKey(8), seq: Seq(1), at: WallMs(2) }];
    let mut buffer = Vec::new();
    put_changes(&mut buffer, SEAL, &acme(), &changes);
    let second = buffer.len();
    put_keys(&mut buffer, SEAL, &acme(), &keys);

    let first_head = Head::parse(&buffer, 77, None).unwrap();
    let body = &buffer[first_head.own_bytes..first_head.own_bytes + first_head.body_bytes];
    assert!(first_head.holds(body, 77));
    assert_eq!(changes_in(body).collect::<Vec<_>>(), changes);
    let second_head = Head::parse(&buffer[second..], 77, None).unwrap();
    let body = &buffer[second + second_head.own_bytes..][..second_head.body_bytes];
    assert_eq!(keys_in(body).collect::<Vec<_>>(), keys);
}

#[test]
fn no_flipped_bit_passes() {
    let mut buffer = Vec::new();
    put_entry(&mut buffer, SEAL, &acme(), &head(), b"{\"a\":1}");
    let used = ENTRY_HEAD_BYTES + 4 + 7;
    for bit in 0..used * 8 {
        let mut flipped = buffer.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let whole = Head::parse(&flipped, 77, None)
            .is_some_and(|head| head.holds(&flipped[ENTRY_HEAD_BYTES + 4..used], 77));
        assert!(!whole, "bit {bit}");
    }
    assert!(Head::parse(&buffer, 78, None).is_none(), "another segment's seed");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ignored = Head::parse(&bytes, 77, None);
        let mut with_magic = MAGIC.to_vec();
        with_magic.extend(&bytes);
        let _ignored = Head::parse(&with_magic, 77, None);
        prop_assert!(changes_in(&bytes).count() <= bytes.len());
    }
}
