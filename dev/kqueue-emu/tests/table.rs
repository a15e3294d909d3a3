//! Each rule in which the kernels' queues agree or differ, on the simulated kernel.

use kqueue_emu::kevent::*;
use kqueue_emu::sim::{Fd, Sim, State};
use kqueue_emu::{Kernel, Profile};
use libc::{EBADF, ECONNABORTED, EINVAL, EMFILE, ENOENT, ENOTCONN, EWOULDBLOCK};

/// A queue, a listener, and whatever the test does with them.
struct Scene {
    sim: Sim,
    kq: Fd,
    listener: Fd,
}

impl Scene {
    fn new(profile: Profile) -> Self {
        let mut sim = Sim::new(profile);
        let kq = sim.kqueue().unwrap();
        let listener = sim.listen(64).unwrap();
        Self { sim, kq, listener }
    }

    /// With the listener registered.
    fn watching(kernel: Kernel, flags: u16) -> Self {
        let mut scene = Self::new(kernel.profile());
        scene.change(flags).unwrap();
        scene
    }

    fn change(&mut self, flags: u16) -> Result<usize, Errno> {
        let change = Kevent::new(self.listener as usize, EVFILT_READ, flags);
        self.sim.kevent(self.kq, &[change], &mut [])
    }

    fn connect(&mut self, count: usize) {
        for _ in 0..count {
            self.sim.connect(self.listener).unwrap();
        }
    }

    fn events(&mut self) -> Vec<Kevent> {
        self.exchange(&[])
    }

    fn exchange(&mut self, changes: &[Kevent]) -> Vec<Kevent> {
        let mut events = [Kevent::default(); 8];
        let count = self.sim.kevent(self.kq, changes, &mut events).unwrap();
        events[..count].to_vec()
    }

    fn fires(&mut self) -> bool {
        !self.events().is_empty()
    }

    fn accept(&mut self) {
        self.sim.accept(self.listener).unwrap();
    }
}

fn kernels_that(rule: impl Fn(Kernel) -> bool) -> Vec<Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| rule(*kernel)).collect()
}

use Kernel::{FreeBsd, NetBsd, NetBsd7, OpenBsd, Xnu};

#[test]
fn level_triggered_listener_fires_until_the_backlog_is_empty() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        assert!(!scene.fires(), "{kernel:?}");
        scene.connect(2);
        for left in [2, 1] {
            assert_eq!(scene.events()[0].data, left, "{kernel:?}");
            scene.accept();
        }
        assert!(!scene.fires(), "{kernel:?}");
    }
}

#[test]
fn ev_clear_fires_once_for_each_arrival() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        for _ in 0..3 {
            scene.connect(1);
            assert!(scene.fires(), "{kernel:?}");
            assert!(!scene.fires(), "{kernel:?}");
        }
    }
}

#[test]
fn arrivals_while_a_knote_is_queued_are_one_event() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        scene.connect(5);
        assert_eq!(scene.events().len(), 1, "{kernel:?}");
        assert!(!scene.fires(), "{kernel:?}");
    }
}

#[test]
fn accept_posts_the_listener_again_but_not_on_xnu() {
    let posting = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        scene.connect(2);
        assert!(scene.fires());
        scene.accept();
        scene.fires()
    });
    assert_eq!(posting, [FreeBsd, NetBsd, NetBsd7, OpenBsd]);
}

#[test]
fn ev_clear_is_kept_when_a_knote_is_added_again_without_it() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        scene.change(EV_ADD | EV_ENABLE).unwrap();
        scene.connect(1);
        let events = scene.events();
        assert_eq!(events[0].flags & EV_CLEAR, EV_CLEAR, "{kernel:?}");
        assert!(!scene.fires(), "{kernel:?}");
    }
    let mut scene = Scene::new(Profile { mode_sticks: false, ..Profile::XNU });
    scene.change(EV_ADD | EV_CLEAR).unwrap();
    scene.change(EV_ADD).unwrap();
    scene.connect(1);
    assert!(scene.fires() && scene.fires(), "the switch");
}

#[test]
fn adding_again_evaluates_again_and_so_may_fire_once() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        scene.connect(1);
        assert!(scene.fires(), "{kernel:?}");
        scene.change(EV_ADD | EV_CLEAR).unwrap();
        assert!(scene.fires(), "{kernel:?}");
        assert!(!scene.fires(), "{kernel:?}");
    }
}

