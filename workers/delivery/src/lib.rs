//! The handler's side of a tenant: order, verdicts, lanes, requests, the Request URL shape
