//! The simulated driver of a core: carries its outputs out, gives it inputs, keeps its timer.

use bytes::{Bytes, BytesMut};

use super::{HostNo, World};
use crate::ids::Boot;
use crate::ids::{ConnNo, Side};
use crate::net::InFlight;
use crate::queue::Event;
use hubmesh_core::api::{Bye, Output};
use hubmesh_core::exchange::Effect;
use hubmesh_core::frames::{DataFrame, RefusedWhy};
use hubmesh_core::ids::{LinkId, Moment, stable_hash};
use hubmesh_core::wire;

const MAX_MESSAGE: usize = 16 * 1024;
/// How often a core's timer may be due in one instant.
const MAX_SPINS: u32 = 10_000;

impl World {
    /// Carries out all outputs of a core, and runs the checks.
    pub(crate) fn settle(&mut self, no: HostNo) {
        self.carry_all_out(no);
        if self.hosts[no].running.is_none() {
            return;
        }
        self.note_life(no);
        self.look_at_rooms(no);
        if self.config.watch && !self.is_rogue(no) {
            self.look(no);
        }
    }

    /// Carries out all outputs of a core.
    pub(super) fn carry_all_out(&mut self, no: HostNo) {
        loop {
            let Some(running) = self.hosts[no].running.as_mut() else {
                return;
            };
            if let Some(output) = running.core.poll_output() {
                self.carry_out(no, output);
            } else if !self.next_effect(no) {
                break;
            }
        }
        self.pump_all(no);
        self.arm(no);
    }

    fn note_life(&mut self, no: HostNo) {
        if let (Some(boot), Some(core)) = (self.boot_of(no), self.core(no)) {
            let life = core.incarnation();
            self.lives_told.insert(boot, life);
        }
    }

    fn look(&mut self, no: HostNo) {
        let mut watch = std::mem::take(&mut self.watch);
        let faults = watch.look(self, no);
        self.watch = watch;
        for fault in faults {
            self.fault(fault);
        }
    }

    fn arm(&mut self, no: HostNo) {
        let Some(running) = self.hosts[no].running.as_mut() else {
            return;
        };
        let Some(Moment(due)) = running.core.poll_timeout() else {
            return;
        };
        let due = due.max(self.now);
        if running.timer.is_none_or(|timer| due < timer) {
            running.timer = Some(due);
            let boot = Boot {
                host: no,
                boot: running.boot,
            };
            self.queue.push(due, Event::Timer(boot));
        }
    }

    pub(super) fn on_timer(&mut self, boot: Boot) {
        if !self.is(boot) {
            return;
        }
        let now = self.clocks(boot.host);
        let Some(running) = self.hosts[boot.host].running.as_mut() else {
            return;
        };
        if running.timer != Some(self.now) {
            return;
        }
        running.timer = None;
        if running.core.poll_timeout().is_some_and(|due| due <= now.at) {
            running.core.handle_timeout(now);
            self.count_spin(boot.host);
        }
        self.settle(boot.host);
    }

    /// A core whose timer is always due again at once would stop time.
    fn count_spin(&mut self, no: HostNo) {
        if self.spins.0 != self.now {
            self.spins = (self.now, 0);
        }
        self.spins.1 += 1;
        assert!(
            self.spins.1 < MAX_SPINS,
            "the timer of host {no} spins at {} us",
            self.now
        );
    }

    fn carry_out(&mut self, no: HostNo, output: Output) {
        match output {
            Output::Dial { dial, target } => self.dial(no, dial, target),
            Output::Close { link, bye } => self.close(no, link, bye),
            Output::Accepted { claim, roster } => self.on_accepted(no, claim, roster),
            Output::Refused { claim, .. } => self.on_refused(no, claim),
            Output::Superseded { claim } => self.on_superseded(no, claim),
            Output::Probe {
                claim,
                token,
                within,
            } => self.on_probe(no, claim, token, within),
            Output::Notify { network, to, event } => self.on_notify(no, &network, &to, &event),
            Output::Alarm { label, text } => self.on_alarm(no, label, &text),
            Output::BackInMesh => self.mark(3 << 56 | no as u64),
            // Checked when the mesh is quiet.
            Output::Bans => {}
            Output::Seen { network } => self.on_seen(no, network),
            Output::LeftMesh => self.on_left(no),
        }
    }