#[test]
fn adding_a_disabled_knote_evaluates_it_but_not_on_freebsd() {
    let evaluating = kernels_that(|kernel| {
        // With an EV_ENABLE that only queues what was found active before, so that the difference shows.
        let mut scene = Scene::new(Profile { enable: Profile::NETBSD7.enable, ..kernel.profile() });
        scene.connect(1);
        scene.change(EV_ADD | EV_CLEAR | EV_DISABLE).unwrap();
        scene.accept();
        scene.change(EV_ENABLE).unwrap();
        scene.sim.ready(scene.kq)
    });
    assert_eq!(evaluating, [Xnu, NetBsd, NetBsd7, OpenBsd]);
}

#[test]
fn data_is_the_complete_connections_and_on_xnu_the_half_open_too() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        let half = scene.sim.connect_half(scene.listener).unwrap();
        assert!(!scene.fires(), "a half-open connection alone is nothing to accept");
        scene.connect(2);
        let expected = if kernel == Xnu { 3 } else { 2 };
        assert_eq!(scene.events()[0].data, expected, "{kernel:?}");
        scene.sim.complete(half);
        assert_eq!(scene.events()[0].data, 3, "{kernel:?}");
    }
}

#[test]
fn shutting_down_a_listener_is_refused_on_xnu_aborts_one_accept_on_freebsd_and_does_nothing_elsewhere() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        let expected = if kernel == Xnu { Err(Errno(ENOTCONN)) } else { Ok(()) };
        assert_eq!(scene.sim.shutdown_read(scene.listener), expected, "{kernel:?}");
        let events = scene.events();
        assert_eq!(events.iter().any(|event| event.flags & EV_EOF != 0), kernel == FreeBsd, "{kernel:?}");
        scene.connect(1);
        if kernel == FreeBsd {
            assert_eq!(scene.sim.accept(scene.listener), Err(Errno(ECONNABORTED)));
        }
        assert!(scene.fires(), "{kernel:?}");
        scene.accept();
        assert!(!scene.fires(), "all is as before: {kernel:?}");
    }
}

#[test]
fn bare_enable_reports_what_a_dispatch_left_over_but_not_on_netbsd_7() {
    let reporting = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_DISPATCH);
        scene.connect(2);
        assert!(scene.fires());
        assert!(!scene.fires(), "disabled");
        scene.change(EV_ENABLE).unwrap();
        scene.fires()
    });
    assert_eq!(reporting, [Xnu, FreeBsd, NetBsd, OpenBsd]);
}

#[test]
fn bare_enable_on_netbsd_7_reports_what_was_posted_since() {
    for accepts in [false, true] {
        let mut scene = Scene::watching(NetBsd7, EV_ADD | EV_DISPATCH);
        scene.connect(2);
        assert!(scene.fires());
        if accepts {
            scene.accept();
        } else {
            scene.connect(1);
        }
        scene.change(EV_ENABLE).unwrap();
        assert!(scene.fires());
    }
}

#[test]
fn bare_enable_of_an_enabled_knote_evaluates_on_xnu_freebsd_and_newer_netbsd() {
    let reporting = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        scene.connect(1);
        assert!(scene.fires());
        scene.change(EV_ENABLE).unwrap();
        scene.fires()
    });
    assert_eq!(reporting, [Xnu, FreeBsd, NetBsd]);
}

#[test]
fn add_and_dispatch_without_enable_leaves_a_knote_disabled() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_DISPATCH);
        scene.connect(2);
        assert!(scene.fires(), "{kernel:?}");
        scene.change(EV_ADD | EV_DISPATCH).unwrap();
        scene.connect(1);
        assert!(!scene.fires(), "{kernel:?}");
    }
}

#[test]
fn add_enable_and_dispatch_rearms_in_the_call_that_fetches() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_DISPATCH);
        scene.connect(10);
        assert!(scene.fires(), "{kernel:?}");
        for left in (1..10).rev() {
            scene.accept();
            let rearm = Kevent::new(scene.listener as usize, EVFILT_READ, EV_ADD | EV_ENABLE | EV_DISPATCH);
            let events = scene.exchange(&[rearm]);
            assert_eq!((events.len(), events[0].data), (1, left), "{kernel:?}");
        }
    }
}

