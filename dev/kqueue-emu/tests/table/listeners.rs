//! Listening sockets: their backlogs, their `data`, accept() and shutdown().

use kqueue_emu::kevent::*;
use kqueue_emu::sim::{Sim, State};
use kqueue_emu::{Kernel, Profile};
use libc::{ECONNABORTED, EMFILE, ENOTCONN, EWOULDBLOCK};

use Kernel::{FreeBsd, NetBsd, NetBsd7, OpenBsd, Xnu};

use crate::{Scene, kernels_that};

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
        let result = scene.sim.accept(scene.listener);
        assert_eq!(scene.sim.state(conn), State::ResetTaken);
        assert_eq!(scene.sim.backlog(scene.listener), 1);
        match result {
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
