//! The mesh: hubs that know each other's peers.
//!
//! The control plane is [`hubmesh_core`], without IO; `driver` is the one task that owns it, `router` the data path
//! (`steps` logs the way of each signal on it), and `link` one hub-to-hub socket, after its [`handshake`]. The rest of
//! the hub holds a [`Mesh`].

pub mod address;
mod advertised;
mod answering;
mod awaited;
mod conditions;
mod control_intake;
mod dns;
mod driver;
mod handle;
pub mod handshake;
mod input;
mod inquiry;
mod link;
mod link_queue;
mod operating;
mod progress;
mod questions;
mod relays;
mod reported;
mod router;
mod shared;
mod sketches;
mod steps;
mod tagged;
mod troubles;
mod view;

pub use awaited::{AwaitedId, AwaitedIds, AwaitedQuery, Awaiting};
pub use conditions::{Condition, HubReport};
pub use handle::Mesh;
pub use operating::Removal;

pub use link::socket_config;
pub use progress::{Observed, Progress};
pub use questions::{RoomCounts, Tally};
pub use sketches::{MAX_QUESTIONS, NetworkSketch, RoomSketch, Sketches};
pub use view::{BootstrapView, HubView, LinkView, MeshView};
