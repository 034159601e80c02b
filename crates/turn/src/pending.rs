//! The parts of a request that are kept while the port of its relay is being opened.

/// A relay whose port is being opened.
pub(crate) struct Pending {
    /// The request, which is answered when the port is open.
    pub(crate) request: Vec<u8>,
    /// Ports that could not be opened: other programs have them.
    pub(crate) failed: Vec<u16>,
    /// The port has to be an even one.
    pub(crate) even: bool,
}