#[test]
fn clear_and_dispatch_together_disable_but_not_on_netbsd() {
    let disabling = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR | EV_DISPATCH);
        scene.connect(1);
        assert!(scene.fires());
        scene.connect(1);
        !scene.fires()
    });
    assert_eq!(disabling, [Xnu, FreeBsd, OpenBsd]);
}

#[test]
fn delete_and_add_makes_a_knote_level_triggered() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        scene.change(EV_DELETE).unwrap();
        scene.change(EV_ADD).unwrap();
        scene.connect(1);
        assert!(scene.fires() && scene.fires(), "{kernel:?}");
    }
}

#[test]
fn oneshot_fires_once_and_is_gone() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_ONESHOT);
        scene.connect(2);
        assert_eq!(scene.events()[0].data, 2, "{kernel:?}");
        assert!(!scene.fires(), "{kernel:?}");
        assert_eq!(scene.change(EV_DELETE), Err(Errno(ENOENT)), "{kernel:?}");
    }
}

#[test]
fn queued_oneshot_is_evaluated_again_on_xnu_and_openbsd_only() {
    let reporting_nothing_left = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_ONESHOT);
        scene.connect(1);
        scene.accept();
        scene.fires()
    });
    assert_eq!(reporting_nothing_left, [FreeBsd, NetBsd, NetBsd7]);
}

#[test]
fn disabled_knote_is_silent_and_reports_when_enabled() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.change(EV_DISABLE).unwrap();
        scene.connect(1);
        assert!(!scene.fires(), "{kernel:?}");
        scene.change(EV_ENABLE).unwrap();
        assert!(scene.fires(), "{kernel:?}");
    }
}

#[test]
fn disabling_a_queued_knote_empties_the_queue_at_once_on_xnu_only() {
    let emptying = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.connect(1);
        scene.change(EV_DISABLE).unwrap();
        let ready = scene.sim.ready(scene.kq);
        assert!(!scene.fires());
        assert!(!scene.sim.ready(scene.kq));
        !ready
    });
    assert_eq!(emptying, [Xnu]);
}

#[test]
fn receipt_answers_each_change_and_suppresses_the_scan() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.connect(1);
        let flags = EV_ADD | EV_RECEIPT;
        let events = scene.exchange(&[Kevent::new(scene.listener as usize, EVFILT_READ, flags)]);
        assert_eq!(events.len(), 1, "{kernel:?}");
        let expected = if kernel == Xnu { EV_ADD | EV_RECEIPT | EV_ERROR } else { EV_ERROR };
        assert_eq!((events[0].flags, events[0].data), (expected, 0), "{kernel:?}");
        assert!(scene.fires(), "{kernel:?}");
    }
}

#[test]
fn delete_overrules_add_and_disable_overrules_enable_on_xnu_and_the_receipt_shows_it() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.connect(1);
        let change = |flags| Kevent::new(scene.listener as usize, EVFILT_READ, flags | EV_RECEIPT);
        let (disable, delete) = (change(EV_ENABLE | EV_DISABLE), change(EV_ADD | EV_DELETE));
        let receipt = |left| if kernel == Xnu { left | EV_RECEIPT | EV_ERROR } else { EV_ERROR };
        assert_eq!(scene.exchange(&[disable])[0].flags, receipt(EV_DISABLE), "{kernel:?}");
        assert_eq!(scene.fires(), kernel != Xnu, "{kernel:?}");
        assert_eq!(scene.exchange(&[delete])[0].flags, receipt(EV_DELETE), "{kernel:?}");
        assert_eq!(scene.change(EV_ENABLE), Err(Errno(ENOENT)), "{kernel:?}");
    }
}

#[test]
fn receipt_flag_of_the_first_change_is_in_the_events() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        scene.exchange(&[Kevent::new(scene.listener as usize, EVFILT_READ, EV_ADD | EV_RECEIPT)]);
        scene.change(EV_ADD).unwrap();
        scene.connect(1);
        assert_eq!(scene.events()[0].flags & EV_RECEIPT, EV_RECEIPT, "{kernel:?}");
    }
}

