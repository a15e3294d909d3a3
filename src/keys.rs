//! The keywords that request and response tables have as keys and values. They are made once for each VM.

use janetrs::Janet;
use janetrs::lowlevel as c;

/// The keywords. The VM holds them, so they live as long as it does.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "each field is the keyword of its name")]
pub struct Keys {
    pub body: c::Janet,
    pub bytes: c::Janet,
    pub chunked: c::Janet,
    pub none: c::Janet,
    pub pieces: c::Janet,
    pub buffer: c::Janet,
    pub connection: c::Janet,
    pub detached: c::Janet,
    pub file: c::Janet,
    pub head_size: c::Janet,
    pub headers: c::Janet,
    pub http_version: c::Janet,
    pub method: c::Janet,
    pub path: c::Janet,
    pub query: c::Janet,
    pub query_string: c::Janet,
    pub request_number: c::Janet,
    pub route: c::Janet,
    pub scheme: c::Janet,
    pub status: c::Janet,
}

impl Keys {
    /// Makes the keywords. `hold` keeps each alive for as long as the VM lives.
    pub fn new(hold: &dyn Fn(c::Janet)) -> Self {
        let key = |name: &str| {
            let value = Janet::keyword(name.into()).into();
            hold(value);
            value
        };
        Self {
            body: key("body"),
            bytes: key("bytes"),
            chunked: key("chunked"),
            none: key("none"),
            pieces: key("pieces"),
            buffer: key("buffer"),
            connection: key("connection"),
            detached: key("detached"),
            file: key("file"),
            head_size: key("head-size"),
            headers: key("headers"),
            http_version: key("http-version"),
            method: key("method"),
            path: key("path"),
            query: key("query"),
            query_string: key("query-string"),
            request_number: key("request-number"),
            route: key("route"),
            scheme: key("scheme"),
            status: key("status"),
        }
    }
}
