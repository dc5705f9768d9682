//! Routes: which envelopes go to which handler.

use std::ops::{BitAnd, BitOr};

use crate::config::RouteMatch;
use crate::{Facts, Kind};

/// Most routes one tenant may have.
pub const ROUTES_MAX: usize = 64;

/// A set of a tenant's routes: bit n stands for the route that the store gave number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RouteBits(pub u64);

impl RouteBits {
    /// No route.
    pub const NONE: Self = Self(0);

    /// The set with the one route `number` (0 to 63).
    pub const fn one(number: u8) -> Self {
        Self(1 << number)
    }

    /// Whether no route is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every route of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set without the routes of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The numbers in the set, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |number| self.0 & (1 << number) != 0)
    }
}

impl BitOr for RouteBits {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for RouteBits {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl RouteMatch {
    /// Whether an envelope of this kind with these facts belongs to the route. Empty lists match everything; the
    /// lists that are given must all match, a narrower list only judging the kinds it speaks of.
    pub fn matches(&self, kind: Kind, facts: &Facts<'_>) -> bool {
        let in_list = |list: &[String], value: Option<&str>| {
            list.is_empty() || value.is_some_and(|value| list.iter().any(|entry| entry == value))
        };
        let kind_fits = self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted.covers(kind));
        kind_fits
            && (kind != Kind::EventsApi || in_list(&self.event_types, facts.event_type.as_deref()))
            && (!is_interactive(kind) || in_list(&self.interactive_types, facts.payload_type.as_deref()))
            && (kind != Kind::SlashCommands || in_list(&self.commands, facts.command.as_deref()))
            && (!is_interactive(kind) || in_list(&self.callback_ids, facts.callback_id.as_deref()))
            && in_list(&self.teams, facts.team.as_deref())
            && in_list(&self.channels, facts.channel.as_deref())
    }
}

/// Whether the envelope's type is `interactive` (an unknown kind may be: it is then judged by the same lists).
const fn is_interactive(kind: Kind) -> bool {
    !matches!(kind, Kind::EventsApi | Kind::SlashCommands)
}