#[test]
fn receipt_with_no_slot_ends_the_call_but_not_on_xnu() {
    let going_on = kernels_that(|kernel| {
        let mut scene = Scene::new(kernel.profile());
        let (kq, fd) = (scene.kq, scene.listener as usize);
        let changes = [Kevent::new(fd, EVFILT_READ, EV_ADD | EV_RECEIPT), Kevent::new(fd, EVFILT_READ, EV_DELETE)];
        assert_eq!(scene.sim.kevent(kq, &changes, &mut []), Ok(0));
        scene.change(EV_DELETE).is_err()
    });
    assert_eq!(going_on, [Xnu]);
}

#[test]
fn failed_change_is_an_event_with_the_error() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.connect(1);
        let change = Kevent::new(99, EVFILT_READ, EV_ADD).with_udata(7);
        let events = scene.exchange(&[change]);
        assert_eq!(events.len(), 1, "{kernel:?}");
        assert_eq!(events[0].flags & EV_ERROR, EV_ERROR, "{kernel:?}");
        assert_eq!((events[0].data, events[0].udata.addr()), (EBADF as isize, 7), "{kernel:?}");
    }
}

#[test]
fn failed_change_with_no_slot_fails_the_call_and_skips_the_rest() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        let (kq, fd) = (scene.kq, scene.listener as usize);
        let bad = Kevent::new(99, EVFILT_READ, EV_ADD);
        let good = Kevent::new(fd, EVFILT_READ, EV_ADD);
        assert_eq!(scene.sim.kevent(kq, &[bad, good], &mut []), Err(Errno(EBADF)), "{kernel:?}");
        assert_eq!(scene.change(EV_DELETE), Err(Errno(ENOENT)), "{kernel:?}");
        let mut one = [Kevent::default()];
        assert_eq!(scene.sim.kevent(kq, &[bad, bad, good], &mut one), Err(Errno(EBADF)), "{kernel:?}");
        assert_eq!(scene.sim.kevent(kq, &[bad, good], &mut one), Ok(1), "{kernel:?}");
        assert_eq!(scene.change(EV_DELETE), Ok(0), "{kernel:?}");
    }
}

#[test]
fn changes_to_what_does_not_exist() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        for flags in [EV_DELETE, EV_ENABLE, EV_DISABLE] {
            assert_eq!(scene.change(flags), Err(Errno(ENOENT)), "{kernel:?}");
        }
        let kq = scene.kq;
        let unknown = Kevent::new(scene.listener as usize, -3, EV_ADD);
        assert_eq!(scene.sim.kevent(kq, &[unknown], &mut []), Err(Errno(EINVAL)), "{kernel:?}");
        let closed = Kevent::new(99, EVFILT_READ, EV_DELETE);
        let expected = if kernel == Xnu { ENOENT } else { EBADF };
        assert_eq!(scene.sim.kevent(kq, &[closed], &mut []), Err(Errno(expected)), "{kernel:?}");
        assert_eq!(scene.sim.kevent(scene.listener, &[], &mut []), Err(Errno(EBADF)), "{kernel:?}");
    }
}

#[test]
fn event_flags_are_the_knotes_own_and_on_freebsd_without_the_actions() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_ENABLE | EV_CLEAR);
        scene.connect(1);
        let expected = if kernel == FreeBsd { EV_CLEAR } else { EV_ADD | EV_ENABLE | EV_CLEAR };
        assert_eq!(scene.events()[0].flags, expected, "{kernel:?}");
    }
}

#[test]
fn accept_without_a_descriptor_closes_the_connection_on_xnu_only() {
    let closing = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.sim.set_limit(5);
        let empty = if kernel == Xnu { EWOULDBLOCK } else { EMFILE };
        assert_eq!(scene.sim.accept(scene.listener), Err(Errno(empty)));
        let conn = scene.sim.connect(scene.listener).unwrap();
        assert_eq!(scene.sim.accept(scene.listener), Err(Errno(EMFILE)));
        assert_eq!(scene.sim.backlog(scene.listener), usize::from(kernel != Xnu));
        scene.sim.state(conn) == State::Killed
    });
    assert_eq!(closing, [Xnu]);
}

