//! Log lines: text or JSON, with secrets redacted.
