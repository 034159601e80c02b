//! Random histories in virtual time, beside a model of who may send to whom.

use proptest::prelude::*;

use crate::model::{CHANNELS, PEERS, Step, play};
use crate::stage::Stage;

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..3_usize;
    let peer = || 0..PEERS.len();
    prop_oneof![
        2 => (0..400_u64).prop_map(Step::Pass),
        2 => client().prop_map(Step::Allocate),
        2 => (client(), prop_oneof![Just(0), 1..4_000_u32]).prop_map(|(c, s)| Step::Refresh(c, s)),
        3 => (client(), peer()).prop_map(|(c, p)| Step::Permit(c, p)),
        3 => (client(), CHANNELS, peer()).prop_map(|(c, n, p)| Step::Bind(c, n, p)),
        4 => (client(), peer()).prop_map(|(c, p)| Step::Send(c, p)),
        4 => (client(), CHANNELS).prop_map(|(c, n)| Step::Channel(c, n)),
        4 => (client(), peer()).prop_map(|(c, p)| Step::Peer(c, p)),
        1 => (client(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(c, b)| Step::Garbage(c, b)),
        1 => (client(), any::<usize>(), any::<u8>()).prop_map(|(c, i, x)| Step::Twist(c, i, x)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_passes_but_what_the_model_lets_pass(steps in prop::collection::vec(step(), 1..120)) {
        play(steps);
    }

    #[test]
    fn no_bytes_at_all_make_the_server_panic(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
    ) {
        let mut stage = Stage::new();
        let from = crate::stage::path("192.0.2.1:4000");
        for packet in packets {
            prop_assert!(stage.client(from, &packet).is_none());
        }
    }
}