#[test]
fn connection_reset_in_the_backlog_is_handed_out_on_xnu_and_aborted_elsewhere() {
    let handing_out = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD);
        let conn = scene.sim.connect(scene.listener).unwrap();
        scene.connect(1);
        scene.sim.reset(conn);
        assert_eq!(scene.events()[0].data, 2, "it keeps its place");
        let outcome = scene.sim.accept(scene.listener);
        assert_eq!(scene.sim.state(conn), State::ResetTaken);
        assert_eq!(scene.sim.backlog(scene.listener), 1);
        match outcome {
            Ok(accepted) => {
                assert!(accepted.was_reset);
                true
            }
            Err(error) => {
                assert_eq!(error, Errno(ECONNABORTED));
                false
            }
        }
    });
    assert_eq!(handing_out, [Xnu]);
}

#[test]
fn backlog_takes_what_each_kernel_takes() {
    for (kernel, expected) in [(Xnu, 10), (FreeBsd, 16), (NetBsd, 16), (NetBsd7, 16), (OpenBsd, 31)] {
        let mut sim = Sim::new(kernel.profile());
        let listener = sim.listen(10).unwrap();
        let taken = (0..100).filter(|_| sim.connect(listener).is_some()).count();
        assert_eq!(taken, expected, "{kernel:?}");
    }
    for (kernel, expected) in [(Xnu, 10), (FreeBsd, 16), (NetBsd, 12), (NetBsd7, 12), (OpenBsd, 27)] {
        let mut sim = Sim::new(kernel.profile());
        let listener = sim.listen(10).unwrap();
        let half_open: Vec<_> = (0..4).map(|_| sim.connect_half(listener).unwrap()).collect();
        let taken = (0..100).filter(|_| sim.connect(listener).is_some()).count();
        assert_eq!(taken, expected, "half-open ones count, but not on FreeBSD: {kernel:?}");
        let dropped = half_open.into_iter().filter(|conn| sim.state(*conn) == State::Dropped).count();
        assert_eq!(dropped, if kernel == Xnu { 4 } else { 0 }, "XNU drops them for complete ones: {kernel:?}");
    }
}

#[test]
fn backlog_has_a_cap_and_on_xnu_0_means_it() {
    for (backlog, expected) in [(0, [128, 1, 1, 1, 1]), (1000, [128, 193, 193, 193, 385])] {
        for (kernel, expected) in Kernel::ALL.into_iter().zip(expected) {
            let mut sim = Sim::new(kernel.profile());
            let listener = sim.listen(backlog).unwrap();
            let taken = (0..1000).filter(|_| sim.connect(listener).is_some()).count();
            assert_eq!(taken, expected, "{backlog} {kernel:?}");
        }
    }
}

#[test]
fn taking_the_last_connection_leaves_a_knote_queued_on_netbsd() {
    let leaving = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        scene.connect(1);
        assert!(scene.fires());
        scene.accept();
        let is_queued = scene.sim.ready(scene.kq);
        assert!(!scene.fires(), "it is evaluated when it is fetched: {kernel:?}");
        is_queued
    });
    assert_eq!(leaving, [NetBsd, NetBsd7]);
    // A one-shot knote is not, and counts the connection that was there when it was posted.
    let mut scene = Scene::new(Profile::NETBSD);
    scene.connect(1);
    scene.change(EV_ADD | EV_ONESHOT | EV_DISABLE).unwrap();
    scene.accept();
    scene.change(EV_ENABLE).unwrap();
    assert_eq!(scene.events()[0].data, 0);
    let mut scene = Scene::watching(NetBsd, EV_ADD | EV_ONESHOT);
    scene.connect(1);
    scene.accept();
    assert_eq!(scene.events()[0].data, 1);
}

#[test]
fn socket_watched_before_it_listens_fires_on_xnu_and_freebsd_only() {
    let firing = kernels_that(|kernel| {
        let mut sim = Sim::new(kernel.profile());
        let kq = sim.kqueue().unwrap();
        let fd = sim.socket().unwrap();
        sim.kevent(kq, &[Kevent::new(fd as usize, EVFILT_READ, EV_ADD)], &mut []).unwrap();
        sim.start_listening(fd, 8).unwrap();
        sim.connect(fd).unwrap();
        sim.kevent(kq, &[], &mut [Kevent::default()]).unwrap() == 1
    });
    assert_eq!(firing, [Xnu, FreeBsd]);
}

