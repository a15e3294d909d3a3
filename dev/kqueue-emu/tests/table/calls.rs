//! What kevent() returns: receipts, errors, flags, and the order of events.

use kqueue_emu::Kernel;
use kqueue_emu::kevent::*;
use kqueue_emu::sim::Fd;
use libc::{EBADF, EINVAL, ENOENT};

use Kernel::{FreeBsd, NetBsd, Xnu};

use crate::{Scene, kernels_that};

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
