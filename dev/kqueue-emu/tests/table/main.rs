//! Each rule in which the kernels' queues agree or differ, on the simulated kernel.

mod calls;
mod listeners;
mod modes;
mod numbers;
mod timers;

use kqueue_emu::kevent::*;
use kqueue_emu::sim::{Fd, Sim};
use kqueue_emu::{Kernel, Profile};

/// A queue, a listener, and what a test does with them.
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

    /// A scene in which the queue watches the listener.
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

/// The kernels for which a rule holds.
fn kernels_that(rule: impl Fn(Kernel) -> bool) -> Vec<Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| rule(*kernel)).collect()
}
