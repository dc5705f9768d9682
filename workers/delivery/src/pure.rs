//! Decisions and shapes without I/O, tasks or clocks: time comes in as an argument.

pub mod answer;
pub mod breaker;
pub mod exec;
pub mod form;
pub mod headers;
pub mod health;
pub mod lanes;
pub mod ndjson;
pub mod plan;
pub mod recent;
pub mod request;
pub mod schedule;
pub mod shape;
pub mod sign;
pub mod transcode;
pub mod verdict;
