//! The step that connects bursts of clients to stopped servers.
//!
//! Core's servers show that the experiment can fail; kqnet's must not.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use kqnet_hosts::{Host, Loop, Result};

use super::builds::Ready;
use super::parallel::in_parallel;
use super::plan::Plan;
use super::tally::Tally;
use crate::burst::{self, Answers, Server, Size};

/// One server on one host.
struct Case {
    host: Host,
    ready: Ready,
    server: Server,
}

/// Runs both servers on every host, but not with a sanitizer: that would only be slow, and files in test/ have bursts
/// too.
pub fn tests(plan: &Plan) -> Result<Tally> {
    if !plan.includes("burst") {
        return Ok(Tally::default());
    }
    let hosts: Vec<&Host> = plan.hosts.iter().map(|(host, _)| host).filter(|host| !host.asan).collect();
    let builds = plan.build(hosts.iter().copied());
    let mut total = Tally::default();
    let mut cases = VecDeque::new();
    for host in hosts {
        match builds.get(host) {
            Ok(ready) => {
                cases.extend(Server::ALL.map(|server| Case { host: host.clone(), ready: ready.clone(), server }))
            }
            Err(message) => {
                eprintln!("FAIL  burst {host}: {message}");
                total += Tally::FAIL;
            }
        }
    }
    // The stalled ones first, which take longest.
    cases.make_contiguous().sort_by_key(|case| !case.stalls());
    total += in_parallel(plan.jobs, cases, Case::run);
    Ok(total)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "burst {} {}", self.host, self.server.name())
    }
}

impl Case {
    /// Whether this server has the bug janet#1560.
    fn stalls(&self) -> bool {
        let on_xnu = if self.host.event_loop.is_emulated() {
            self.host.kernel == Some("xnu")
        } else {
            self.host.event_loop == Loop::Kqueue && cfg!(target_os = "macos")
        };
        self.server == Server::Core && on_xnu && ["1.36.0", "1.37.1"].contains(&self.host.version)
    }

    fn run(&self) -> Tally {
        let start = Instant::now();
        let size = Size::default();
        let result = burst::experiment(&self.ready.janet, Some(&self.ready.module), self.server, size);
        let seconds = start.elapsed().as_secs_f64();
        let why = match result {
            Ok(answers) => match mismatch(self.stalls(), self.host.event_loop.is_emulated(), size, &answers) {
                None => {
                    eprintln!("ok    {self}: {answers} in {seconds:.1} s");
                    return Tally::PASS;
                }
                Some(expected) => format!("{answers}, not {expected}"),
            },
            Err(message) => message,
        };
        eprintln!("FAIL  {self}: {why}; to run it again: cargo xtask test --host {} burst", self.host);
        Tally::FAIL
    }
}

/// What was expected instead, if these answers are wrong.
fn mismatch(stalls: bool, emulated: bool, size: Size, answers: &Answers) -> Option<String> {
    let all = size.bursts * size.clients;
    if !stalls {
        return (answers.made != all || answers.unanswered() != 0).then(|| format!("0 of {all}"));
    }
    if emulated {
        // It accepts one connection of each burst.
        let expected = Answers { made: all, answered: size.bursts, backlog: Some(all - size.bursts) };
        return (*answers != expected).then(|| format!("{expected}, all in the backlog"));
    }
    // The backlog is short on a real macOS, so not every connection can be made.
    (answers.unanswered() <= answers.made / 2).then(|| "most of them".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { bursts: 20, clients: 20 };

    fn answers(made: usize, answered: usize) -> Answers {
        Answers { made, answered, backlog: Some(made - answered) }
    }

    #[test]
    fn a_sound_server_answers_all_that_were_to_be_made() {
        assert_eq!(mismatch(false, true, SIZE, &answers(400, 400)), None);
        assert!(mismatch(false, true, SIZE, &answers(400, 399)).is_some());
        assert!(mismatch(false, false, SIZE, &answers(399, 399)).is_some());
    }

    #[test]
    fn a_stalled_server_answers_one_of_each_burst() {
        assert_eq!(mismatch(true, true, SIZE, &answers(400, 20)), None);
        for answered in [0, 19, 21, 400] {
            assert!(mismatch(true, true, SIZE, &answers(400, answered)).is_some(), "{answered}");
        }
        assert_eq!(mismatch(true, false, SIZE, &answers(150, 20)), None);
        assert!(mismatch(true, false, SIZE, &answers(400, 400)).is_some());
    }
}
