//! The receiver of connections, which the caller of the engine implements.

use crate::errno::Errno;

/// The receiver of connections. `D` is what the caller attached to the listener.
pub trait Sink<C, D> {
    /// Whether anybody waits for a connection of this listener.
    fn wants(&mut self, data: &D) -> bool;

    /// How many connections have ended without a call of [`Engine::release`](crate::Engine::release) since this was last
    /// called. It is called before each batch of [`Engine::run`](crate::Engine::run), and while a listener pauses at its
    /// limit of connections. Only then is `all` set; otherwise the sink may wait until there are many.
    fn ended(&mut self, _data: &D, _all: bool) -> u32 {
        0
    }

    /// Takes a connection.
    fn accepted(&mut self, data: &D, conn: C) -> Next;

    /// The listener cannot be used any more. The engine accepts nothing from it again.
    fn failed(&mut self, data: &D, errno: Errno);

    /// Accepting has failed because of a shortage, and goes on by itself after a pause. Called once in an episode, which
    /// lasts until everything that waited was accepted and there was no shortage for a second.
    fn shortage(&mut self, data: &D, errno: Errno);
}

/// What a sink wants after a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on with the batch.
    More,
    /// Go on, but this connection could not be taken and is closed, so it is not active.
    Dropped,
    /// Leave the rest in the backlog.
    Enough,
}

/// Takes one connection and leaves the rest.
pub(super) struct TakeOne<'a, C, S> {
    pub(super) sink: &'a mut S,
    pub(super) conn: Option<C>,
}

impl<C, D, S: Sink<C, D>> Sink<C, D> for TakeOne<'_, C, S> {
    fn wants(&mut self, _data: &D) -> bool {
        self.conn.is_none()
    }

    fn accepted(&mut self, _data: &D, conn: C) -> Next {
        self.conn = Some(conn);
        Next::Enough
    }

    fn failed(&mut self, data: &D, errno: Errno) {
        self.sink.failed(data, errno);
    }

    fn shortage(&mut self, data: &D, errno: Errno) {
        self.sink.shortage(data, errno);
    }
}
