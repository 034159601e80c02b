//! Known bugs that tests can switch on in the core, to show that the simulation finds them.
//!
//! Each hook reads one switch at the place that its doc names: `if mutants.no_hold_down() { … }`. Without the cargo
//! feature `mutants` every switch is the constant `false` and [`Mutants`] is empty, so that a hook costs nothing and
//! the bug is not in the binary.

macro_rules! mutants {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// The bugs that are switched on.
        #[cfg(feature = "mutants")]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Mutants {
            $($(#[$doc])+ pub $name: bool,)+
        }

        /// The bugs that are switched on: none can be.
        #[cfg(not(feature = "mutants"))]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Mutants {}

        impl Mutants {
            /// Each bug alone, under its name.
            #[cfg(feature = "mutants")]
            pub const EACH: &'static [(&'static str, Mutants)] = &[
                $((stringify!($name), Mutants { $name: true, ..Mutants::NONE }),)+
            ];

            /// No bug.
            #[cfg(feature = "mutants")]
            pub const NONE: Mutants = Mutants { $($name: false,)+ };

            /// No bug.
            #[cfg(not(feature = "mutants"))]
            pub const NONE: Mutants = Mutants {};

            $($(#[$doc])+
            #[inline]
            pub const fn $name(self) -> bool {
                #[cfg(feature = "mutants")]
                {
                    self.$name
                }
                #[cfg(not(feature = "mutants"))]
                {
                    false
                }
            })+
        }
    };
}

