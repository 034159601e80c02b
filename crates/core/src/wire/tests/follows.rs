//! Sets that are not all of a hub's claims: what they cost, and their slots.

use super::*;

#[test]
fn a_join_to_a_followed_network_costs_at_most_36_bytes_once_its_set_is_known() {
    let mut encoder = Encoder::new();
    let wall_ms = 1_800_000_000_000;
    control_message(&mut encoder, &[one_join_followed(1000, wall_ms)]);
    for (n, later_ms) in [(1001, 3), (1102, 900), (1903, 60_000)] {
        let message = control_message(&mut encoder, &[one_join_followed(n, wall_ms + later_ms)]);
        assert!(message.len() <= 36, "{} bytes", message.len());
    }
}

#[test]
fn more_sets_than_have_slots_travel_and_take_each_others_slots() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let frame = |n: usize| {
        let network = NetworkKey::from_wire(&format!("p{n}")).unwrap();
        let ControlFrame::Delta(delta) = delta(n as u64, Vec::new()) else {
            unreachable!("it is one")
        };
        ControlFrame::Changes(Scope::Of(network), delta)
    };
    let last = MAX_SETS + 10;
    for n in (0..last).chain(0..20).chain(last - 20..last) {
        let message = control_message(&mut encoder, &[frame(n)]);
        assert_eq!(decoder.decode(&message).unwrap(), [frame(n)], "set {n}");
    }
}
