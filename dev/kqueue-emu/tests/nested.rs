//! A queue that watches another one, with each mode and each way of reading, on the simulated kernel.

use kqueue_emu::kevent::*;
use kqueue_emu::sim::{Fd, Sim};
use kqueue_emu::{Kernel, Profile};
use libc::EINVAL;

use Kernel::{FreeBsd, NetBsd, NetBsd7, OpenBsd, Xnu};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// One event of the inner queue and one connection for each wake-up.
    OneEventOneAccept,
    /// One look at the inner queue, and every connection.
    OneLookAcceptAll,
    /// The inner queue until it has nothing, and one connection for each event.
    UntilNothing,
}

const READINGS: [Reading; 3] = [Reading::OneEventOneAccept, Reading::OneLookAcceptAll, Reading::UntilNothing];
const MODES: [u16; 4] = [0, EV_CLEAR, EV_DISPATCH, EV_ONESHOT];

struct Nested {
    sim: Sim,
    outer: Fd,
    inner: Fd,
    listener: Fd,
    mode: u16,
}

impl Nested {
    fn new(profile: Profile, outer_mode: u16, mode: u16) -> Self {
        let mut sim = Sim::new(profile);
        let outer = sim.kqueue().unwrap();
        let inner = sim.kqueue().unwrap();
        let listener = sim.listen(64).unwrap();
        sim.kevent(outer, &[Kevent::new(inner as usize, EVFILT_READ, EV_ADD | outer_mode)], &mut []).unwrap();
        let mut nested = Self { sim, outer, inner, listener, mode };
        nested.arm();
        nested
    }

    /// Arms the listener, as a loop does again for dispatched and one-shot knotes after each event of the inner queue.
    fn arm(&mut self) {
        let change = Kevent::new(self.listener as usize, EVFILT_READ, EV_ADD | EV_ENABLE | self.mode);
        self.sim.kevent(self.inner, &[change], &mut []).unwrap();
    }

    fn rearm(&mut self) {
        if self.mode & (EV_DISPATCH | EV_ONESHOT) != 0 {
            self.arm();
        }
    }

    fn wakes(&mut self) -> bool {
        let mut events = [Kevent::default(); 4];
        self.sim.kevent(self.outer, &[], &mut events).unwrap() > 0
    }

    fn inner_fires(&mut self) -> bool {
        self.sim.kevent(self.inner, &[], &mut [Kevent::default()]).unwrap() > 0
    }

    fn connect(&mut self, count: usize) {
        for _ in 0..count {
            self.sim.connect(self.listener).unwrap();
        }
    }

    fn read(&mut self, reading: Reading) {
        while self.inner_fires() {
            while self.sim.accept(self.listener).is_ok() && reading == Reading::OneLookAcceptAll {}
            self.rearm();
            if reading != Reading::UntilNothing {
                break;
            }
        }
    }

    /// Runs the loop until nothing wakes it any more. Returns how many connections remain in the backlog.
    fn run(&mut self, reading: Reading) -> usize {
        for _ in 0..1000 {
            if !self.wakes() {
                return self.sim.backlog(self.listener);
            }
            self.read(reading);
        }
        panic!("it never stops");
    }
}

/// How many connections remain after ten, and after five more.
fn left(kernel: Kernel, outer_mode: u16, mode: u16, reading: Reading) -> [usize; 2] {
    let mut nested = Nested::new(kernel.profile(), outer_mode, mode);
    nested.connect(10);
    let first = nested.run(reading);
    nested.connect(5);
    [first, nested.run(reading)]
}

/// Every combination that loses connections on a kernel, with how many remain.
fn losses(kernel: Kernel) -> Vec<(u16, u16, Reading, [usize; 2])> {
    let mut losses = Vec::new();
    for outer in [0, EV_CLEAR] {
        for mode in MODES {
            for reading in READINGS {
                let left = left(kernel, outer, mode, reading);
                if left != [0, 0] {
                    losses.push((outer, mode, reading, left));
                }
            }
        }
    }
    losses
}

