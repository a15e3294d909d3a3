//! `cargo xtask burst`: does a server answer connections that arrive while it is busy?
//!
//! The experiment, which is repeated for each burst: stop a server that waits for connections (SIGSTOP), connect a
//! burst of clients, each of which sends a byte and waits for one, and continue the server (SIGCONT). A burst is over
//! when all its clients are answered, or when there was an answer and then none for a while. Clients without an answer
//! stay connected to the end, as a browser would, so a server may still accept in one burst what it left in its backlog
//! in the last.
//!
//! A Janet with janet#1560 on macOS's kernel takes one connection of each burst: 20 bursts of 20 leave 380 of 400.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use kqnet_hosts::{Host, Result};
use lexopt::Parser;

use crate::process::{self, Group};
use crate::{module, options, repo, tools};

/// How long to wait for the first answer of a burst.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// How long to wait for each further answer of a burst.
const QUIET: Duration = Duration::from_millis(300);
/// The same in the last burst, where a slow server on a slow machine must not be mistaken for a stalled one.
const QUIET_AT_LAST: Duration = Duration::from_secs(2);
/// How long a server may take to print its port.
const START: Duration = Duration::from_secs(30);
/// How long the system may take to put a connection into the backlog.
const CONNECT: Duration = Duration::from_secs(2);

/// The server of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Janet's own `net/server`.
    Core,
    /// `kqnet/server`.
    Kqnet,
}

impl Server {
    /// Both.
    pub const ALL: [Server; 2] = [Server::Core, Server::Kqnet];

    /// Its name in options.
    pub fn name(self) -> &'static str {
        match self {
            Server::Core => "core",
            Server::Kqnet => "kqnet",
        }
    }
}

/// The size of the experiment.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many bursts.
    pub bursts: usize,
    /// How many clients there are in each burst.
    pub clients: usize,
}

impl Default for Size {
    fn default() -> Self {
        Size { bursts: 20, clients: 20 }
    }
}

/// What came of the clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Connections that were made. If the backlog was full, these are fewer than asked for.
    pub made: usize,
    /// Connections that were answered.
    pub answered: usize,
    /// Connections that wait in the listener's backlog at the end, if the system tells.
    pub backlog: Option<usize>,
}

impl Answers {
    /// Connections without an answer.
    pub fn unanswered(&self) -> usize {
        self.made - self.answered
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} unanswered", self.unanswered(), self.made)
    }
}

/// Runs the command.
pub fn run(mut args: Parser) -> Result<ExitCode> {
    let mut host = options::HostOptions::default();
    let mut server = None;
    let mut size = Size::default();
    while let Some(arg) = args.next().map_err(|e| e.to_string())? {
        let given = options::given(&arg);
        match given.as_str() {
            "--server" => server = Some(server_named(&options::text(&mut args)?)?),
            "--bursts" => size.bursts = options::number(&mut args, "--bursts", 1)?,
            "--clients" => size.clients = options::number(&mut args, "--clients", 1)?,
            given if host.take(given, &mut args)? => {}
            _ => {
                let allowed = format!("--server, --bursts, --clients, {}", options::HOST_OPTIONS);
                return Err(options::refuse(&given, &allowed));
            }
        }
    }
    let host = host.finish()?;
    let server = server.ok_or("--server is needed: core or kqnet")?;
    process::end_groups_on_signals();
    process::raise_descriptor_limit();
    tools::c_compiler()?;
    let built = host.build(&repo::target())?;
    let folder = match server {
        Server::Core => None,
        Server::Kqnet => Some(module::build(&host, &built, module::Output::Shown)?),
    };
    let start = Instant::now();
    let answers = experiment(&built.janet(), folder.as_deref(), server, size)?;
    println!("{}", json(&host, server, size, &answers, start.elapsed()));
    Ok(ExitCode::SUCCESS)
}

fn server_named(name: &str) -> Result<Server> {
    let found = Server::ALL.into_iter().find(|server| server.name() == name);
    found.ok_or_else(|| format!("no server {name}; the servers are core and kqnet"))
}

fn json(host: &Host, server: Server, size: Size, answers: &Answers, took: Duration) -> String {
    let text = |text: &str| format!("\"{text}\"");
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let fields = [
        ("janet", text(host.version)),
        ("loop", text(host.event_loop.name())),
        ("kernel", or_null(host.kernel.map(text))),
        ("server", text(server.name())),
        ("bursts", size.bursts.to_string()),
        ("clients", size.clients.to_string()),
        ("made", answers.made.to_string()),
        ("answered", answers.answered.to_string()),
        ("unanswered", answers.unanswered().to_string()),
        ("backlog", or_null(answers.backlog.map(|n| n.to_string()))),
        ("seconds", format!("{:.1}", took.as_secs_f64())),
    ];
    let fields = fields.map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", fields.join(","))
}

