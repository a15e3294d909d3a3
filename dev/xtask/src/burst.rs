//! `cargo xtask burst`: does a server answer connections that arrive while it is busy?
//!
//! The experiment: stop a server that waits for connections (SIGSTOP), connect a burst of clients, each of which sends
//! a byte and waits for one, and let the server go on (SIGCONT); as often as there are bursts. A burst is over when all
//! are answered, or when there was an answer and then none for a while. Clients without an answer stay connected to the
//! end, as a browser's would, so what a server leaves in its backlog after one burst it may still take in the next.
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

/// How long a burst may be without its first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// How long without an answer until no more are expected of a burst.
const QUIET: Duration = Duration::from_millis(300);
/// The same after the last burst, where a slow machine must not make a slow server a stalled one.
const QUIET_AT_LAST: Duration = Duration::from_secs(2);
/// How long a server may take to say its port, and the system to take a connection into the backlog.
const START: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(2);

/// Which server is tried.
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

    /// The name that options have for it.
    pub fn name(self) -> &'static str {
        match self {
            Server::Core => "core",
            Server::Kqnet => "kqnet",
        }
    }
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many bursts.
    pub bursts: usize,
    /// Of how many clients each.
    pub clients: usize,
}

impl Default for Size {
    fn default() -> Self {
        Size { bursts: 20, clients: 20 }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connections that were made: fewer than asked for when the backlog was full.
    pub made: usize,
    /// Of these, those that were answered.
    pub answered: usize,
    /// Connections that wait in the listener's queue at the end, where the system tells.
    pub backlog: Option<usize>,
}

impl Figures {
    /// Connections without an answer.
    pub fn unanswered(&self) -> usize {
        self.made - self.answered
    }
}

impl fmt::Display for Figures {
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
    let figures = experiment(&built.janet(), folder.as_deref(), server, size)?;
    println!("{}", json(&host, server, size, &figures, start.elapsed()));
    Ok(ExitCode::SUCCESS)
}

fn server_named(name: &str) -> Result<Server> {
    let found = Server::ALL.into_iter().find(|server| server.name() == name);
    found.ok_or_else(|| format!("no server {name}: there are core, kqnet"))
}

fn json(host: &Host, server: Server, size: Size, figures: &Figures, took: Duration) -> String {
    let text = |text: &str| format!("\"{text}\"");
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let fields = [
        ("janet", text(host.version)),
        ("loop", text(host.event_loop.name())),
        ("kernel", or_null(host.kernel.map(text))),
        ("server", text(server.name())),
        ("bursts", size.bursts.to_string()),
        ("clients", size.clients.to_string()),
        ("made", figures.made.to_string()),
        ("answered", figures.answered.to_string()),
        ("unanswered", figures.unanswered().to_string()),
        ("backlog", or_null(figures.backlog.map(|n| n.to_string()))),
        ("seconds", format!("{:.1}", took.as_secs_f64())),
    ];
    let fields = fields.map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", fields.join(","))
}

/// Makes the experiment with a server that runs on `janet`. Takes less than a minute, whatever it does.
pub fn experiment(janet: &Path, janet_path: Option<&Path>, server: Server, size: Size) -> Result<Figures> {
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

    let mut figures = Figures::default();
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
            figures.made += 1;
        }
        process.go_on().map_err(|e| format!("cannot continue the server: {e}"))?;
        let quiet = if burst == size.bursts { QUIET_AT_LAST } else { QUIET };
        let answered = answers(&mut waiting, first_answer, quiet)?;
        if answered == 0 {
            // It is stalled for good, and need not be waited for as long again.
            first_answer = QUIET;
        }
        figures.answered += answered;
    }
    figures.backlog = backlog(port);
    Ok(figures)
}

/// What the server prints first.
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

/// Takes the answers, and the clients that have one from the list. Returns how many when all are answered, or when
/// there is no first one, or no further one, in the times given.
fn answers(waiting: &mut Vec<TcpStream>, first: Duration, further: Duration) -> Result<usize> {
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

/// Which of the descriptors can be read, as soon as one can be; none when none can in that time.
fn readable(fds: &[RawFd], patience: Duration) -> io::Result<Vec<bool>> {
    let mut entries: Vec<libc::pollfd> =
        fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now()).as_millis() as libc::c_int;
        // SAFETY: so many entries, which outlive the call.
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

/// How many connections wait to be accepted on a port of 127.0.0.1. None where the system does not tell.
fn backlog(port: u16) -> Option<usize> {
    backlog_in(&fs::read_to_string("/proc/net/tcp").ok()?, port)
}

/// The line of a listener is `sl local_address rem_address st tx_queue:rx_queue …`, all in hexadecimal; its receive
/// queue is that of connections, and its state 0A.
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
        let figures = Figures { made: 400, answered: 20, backlog: Some(380) };
        let text = json(&host, Server::Core, Size::default(), &figures, Duration::from_millis(6543));
        let end = r#""made":400,"answered":20,"unanswered":380,"backlog":380,"seconds":6.5}"#;
        assert!(text.starts_with(r#"{"janet":"1.37.1","loop":""#) && text.ends_with(end), "{text}");
        let text = json(&Host::default(), Server::Kqnet, Size::default(), &Figures::default(), Duration::ZERO);
        assert!(text.contains(r#""kernel":null,"server":"kqnet""#) && text.contains(r#""backlog":null"#), "{text}");
    }
}