#[test]
fn closing_removes_the_knote_silently_and_a_reused_number_gets_nothing() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.connect(1);
        assert!(scene.fires(), "{kernel:?}");
        scene.sim.close(scene.listener).unwrap();
        assert!(!scene.fires(), "{kernel:?}");
        let reused = scene.sim.listen(8).unwrap();
        assert_eq!(reused, scene.listener);
        scene.connect(1);
        assert!(!scene.fires(), "{kernel:?}");
        scene.change(EV_ADD).unwrap();
        assert!(scene.fires(), "{kernel:?}");
    }
}

#[test]
fn knote_belongs_to_the_number_so_a_duplicate_has_none() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        let copy = scene.sim.dup(scene.listener).unwrap();
        scene.sim.close(scene.listener).unwrap();
        scene.sim.connect(copy).unwrap();
        assert!(!scene.fires(), "{kernel:?}");
        scene.listener = copy;
        scene.change(EV_ADD).unwrap();
        assert!(scene.fires(), "{kernel:?}");
    }
}

#[test]
fn accept_by_a_duplicate_posts_the_knotes_of_the_socket() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        let copy = scene.sim.dup(scene.listener).unwrap();
        scene.connect(2);
        assert!(scene.fires(), "{kernel:?}");
        scene.sim.accept(copy).unwrap();
        assert_eq!(scene.fires(), kernel != Xnu, "{kernel:?}");
    }
}

#[test]
fn listener_shared_by_two_queues_wakes_both() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        let other = scene.sim.kqueue().unwrap();
        let change = Kevent::new(scene.listener as usize, EVFILT_READ, EV_ADD | EV_CLEAR);
        scene.sim.kevent(other, &[change], &mut []).unwrap();
        scene.connect(1);
        assert!(scene.fires(), "{kernel:?}");
        scene.kq = other;
        assert!(scene.fires(), "{kernel:?}");
    }
}

#[test]
fn listener_is_never_ready_for_writing() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        scene.connect(1);
        let (kq, fd) = (scene.kq, scene.listener as usize);
        scene.sim.kevent(kq, &[Kevent::new(fd, EVFILT_WRITE, EV_ADD)], &mut []).unwrap();
        assert!(!scene.fires(), "{kernel:?}");
    }
}

#[test]
fn connection_reports_bytes_and_then_the_end() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        let conn = scene.sim.connect(scene.listener).unwrap();
        let fd = scene.sim.accept(scene.listener).unwrap().fd;
        let flags = EV_ADD | EV_CLEAR;
        let changes = [Kevent::new(fd as usize, EVFILT_READ, flags), Kevent::new(fd as usize, EVFILT_WRITE, flags)];
        let events = scene.exchange(&changes);
        assert_eq!(events.len(), 1, "{kernel:?}");
        assert_eq!(events[0].filter, EVFILT_WRITE, "{kernel:?}");
        scene.sim.send(conn, 10);
        assert_eq!(scene.events()[0].data, 10, "{kernel:?}");
        scene.sim.read(fd, 4).unwrap();
        assert!(!scene.fires(), "reading posts nothing on any kernel: {kernel:?}");
        scene.sim.hang_up(conn);
        let events = scene.events();
        assert_eq!((events[0].data, events[0].flags & EV_EOF), (6, EV_EOF), "{kernel:?}");
        assert_eq!(scene.sim.read(fd, 10), Ok(6), "{kernel:?}");
        assert_eq!(scene.sim.read(fd, 10), Ok(0), "{kernel:?}");
    }
}

#[test]
fn events_come_in_the_order_in_which_they_were_posted_and_level_ones_go_to_the_end() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        let fds: Vec<Fd> = (0..3).map(|_| scene.sim.listen(8).unwrap()).collect();
        for fd in &fds {
            scene.exchange(&[Kevent::new(*fd as usize, EVFILT_READ, EV_ADD)]);
        }
        for fd in [fds[1], fds[2], fds[0]] {
            scene.sim.connect(fd).unwrap();
        }
        let mut order = Vec::new();
        for _ in 0..4 {
            let mut two = [Kevent::default(); 2];
            assert_eq!(scene.sim.kevent(scene.kq, &[], &mut two), Ok(2), "{kernel:?}");
            order.extend(two.map(|event| event.ident as Fd - fds[0]));
        }
        assert_eq!(order, [1, 2, 0, 1, 2, 0, 1, 2], "{kernel:?}");
    }
}