/// Makes the experiment with a server that runs on `janet`. Takes less than a minute, whatever it does.
pub fn experiment(janet: &Path, janet_path: Option<&Path>, server: Server, size: Size) -> Result<Answers> {
    let mut command = Command::new(janet);
    command
        .arg(repo::root().join("dev/xtask/burst/server.janet"))
        .arg(server.name())
        .env_remove("JANET_PROFILE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    match janet_path {
        Some(folder) => command.env("JANET_PATH", folder),
        None => command.env_remove("JANET_PATH"),
    };
    let mut process = Group::start(&mut command).map_err(|e| format!("cannot run {}: {e}", janet.display()))?;
    let port = port(&mut process).map_err(|e| format!("the server did not start: {e}"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));

    let mut answers = Answers::default();
    let mut waiting: Vec<TcpStream> = Vec::new();
    let mut first_answer = FIRST_ANSWER;
    for burst in 1..=size.bursts {
        process.stop().map_err(|e| format!("cannot stop the server: {e}"))?;
        for _ in 0..size.clients {
            match connect(address) {
                Ok(client) => waiting.push(client),
                // The backlog is full.
                Err(e) if e.kind() == ErrorKind::TimedOut => break,
                Err(e) => return Err(format!("cannot connect to the server: {e}")),
            }
            answers.made += 1;
        }
        process.go_on().map_err(|e| format!("cannot continue the server: {e}"))?;
        let quiet = if burst == size.bursts { QUIET_AT_LAST } else { QUIET };
        let answered = take_answers(&mut waiting, first_answer, quiet)?;
        if answered == 0 {
            // It is stalled for good, so the next burst need not wait as long.
            first_answer = QUIET;
        }
        answers.answered += answered;
    }
    answers.backlog = backlog(port);
    Ok(answers)
}

/// Reads the port that the server prints.
fn port(process: &mut Group) -> io::Result<u16> {
    let out = process.child().stdout.as_mut().ok_or_else(|| io::Error::other("it has no output"))?;
    let end = Instant::now() + START;
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        if !readable(&[out.as_raw_fd()], end.saturating_duration_since(Instant::now()))?[0] {
            return Err(io::Error::other(format!("it printed no port in {} s", START.as_secs())));
        }
        let mut bytes = [0; 64];
        match out.read(&mut bytes)? {
            0 => return Err(io::Error::other("it ended without printing a port: see above")),
            count => line.extend_from_slice(&bytes[..count]),
        }
    }
    let line = String::from_utf8_lossy(&line);
    line.trim().parse().map_err(|_| io::Error::other(format!("it printed {:?}, not a port", line.trim())))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect_timeout(&address, CONNECT)?;
    client.write_all(b"?")?;
    client.set_nonblocking(true)?;
    Ok(client)
}

/// Takes the answers, and removes the clients that have one from the list. Returns the number of answers, once all
/// clients are answered, or when the first or a further answer does not come in time.
fn take_answers(waiting: &mut Vec<TcpStream>, first: Duration, further: Duration) -> Result<usize> {
    let mut answered = 0;
    let mut patience = first;
    while !waiting.is_empty() {
        let fds: Vec<RawFd> = waiting.iter().map(AsRawFd::as_raw_fd).collect();
        let ready = readable(&fds, patience).map_err(|e| format!("cannot wait for the server: {e}"))?;
        if !ready.contains(&true) {
            break;
        }
        let mut ready = ready.into_iter();
        waiting.retain_mut(|client| {
            if ready.next() != Some(true) {
                return true;
            }
            match client.read(&mut [0]) {
                Ok(1) => answered += 1,
                Err(e) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&e.kind()) => return true,
                // Closed without an answer.
                Ok(_) | Err(_) => {}
            }
            false
        });
        patience = further;
    }
    Ok(answered)
}

/// Waits until one of the descriptors can be read, but not longer than `patience`. Returns for each whether it can be.
fn readable(fds: &[RawFd], patience: Duration) -> io::Result<Vec<bool>> {
    let mut entries: Vec<libc::pollfd> =
        fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now()).as_millis() as libc::c_int;
        // SAFETY: the pointer and the length are those of `entries`, which outlives the call.
        let count = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, left) };
        if count >= 0 {
            return Ok(entries.iter().map(|entry| entry.revents != 0).collect());
        }
        let error = io::Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// How many connections wait to be accepted on a port of 127.0.0.1. `None` if the system does not tell.
fn backlog(port: u16) -> Option<usize> {
    backlog_in(&fs::read_to_string("/proc/net/tcp").ok()?, port)
}

/// Reads the backlog from the table of /proc/net/tcp. A line is `sl local_address rem_address st tx_queue:rx_queue …`,
/// in hexadecimal. A listener has the state 0A, and its receive queue is its backlog.
fn backlog_in(table: &str, port: u16) -> Option<usize> {
    let local = format!("0100007F:{port:04X}");
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut listeners = line.filter(|words| words.get(1) == Some(&local.as_str()) && words.get(3) == Some(&"0A"));
    let (_, waiting) = listeners.next()?.get(4)?.split_once(':')?;
    usize::from_str_radix(waiting, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_is_the_receive_queue_of_the_listener() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1F40 0100007F:8000 01 00000000:00000005 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1\n   \
             1: 0100007F:1F40 00000000:0000 0A 00000000:0000017C 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0\n";
        assert_eq!(backlog_in(table, 8000), Some(380));
        assert_eq!(backlog_in(table, 8001), None);
    }

    #[test]
    fn the_result_is_one_object() {
        let host = Host { version: "1.37.1", kernel: Some("xnu"), ..Host::default() };
        let answers = Answers { made: 400, answered: 20, backlog: Some(380) };
        let text = json(&host, Server::Core, Size::default(), &answers, Duration::from_millis(6543));
        let end = r#""made":400,"answered":20,"unanswered":380,"backlog":380,"seconds":6.5}"#;
        assert!(text.starts_with(r#"{"janet":"1.37.1","loop":""#) && text.ends_with(end), "{text}");
        let text = json(&Host::default(), Server::Kqnet, Size::default(), &Answers::default(), Duration::ZERO);
        assert!(text.contains(r#""kernel":null,"server":"kqnet""#) && text.contains(r#""backlog":null"#), "{text}");
    }
}
