//! Configuration: files and environment in layers, every breach at once, provenance.
