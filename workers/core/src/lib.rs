//! What two or more roles of taut share: ids, envelopes, verdicts, traits, configuration types, metric names. No I/O, no task, no clock
