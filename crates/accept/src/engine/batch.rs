//! One batch: accepts from a listener, and decides when to stop.

use std::time::Duration;

use super::listener::Listener;
use super::pause::Pause;
use super::recovery::Recovery;
use super::sink::{Next, Sink};
use crate::errno::Errno;
use crate::kernel::Kernel;

/// How a batch ended.
pub(super) struct Batch {
    /// How many connections were accepted.
    pub(super) accepted: u32,
    pub(super) end: End,
}

/// Why a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The sink wants no more.
    Enough,
    /// The backlog is empty.
    Empty,
    /// All attempts were used, so there may be more.
    UsedUp,
    /// A limit was reached, or there is a shortage.
    Paused(Pause),
    /// The descriptor is not a listening socket any more.
    Broken(Errno),
}

/// Accepts until the backlog is empty, `most` attempts were made, a limit is reached, or the sink has enough. It never relies
/// on the number that the kernel reports: XNU counts half-open connections too, and DragonFly caps the number.
pub(super) fn accept_batch<K: Kernel, D, S: Sink<K::Conn, D>>(
    kernel: &mut K,
    listener: &mut Listener<D>,
    most: u32,
    now: Duration,
    sink: &mut S,
) -> Batch {
    kernel.begin_batch();
    let mut accepted = 0;
    let mut end = End::UsedUp;
    for _ in 0..most {
        if let Some(why) = listener.reached_limit(now) {
            end = End::Paused(why);
            break;
        }
        match kernel.accept(listener.fd) {
            Ok(conn) => {
                listener.count_accepted(now);
                accepted += 1;
                match sink.accepted(&listener.data, conn) {
                    Next::More => {}
                    Next::Dropped if listener.limits.counted => listener.count_ended(1),
                    Next::Dropped => {}
                    Next::Enough => {
                        end = End::Enough;
                        break;
                    }
                }
            }
            Err(errno) => match Recovery::after(errno) {
                Recovery::EndBatch => {
                    listener.backlog_is_empty();
                    end = End::Empty;
                    break;
                }
                Recovery::TryNext => {
                    if errno.0 == libc::ECONNABORTED {
                        listener.counters.count_aborted();
                    }
                    listener.counters.count_error(errno);
                }
                Recovery::Pause => {
                    listener.counters.count_error(errno);
                    end = End::Paused(Pause::Error(errno));
                    break;
                }
                Recovery::GiveUp => {
                    end = End::Broken(errno);
                    break;
                }
            },
        }
    }
    listener.counters.count_batch(accepted);
    Batch { accepted, end }
}
