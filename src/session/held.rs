//! Actions that wait while the mesh decides on a join.
//!
//! The socket of a client with a pending join never stops being read, so that its end, a goodbye, pings and the answer
//! to a probe are noticed at once, whatever was sent before them. Actions about a network whose join is decided are
//! carried out meanwhile. All other actions wait here, and actions about one network leave in their order. Each client
//! has [`FREE_BYTES`] for itself, and beyond that as much as the longest message, which counts against the hub's
//! [`Intake`]. Only an action that does not fit is refused. Knows no dialect. Used by one conversation each.

use std::collections::VecDeque;
use std::sync::Arc;

use hubmesh_core::ids::NetworkKey;

use super::intake::{FREE_BYTES, Intake, Reserved};
use crate::dialect::{About, Action};

/// The bytes that an action counts for, beside its text: an estimate of its memory.
const ACTION_BYTES: usize = 128;

/// The networks that an action is about: none, these two, or the present one.
enum Concern<'a> {
    Nothing,
    All,
    These(&'a NetworkKey, Option<&'a NetworkKey>),
}

impl<'a> Concern<'a> {
    fn of(action: &'a Action<'_>) -> Self {
        match action {
            Action::Join {
                network, leaving, ..
            } => Concern::These(network, leaving.as_ref()),
            Action::Update { network, .. } | Action::Publish { network, .. } => {
                Concern::These(network, None)
            }
            Action::Leave {
                network,
                goodbye: false,
            } => Concern::These(network, None),
            Action::Signal { about, .. }
            | Action::UnknownTarget { about, .. }
            | Action::Reply { about, .. }
            | Action::Complain { about, .. } => match about {
                About::Nothing => Concern::Nothing,
                About::Only => Concern::All,
                About::Network(network) => Concern::These(network, None),
            },
            // A client that leaves must not keep its id from other clients meanwhile.
            Action::Leave { goodbye: true, .. }
            | Action::Identify { .. }
            | Action::Prove { .. }
            | Action::Greet(_)
            | Action::Close => Concern::Nothing,
        }
    }

    fn meets(&self, other: &Concern<'_>) -> bool {
        match (self, other) {
            (Concern::Nothing, _) | (_, Concern::Nothing) => false,
            (Concern::All, _) | (_, Concern::All) => true,
            (Concern::These(network, leaving), other) => {
                other.names(network) || leaving.is_some_and(|leaving| other.names(leaving))
            }
        }
    }

    fn names(&self, wanted: &NetworkKey) -> bool {
        match self {
            Concern::These(network, leaving) => *network == wanted || *leaving == Some(wanted),
            Concern::All => true,
            Concern::Nothing => false,
        }
    }

    /// Whether it waits for a join: `pending` tells whether one network, or any, has a pending join.
    fn waits(&self, pending: &impl Fn(Option<&NetworkKey>) -> bool) -> bool {
        match self {
            Concern::Nothing => false,
            Concern::All => pending(None),
            Concern::These(network, leaving) => {
                pending(Some(network)) || leaving.is_some_and(|leaving| pending(Some(leaving)))
            }
        }
    }
}

/// Actions in the order in which they arrived.
#[derive(Debug, Default)]
pub(super) struct HeldActions {
    actions: VecDeque<Action<'static>>,
    bytes: usize,
    reserved: Option<Reserved>,
    /// Some actions may be ready: a join was decided since no ready action was found.
    stirred: bool,
}

impl HeldActions {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Whether this action has to wait: for a join that is `pending`, or behind an action that waits already.
    pub(super) fn has_to_wait(
        &self,
        action: &Action<'_>,
        pending: impl Fn(Option<&NetworkKey>) -> bool,
    ) -> bool {
        let concern = Concern::of(action);
        concern.waits(&pending)
            || self
                .actions
                .iter()
                .any(|held| concern.meets(&Concern::of(held)))
    }

