//! The parts of the P4 test: the apps, the cases, the direct way, and what taut must make of an answer.

pub(crate) mod apps;
pub(crate) mod cases;
pub(crate) mod direct;
pub(crate) mod expect;
pub(crate) mod golden;
pub(crate) mod metrics;
pub(crate) mod trial;
