//! The limits that a caller sets for one listener.

/// What a listener may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The most connections to accept in one batch, so that one busy listener leaves time for others.
    pub batch: u32,
    /// The most connections that may be active. At the limit, clients wait in the backlog.
    pub max_connections: Option<u32>,
    /// The most connections to accept in a second, evenly spread.
    pub max_rate: Option<f64>,
    /// Whether a connection counts as active until it is released. Set it to false if nobody releases them.
    pub counted: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch: 64, max_connections: None, max_rate: None, counted: true }
    }
}