    fn on_left(&mut self, no: HostNo) {
        self.mark(2 << 56 | no as u64);
        if !self.hosts[no].random_id {
            return;
        }
        let (hub, nonce) = (self.draw_id(), self.rng.next_u64());
        self.disturb();
        self.log(|| format!("host {no} goes by {hub:?} from now on"));
        self.hosts[no].id = hub;
        let now = self.clocks(no);
        if let Some(running) = self.hosts[no].running.as_mut() {
            running.core.take_new_id(now, hub, nonce);
        }
    }

    fn on_alarm(&mut self, no: HostNo, label: &'static str, text: &str) {
        self.log(|| format!("host {no} raises {label}: {text}"));
        *self.alarms.entry(label).or_default() += 1;
        if matches!(label, "delta-gap" | "audit-mismatch") && self.rogues.is_empty() {
            self.fault(format!("8: host {no} raised {label}: {text}"));
        }
    }

    /// Carries out one effect of the exchange; false if there is none.
    fn next_effect(&mut self, no: HostNo) -> bool {
        let now = self.clocks(no);
        let Some(running) = self.hosts[no].running.as_mut() else {
            return false;
        };
        let exchange = running.core.exchange().clone();
        let Some(effect) = exchange.lock().poll_effect() else {
            return false;
        };
        match effect {
            Effect::Link { link, frame } => self.send_data(no, link, &frame),
            Effect::Deliver(delivery) => {
                let taken = self.on_delivery(no, &delivery);
                let result = if taken {
                    Ok(())
                } else {
                    Err(RefusedWhy::NotHere)
                };
                exchange.lock().settle(result);
            }
            // Clients of the simulator do not publish.
            Effect::Publish(_) | Effect::Unpublished(_) => {}
            Effect::HubMessage { payload, .. } if self.take_later(no, &payload) => {}
            Effect::HubMessageFailed { token, .. } if self.fail_later(token) => {}
            Effect::HubMessage { from, payload } => {
                if let Some(running) = self.hosts[no].running.as_mut() {
                    running.core.handle_hub_message(now, from, &payload);
                }
            }
            Effect::HubMessageFailed { token, .. } => {
                if let Some(running) = self.hosts[no].running.as_mut() {
                    running.core.handle_hub_message_failed(now, token);
                }
            }
            Effect::Failed(failed) | Effect::Returned(failed) => self.on_failed(no, &failed),
            Effect::Forged { source } => {
                if let Some(running) = self.hosts[no].running.as_mut() {
                    running.core.note_forged(now, source);
                }
            }
            Effect::Counted(label) => *self.totals.counted.entry(label).or_default() += 1,
        }
        true
    }

    fn send_data(&mut self, no: HostNo, link: LinkId, frame: &DataFrame) {
        self.sniff_signal(no, link, frame);
        let Some(running) = self.hosts[no].running.as_ref() else {
            return;
        };
        let Some((conn, side)) = running.links.get(&link).copied() else {
            return;
        };
        let mut message = BytesMut::new();
        wire::encode_data(frame, &mut message);
        if let Some(conn) = self.conns.get_mut(conn) {
            conn.pipes[side].data_queue.push_back(message.freeze());
        }
    }

