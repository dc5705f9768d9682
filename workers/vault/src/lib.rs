//! Secrets that cannot be printed, and where they come from
