//! Bursts of clients against stopped servers: core's show that the experiment can fail, kqnet's must not.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use kqnet_hosts::{Host, Loop, Result};

use super::count::Count;
use super::workshop::Ready;
use super::{Plan, in_parallel};
use crate::burst::{self, Figures, Server, Size};

/// One server on one host.
struct Case {
    host: Host,
    ready: Ready,
    server: Server,
}

/// Both servers on every host. A sanitizer's slowness would only be waited for, and files in test/ have bursts too.
pub fn tests(plan: &Plan) -> Result<Count> {
    if !plan.wants("burst") {
        return Ok(Count::default());
    }
    let hosts: Vec<&Host> = plan.hosts.iter().map(|(host, _)| host).filter(|host| !host.asan).collect();
    let mut workshop = plan.workshop.borrow_mut();
    workshop.build(hosts.iter().copied());
    let mut total = Count::default();
    let mut cases = VecDeque::new();
    for host in hosts {
        match workshop.get(host) {
            Ok(ready) => {
                cases.extend(Server::ALL.map(|server| Case { host: host.clone(), ready: ready.clone(), server }))
            }
            Err(message) => {
                eprintln!("FAIL  burst {host}: {message}");
                total += Count::FAIL;
            }
        }
    }
    // These take longest.
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
    /// Whether this server has janet#1560.
    fn stalls(&self) -> bool {
        let on_xnu = if self.host.event_loop.is_emulated() {
            self.host.kernel == Some("xnu")
        } else {
            self.host.event_loop == Loop::Kqueue && cfg!(target_os = "macos")
        };
        self.server == Server::Core && on_xnu && ["1.36.0", "1.37.1"].contains(&self.host.version)
    }

    fn run(&self) -> Count {
        let start = Instant::now();
        let size = Size::default();
        let result = burst::experiment(&self.ready.janet, Some(&self.ready.module), self.server, size);
        let seconds = start.elapsed().as_secs_f64();
        let why = match result {
            Ok(figures) => match judge(self.stalls(), self.host.event_loop.is_emulated(), size, &figures) {
                None => {
                    eprintln!("ok    {self}: {figures} in {seconds:.1} s");
                    return Count::PASS;
                }
                Some(expected) => format!("{figures}, not {expected}"),
            },
            Err(message) => message,
        };
        eprintln!("FAIL  {self}: {why}; to run it again: cargo xtask test --host {} burst", self.host);
        Count::FAIL
    }
}

/// What was expected instead of these figures, if they are wrong.
fn judge(stalls: bool, emulated: bool, size: Size, figures: &Figures) -> Option<String> {
    let all = size.bursts * size.clients;
    if !stalls {
        return (figures.made != all || figures.unanswered() != 0).then(|| format!("0 of {all}"));
    }
    if emulated {
        // One connection of each burst.
        let expected = Figures { made: all, answered: size.bursts, backlog: Some(all - size.bursts) };
        return (*figures != expected).then(|| format!("{expected}, all in the backlog"));
    }
    // The backlog is short there, so that not every connection can be made.
    (figures.unanswered() <= figures.made / 2).then(|| "most of them".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { bursts: 20, clients: 20 };

    fn figures(made: usize, answered: usize) -> Figures {
        Figures { made, answered, backlog: Some(made - answered) }
    }

    #[test]
    fn a_sound_server_answers_all_that_were_to_be_made() {
        assert_eq!(judge(false, true, SIZE, &figures(400, 400)), None);
        assert!(judge(false, true, SIZE, &figures(400, 399)).is_some());
        assert!(judge(false, false, SIZE, &figures(399, 399)).is_some());
    }

    #[test]
    fn a_stalled_server_answers_one_of_each_burst() {
        assert_eq!(judge(true, true, SIZE, &figures(400, 20)), None);
        for answered in [0, 19, 21, 400] {
            assert!(judge(true, true, SIZE, &figures(400, answered)).is_some(), "{answered}");
        }
        assert_eq!(judge(true, false, SIZE, &figures(150, 20)), None);
        assert!(judge(true, false, SIZE, &figures(400, 400)).is_some());
    }
}
