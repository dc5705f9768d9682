//! Records: what a segment holds after its header.
//!
//! Every record starts at a multiple of 8 bytes: a head (the fields below, then the tenant id), a body, zeros up to
//! the next multiple of 8. All integers are little-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `tRec` |
//! | 4..8 | CRC-32 of the head from byte 8 on, the tenant id included |
//! | 8..12 | CRC-32 of the body |
//! | 12..16 | length of the body |
//! | 16 | type: 1 entry, 2 changes, 3 dedup keys, 4 mark |
//! | 17 | length of the tenant id; 0 in a mark |
//! | 18 | flags: 1 has a dedup key, 2 came as a request, 4 its frame is damaged |
//! | 19 | kind of the envelope (entries only) |
//! | 20..24 | zero |
//! | 24..32 | how far the log was known to be durable when this record's group was written |
//! | 32..40 | entries only, to byte 120: epoch |
//! | 40..48 | seq |
//! | 48..56 | `received_at`, Unix milliseconds |
//! | 56..72 | dedup hash, 0 without |
//! | 72..80, 80..88 | order hashes: channel, thread |
//! | 88..96 | route bits that owe delivery |
//! | 96..104 | route bits held back for an answer |
//! | 104..108 | key id, reserved, 0 |
//! | 108..120 | nonce, reserved, 0 |
//!
//! Bodies: an entry's is the frame; changes are items of 24 bytes (seq, route bits, tag 0 release or 1 to 4 the
//! outcome of a commit, 7 zeros); dedup keys are items of 32 bytes (hash, seq, `received_at`); a mark has none.
//! Both checksums start from the segment's seed.

use taut_core::log::{Change, Outcome};
use taut_core::order::OrderKeys;
use taut_core::{DedupKey, Epoch, Kind, RouteBits, Seq, TenantId, WallMs};

use crate::place::{Place, aligned};
use crate::segment::{u32_at, u64_at, u128_at};

/// First bytes of every record.
pub(crate) const MAGIC: [u8; 4] = *b"tRec";
/// Head of every record without the tenant id.
pub(crate) const HEAD_BYTES: usize = 32;
/// Head of an entry without the tenant id.
pub(crate) const ENTRY_HEAD_BYTES: usize = 120;
/// Longest head: an entry's with the longest tenant id.
pub(crate) const HEAD_BYTES_MAX: usize = ENTRY_HEAD_BYTES + taut_core::id::TENANT_ID_BYTES_MAX;
/// Size of one change in the body of a changes record.
pub(crate) const CHANGE_BYTES: usize = 24;
/// Size of one key in the body of a keys record.
pub(crate) const KEY_BYTES: usize = 32;

const TYPE_ENTRY: u8 = 1;
const TYPE_CHANGES: u8 = 2;
const TYPE_KEYS: u8 = 3;
const TYPE_MARK: u8 = 4;

const FLAG_DEDUP: u8 = 1;
const FLAG_REQUEST: u8 = 2;
const FLAG_DAMAGED: u8 = 4;

const RELEASE: u8 = 0;

/// What every record of one group in one segment shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    /// What the segment's checksums start from.
    pub seed: u32,
    /// How far the log is known to be durable.
    pub synced_to: Place,
}

/// The fixed part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryHead {
    pub kind: Kind,
    /// It came with an answering route.
    pub request: bool,
    /// Its frame could not be read whole at some rewriting.
    pub damaged: bool,
    pub epoch: Epoch,
    pub seq: Seq,
    pub received_at: WallMs,
    pub dedup: Option<DedupKey>,
    pub order: OrderKeys,
    pub routes: RouteBits,
    pub held: RouteBits,
}

/// One change as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChangeItem(pub Change);

/// One dedup key as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyItem {
    pub key: DedupKey,
    pub seq: Seq,
    pub at: WallMs,
}

/// What kind of record a head announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Entry(EntryHead),
    Changes,
    Keys,
    Mark,
}

/// A head whose checksum holds.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub what: What,
    /// `None` in a mark.
    pub tenant: Option<TenantId>,
    pub synced_to: Place,
    /// Bytes of the head with the tenant id.
    pub own_bytes: usize,
    pub body_bytes: usize,
    body_crc: u32,
}

impl Head {
    /// Bytes of the whole record on disk.
    pub(crate) const fn record_bytes(&self) -> usize {
        aligned(self.own_bytes + self.body_bytes)
    }

    /// Whether this is the head's own body, unharmed.
    pub(crate) fn holds(&self, body: &[u8], seed: u32) -> bool {
        crc(seed, &[body]) == self.body_crc
    }

