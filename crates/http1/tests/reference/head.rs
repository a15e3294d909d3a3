//! The reference parser of request heads: RFC 9112 applied literally, on strings.

use kqnet_http1::{Framing, HeadLimits};
use std::net::Ipv6Addr;

/// What a parser read in a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub path: String,
    pub query: Option<String>,
    pub is_11: bool,
    /// Bytes are represented by the characters of Latin-1.
    pub headers: Vec<(String, String)>,
    pub authority: Option<String>,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expect_continue: bool,
    pub len: usize,
}

/// Why there is no head: it is refused with this status, or more bytes are needed (`None`).
pub type Missing = Option<u16>;

const REFUSED: Missing = Some(400);

pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_tchar)
}

fn is_tchar(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

pub fn head(bytes: &[u8], limits: &HeadLimits) -> Result<Seen, Missing> {
    let is_full = bytes.len() >= limits.max_head;
    let text = latin1(&bytes[..bytes.len().min(limits.max_head)]);
    let mut rest = text.as_str();

    let mut empty = 0;
    while let Some(after) = rest.strip_prefix("\r\n") {
        empty += 1;
        rest = after;
        if empty > 4 {
            return Err(REFUSED);
        }
    }

    let (line, mut rest) = request_line(rest, is_full, limits)?;
    let mut words = line.splitn(3, ' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(REFUSED);
    };
    let is_11 = match version.strip_prefix("HTTP/").map(|v| v.split('.').collect::<Vec<_>>()).as_deref() {
        Some([major, minor]) if [major, minor].iter().all(|n| n.len() == 1 && n.parse::<u8>().is_ok()) => {
            if *major != "1" {
                return Err(Some(505));
            }
            *minor != "0"
        }
        _ => return Err(REFUSED),
    };
    let (path, query, authority) = parse_target(method, target).ok_or(REFUSED)?;

    let mut lines = vec![];
    loop {
        let Some((line, after)) = rest.split_once('\n') else {
            return Err(if is_full { Some(431) } else { None });
        };
        rest = after;
        let line = line.strip_suffix('\r').ok_or(REFUSED)?;
        if line.is_empty() {
            break;
        }
        lines.push(line);
        if lines.len() > limits.max_headers {
            return Err(Some(431));
        }
    }
    let len = text.chars().count() - rest.chars().count();

    let mut headers = vec![];
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(REFUSED)?;
        let is_allowed = |c: char| c == '\t' || (c >= ' ' && c != '\x7f');
        if !is_token(name) || !value.chars().all(is_allowed) {
            return Err(REFUSED);
        }
        headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let values = |name: &str| -> Vec<String> {
        headers.iter().filter(|h| h.0.to_lowercase() == name).map(|h| h.1.clone()).collect()
    };
    let list = |name: &str| -> Vec<String> {
        let words = values(name).join(",").to_ascii_lowercase();
        words.split(',').map(|w| w.trim_matches([' ', '\t']).to_owned()).filter(|w| !w.is_empty()).collect()
    };

    let hosts = values("host");
    if hosts.len() > 1 || (hosts.is_empty() && is_11) || hosts.iter().any(|h| !h.is_empty() && !is_authority(h)) {
        return Err(REFUSED);
    }
    let framing = framing(is_11, &values("content-length"), &values("transfer-encoding"))?;
    let expectations = list("expect");
    if expectations.iter().any(|e| e != "100-continue") {
        return Err(Some(417));
    }
    let options = list("connection");
    let has = |option: &str| options.iter().any(|o| o == option);
    Ok(Seen {
        method: method.to_owned(),
        target: target.to_owned(),
        path,
        query,
        is_11,
        authority,
        framing,
        keep_alive: if has("close") { false } else { is_11 || has("keep-alive") },
        expect_continue: is_11 && !expectations.is_empty() && framing != Framing::None && framing != Framing::Length(0),
        headers,
        len,
    })
}

/// Returns the request line without its line end, and what follows it.
fn request_line<'t>(text: &'t str, is_full: bool, limits: &HeadLimits) -> Result<(&'t str, &'t str), Missing> {
    let visible: String = text.chars().take(limits.max_request_line + 2).collect();
    let is_cut = visible.chars().count() == limits.max_request_line + 2;
    let shown = visible.split('\n').next().unwrap_or_default();
    let is_complete = visible.contains('\n');

    let method = shown.split(' ').next().unwrap_or_default();
    let first_bad = method.chars().position(|c| !is_tchar(c));
    let is_half_empty_line = shown == "\r" && !is_complete;
    if !is_half_empty_line {
        match first_bad {
            Some(bad) if bad <= 32 => return Err(REFUSED),
            _ if method.chars().count() > 32 => return Err(Some(501)),
            _ if method.is_empty() && shown.starts_with(' ') => return Err(REFUSED),
            _ => {}
        }
    }
    if !is_complete {
        return Err(if is_full || is_cut { Some(414) } else { None });
    }
    let (line, rest) = text.split_once('\n').unwrap();
    Ok((line.strip_suffix('\r').ok_or(REFUSED)?, rest))
}

