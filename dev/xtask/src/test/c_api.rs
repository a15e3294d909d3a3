//! Checks that the Rust code calls no function of Janet that can raise an error.
//!
//! A longjmp must not cross a frame of Rust. What a function can do is read in Janet's source. A function can raise if it calls `janet_signalv` or `longjmp`, at any depth.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::process::Command;

use kqnet_hosts::{Result, VERSIONS};

use super::plan::Plan;
use super::tally::Tally;
use crate::repo;

/// The functions with which an error leaves.
const EXITS: [&str; 2] = ["janet_signalv", "longjmp"];

/// Functions that can raise, but not as they are called here, each with the reason.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("janet_array_push", "only beyond 2^31 values, which no head of a request has"),
    ("janet_buffer_extra", "only beyond 2 GiB and for memory that is not Janet's: src/buffer.rs looks first"),
    ("janet_core_env", "only while Janet makes its core environment, which is there when a module is loaded"),
    ("janet_resolve_core", "as janet_core_env"),
];

/// The functions that `janetrs` calls for the types that are used here.
const BY_JANETRS: [&str; 5] = ["janet_string", "janet_csymbol", "janet_symbol", "janet_cstring", "janet_type"];

/// Checks every version of Janet.
pub fn tests(plan: &Plan) -> Result<Tally> {
    if !plan.includes("c-api") {
        return Ok(Tally::default());
    }
    let called = called()?;
    let mut total = Tally::default();
    for version in VERSIONS {
        let name = format!("c-api {version}");
        match calls(version)? {
            None => {
                eprintln!("skip  {name}: clang is not installed");
                total += Tally::SKIP;
            }
            Some(calls) => {
                let wrong: Vec<String> = called.iter().filter_map(|function| path_out(function, &calls)).collect();
                for path in &wrong {
                    eprintln!(
                        "      Rust calls a function that can raise an error: {path}; call it from src/trampoline.c"
                    );
                }
                eprintln!("{}  {name}: {} functions", if wrong.is_empty() { "ok  " } else { "FAIL" }, called.len());
                total += if wrong.is_empty() { Tally::PASS } else { Tally::FAIL };
            }
        }
    }
    Ok(total)
}

/// The names of the functions that the Rust code calls.
fn called() -> Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = BY_JANETRS.iter().map(|&name| name.to_owned()).collect();
    let mut folders = vec![repo::root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))? {
            let path = entry.map_err(|e| e.to_string())?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|suffix| suffix == "rs") {
                let text = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
                names.extend(called_in(&text));
            }
        }
    }
    Ok(names)
}

/// The names of the functions that follow `c::` in a source text.
fn called_in(text: &str) -> impl Iterator<Item = String> {
    text.split("c::janet_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest[end..].starts_with('(').then(|| format!("janet_{}", &rest[..end]))
    })
}

/// The functions of a Janet, each with those that it calls by name. `None` without clang.
fn calls(version: &str) -> Result<Option<BTreeMap<String, BTreeSet<String>>>> {
    let source = kqnet_hosts::source(version)?;
    let folder = repo::target().join("c-api").join(version);
    let failed = |what: &Path, e: std::io::Error| format!("cannot write {}: {e}", what.display());
    fs::create_dir_all(&folder).map_err(|e| failed(&folder, e))?;
    fs::copy(source.join("janet.h"), folder.join("janet.h")).map_err(|e| failed(&folder, e))?;
    fs::write(folder.join("janetconf.h"), "").map_err(|e| failed(&folder, e))?;
    let out = Command::new("clang")
        .args(["-O0", "-S", "-emit-llvm", "-w", "-o", "-", "-I"])
        .arg(&folder)
        .arg(source.join("janet.c"))
        .output();
    match out {
        Err(_) => Ok(None),
        Ok(out) if out.status.success() => Ok(Some(parse(&String::from_utf8_lossy(&out.stdout)))),
        Ok(out) => {
            Err(format!("clang cannot compile Janet {version}: {}", String::from_utf8_lossy(&out.stderr).trim_end()))
        }
    }
}

/// Reads LLVM's text form: the functions that it defines, and what each of them calls.
fn parse(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut calls: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if line.starts_with("define ") {
            current = name_in(line).map(str::to_owned);
            if let Some(name) = &current {
                calls.insert(name.clone(), BTreeSet::new());
            }
        } else if line == "}" {
            current = None;
        } else if let (Some(name), Some((_, call))) = (&current, line.split_once("call ")) {
            if let Some(callee) = name_in(call) {
                calls.entry(name.clone()).or_default().insert(callee.to_owned());
            }
        }
    }
    calls
}

/// The function's name in `… @name(…`.
fn name_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('@')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.')?;
    rest[end..].starts_with('(').then(|| &rest[..end])
}

/// The chain of calls by which a function can raise an error.
fn path_out(function: &str, calls: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    if EXCEPTIONS.iter().any(|(name, _)| *name == function) {
        return None;
    }
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([function]);
    while let Some(at) = queue.pop_front() {
        if EXITS.iter().any(|exit| at.trim_start_matches('_') == *exit) {
            let path: Vec<&str> = std::iter::successors(Some(at), |at| from.get(at).copied()).collect();
            return Some(path.into_iter().rev().collect::<Vec<_>>().join(" > "));
        }
        for callee in calls.get(at).into_iter().flatten() {
            if callee != function && !from.contains_key(callee.as_str()) {
                from.insert(callee, at);
                queue.push_back(callee);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_from_a_type() {
        let text = "c::janet_table_put(t, k, v); (*x).is::<c::janet_abstract_type>(); &raw const c::janet_stream_type";
        assert_eq!(called_in(text).collect::<Vec<_>>(), ["janet_table_put"]);
    }

    #[test]
    fn what_raises_at_any_depth_is_found_with_its_path() {
        let text = "define i32 @outer(i32 %0) {\n  %1 = call i32 @inner(i32 1)\n  call void %f(i32 1)\n}\n\
                    define i32 @inner() {\n  call void @janet_signalv(i32 1)\n}\n\
                    define i32 @harmless() {\n  call void @llvm.memcpy(i32 1)\n}\n";
        let calls = parse(text);
        assert_eq!(path_out("outer", &calls).as_deref(), Some("outer > inner > janet_signalv"));
        assert_eq!(path_out("harmless", &calls), None);
    }
}
