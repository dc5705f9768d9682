//! Slack's error codes of `apps.connections.open`: what each asks for.

/// What an error asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenClass {
    /// A person has to change something: no further tries of our own but rare probes.
    Park,
    /// It passes, but not soon: long pauses.
    Wait,
    /// It may pass at any time: back-off.
    Retry,
}
