//! The only owner of the core: gives it inputs and the time, and carries out its outputs.
//!
//! One task. Other tasks wait until this task accepts their input; this task never waits for them, so there is no
//! deadlock. After each batch of inputs it carries out the outputs, drains the exchange, and gives every link whose
//! queue has space its next control message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hubmesh_core::api::{Bye, DialFailure, DialTarget, LinkUp, Output, SharedRoutes};
use hubmesh_core::frames::ControlFrame;
use hubmesh_core::ids::{DialId, HubId, LinkId, Moment, NetworkKey, Now};
use hubmesh_core::wire::Encoder;
use hubmesh_core::{BootstrapStatus, Core, Counters};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::awaited::AwaitedIds;
use super::conditions::{Conditions, HubMessage};
use super::input::Input;
use super::link_queue::{BATCH, LinkQueue};
use super::reported::Reported;
use super::router::Router;
use super::shared::MeshContext;
use super::troubles::{Trouble, Troubles};
use super::view::{ITSELF, Published, Sightings, graph};
use crate::clock::unix_ms;
use crate::watch::What;

/// The most inputs that are handled before outputs are carried out.
const INPUTS_AT_ONCE: usize = 256;
/// The longest time for which inputs are handled, beyond the present input, before outputs are carried out and other
/// tasks run. Peers of this hub may wait for this time.
const TURN: Duration = Duration::from_millis(2);
/// How often gauges are set.
const TICK: Duration = Duration::from_secs(1);
/// How long links may take to close at the end.
const PART_WITHIN: Duration = Duration::from_secs(1);

/// Whether a problem may be worth a warning.
enum Tell {
    Always,
    Never,
}

fn url_of(target: &DialTarget) -> &str {
    match target {
        DialTarget::Bootstrap(url) | DialTarget::Learned { url, .. } => url,
    }
}

/// The last message of a link.
fn bye_message(bye: Bye) -> Bytes {
    let mut message = BytesMut::new();
    Encoder::new().encode(&ControlFrame::Bye(bye), &mut message);
    message.freeze()
}

/// The driver's state.
pub struct Driver {
    core: Core,
    shared: Arc<MeshContext>,
    router: Arc<Router>,
    inputs: mpsc::Receiver<Input>,
    live: BTreeMap<LinkId, Arc<LinkQueue>>,
    dials: JoinSet<()>,
    /// The targets of the dials under way.
    dialing: BTreeMap<DialId, DialTarget>,
    troubles: Troubles,
    sightings: Sightings,
    reported: Reported,
    conditions: Conditions,
    /// Who looks at which networks.
    looks: BTreeMap<NetworkKey, Vec<oneshot::Sender<bool>>>,
    counted: Counters,
    /// The last published routes, and the number of link events then.
    published: (SharedRoutes, u64),
    /// The number of links up and down, and of dials made and failed.
    link_events: u64,
    next_tick: Instant,
    stopping: Option<oneshot::Sender<()>>,
}

impl Driver {
    /// A driver of this core.
    pub fn new(
        core: Core,
        shared: Arc<MeshContext>,
        conditions: Conditions,
        inputs: mpsc::Receiver<Input>,
    ) -> Self {
        let router = Arc::clone(&shared.router);
        Driver {
            core,
            shared,
            router,
            inputs,
            live: BTreeMap::new(),
            dials: JoinSet::new(),
            dialing: BTreeMap::new(),
            troubles: Troubles::default(),
            sightings: Sightings::default(),
            reported: Reported::default(),
            conditions,
            looks: BTreeMap::new(),
            counted: Counters::default(),
            published: (SharedRoutes::default(), u64::MAX),
            link_events: 0,
            next_tick: Instant::now(),
            stopping: None,
        }
    }

    /// Runs until the hub is stopped.
    pub async fn run(mut self) {
        self.carry_out();
        loop {
            let deadline = self.deadline();
            let shared = Arc::clone(&self.shared);
            let input = tokio::select! {
                biased;
                () = shared.router.to_driver.wake.notified() => None,
                () = sleep_until(deadline) => None,
                input = self.inputs.recv() => match input {
                    Some(input) => Some(input),
                    None => break,
                },
            };
            let began = Instant::now();
            self.take_inputs(input, began + TURN);
            self.take_handoff();
            let more = self.on_time();
            self.carry_out();
            if self.stopping.is_some() {
                break;
            }
            if more || began.elapsed() >= TURN {
                tokio::task::yield_now().await;
            }
        }
        self.part().await;
    }

    fn now(&self) -> Now {
        Now {
            at: self.router.now(),
            wall_ms: unix_ms(),
        }
    }