#[test]
fn level_triggered_inner_under_an_edge_triggered_outer_loses_on_freebsd_and_netbsd() {
    for kernel in [FreeBsd, NetBsd, NetBsd7] {
        let expected =
            [(EV_CLEAR, 0, Reading::OneEventOneAccept, [9, 14]), (EV_CLEAR, 0, Reading::OneLookAcceptAll, [0, 5])];
        assert_eq!(losses(kernel), expected, "{kernel:?}");
    }
}

#[test]
fn level_triggered_inner_posts_the_outer_again_on_xnu_and_openbsd() {
    assert_eq!(losses(OpenBsd), []);
    for reading in READINGS {
        assert_eq!(left(Xnu, EV_CLEAR, 0, reading), [0, 0]);
    }
}

#[test]
fn edge_triggered_inner_loses_on_xnu_unless_all_is_accepted() {
    let mut expected = Vec::new();
    for outer in [0, EV_CLEAR] {
        for reading in [Reading::OneEventOneAccept, Reading::UntilNothing] {
            expected.push((outer, EV_CLEAR, reading, [9, 13]));
        }
    }
    assert_eq!(losses(Xnu), expected);
}

#[test]
fn dispatched_inner_read_until_it_has_nothing_loses_nowhere() {
    for kernel in Kernel::ALL {
        for outer in [0, EV_CLEAR] {
            assert_eq!(left(kernel, outer, EV_DISPATCH, Reading::UntilNothing), [0, 0], "{kernel:?}");
        }
    }
}

#[test]
fn outer_is_posted_on_xnu_only_when_the_inner_queue_was_empty() {
    let posted_again: Vec<Kernel> = Kernel::ALL
        .into_iter()
        .filter(|kernel| {
            let mut nested = Nested::new(kernel.profile(), EV_CLEAR, EV_CLEAR);
            let second = nested.sim.listen(8).unwrap();
            let change = Kevent::new(second as usize, EVFILT_READ, EV_ADD | EV_CLEAR);
            nested.sim.kevent(nested.inner, &[change], &mut []).unwrap();
            nested.connect(1);
            assert!(nested.wakes(), "{kernel:?}");
            nested.sim.connect(second).unwrap();
            nested.wakes()
        })
        .collect();
    assert_eq!(posted_again, [FreeBsd, NetBsd, NetBsd7, OpenBsd]);
}

#[test]
fn outer_is_quiet_when_the_inner_queue_was_read_meanwhile() {
    for kernel in Kernel::ALL {
        let mut nested = Nested::new(kernel.profile(), EV_CLEAR, EV_CLEAR);
        nested.connect(1);
        assert!(nested.inner_fires(), "{kernel:?}");
        assert!(!nested.wakes(), "{kernel:?}");
    }
}

#[test]
fn outer_event_counts_the_knotes_of_the_inner_queue() {
    for kernel in Kernel::ALL {
        let mut nested = Nested::new(kernel.profile(), 0, 0);
        let second = nested.sim.listen(8).unwrap();
        nested.sim.kevent(nested.inner, &[Kevent::new(second as usize, EVFILT_READ, EV_ADD)], &mut []).unwrap();
        nested.connect(3);
        nested.sim.connect(second).unwrap();
        let mut events = [Kevent::default(); 4];
        assert_eq!(nested.sim.kevent(nested.outer, &[], &mut events), Ok(1), "{kernel:?}");
        assert_eq!((events[0].ident, events[0].data), (nested.inner as usize, 2), "{kernel:?}");
    }
}

#[test]
fn timers_and_user_events_of_the_inner_queue_wake_the_outer() {
    for kernel in Kernel::ALL {
        let mut nested = Nested::new(kernel.profile(), EV_CLEAR, 0);
        let timer = Kevent::new(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT).with_data(5);
        nested.sim.kevent(nested.inner, &[timer], &mut []).unwrap();
        assert!(!nested.wakes(), "{kernel:?}");
        nested.sim.advance(5_000_000);
        assert!(nested.wakes() && nested.inner_fires() && !nested.inner_fires(), "{kernel:?}");
        if kernel.profile().user_events {
            let event = Kevent::new(2, EVFILT_USER, EV_ADD | EV_CLEAR);
            nested.sim.kevent(nested.inner, &[event], &mut []).unwrap();
            assert!(!nested.wakes(), "{kernel:?}");
            let trigger = Kevent::new(2, EVFILT_USER, 0).with_fflags(NOTE_TRIGGER);
            nested.sim.kevent(nested.inner, &[trigger], &mut []).unwrap();
            assert!(nested.wakes(), "{kernel:?}");
        }
    }
}

