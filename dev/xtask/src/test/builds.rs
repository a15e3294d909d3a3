//! The interpreters and the module for each of them, built once for all steps.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use kqnet_hosts::{Built, Host, Result};

use crate::{module, repo};

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
    done: HashMap<String, Result<(Built, PathBuf)>>,
}

impl Builds {
    /// Builds what these hosts need. A failure is reported once, and is returned by each [`Builds::get`].
    pub fn build<'a>(&mut self, hosts: impl IntoIterator<Item = &'a Host>) {
        let mut needed: Vec<&Host> = Vec::new();
        for host in hosts {
            let name = host.build_name();
            if !self.done.contains_key(&name) && needed.iter().all(|other| other.build_name() != name) {
                needed.push(host);
            }
        }
        for (host, built) in needed.iter().zip(interpreters(&needed)) {
            let ready = built.and_then(|built| {
                eprintln!("building kqnet for Janet {}", host.build_name());
                let module = module::build(host, &built, module::Output::OnFailure)?;
                Ok((built, module))
            });
            if let Err(message) = &ready {
                eprintln!("FAIL  {}: {message}", host.build_name());
            }
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

/// Builds interpreters, two at a time. Modules are built one by one, since cargo uses all processors itself.
fn interpreters(hosts: &[&Host]) -> Vec<Result<Built>> {
    let next = Mutex::new(0);
    let built: Mutex<Vec<Option<Result<Built>>>> = Mutex::new(hosts.iter().map(|_| None).collect());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let mut taken = next.lock().unwrap_or_else(|e| e.into_inner());
                    let index = *taken;
                    *taken += 1;
                    drop(taken);
                    let Some(host) = hosts.get(index) else { break };
                    let result = host.build(&repo::target());
                    built.lock().unwrap_or_else(|e| e.into_inner())[index] = Some(result);
                }
            });
        }
    });
    let built = built.into_inner().unwrap_or_else(|e| e.into_inner());
    built.into_iter().map(|result| result.unwrap_or_else(|| Err("it was not built".to_owned()))).collect()
}
