//! Delivery against real handlers on loopback and a log in memory.

mod events;
mod handler;
mod handler_test;
mod log;
mod requests;
mod support;
