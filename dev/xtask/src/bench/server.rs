//! Starts and ends the servers that are measured.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kqnet_hosts::Result;

use super::affinity::{self, Role};
use super::load::local;
use super::usage::{self, Usage};
use crate::process::Group;

/// How often a server is started again that ends at once. Another program may have taken its port in between.
const TRIES: usize = 3;
/// How long a server may take to answer. Under valgrind it takes seconds.
const START: Duration = Duration::from_secs(40);
/// How long it may take to end after its input has.
const END: Duration = Duration::from_secs(20);

/// A request after which any server answers and closes.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

/// A program that serves on the ports that are its last arguments, and ends when its input does.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in results.
    pub name: String,
    /// What it answers.
    asks: &'static [u8],
    /// A file that is written before each start, with `{port}` replaced by the port, which then is not an argument.
    configuration: Option<(PathBuf, String)>,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Program {
    /// A program without arguments.
    pub fn new(name: &str, program: &Path) -> Self {
        Program {
            name: name.to_owned(),
            asks: REQUEST,
            configuration: None,
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Makes it a program that answers `bytes` instead of HTTP requests.
    pub fn answers(mut self, bytes: &'static [u8]) -> Self {
        self.asks = bytes;
        self
    }

    /// Makes it a program that learns its only port from a file.
    pub fn configured(mut self, file: PathBuf, text: String) -> Self {
        self.configuration = Some((file, text));
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts it with one port.
    pub fn start(&self) -> Result<Server> {
        self.start_under(&[], 1)
    }

    /// Starts it with `ports` ports, as an argument of another program that watches it.
    pub fn start_under(&self, wrapper: &[OsString], ports: usize) -> Result<Server> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let mut server = self.spawn(wrapper, ports)?;
            match server.wait_until_it_answers(self.asks) {
                Ok(()) => return Ok(server),
                Err(_) if tries > 0 && server.has_ended() => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn spawn(&self, wrapper: &[OsString], ports: usize) -> Result<Server> {
        let ports = free_ports(ports)?;
        let mut arguments: Vec<String> = ports.iter().map(u16::to_string).collect();
        if let Some((file, text)) = &self.configuration {
            let text = text.replace("{port}", &arguments.concat());
            fs::write(file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
            arguments.clear();
        }
        let mut words = wrapper.iter().cloned().chain([self.program.clone().into_os_string()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        let log = log();
        let log = File::create(&log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        command
            .args(words)
            .args(&self.arguments)
            .args(arguments)
            .env_remove("JANET_PROFILE")
            .env_remove("JANET_PATH")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        affinity::pin(&mut command, Role::Server);
        let group = Group::start(&mut command).map_err(|e| format!("cannot run {}: {e}", self.name))?;
        Ok(Server { name: self.name.clone(), group, ports })
    }
}

/// A running server. It is killed when it is dropped.
pub struct Server {
    name: String,
    group: Group,
    /// The ports that it listens on.
    pub ports: Vec<u16>,
}

impl Server {
    /// Its first port.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// What it has used so far. Under another program, this would be that program's usage.
    pub fn usage(&mut self) -> Result<Usage> {
        let pid = self.group.child().id();
        usage::of(pid).map_err(|e| format!("{}: {e}; see target/bench/server.log", self.name))
    }

    /// Stops it, calls `act`, and continues it.
    pub fn stopped<T>(&mut self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.signal(libc::SIGSTOP)?;
        let done = act();
        self.signal(libc::SIGCONT)?;
        done
    }

    fn signal(&mut self, signal: i32) -> Result<()> {
        // SAFETY: kill has no memory preconditions. The child has not been waited for, so the number is still its own.
        if unsafe { libc::kill(self.group.child().id() as i32, signal) } == 0 {
            return Ok(());
        }
        Err(format!("cannot signal {}: {}", self.name, std::io::Error::last_os_error()))
    }

    /// Waits until it has nothing to do, and returns what it has used by then.
    pub fn settle(&mut self) -> Result<Usage> {
        let end = Instant::now() + Duration::from_secs(10);
        let mut before = self.usage()?;
        loop {
            thread::sleep(Duration::from_millis(150));
            let now = self.usage()?;
            if now.cpu - before.cpu < 0.001 || Instant::now() > end {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Ends its input and waits for its end, so that a program that counts what it does can report.
    pub fn finish(mut self) -> Result<()> {
        drop(self.group.child().stdin.take());
        match self.group.wait(END) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(format!("{} did not end in {} s after its input", self.name, END.as_secs())),
            Err(e) => Err(format!("cannot wait for {}: {e}", self.name)),
        }
    }

    fn wait_until_it_answers(&mut self, asked: &[u8]) -> Result<()> {
        let end = Instant::now() + START;
        for index in 0..self.ports.len() {
            while !is_answered(self.ports[index], asked) {
                if self.has_ended() || Instant::now() > end {
                    let log = fs::read_to_string(log()).unwrap_or_default();
                    let last = log.trim_end().lines().last().unwrap_or("it has said nothing").to_owned();
                    return Err(format!(
                        "{} does not answer; the last line of target/bench/server.log: {last}",
                        self.name
                    ));
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.group.child().try_wait(), Ok(Some(_)))
    }
}

/// What a server writes to its standard error.
fn log() -> PathBuf {
    crate::repo::target().join("bench/server.log")
}

/// Whether a server answers on a port.
fn is_answered(port: u16, asked: &[u8]) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&local(port), START)?;
        stream.set_read_timeout(Some(START))?;
        stream.write_all(asked)?;
        stream.read(&mut [0; 4096])
    };
    ask().is_ok_and(|count| count > 0)
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    let taken: std::io::Result<Vec<TcpListener>> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    let ports = taken.and_then(|taken| taken.iter().map(|one| Ok(one.local_addr()?.port())).collect());
    ports.map_err(|e| format!("cannot find a free port: {e}"))
}
