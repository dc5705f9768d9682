//! Slack's side of a tenant: the line's state machine, sockets, intake, acks.

mod pure;
