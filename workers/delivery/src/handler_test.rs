//! `taut handler test`.
