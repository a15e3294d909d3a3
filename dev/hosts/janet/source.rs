//! Empty: cargo wants a target in the manifests that name a Janet source to fetch.
