//! Timers and user events.

use kqueue_emu::Kernel;
use kqueue_emu::kevent::*;
use libc::EINVAL;

use Kernel::{FreeBsd, NetBsd, NetBsd7, Xnu};

use crate::{Scene, kernels_that};

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
