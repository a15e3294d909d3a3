//! The interpreters and the module for each of them, built once for all steps.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use kqnet_hosts::{Built, Host, Result};

use crate::module::{self, Code};
use crate::repo;

/// An interpreter, and the module that was built for it.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The interpreter.
    pub janet: PathBuf,
    /// The folder of the module, for JANET_PATH.
    pub module: PathBuf,
}

/// What was built, or the error with which it failed. Hosts that differ only in what is chosen at their start share a
/// build.
#[derive(Default)]
pub struct Builds {
    done: HashMap<String, Build>,
}

impl Builds {
    /// Builds what these hosts need, with the module compiled as `code` says for each. A failure is reported once, and is
    /// returned by each [`Builds::get`].
    pub fn build<'a>(&mut self, hosts: impl IntoIterator<Item = &'a Host>, code: impl Fn(&Host) -> Code + Sync) {
        let mut needed: Vec<&Host> = Vec::new();
        for host in hosts {
            let name = host.build_name();
            if !self.done.contains_key(&name) && needed.iter().all(|other| other.build_name() != name) {
                needed.push(host);
            }
        }
        for (host, ready) in needed.iter().zip(two_at_a_time(&needed, code)) {
            self.done.insert(host.build_name(), ready);
        }
    }

    /// Returns what was built for a host.
    pub fn get(&self, host: &Host) -> Result<Ready> {
        let name = host.build_name();
        match self.done.get(&name) {
            Some(Ok((built, module))) => {
                Ok(Ready { janet: built.as_kernel(host.kernel).janet(), module: module.clone() })
            }
            Some(Err(_)) => Err(format!("{name} was not built: see above")),
            None => Err(format!("{name} was not built")),
        }
    }
}

/// An interpreter and the folder of its module, or the error with which their build failed.
type Build = Result<(Built, PathBuf)>;

/// Builds interpreters with their modules, two at a time: most of a build is one step of the compiler that uses only one
/// processor.
fn two_at_a_time(hosts: &[&Host], code: impl Fn(&Host) -> Code + Sync) -> Vec<Build> {
    let next = Mutex::new(0);
    let built: Mutex<Vec<Option<Build>>> = Mutex::new(hosts.iter().map(|_| None).collect());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let mut taken = next.lock().unwrap_or_else(|e| e.into_inner());
                    let index = *taken;
                    *taken += 1;
                    drop(taken);
                    let Some(host) = hosts.get(index) else { break };
                    let result = build(host, code(host));
                    built.lock().unwrap_or_else(|e| e.into_inner())[index] = Some(result);
                }
            });
        }
    });
    let built = built.into_inner().unwrap_or_else(|e| e.into_inner());
    built.into_iter().map(|result| result.unwrap_or_else(|| Err("it was not built".to_owned()))).collect()
}

fn build(host: &Host, code: Code) -> Build {
    let name = host.build_name();
    let built = host.build(&repo::target()).and_then(|built| {
        let start = Instant::now();
        eprintln!("building kqnet for Janet {name}");
        let module = module::build_code(host, &built, code, module::Output::OnFailure)?;
        eprintln!("built kqnet for Janet {name} in {:.0} s", start.elapsed().as_secs_f64());
        Ok((built, module))
    });
    if let Err(message) = &built {
        eprintln!("FAIL  {name}: {message}");
    }
    built
}