#[test]
fn no_room_for_events_fetches_none() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD | EV_CLEAR);
        scene.connect(1);
        assert_eq!(scene.sim.kevent(scene.kq, &[], &mut []), Ok(0), "{kernel:?}");
        assert!(scene.fires(), "{kernel:?}");
    }
}

#[test]
fn periodic_timer_counts_its_expirations() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        assert!(scene.exchange(&[Kevent::new(1, EVFILT_TIMER, EV_ADD).with_data(10)]).is_empty(), "{kernel:?}");
        assert_eq!(scene.sim.next_deadline(scene.kq), Some(10_000_000), "{kernel:?}");
        scene.sim.advance(9_999_999);
        assert!(!scene.fires(), "{kernel:?}");
        scene.sim.advance(1);
        assert_eq!(scene.events()[0].data, 1, "{kernel:?}");
        assert!(!scene.fires(), "a timer is EV_CLEAR: {kernel:?}");
        scene.sim.advance(35_000_000);
        assert_eq!(scene.events()[0].data, 3, "{kernel:?}");
        assert_eq!(scene.sim.next_deadline(scene.kq), Some(50_000_000), "{kernel:?}");
        scene.exchange(&[Kevent::new(1, EVFILT_TIMER, EV_DELETE)]);
        scene.sim.advance(50_000_000);
        assert!(!scene.fires(), "{kernel:?}");
        assert_eq!(scene.sim.next_deadline(scene.kq), None, "{kernel:?}");
    }
}

#[test]
fn timer_units_and_oneshot() {
    let units = [(0, 1_000_000), (NOTE_SECONDS, 1_000_000_000), (NOTE_USECONDS, 1_000), (NOTE_NSECONDS, 1)];
    for kernel in Kernel::ALL {
        for (unit, nanoseconds) in units {
            let mut scene = Scene::new(kernel.profile());
            let timer = Kevent::new(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT).with_fflags(unit).with_data(2);
            scene.exchange(&[timer]);
            scene.sim.advance(2 * nanoseconds - 1);
            assert!(!scene.fires(), "{kernel:?}");
            scene.sim.advance(100 * nanoseconds);
            let periods = if kernel == Xnu { (102 * nanoseconds - 1) / (2 * nanoseconds) } else { 1 };
            assert_eq!(scene.events()[0].data, periods as isize, "{kernel:?}");
            scene.sim.advance(100 * nanoseconds);
            assert!(!scene.fires(), "{kernel:?}");
        }
        let mut scene = Scene::new(kernel.profile());
        let both = Kevent::new(1, EVFILT_TIMER, EV_ADD).with_fflags(NOTE_SECONDS | NOTE_NSECONDS);
        assert_eq!(scene.exchange(&[both])[0].data, EINVAL as isize, "{kernel:?}");
    }
}

#[test]
fn timers_that_are_due_together_come_by_their_deadlines() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        for (ident, milliseconds) in [(1, 30), (2, 10), (3, 20)] {
            scene.exchange(&[Kevent::new(ident, EVFILT_TIMER, EV_ADD | EV_ONESHOT).with_data(milliseconds)]);
        }
        scene.sim.advance(100_000_000);
        let order: Vec<usize> = scene.events().iter().map(|event| event.ident).collect();
        assert_eq!(order, [2, 3, 1], "{kernel:?}");
    }
}

#[test]
fn timer_is_set_again_by_any_change_on_xnu_and_only_by_add_elsewhere() {
    let setting = kernels_that(|kernel| {
        let mut scene = Scene::new(kernel.profile());
        scene.exchange(&[Kevent::new(1, EVFILT_TIMER, EV_ADD).with_data(10)]);
        scene.exchange(&[Kevent::new(1, EVFILT_TIMER, EV_ENABLE).with_data(50)]);
        scene.sim.next_deadline(scene.kq) == Some(50_000_000)
    });
    assert_eq!(setting, [Xnu]);
}

#[test]
fn timer_that_has_fired_and_is_added_again_does_not_fire_for_the_first_time_but_on_netbsd() {
    let firing = kernels_that(|kernel| {
        let mut scene = Scene::new(kernel.profile());
        let timer = Kevent::new(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT).with_data(10);
        scene.exchange(&[timer]);
        scene.sim.advance(10_000_000);
        !scene.exchange(&[timer]).is_empty()
    });
    assert_eq!(firing, [NetBsd, NetBsd7]);
}