    /// Reads a head from the first bytes of `bytes`; `None` unless it is whole and its checksum holds. A tenant
    /// equal to `last` is shared instead of allocated.
    pub(crate) fn parse(bytes: &[u8], seed: u32, last: Option<&TenantId>) -> Option<Self> {
        if bytes.len() < HEAD_BYTES || bytes[0..4] != MAGIC {
            return None;
        }
        let fixed_bytes = if bytes[16] == TYPE_ENTRY { ENTRY_HEAD_BYTES } else { HEAD_BYTES };
        let head_bytes = fixed_bytes + usize::from(bytes[17]);
        let head = bytes.get(..head_bytes)?;
        if crc(seed, &[&head[8..]]) != u32_at(head, 4) {
            return None;
        }
        let what = match head[16] {
            TYPE_ENTRY => What::Entry(EntryHead::parse(head)?),
            TYPE_CHANGES => What::Changes,
            TYPE_KEYS => What::Keys,
            TYPE_MARK => What::Mark,
            _ => return None,
        };
        let tenant = match (&what, std::str::from_utf8(&head[fixed_bytes..]).ok()?) {
            (What::Mark, _) => None,
            (What::Entry(_) | What::Changes | What::Keys, id) => match last {
                Some(last) if last.as_str() == id => Some(last.clone()),
                Some(_) | None => Some(TenantId::new(id).ok()?),
            },
        };
        Some(Self {
            what,
            tenant,
            synced_to: Place::from_u64(u64_at(head, 24)),
            own_bytes: head_bytes,
            body_bytes: usize::try_from(u32_at(head, 12)).expect("usize has at least 32 bits"),
            body_crc: u32_at(head, 8),
        })
    }
}

impl EntryHead {
    fn parse(head: &[u8]) -> Option<Self> {
        let flags = head[18];
        Some(Self {
            kind: Kind::from_number(head[19])?,
            request: flags & FLAG_REQUEST != 0,
            damaged: flags & FLAG_DAMAGED != 0,
            epoch: Epoch(u64_at(head, 32)),
            seq: Seq(u64_at(head, 40)),
            received_at: WallMs(u64_at(head, 48)),
            dedup: (flags & FLAG_DEDUP != 0).then(|| DedupKey(u128_at(head, 56))),
            order: OrderKeys { channel: u64_at(head, 72), thread: u64_at(head, 80) },
            routes: RouteBits(u64_at(head, 88)),
            held: RouteBits(u64_at(head, 96)),
        })
    }

    fn encode(&self) -> [u8; ENTRY_HEAD_BYTES] {
        let mut head = [0; ENTRY_HEAD_BYTES];
        head[16] = TYPE_ENTRY;
        let flags =
            [(self.dedup.is_some(), FLAG_DEDUP), (self.request, FLAG_REQUEST), (self.damaged, FLAG_DAMAGED)];
        head[18] = flags.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        head[19] = self.kind as u8;
        head[32..40].copy_from_slice(&self.epoch.0.to_le_bytes());
        head[40..48].copy_from_slice(&self.seq.0.to_le_bytes());
        head[48..56].copy_from_slice(&self.received_at.0.to_le_bytes());
        head[56..72].copy_from_slice(&self.dedup.map_or(0, |key| key.0).to_le_bytes());
        head[72..80].copy_from_slice(&self.order.channel.to_le_bytes());
        head[80..88].copy_from_slice(&self.order.thread.to_le_bytes());
        head[88..96].copy_from_slice(&self.routes.0.to_le_bytes());
        head[96..104].copy_from_slice(&self.held.0.to_le_bytes());
        head
    }
}

/// Bytes on disk of an entry with a frame of this size.
pub(crate) const fn entry_bytes(tenant: &str, frame_bytes: usize) -> usize {
    aligned(ENTRY_HEAD_BYTES + tenant.len() + frame_bytes)
}

/// Bytes on disk of a record with this many items of `item_bytes`.
pub(crate) const fn items_bytes(tenant: &str, items: usize, item_bytes: usize) -> usize {
    aligned(HEAD_BYTES + tenant.len() + items * item_bytes)
}

/// Appends an entry to `buffer`.
pub(crate) fn put_entry(buffer: &mut Vec<u8>, seal: Seal, tenant: &TenantId, head: &EntryHead, frame: &[u8]) {
    put(buffer, seal, &mut head.encode(), tenant.as_str(), &[frame]);
}

/// Appends a record of changes to `buffer`.
pub(crate) fn put_changes(buffer: &mut Vec<u8>, seal: Seal, tenant: &TenantId, changes: &[ChangeItem]) {
    let items: Vec<_> = changes.iter().map(ChangeItem::encode).collect();
    let slices: Vec<&[u8]> = items.iter().map(<[u8; CHANGE_BYTES]>::as_slice).collect();
    put(buffer, seal, &mut plain_head(TYPE_CHANGES), tenant.as_str(), &slices);
}

