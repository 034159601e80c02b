//! The dialect of y-webrtc: the text of a client, and the messages that the subscribers of a topic get because of it.

use hubmesh::dialect::DeliveredPublication;
use hubmesh::dialect::yjs::{Said, decode, encode_publication};
use hubmesh_core::ids::{Dialect, NetworkKey, PeerId, SignalKind};

const MEMBERS: &str = ",\"clients\":7}";

/// Reads a client's message. The hub publishes it byte for byte, and adds the number of clients at its end. The
/// published message reads as one to the same topic.
pub fn yjs(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(Said::Publish { topic, message }) = decode(input) else {
        return;
    };
    let network = NetworkKey::new(Dialect::Yjs, "any").expect("a network");
    let from = PeerId::new("somebody").expect("a peer id");
    let publication = DeliveredPublication {
        network: &network,
        from: &from,
        kind: SignalKind(0),
        payload: message,
        members: 7,
    };
    let told = encode_publication(&publication).expect("what was read can be written");
    let same = message.strip_suffix('}').expect("an object");
    assert_eq!(told.strip_suffix(MEMBERS), Some(same));
    let again = decode(&told);
    let Ok(Said::Publish {
        topic: read,
        message: whole,
    }) = again
    else {
        panic!("what was written can be read: {again:?}");
    };
    assert_eq!((read, whole), (topic, told.as_str()));
}