    fn deadline(&self) -> Instant {
        // A caller that gives the exchange a deadline between these two checks must wake this task. The deadline that
        // was armed last has passed, so no new deadline would be earlier and wake it.
        self.router.arm(Moment(u64::MAX));
        let due = self.core.poll_timeout().unwrap_or(Moment(u64::MAX / 2));
        let due = due.min(self.router.now() + TICK);
        let release = self.router.registry().next_release();
        let due = release.map_or(due, |release| due.min(release));
        self.router.arm(due);
        self.router.instant(due)
    }

    /// Handles this input, and the inputs that wait behind it, as long as there is time.
    fn take_inputs(&mut self, first: Option<Input>, until: Instant) {
        if let Some(input) = first {
            self.take(input);
        }
        for _ in 0..INPUTS_AT_ONCE {
            match self.inputs.try_recv() {
                Ok(input) if Instant::now() < until => self.take(input),
                Ok(input) => return self.take(input),
                Err(_) => break,
            }
        }
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Control {
                link,
                message,
                permit: _permit,
            } => self.core.handle_message(now, link, &message),
            Input::Unreadable { link } => self.core.drop_link(now, link, Bye::BadFrame),
            Input::LinkUp { me, up, queue, .. } if me != self.core.id() => {
                // The other end knows this hub by its former id. The dial that made the link has failed.
                queue.close(bye_message(Bye::IdentityClash));
                if let Some(dial) = up.dialed {
                    self.dialing.remove(&dial);
                    self.core
                        .handle_dial_failed(now, dial, DialFailure::Unreachable);
                }
            }
            Input::LinkUp {
                up, reach, queue, ..
            } => {
                self.link_events += 1;
                self.shared.metrics.links_up.inc();
                self.note_success(now, &up);
                self.live.insert(up.link, queue);
                self.reported.on_up(up.link, up.hub);
                self.core.handle_link_up_from(now, up, reach);
            }
            Input::LinkDown { link } => {
                if self.live.remove(&link).is_some() {
                    self.link_events += 1;
                    let said = self.core.closing_reason(link);
                    let label = said.map_or("lost", Bye::label);
                    self.shared.metrics.links_down.inc(label);
                    self.reported.on_down(link, label);
                    self.core.handle_link_down(now, link);
                }
            }
            Input::DialFailed { dial, why, trouble } => {
                self.link_events += 1;
                if let Some(target) = self.dialing.remove(&dial) {
                    self.note_failure(now, &target, trouble);
                }
                self.core.handle_dial_failed(now, dial, why);
            }
            Input::Bootstrap(urls) => {
                self.link_events += 1;
                self.core.set_bootstrap(now, urls);
            }
            Input::Name { name, trouble } => {
                self.link_events += 1;
                match trouble {
                    Some(trouble) => self.tell(now, &name, trouble, Tell::Always),
                    None => self.troubles.on_success(&name),
                }
            }
            Input::Join(join) => self.core.join(now, join),
            Input::Update { claim, data, quiet } => self.core.update(now, claim, data, quiet),
            Input::Leave { claim, reason } => self.core.leave(now, claim, reason),
            Input::ProbeResult { token, alive } => self.core.handle_probe_result(now, token, alive),
            Input::AskHubs(answers) => {
                let routes = self.core.topology().routes();
                let hubs = routes.by_hub.keys().copied();
                let messages = self.conditions.ask(hubs, &answers);
                self.post(now, messages);
            }
            Input::Graph(asker) => {
                // The asker may have given up.
                let _ = asker.send(graph(&self.core));
            }
            Input::Look { network, asker } => {
                let askers = self.looks.entry(network.clone()).or_default();
                askers.push(asker);
                self.core.look(now, &network);
            }
            Input::Contested { wanted, asker } => {
                let all = self.core.contested_ids();
                let _ = asker.send(AwaitedIds::of(&wanted, now.at, all));
            }
            Input::PlaceBan { ban, asker } => {
                let placed = self.core.place_ban(now, ban);
                self.show_bans();
                // The asker may have given up.
                let _ = asker.send(placed);
            }
            Input::LiftBan { ban, asker } => {
                let lifted = self.core.lift_ban(now, ban);
                self.show_bans();
                let _ = asker.send(lifted);
            }
            Input::EndEmptyRooms { most, ended } => {
                // The asker may have given up.
                let held = self.core.rooms_held();
                let _ = ended.send((held, self.core.end_empty_rooms(now, most)));
            }
            Input::Drain => self.core.drain(now),
            Input::Stop(asker) => {
                self.core.part(now, self.shared.retry_after);
                self.stopping = Some(asker);
            }
        }
    }

    /// Makes connections and joins be checked against the present bans.
    fn show_bans(&self) {
        let watch = self.router.registry().watch();
        watch.bans.set(self.core.bans());
    }

    fn take_handoff(&mut self) {
        let handoff = self.router.to_driver.take();
        let now = self.now();
        for (from, payload) in handoff.hub_messages {
            if Conditions::is_one(&payload) {
                let answer = self.conditions.on_message(from, &payload);
                self.post(now, answer);
            } else {
                self.core.handle_hub_message(now, from, &payload);
            }
        }
        for token in handoff.failed_tokens {
            match Conditions::is_ours(token) {
                true => self.conditions.on_failed(token),
                false => self.core.handle_hub_message_failed(now, token),
            }
        }
        if let Some(source) = handoff.forged {
            self.core.note_forged(now, source);
        }
    }

    fn post(&self, now: Now, messages: impl IntoIterator<Item = HubMessage>) {
        let mut exchange = self.core.exchange().lock();
        for HubMessage { to, payload, token } in messages {
            exchange.send_hub_message(now.at, to, payload, token);
        }
    }

    /// Carries out all work that is due. True if some work is left for the next turn.
    fn on_time(&mut self) -> bool {
        let now = self.now();
        for (link, queue) in &self.live {
            if queue.progress().take_heard() {
                self.core.handle_heard(now, *link);
            }
        }
        if self.core.poll_timeout().is_some_and(|due| due <= now.at) {
            self.core.handle_timeout(now);
        }
        let more = self.router.registry().release(now.at);
        if self.next_tick <= Instant::now() {
            self.next_tick = Instant::now() + TICK;
            self.tick(now);
        }
        more
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.on_output(output);
        }
        self.router.drain_exchange();
        self.shared
            .set_identity(self.core.id(), self.core.incarnation());
        self.publish_changes();
        for (link, queue) in &self.live {
            if queue.takes_control()
                && self.core.has_pending(*link)
                && let Some(message) = self.core.poll_transmit(*link, BATCH)
            {
                self.shared.count_control_out(message.len());
                queue.put_control(message);
            }
        }
    }

    fn on_output(&mut self, output: Output) {
        let registry = self.router.registry();
        match output {
            Output::Dial { dial, target } => self.dial(dial, &target),
            Output::Close { link, bye } => self.close(link, bye),
            Output::Accepted { claim, roster } => {
                let room = self.core.room_of(claim);
                let room = room.as_ref().map(|(room, is_new)| (room, *is_new));
                registry.accepted_in(claim, roster, room);
            }
            Output::Refused { claim, why } => registry.refused(claim, why),
            Output::Superseded { claim } => registry.superseded(claim),
            Output::Probe {
                claim,
                token,
                within,
            } => registry.probe(claim, token, within),
            Output::Notify { network, to, event } => {
                registry.notify(self.router.now(), &network, to, event);
            }
            Output::Alarm { label, text } => {
                self.shared.metrics.alarms.inc(label);
                tracing::warn!(alarm = label, "{text}");
                let label = label.into();
                registry.watch().events.note(What::Alarm { label, text });
            }
            Output::Seen { network } => {
                let is_kept = self.core.is_interested(&network);
                for asker in self.looks.remove(&network).into_iter().flatten() {
                    // The asker may have given up.
                    let _ = asker.send(is_kept);
                }
            }
            Output::Bans => self.show_bans(),
            Output::LeftMesh if self.shared.random_id => {
                let (hub, nonce) = (HubId(rand::random()), rand::random());
                self.core.take_new_id(self.now(), hub, nonce);
                // The dials that follow in this same turn must already use the new id.
                self.shared
                    .set_identity(self.core.id(), self.core.incarnation());
                tracing::warn!(%hub, "this hub goes by another id from now on");
            }
            Output::LeftMesh => {
                tracing::error!(
                    "this hub has left the mesh; it serves its own peers only for a while"
                )
            }
            Output::BackInMesh => tracing::warn!("this hub tries the mesh again"),
        }
    }

    fn dial(&mut self, dial: DialId, target: &DialTarget) {
        let (url, told_by) = match target {
            DialTarget::Bootstrap(url) => (url.clone(), None),
            DialTarget::Learned { hub, url } => {
                (url.clone(), Some(self.core.topology().told_by(*hub)))
            }
        };
        while self.dials.try_join_next().is_some() {}
        self.dialing.insert(dial, target.clone());
        let shared = Arc::clone(&self.shared);
        self.dials.spawn(shared.dial(dial, url, told_by));
    }

    /// A dial made a link. A link that leads to this hub itself is no success.
    fn note_success(&mut self, now: Now, up: &LinkUp) {
        let Some(target) = up.dialed.and_then(|dial| self.dialing.remove(&dial)) else {
            return;
        };
        let url = url_of(&target);
        if up.hub != self.core.id() {
            return self.troubles.on_success(url);
        }
        let trouble = Trouble {
            label: "self",
            cause: ITSELF.to_owned(),
            stands: true,
        };
        // If all hubs have the same list, each finds itself in it: that is worth a warning only if the list has no
        // other address.
        let is_ours = |status: BootstrapStatus<'_>| status.ourselves || status.url == url;
        let is_alone = self.core.dialer().bootstrap_status().all(is_ours);
        let tell = if is_alone { Tell::Always } else { Tell::Never };
        self.tell(now, url, trouble, tell);
    }

    /// An advertised hub out of reach is handled by the mesh; all other failures may need an operator.
    fn note_failure(&mut self, now: Now, target: &DialTarget, trouble: Trouble) {
        let tell = match target {
            DialTarget::Learned { .. } if !trouble.stands => Tell::Never,
            _ => Tell::Always,
        };
        self.tell(now, url_of(target), trouble, tell);
    }

    fn tell(&mut self, now: Now, url: &str, trouble: Trouble, tell: Tell) {
        let (reason, cause) = (trouble.label, trouble.cause.clone());
        let is_due = self.troubles.on_failure(now.at, url, trouble);
        match tell {
            Tell::Always if is_due => tracing::warn!(url, reason, cause, "no link"),
            _ => tracing::debug!(url, reason, cause, "no link"),
        }
    }

    fn close(&mut self, link: LinkId, bye: Bye) {
        let Some(queue) = self.live.remove(&link) else {
            return;
        };
        self.link_events += 1;
        self.router.set_link(link, None);
        self.shared.metrics.links_down.inc(bye.label());
        self.reported.on_down(link, bye.label());
        match bye {
            Bye::Duplicate | Bye::SelfDial | Bye::Draining { .. } => {
                tracing::debug!(link = link.0, reason = bye.label(), "link closed");
            }
            _ => tracing::info!(link = link.0, reason = bye.label(), "link closed"),
        }
        queue.close(bye_message(bye));
    }

    fn tick(&mut self, now: Now) {
        let metrics = &self.shared.metrics;
        let counters = self.core.counters();
        metrics
            .resyncs
            .inc_by(counters.resyncs - self.counted.resyncs);
        metrics
            .mesh_changes
            .inc_by(counters.changes - self.counted.changes);
        metrics
            .mesh_repeated
            .inc_by(counters.repeated - self.counted.repeated);
        metrics
            .mesh_turns
            .inc_by(counters.turns - self.counted.turns);
        metrics.mesh_narrow.set(i64::from(self.core.is_narrow()));
        let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.mesh_interests.set(size(self.core.interests()));
        let lines = self.core.directory().read().lines().len();
        metrics.mesh_lines.set(size(lines));
        let rooms = &metrics.rooms;
        rooms
            .taken_over
            .inc_by(counters.rooms_taken_over - self.counted.rooms_taken_over);
        rooms
            .not_taken
            .inc_by(counters.rooms_not_taken - self.counted.rooms_not_taken);
        self.counted = counters;
        metrics.rooms.held.set(size(self.core.rooms_held()));
        metrics.rooms.empty.set(size(self.core.rooms_empty()));
        for link in self.core.links().iter() {
            if let Some(rtt) = link.rtt {
                metrics.link_rtt_seconds.observe(rtt.as_secs_f64());
            }
        }
        metrics
            .links_open
            .set(i64::try_from(self.core.links().link_count()).unwrap_or(i64::MAX));
        let seen: Vec<HubId> = self
            .core
            .topology()
            .routes()
            .by_hub
            .keys()
            .copied()
            .collect();
        self.sightings.note(&seen, now.wall_ms);
        self.publish(now);
    }

    fn publish_changes(&mut self) {
        let same = Arc::ptr_eq(&self.published.0, &self.core.topology().routes());
        if !same || self.published.1 != self.link_events {
            self.publish(self.now());
        }
    }

    fn publish(&mut self, now: Now) {
        self.published = (self.core.topology().routes(), self.link_events);
        let published = Published::of(&self.core, &self.sightings, &self.troubles, now);
        let watch = self.router.registry().watch();
        watch.events.set_id(self.core.id());
        self.reported.look(&published, &watch.events);
        self.shared.publish(published);
    }

    /// Lets the links write their last messages.
    async fn part(mut self) {
        let end = Instant::now() + PART_WITHIN;
        while !self.router.links().is_empty() || !self.live.is_empty() {
            tokio::select! {
                () = sleep_until(end) => break,
                input = self.inputs.recv() => match input {
                    Some(Input::LinkDown { link }) => drop(self.live.remove(&link)),
                    Some(_) => {}
                    None => break,
                },
            }
        }
        self.dials.shutdown().await;
        if let Some(asker) = self.stopping.take() {
            // The asker may have given up meanwhile.
            let _ = asker.send(());
        }
    }
}
