//! Which deliveries must wait for each other: one table, used at intake (keys are stored) and by delivery.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::Facts;

/// A route's order rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// In order within a channel, all its threads in one line. Without a channel: the view's user, else the user,
    /// else the team.
    #[default]
    Channel,
    /// In order within a thread; a message outside any thread starts its own.
    Thread,
    /// In order within the tenant.
    Tenant,
    /// No order.
    None,
}

/// The order keys of one envelope, stored with it so that a route's rule may change later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OrderKeys {
    /// Key under [`Order::Channel`].
    pub channel: u64,
    /// Key under [`Order::Thread`].
    pub thread: u64,
}

impl OrderKeys {
    /// The keys of an envelope with these facts.
    pub fn of(facts: &Facts<'_>) -> Self {
        let team = facts.team.as_deref().unwrap_or("");
        let person = facts.view_user.as_deref().or(facts.user.as_deref());
        let line = match (facts.channel.as_deref(), person) {
            (Some(channel), _) => hash(&["channel", team, channel]),
            (None, Some(user)) => hash(&["user", team, user]),
            (None, None) => hash(&["team", team]),
        };
        let thread = match (facts.channel.as_deref(), facts.thread.as_deref()) {
            (Some(channel), Some(thread)) => hash(&["thread", team, channel, thread]),
            _ => line,
        };
        Self { channel: line, thread }
    }

    /// The key under this rule; `None` where nothing waits for anything.
    pub const fn under(self, order: Order) -> Option<u64> {
        match order {
            Order::Channel => Some(self.channel),
            Order::Thread => Some(self.thread),
            Order::Tenant => Some(0),
            Order::None => None,
        }
    }
}

/// Hashes the parts, each with a NUL behind it.
fn hash(parts: &[&str]) -> u64 {
    // Slack's ids are short: hashed in one go from the stack, four times quicker than piece by piece.
    let mut text = [0; 128];
    let mut end = 0;
    for part in parts {
        let Some(room) = text.get_mut(end..end + part.len() + 1) else { return hash_long(parts) };
        room[..part.len()].copy_from_slice(part.as_bytes());
        end += room.len();
    }
    xxh3_64(&text[..end])
}

fn hash_long(parts: &[&str]) -> u64 {
    let mut hasher = Xxh3Default::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_the_same_in_every_version() {
        // They are stored: another value would break the order of what a former version stored.
        assert_eq!(hash(&["channel", "T1", "C1"]), 2_214_808_406_459_947_211);
    }

    proptest! {
        #[test]
        fn short_and_long_parts_are_hashed_alike(parts in prop::collection::vec("[A-Z0-9é]{0,60}", 0..4)) {
            let parts: Vec<_> = parts.iter().map(String::as_str).collect();
            prop_assert_eq!(hash(&parts), hash_long(&parts));
        }
    }
}