#[test]
fn listener_that_is_ready_and_disabled_posts_the_outer_but_not_on_xnu() {
    let posting: Vec<Kernel> = Kernel::ALL
        .into_iter()
        .filter(|kernel| {
            let mut nested = Nested::new(kernel.profile(), EV_CLEAR, EV_CLEAR);
            let second = nested.sim.listen(8).unwrap();
            nested.sim.connect(second).unwrap();
            let change = Kevent::new(second as usize, EVFILT_READ, EV_ADD | EV_DISABLE);
            nested.sim.kevent(nested.inner, &[change], &mut []).unwrap();
            nested.sim.ready(nested.outer)
        })
        .collect();
    assert_eq!(posting, [NetBsd, NetBsd7, OpenBsd]);
}

#[test]
fn nestings_that_could_be_part_of_a_cycle_are_refused_on_xnu_even_without_one() {
    for kernel in Kernel::ALL {
        let mut sim = Sim::new(kernel.profile());
        let queues: Vec<Fd> = (0..4).map(|_| sim.kqueue().unwrap()).collect();
        let mut watch = |outer: usize, inner: usize| {
            let change = Kevent::new(queues[inner] as usize, EVFILT_READ, EV_ADD);
            sim.kevent(queues[outer], &[change], &mut [])
        };
        watch(1, 0).unwrap();
        watch(3, 2).unwrap();
        let expected = if kernel == Xnu { Err(Errno(EINVAL)) } else { Ok(0) };
        assert_eq!(watch(0, 3), expected, "{kernel:?}");
        if kernel == Xnu {
            assert_eq!(watch(3, 1), Ok(0), "the other way round, the levels allow it");
        }
    }
}

#[test]
fn three_levels_wake_the_outermost() {
    for kernel in Kernel::ALL {
        let mut nested = Nested::new(kernel.profile(), EV_CLEAR, EV_CLEAR);
        let outermost = nested.sim.kqueue().unwrap();
        let change = Kevent::new(nested.outer as usize, EVFILT_READ, EV_ADD | EV_CLEAR);
        nested.sim.kevent(outermost, &[change], &mut []).unwrap();
        nested.connect(1);
        let mut events = [Kevent::default(); 4];
        assert_eq!(nested.sim.kevent(outermost, &[], &mut events), Ok(1), "{kernel:?}");
        assert!(nested.wakes() && nested.inner_fires(), "{kernel:?}");
    }
}

#[test]
fn queue_cannot_be_watched_for_writing_nor_watch_itself() {
    for kernel in Kernel::ALL {
        let mut nested = Nested::new(kernel.profile(), 0, 0);
        let (outer, inner) = (nested.outer, nested.inner);
        for (kq, fd, filter) in [(outer, inner, EVFILT_WRITE), (outer, outer, EVFILT_READ), (inner, outer, EVFILT_READ)]
        {
            let change = Kevent::new(fd as usize, filter, EV_ADD);
            assert_eq!(nested.sim.kevent(kq, &[change], &mut []), Err(Errno(EINVAL)), "{kernel:?}");
        }
    }
}

#[test]
fn closing_the_inner_queue_takes_its_knote_from_the_outer() {
    for kernel in Kernel::ALL {
        let mut nested = Nested::new(kernel.profile(), 0, 0);
        nested.connect(1);
        assert!(nested.wakes(), "{kernel:?}");
        nested.sim.close(nested.inner).unwrap();
        assert!(!nested.wakes(), "{kernel:?}");
        assert_eq!(nested.sim.kqueue(), Ok(nested.inner), "{kernel:?}");
        assert!(!nested.wakes(), "the reused number gets nothing: {kernel:?}");
    }
}