#[test]
fn negative_timers_are_refused_by_freebsd_those_of_0_by_netbsd_7_and_unknown_notes_by_all_but_xnu() {
    let refusing = |data, fflags| {
        kernels_that(|kernel| {
            let mut scene = Scene::new(kernel.profile());
            let timer = Kevent::new(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT).with_data(data).with_fflags(fflags);
            let event = scene.exchange(&[timer])[0];
            event.flags & EV_ERROR != 0 && event.data == EINVAL as isize
        })
    };
    assert_eq!(refusing(-1, 0), [FreeBsd]);
    assert_eq!(refusing(0, 0), [NetBsd7]);
    let unknown = kernels_that(|kernel| {
        let mut scene = Scene::new(kernel.profile());
        let timer = Kevent::new(1, EVFILT_TIMER, EV_ADD).with_data(10).with_fflags(NOTE_NSECONDS | 0x1000);
        scene.exchange(&[timer]).is_empty() && scene.sim.next_deadline(scene.kq) == Some(10)
    });
    assert_eq!(unknown, [Xnu]);
}

#[test]
fn timer_added_again_starts_anew() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        let timer = Kevent::new(1, EVFILT_TIMER, EV_ADD).with_data(10);
        scene.exchange(&[timer]);
        scene.sim.advance(9_000_000);
        scene.exchange(&[timer]);
        scene.sim.advance(9_000_000);
        assert!(!scene.fires(), "{kernel:?}");
        scene.sim.advance(1_000_000);
        assert!(scene.fires(), "{kernel:?}");
    }
}

#[test]
fn user_event_fires_when_it_is_triggered_and_keeps_its_flags() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::new(kernel.profile());
        let event = Kevent::new(5, EVFILT_USER, EV_ADD | EV_CLEAR).with_udata(1);
        if kernel == NetBsd7 {
            assert_eq!(scene.exchange(&[event])[0].data, EINVAL as isize, "it has none");
            continue;
        }
        assert!(scene.exchange(&[event]).is_empty(), "{kernel:?}");
        let trigger = Kevent::new(5, EVFILT_USER, EV_ADD).with_fflags(NOTE_TRIGGER | NOTE_FFOR | 6).with_udata(9);
        let events = scene.exchange(&[trigger]);
        assert_eq!((events.len(), events[0].fflags, events[0].udata.addr()), (1, 6, 9), "{kernel:?}");
        assert!(!scene.fires(), "{kernel:?}");
        let trigger = trigger.with_fflags(NOTE_TRIGGER | NOTE_FFAND | 2);
        assert_eq!(scene.exchange(&[trigger])[0].fflags, 2, "{kernel:?}");
    }
}

#[test]
fn udata_changes_with_a_change_where_the_kernel_takes_it() {
    let taking = kernels_that(|kernel| {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.connect(1);
        let enable = Kevent::new(scene.listener as usize, EVFILT_READ, EV_ENABLE).with_udata(3);
        let taken = scene.exchange(&[enable])[0].udata.addr() == 3;
        let add = Kevent::new(scene.listener as usize, EVFILT_READ, EV_ADD).with_udata(4);
        assert_eq!(scene.exchange(&[add])[0].udata.addr(), 4, "EV_ADD does everywhere");
        taken
    });
    assert_eq!(taking, [Xnu, FreeBsd, NetBsd]);
}

#[test]
fn closed_queue_takes_no_more() {
    for kernel in Kernel::ALL {
        let mut scene = Scene::watching(kernel, EV_ADD);
        scene.sim.close(scene.kq).unwrap();
        assert_eq!(scene.change(EV_ADD), Err(Errno(EBADF)), "{kernel:?}");
        scene.connect(1);
        scene.accept();
    }
}

#[test]
fn descriptors_are_handed_out_lowest_first_up_to_the_limit() {
    let mut sim = Sim::new(Profile::XNU);
    sim.set_limit(6);
    let fds: Vec<Fd> = (0..3).map(|_| sim.socket().unwrap()).collect();
    assert_eq!((fds, sim.room()), (vec![3, 4, 5], 0));
    assert_eq!(sim.kqueue(), Err(Errno(EMFILE)));
    sim.close(4).unwrap();
    assert_eq!((sim.room(), sim.kqueue()), (1, Ok(4)));
}