/// Appends a record of dedup keys to `buffer`.
pub(crate) fn put_keys(buffer: &mut Vec<u8>, seal: Seal, tenant: &TenantId, keys: &[KeyItem]) {
    let items: Vec<_> = keys.iter().map(KeyItem::encode).collect();
    let slices: Vec<&[u8]> = items.iter().map(<[u8; KEY_BYTES]>::as_slice).collect();
    put(buffer, seal, &mut plain_head(TYPE_KEYS), tenant.as_str(), &slices);
}

/// Appends a mark: nothing but the word that everything before it is durable.
pub(crate) fn put_mark(buffer: &mut Vec<u8>, seal: Seal) {
    put(buffer, seal, &mut plain_head(TYPE_MARK), "", &[]);
}

/// Appends a mark of exactly `bytes` (a multiple of 8, at least a head): it stands where a torn record was.
pub(crate) fn put_filler(buffer: &mut Vec<u8>, seal: Seal, bytes: usize) {
    let body = vec![0; bytes.saturating_sub(HEAD_BYTES)];
    put(buffer, seal, &mut plain_head(TYPE_MARK), "", &[&body]);
}

/// The changes in a whole body; an item that makes no sense is left out.
pub(crate) fn changes_in(body: &[u8]) -> impl Iterator<Item = ChangeItem> {
    body.chunks_exact(CHANGE_BYTES).filter_map(ChangeItem::decode)
}

/// The keys in a whole body.
pub(crate) fn keys_in(body: &[u8]) -> impl Iterator<Item = KeyItem> {
    body.chunks_exact(KEY_BYTES).map(|item| KeyItem {
        key: DedupKey(u128_at(item, 0)),
        seq: Seq(u64_at(item, 16)),
        at: WallMs(u64_at(item, 24)),
    })
}

impl ChangeItem {
    fn encode(&self) -> [u8; CHANGE_BYTES] {
        let (seq, routes, tag) = match self.0 {
            Change::Commit { seq, routes, outcome } => (seq, routes, outcome as u8),
            Change::Release { seq } => (seq, RouteBits::NONE, RELEASE),
        };
        let mut item = [0; CHANGE_BYTES];
        item[0..8].copy_from_slice(&seq.0.to_le_bytes());
        item[8..16].copy_from_slice(&routes.0.to_le_bytes());
        item[16] = tag;
        item
    }

    fn decode(item: &[u8]) -> Option<Self> {
        let (seq, routes) = (Seq(u64_at(item, 0)), RouteBits(u64_at(item, 8)));
        let outcome = match item[16] {
            RELEASE => return Some(Self(Change::Release { seq })),
            tag if tag == Outcome::Delivered as u8 => Outcome::Delivered,
            tag if tag == Outcome::Unhandled as u8 => Outcome::Unhandled,
            tag if tag == Outcome::Expired as u8 => Outcome::Expired,
            tag if tag == Outcome::DeadLetter as u8 => Outcome::DeadLetter,
            _ => return None,
        };
        Some(Self(Change::Commit { seq, routes, outcome }))
    }
}

impl KeyItem {
    fn encode(&self) -> [u8; KEY_BYTES] {
        let mut item = [0; KEY_BYTES];
        item[0..16].copy_from_slice(&self.key.0.to_le_bytes());
        item[16..24].copy_from_slice(&self.seq.0.to_le_bytes());
        item[24..32].copy_from_slice(&self.at.0.to_le_bytes());
        item
    }
}

/// Appends a record of any type with any body; its checksums hold.
#[cfg(feature = "fuzzing")]
pub(crate) fn put_items(buffer: &mut Vec<u8>, seal: Seal, record_type: u8, tenant: &str, body: &[u8]) {
    put(buffer, seal, &mut plain_head(record_type), tenant, &[body]);
}

fn plain_head(record_type: u8) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[16] = record_type;
    head
}

fn put(buffer: &mut Vec<u8>, seal: Seal, head: &mut [u8], tenant: &str, body: &[&[u8]]) {
    let body_bytes: usize = body.iter().map(|part| part.len()).sum();
    let body_length = u32::try_from(body_bytes).expect("frames and item lists are far below 4 GiB");
    head[0..4].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&crc(seal.seed, body).to_le_bytes());
    head[12..16].copy_from_slice(&body_length.to_le_bytes());
    head[17] = u8::try_from(tenant.len()).expect("a tenant id has at most 64 bytes");
    head[24..32].copy_from_slice(&seal.synced_to.to_u64().to_le_bytes());
    let head_crc = crc(seal.seed, &[&head[8..], tenant.as_bytes()]);
    head[4..8].copy_from_slice(&head_crc.to_le_bytes());

    let start = buffer.len();
    buffer.extend_from_slice(head);
    buffer.extend_from_slice(tenant.as_bytes());
    for part in body {
        buffer.extend_from_slice(part);
    }
    buffer.resize(start + aligned(buffer.len() - start), 0);
}

fn crc(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests;
