//! The log: segments on disk, group commit, index, dedup, compaction; dead letters