    /// Keeps this action behind those that wait.
    ///
    /// # Errors
    ///
    /// There is no space for the action: it is given back, and the actions before it are kept.
    pub(super) fn push(
        &mut self,
        action: Action<'static>,
        intake: &Arc<Intake>,
    ) -> Result<(), Action<'static>> {
        let bytes = self.bytes + cost(&action);
        if !self.fits(bytes, intake) {
            return Err(action);
        }
        self.bytes = bytes;
        self.actions.push_back(action);
        Ok(())
    }

    /// A join was decided on, or given up.
    pub(super) fn stir(&mut self) {
        self.stirred = !self.is_empty();
    }

    /// The oldest action that may now be carried out.
    pub(super) fn pop_ready(
        &mut self,
        pending: impl Fn(Option<&NetworkKey>) -> bool,
    ) -> Option<Action<'static>> {
        if !self.stirred {
            return None;
        }
        let is_ready = |place: &usize| {
            let Some(action) = self.actions.get(*place) else {
                return false;
            };
            let concern = Concern::of(action);
            let mut before = self.actions.iter().take(*place);
            !concern.waits(&pending) && !before.any(|held| concern.meets(&Concern::of(held)))
        };
        let place = (0..self.actions.len()).find(is_ready);
        self.stirred = place.is_some();
        self.remove(place?)
    }

    /// The oldest action, whether it has to wait or not.
    pub(super) fn pop(&mut self) -> Option<Action<'static>> {
        self.remove(0)
    }

    /// Drops actions about this network, and actions about the present one.
    pub(super) fn forget(&mut self, network: &NetworkKey) {
        let mut place = 0;
        while let Some(action) = self.actions.get(place) {
            if Concern::of(action).names(network) {
                self.remove(place);
            } else {
                place += 1;
            }
        }
    }

    fn remove(&mut self, place: usize) -> Option<Action<'static>> {
        let action = self.actions.remove(place)?;
        if self.actions.is_empty() {
            // The memory of the queue is freed too.
            *self = HeldActions::default();
        } else {
            self.bytes -= cost(&action);
            if let Some(reserved) = &mut self.reserved {
                // Giving back cannot fail.
                let _ = reserved.resize(self.bytes.saturating_sub(FREE_BYTES));
            }
        }
        Some(action)
    }

    /// Whether this many bytes may be kept; counts them if so.
    fn fits(&mut self, bytes: usize, intake: &Arc<Intake>) -> bool {
        let counted = bytes.saturating_sub(FREE_BYTES);
        if counted == 0 {
            return true;
        }
        let reserved = self
            .reserved
            .get_or_insert_with(|| Reserved::new(Arc::clone(intake)));
        counted <= intake.longest() && reserved.resize(counted).is_ok()
    }
}

fn cost(action: &Action<'_>) -> usize {
    let text = match action {
        Action::Signal { payload, .. } | Action::Publish { payload, .. } => payload.len(),
        Action::Join { data, .. } | Action::Update { data, .. } => {
            data.as_ref().map_or(0, bytes::Bytes::len)
        }
        Action::Reply { text, .. } => text.len(),
        Action::Complain { text, .. } => text.as_ref().map_or(0, |text| text.len()),
        Action::UnknownTarget { name, .. } => name.len(),
        Action::Identify { .. }
        | Action::Prove { .. }
        | Action::Leave { .. }
        | Action::Greet(_)
        | Action::Close => 0,
    };
    ACTION_BYTES + text
}

#[cfg(test)]
mod tests {
    use hubmesh_core::ids::{Dialect, PeerId, SignalKind};

    use super::*;

    const KIB: usize = 1024;

    fn network(name: &str) -> NetworkKey {
        NetworkKey::new(Dialect::Pigeon, name).expect("a name")
    }

