//! The modes of a knote: level-triggered, EV_CLEAR, EV_DISPATCH, EV_ONESHOT, and disabled.

use kqueue_emu::kevent::*;
use kqueue_emu::{Kernel, Profile};
use libc::ENOENT;

use Kernel::{FreeBsd, NetBsd, NetBsd7, OpenBsd, Xnu};

use crate::{Scene, kernels_that};

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
