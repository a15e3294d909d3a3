//! Empty. Cargo needs a target in the manifests beside this file, which only name a Janet source to fetch.