    fn pump_all(&mut self, no: HostNo) {
        let Some(running) = self.hosts[no].running.as_ref() else {
            return;
        };
        let links: Vec<(LinkId, ConnNo, Side)> = running
            .links
            .iter()
            .filter(|(link, (conn, side))| {
                let conn = self.conns.get(*conn);
                conn.is_some_and(|conn| {
                    let pipe = &conn.pipes[*side];
                    !pipe.rests(self.now)
                        && (!pipe.data_queue.is_empty() || running.core.has_pending(**link))
                })
            })
            .map(|(link, (conn, side))| (*link, *conn, *side))
            .collect();
        for (link, conn, side) in links {
            self.pump(no, link, conn, side);
        }
    }

    /// Sends the frames of a link, as far as its pipe accepts them.
    pub(super) fn pump(&mut self, no: HostNo, link: LinkId, conn_no: ConnNo, side: Side) {
        let mut wrote = false;
        while let Some(message) = self.next_message(no, link, conn_no, side) {
            wrote |= !wire::is_data(&message);
            let Some(message) = self.rogue_says(no, conn_no, message) else {
                continue;
            };
            self.count_message(no, &message);
            self.send(conn_no, side, InFlight::Message(message));
        }
        if wrote
            && self.config.gather > 0
            && let Some(conn) = self.conns.get_mut(conn_no)
        {
            conn.pipes[side].gathers_until = self.now + self.config.gather;
        }
    }

    fn next_message(
        &mut self,
        no: HostNo,
        link: LinkId,
        conn_no: ConnNo,
        side: Side,
    ) -> Option<Bytes> {
        let core = &mut self.hosts[no].running.as_mut()?.core;
        let pipe = &mut self.conns.get_mut(conn_no)?.pipes[side];
        if !pipe.takes_more(self.config.window) {
            return None;
        }
        if let Some(data) = pipe.data_queue.pop_front() {
            return Some(data);
        }
        if pipe.gathers_until > self.now {
            if !pipe.waits && core.has_pending(link) {
                pipe.waits = true;
                let conn = conn_no;
                self.queue
                    .push(pipe.gathers_until, Event::Gathered { conn, side });
            }
            return None;
        }
        let before = core.counters().sent;
        let message = core.poll_transmit(link, MAX_MESSAGE)?;
        let after = core.counters().sent;
        self.totals.sent.add_between(&before, &after);
        Some(message)
    }

    pub(super) fn on_gathered(&mut self, conn_no: ConnNo, side: Side) {
        let Some(conn) = self.conns.get_mut(conn_no) else {
            return;
        };
        conn.pipes[side].waits = false;
        let end = &conn.ends[side];
        let (owner, link) = (end.owner, end.open_link());
        if let Some(link) = link.filter(|_| self.is(owner)) {
            self.pump(owner.host, link, conn_no, side);
        }
    }

    /// A message arrived on a link.
    pub(super) fn receive(&mut self, no: HostNo, link: LinkId, message: &Bytes) {
        self.mark(stable_hash(message) ^ (no as u64) << 48);
        if self.rogue_hears(no, link, message) {
            return;
        }
        let now = self.clocks(no);
        if wire::is_data(message) {
            self.receive_data(no, link, message);
        } else {
            self.sniff_control(no, link, message);
            if let Some(running) = self.hosts[no].running.as_mut() {
                running.core.handle_message(now, link, message);
            }
        }
        self.settle(no);
    }

    fn receive_data(&mut self, no: HostNo, link: LinkId, message: &Bytes) {
        let now = self.clocks(no);
        let Some(running) = self.hosts[no].running.as_mut() else {
            return;
        };
        running.core.handle_heard(now, link);
        let Ok(frames) = wire::split_data(message) else {
            return running.core.drop_link(now, link, Bye::BadFrame);
        };
        let (exchange, directory) = (
            running.core.exchange().clone(),
            running.core.directory().clone(),
        );
        self.sniff_arrivals(link, message);
        for frame in frames {
            let mut exchange = exchange.lock();
            exchange.handle(now.at, &*directory.read(), frame, link);
        }
    }
}
