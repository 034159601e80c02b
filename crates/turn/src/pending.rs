//! What is kept of a request while the port of its relay is being opened.

/// A relay whose port is being opened.
pub(crate) struct Pending {
    /// Answered when it is.
    pub(crate) request: Vec<u8>,
    /// Ports that could not be opened: others have them.
    pub(crate) failed: Vec<u16>,
    /// The port has to be an even one.
    pub(crate) even: bool,
}
