//! Descriptor numbers: closed, reused and duplicated ones, and the limit; and connections.

use kqueue_emu::kevent::*;
use kqueue_emu::sim::{Fd, Sim};
use kqueue_emu::{Kernel, Profile};
use libc::EMFILE;

use Kernel::Xnu;

use crate::Scene;

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
fn descriptors_are_handed_out_lowest_first_up_to_the_limit() {
    let mut sim = Sim::new(Profile::XNU);
    sim.set_limit(6);
    let fds: Vec<Fd> = (0..3).map(|_| sim.socket().unwrap()).collect();
    assert_eq!((fds, sim.room()), (vec![3, 4, 5], 0));
    assert_eq!(sim.kqueue(), Err(Errno(EMFILE)));
    sim.close(4).unwrap();
    assert_eq!((sim.room(), sim.kqueue()), (1, Ok(4)));
}