type Parts = (String, Option<String>, Option<String>);

/// Returns path, query and authority.
fn parse_target(method: &str, target: &str) -> Option<Parts> {
    if target.is_empty() || target.chars().any(|c| c <= ' ' || c == '\x7f' || c == '#') {
        return None;
    }
    if method == "CONNECT" {
        let port = target.rsplit(':').next()?;
        let is_port = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
        let in_range = port.trim_start_matches('0').len() <= 5 && port.parse::<u128>().ok()? <= 65535;
        let is_target = target.contains(':') && is_port && in_range && is_authority(target);
        return is_target.then(|| (target.to_owned(), None, Some(target.to_owned())));
    }
    if method == "OPTIONS" && target == "*" {
        return Some(("*".to_owned(), None, None));
    }
    let with_query = |text: &str| match text.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (text.to_owned(), None),
    };
    if target.starts_with('/') {
        let (path, query) = with_query(target);
        return Some((path, query, None));
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https"].contains(&scheme.to_lowercase().as_str()) {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (path, query) = with_query(&rest[end..]);
    let path = if path.is_empty() { "/".to_owned() } else { path };
    is_authority(&rest[..end]).then(|| (path, query, Some(rest[..end].to_owned())))
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => return address.parse::<Ipv6Addr>().is_ok(),
            Some((address, port)) if port.starts_with(':') && address.parse::<Ipv6Addr>().is_ok() => ("v6", &port[1..]),
            _ => return false,
        },
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let pieces: Vec<&str> = host.split('%').collect();
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(c));
    let is_escape = |text: &&str| text.len() >= 2 && text.chars().take(2).all(|c| c.is_ascii_hexdigit());
    !host.is_empty()
        && port.chars().all(|c| c.is_ascii_digit())
        && pieces.iter().all(|piece| is_plain(piece))
        && pieces[1..].iter().all(is_escape)
}

fn framing(is_11: bool, lengths: &[String], encodings: &[String]) -> Result<Framing, Missing> {
    if encodings.is_empty() {
        return match lengths {
            [] => Ok(Framing::None),
            [length] if !length.is_empty() && length.chars().all(|c| c.is_ascii_digit()) => {
                length.parse().map(Framing::Length).map_err(|_| REFUSED)
            }
            _ => Err(REFUSED),
        };
    }
    if !is_11 || !lengths.is_empty() {
        return Err(REFUSED);
    }
    let codings = encodings.join(",").to_ascii_lowercase();
    let codings: Vec<&str> = codings.split(',').map(|c| c.trim_matches([' ', '\t'])).collect();
    if codings.iter().any(|c| !is_token(c) || *c == "identity") {
        return Err(REFUSED);
    }
    match codings.iter().position(|c| *c == "chunked") {
        Some(first) if first + 1 < codings.len() => Err(REFUSED),
        Some(0) => Ok(Framing::Chunked),
        Some(_) => Err(Some(501)),
        None => Err(REFUSED),
    }
}