mutants! {
    /// Topology, where the graph is built from link records: a link counts when either end lists it.
    no_two_way_check,
    /// Where a hub's own first incarnation is made, and where it answers a higher one of itself: the nonce is
    /// zero, so that an incarnation is its epoch, a bare counter.
    incarnation_is_a_counter,
    /// Directory, where reachability changes: the keys of claims that became hidden or visible keep their
    /// winner.
    winner_not_recomputed,
    /// Directory, where a claim loses its key to a newer one: the hub that sees it deletes the loser from its
    /// replica of the other origin, in place of leaving this to the loser's author.
    receiver_deletes_loser,
    /// Directory, where an origin becomes unreachable: its claims are hidden at once.
    no_hold_down,
    /// Author's log, where tombstones are trimmed: they are dropped as soon as they were sent once, and the
    /// floor below which a snapshot is due does not rise with them.
    tombstones_forgotten,
    /// Subscriptions, where one is sent: the cursor is zero, and the deltas that answer it are applied without
    /// starting from an empty set.
    subscribe_without_cursor,
    /// Subscriptions, where the parent of an origin changes: the old parent is unsubscribed, and what comes
    /// from it is no longer taken, before the new one has answered.
    unsubscribe_early,
    /// Signals, at the destination: each signal that arrives raises the cumulative acknowledgement to its own
    /// number, also past a gap.
    acks_without_order,
    /// Signals, at a hop: a signal whose next hop is the link that it came by is sent back over it.
    forward_back,
    /// Signals, at a hop: one of a variant that the hub does not know is dropped.
    unknown_variant_not_passed_on,
    /// Signals, at the destination: one of a variant that it does not know is dropped, and its number not taken.
    unknown_variant_unacknowledged,
    /// Directory, where a set of another hub is served: changes of kinds that this hub does not know are left out.
    unknown_change_not_passed_on,
    /// Rooms, where the host's hub holds the record: the hub that held it before keeps it too.
    records_kept,
    /// Rooms, where the hub that held a record is gone, or drains: no other takes it over.
    rooms_not_taken_over,
    /// Guards, where a room is listed by one hub: no other guards it.
    rooms_unguarded,
    /// Interest, where it would end: that the hub with a room's record is in its hold counts for nothing.
    hold_outlasts_interest,
    /// Guards, where the hubs that stay are ranked: the last in the order of take-over guards the room.
    guardian_comes_last,
    /// Guards, where the hubs that stay are others: what was decided counts on.
    guards_decided_once,
    /// Guards, where another room of a hub comes: there is space for all.
    guarded_without_end,
    /// Joins, where the hub of a room was lost: they are decided before another hub has taken the room over.
    lost_room_not_waited_for,
    /// Rooms, where one is without a member: its time is never over.
    rooms_without_end,
    /// Rooms, where the host is looked for: each hub looks among its own members alone.
    host_of_one_s_own,
    /// Rooms, where one is entered: it need not be there.
    rooms_from_nowhere,
    /// Topology, where word of a newer record comes: the record is not asked for.
    pull_forgotten,
    /// Topology, where records are summed up to be compared: each counts by its hub alone, whatever its version.
    summary_blind,
    /// Dialler, where a newcomer is sent on to others: hubs that cannot be reached are named to it, and first.
    introduced_to_the_dead,
    /// Dialler, where the tries of hubs out of reach are shared: among all that are known, not those that reach each
    /// other.
    retries_shared_with_nobody,
    /// Topology, where a link is met: it is listed before its other end has spoken by it.
    unconfirmed_link_listed,
    /// Signals, where a receiver goes: the senders' hubs are not told of its unread signals.
    unread_untold,
    /// Interest, where the last member leaves: it ends at once.
    interest_dropped_early,
    /// Interest, where it would end: signals that still wait in the network count for nothing.
    waiting_signal_missed,
    /// Interest, where it ends: what is held of the network stays, and is taken on.
    interest_for_ever,
    /// Joins, where the network is new here: they are decided before its members are known.
    joins_unseen,
    /// Interest, where a hub is seen to have members in a network of interest by its line: it is not asked for them.
    line_missed,
    /// Interest, where a neighbour follows a network that is of none here: it is not fetched for it.
    no_interest_for_neighbours,
    /// Sets, where a whole one becomes some of single networks: these are filled anew and shown when they are there.
    narrowed_from_nothing,
    /// Sets, where the whole one takes the place of those of single networks: although it is behind them.
    widened_from_behind,
    /// Interest, where the mesh is looked at: hubs that do not know of it count for nothing.
    old_hubs_uncounted,
    /// Interest, where a join waits for a hub that let others wait in vain: it is waited for again.
    tardy_waited_for,
    /// Directory, where a set of one network is filled: with claims of any.
    any_network_in_a_part,
    /// Subscriptions, where one of a single network comes: a link may have as many as it likes.
    followed_without_end,
    /// Directory, where another hub's claim is taken: it may claim one id as often as it likes.
    one_id_many_times,
    /// Directory, where another hub's claim is taken: there is space for all claims, and all their data.
    claims_without_end,
    /// Directory, where another hub's claim is taken: its number may be as far from the others as it likes.
    numbers_that_reach_too_far,
    /// Subscriptions, where parts of a delta are kept aside: there is space for all.
    aside_without_end,
    /// Control messages: one may have as many changes as fit into its bytes.
    endless_messages,
    /// Subscriptions, where one comes: a link may have as many as it likes.
    subscriptions_without_end,
    /// Links, where one more with a hub comes: there may be as many as that hub likes.
    links_without_end,
    /// Links, where the silent ones are found: one that never answered a ping stands while anything comes by it.
    silence_allowed,
    /// Topology, where an incarnation is told of: any epoch is believed.
    any_epoch_believed,
    /// Topology, where past incarnations are forgotten: they never are.
    lives_for_ever,
    /// Leaving the mesh: for good.
    exile_for_ever,
    /// Topology, where there is no space for a record: it is taken all the same.
    records_without_end,
    /// Topology, where there is no space for a record: a neighbour is a hub like others.
    no_place_for_neighbours,
    /// Topology, where there is no space for a record: a hub that was turned away is never asked for again.
    turned_away_for_good,
    /// Signals, at the destination: a frame may name a later incarnation than the link record.
    life_by_frame,
    /// Signals, at both ends: numbers may jump as far as they like.
    numbers_jump_anywhere,
    /// Signals, where a window is forgotten: the numbers that its destination skipped count for all destinations.
    skips_are_for_all,
    /// Signals, wherever one comes: it may come by any link.
    nobody_is_astray,
    /// Signals, at the destination: there is space for the numbers of all sources.
    sources_without_end,
    /// Signals, at the destination: there is space for all that comes before its turn.
    early_without_end,
}