    fn signal(about: About, payload: &str) -> Action<'static> {
        Action::Signal {
            about,
            target: PeerId::Hex([1; 20]),
            kind: SignalKind(0),
            payload: payload.to_owned().into(),
        }
    }

    fn push(held: &mut HeldActions, text: &str, intake: &Arc<Intake>) -> bool {
        held.push(signal(About::Only, text), intake).is_ok()
    }

    fn payload(action: Option<Action<'_>>) -> Option<String> {
        match action? {
            Action::Signal { payload, .. } => Some(payload.into_owned()),
            other => panic!("no signal: {other:?}"),
        }
    }

    #[test]
    fn messages_leave_in_their_order_and_as_many_are_kept_as_fit() {
        let intake = Arc::new(Intake::new(64 * KIB, 256 * KIB));
        let mut held = HeldActions::default();
        let mut kept = 0;
        while push(&mut held, &kept.to_string(), &intake) {
            kept += 1;
        }
        assert!((600..=640).contains(&kept), "{kept}");
        assert!((63 * KIB..=64 * KIB).contains(&intake.taken()));
        assert_eq!(held.pop_ready(|_| true), None);
        held.stir();
        assert_eq!(held.pop_ready(|_| true), None);
        held.stir();
        for number in 0..kept {
            assert_eq!(payload(held.pop_ready(|_| false)), Some(number.to_string()));
        }
        assert_eq!(held.pop(), None);
        assert_eq!(intake.taken(), 0);
    }

    #[test]
    fn what_is_too_much_is_refused_alone_and_what_is_shorter_still_fits() {
        let intake = Arc::new(Intake::new(64 * KIB, 256 * KIB));
        let mut held = HeldActions::default();
        let long = "x".repeat(64 * KIB);
        assert!(push(&mut held, &long, &intake));
        assert!(
            !push(&mut held, &long, &intake),
            "there is no space for two"
        );
        assert!(push(&mut held, "short", &intake));
        assert_eq!(payload(held.pop()).map(|text| text.len()), Some(64 * KIB));
        assert_eq!(intake.taken(), 0, "the rest is free");
        assert!(push(&mut held, &long, &intake));
    }

    #[test]
    fn all_that_wait_have_half_of_the_budget_and_what_each_has_for_itself() {
        let intake = Arc::new(Intake::new(64 * KIB, 256 * KIB));
        let long = "x".repeat(60 * KIB);
        let mut all: Vec<_> = (0..10).map(|_| HeldActions::default()).collect();
        let kept = all.iter_mut().filter_map(|held| {
            let kept = push(held, &long, &intake);
            kept.then_some(())
        });
        assert_eq!(kept.count(), 2);
        assert!(intake.taken() <= 128 * KIB);
        for held in &mut all {
            let (_, small) = (held.pop(), "x".repeat(10 * KIB));
            assert!(push(held, &small, &intake));
        }
        drop(all);
        assert_eq!(intake.taken(), 0);
    }

    #[test]
    fn a_pending_join_holds_back_only_what_is_about_its_network() {
        let intake = Arc::new(Intake::new(64 * KIB, 256 * KIB));
        let (a, b) = (network("a"), network("b"));
        let in_a = || signal(About::Network(a.clone()), "a");
        let in_b = || signal(About::Network(b.clone()), "b");
        let moves = Action::Join {
            network: b.clone(),
            data: None,
            quiet: false,
            leaving: Some(a.clone()),
            room: None,
        };
        let only_a = |network: Option<&NetworkKey>| network.is_none_or(|network| *network == a);
        let mut held = HeldActions::default();
        assert!(held.has_to_wait(&in_a(), only_a));
        assert!(!held.has_to_wait(&in_b(), only_a));
        assert!(held.push(in_a(), &intake).is_ok());
        assert!(held.has_to_wait(&moves, only_a));
        assert!(held.push(moves, &intake).is_ok());
        assert!(held.has_to_wait(&in_b(), only_a), "behind the move");
        assert!(held.push(in_b(), &intake).is_ok());
        held.stir();
        assert_eq!(held.pop_ready(only_a), None);
        held.stir();
        assert_eq!(held.pop_ready(|_| false), Some(in_a()));
        assert!(matches!(
            held.pop_ready(|_| false),
            Some(Action::Join { .. })
        ));
        assert_eq!(held.pop_ready(|_| true), None, "its network is pending now");
        held.forget(&b);
        assert!(held.is_empty());
    }
}
