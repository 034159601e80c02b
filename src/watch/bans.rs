//! The bans, in a form in which connections and joins are checked against them.
//!
//! The mesh keeps the bans (`hubmesh_core`), and knows only their numbers and times. Their contents are read here. The
//! driver hands in all bans whenever one changes. Only connections and joins are checked, and never a signal. The check
//! costs nothing while there is no ban. A ban that is over no longer counts, even before it is removed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hubmesh_core::api::{Ban, BanId, MAX_BAN_MS};
use hubmesh_core::ids::{Dialect, HubId, NetworkKey, PeerId};
use ipnet::IpNet;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::clock::unix_ms;
use crate::metrics::Metrics;

/// The longest reason, in bytes.
const MAX_REASON: usize = 200;
/// The longest subject that operators see and may ban, in bytes. A token may have a longer one, which is not shown.
pub(crate) const MAX_SUBJECT: usize = 256;

/// The party of a connection, as far as the hub of the connection knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Party {
    /// The address from which it connects.
    pub address: IpAddr,
    /// The subject of its token, if the token names one.
    pub subject: Option<Box<str>>,
}

impl Party {
    /// A party at this address whose token names this subject.
    pub fn new(address: IpAddr, subject: Option<&str>) -> Self {
        Party {
            address,
            subject: subject.map(Into::into),
        }
    }

    /// A party at this address without a token.
    pub fn at(address: IpAddr) -> Self {
        Party::new(address, None)
    }

    /// The party as operators see it: without a subject that is too long to be shown.
    pub(crate) fn shown(mut self) -> Self {
        self.subject = self.subject.filter(|text| text.len() <= MAX_SUBJECT);
        self
    }
}

/// The target of a ban.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BannedBy {
    /// An id: in one network, in all networks of a dialect, or in all networks.
    Id {
        /// The id.
        id: String,
        /// The dialect's label.
        dialect: Option<String>,
        /// The network's name.
        network: Option<String>,
    },
    /// The subject of a token.
    Subject(String),
    /// An address.
    Address(IpAddr),
    /// All addresses of a block: the first address, and the number of bits that count.
    Block(IpAddr, u8),
}

impl BannedBy {
    /// The name of this kind of target.
    pub fn kind(&self) -> &'static str {
        match self {
            BannedBy::Id { .. } => "id",
            BannedBy::Subject(_) => "subject",
            BannedBy::Address(_) => "address",
            BannedBy::Block(..) => "block",
        }
    }

    /// The target as text.
    pub fn value(&self) -> String {
        match self {
            BannedBy::Id { id, .. } => id.clone(),
            BannedBy::Subject(subject) => subject.clone(),
            BannedBy::Address(address) => address.to_string(),
            BannedBy::Block(address, bits) => format!("{address}/{bits}"),
        }
    }
}

/// The contents of a ban: all except its number and its end.
#[derive(Serialize, Deserialize)]
struct About {
    by: BannedBy,
    reason: String,
    placed_ms: u64,
    placed_by: HubId,
}

/// A ban.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Banned {
    /// The ban's number.
    pub id: BanId,
    /// The target.
    pub by: BannedBy,
    /// The reason, for operators.
    pub reason: String,
    /// When the ban was placed, in Unix milliseconds.
    pub placed_ms: u64,
    /// Until when the ban counts, in Unix milliseconds.
    pub until_ms: u64,
    /// The hub that placed it.
    pub placed_by: HubId,
}

/// Why a ban cannot be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadBan {
    /// The request names none or several of the four targets.
    #[error("a ban needs exactly one of id, subject, address and block")]
    NotOne,
    /// No peer can have this id.
    #[error("id has to be 1 to {} bytes", PeerId::MAX_BYTES)]
    Id,
    /// No network can have this name.
    #[error(
        "network has to be 1 to {} bytes, and needs dialect",
        NetworkKey::MAX_NAME_BYTES
    )]
    Network,
    /// Only a ban of an id can be bound to a dialect and a network.
    #[error("only a ban of an id takes dialect and network")]
    Bound,
    /// There is no such dialect.
    #[error("there is no such dialect")]
    Dialect,
    /// The subject is empty or too long.
    #[error("subject has to be 1 to {MAX_SUBJECT} bytes")]
    Subject,
    /// The text is not an address.
    #[error("address has to be an IPv4 or IPv6 address")]
    Address,
    /// The text is not a block, or the block has all addresses.
    #[error(
        "block has to be an address and a number of bits, such as 10.0.0.0/8, and must not have all addresses"
    )]
    Block,
    /// The reason is too long, or has control characters.
    #[error("reason has to be one line of text of at most {MAX_REASON} bytes")]
    Reason,
    /// The time is too short or too long.
    #[error("seconds has to be a whole number from 1 to {}", MAX_BAN_MS / 1_000)]
    Seconds,
}

impl Banned {
    /// A ban of this target, from now on for this many seconds.
    pub fn new(
        by: BannedBy,
        reason: String,
        seconds: u64,
        placed_by: HubId,
    ) -> Result<Self, BadBan> {
        if reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(BadBan::Reason);
        }
        if seconds == 0 || seconds > MAX_BAN_MS / 1_000 {
            return Err(BadBan::Seconds);
        }
        let placed_ms = unix_ms();
        Ok(Banned {
            id: BanId(rand::random()),
            by,
            reason,
            placed_ms,
            until_ms: placed_ms + seconds * 1_000,
            placed_by,
        })
    }

    /// The ban as the mesh keeps it.
    pub fn to_ban(&self) -> Ban {
        let about = About {
            by: self.by.clone(),
            reason: self.reason.clone(),
            placed_ms: self.placed_ms,
            placed_by: self.placed_by,
        };
        Ban {
            id: self.id,
            until_ms: self.until_ms,
            lifted: false,
            // Writing to memory cannot fail for this type.
            about: postcard::to_stdvec(&about).unwrap_or_default().into(),
        }
    }

    /// Reads a ban that the mesh keeps. `None` if this version cannot read it.
    pub fn of(ban: &Ban) -> Option<Self> {
        let about: About = postcard::from_bytes(&ban.about).ok()?;
        let fits = match &about.by {
            BannedBy::Block(address, bits) => IpNet::new(*address, *bits).is_ok(),
            BannedBy::Id { .. } | BannedBy::Subject(_) | BannedBy::Address(_) => true,
        };
        fits.then_some(Banned {
            id: ban.id,
            by: about.by,
            reason: about.reason,
            placed_ms: about.placed_ms,
            until_ms: ban.until_ms,
            placed_by: about.placed_by,
        })
    }
}

impl BannedBy {
    /// A ban of an id.
    pub fn id(id: &str, dialect: Option<&str>, network: Option<&str>) -> Result<Self, BadBan> {
        PeerId::new(id).map_err(|_| BadBan::Id)?;
        let dialect = dialect.map(|label| Dialect::from_label(label).ok_or(BadBan::Dialect));
        let dialect = dialect.transpose()?;
        if let Some(name) = network {
            NetworkKey::new(dialect.ok_or(BadBan::Network)?, name).map_err(|_| BadBan::Network)?;
        }
        Ok(BannedBy::Id {
            id: id.to_owned(),
            dialect: dialect.map(|dialect| dialect.label().to_owned()),
            network: network.map(str::to_owned),
        })
    }

    /// A ban of a token's subject.
    pub fn subject(subject: &str) -> Result<Self, BadBan> {
        let fits = (1..=MAX_SUBJECT).contains(&subject.len());
        let of = || BannedBy::Subject(subject.to_owned());
        fits.then(of).ok_or(BadBan::Subject)
    }

    /// A ban of an address.
    pub fn address(text: &str) -> Result<Self, BadBan> {
        let address: IpAddr = text.parse().map_err(|_| BadBan::Address)?;
        Ok(BannedBy::Address(address.to_canonical()))
    }

    /// A ban of a block of addresses. A block of all addresses is refused, because it would also keep out the operator's
    /// own peers.
    pub fn block(text: &str) -> Result<Self, BadBan> {
        let block: IpNet = text.parse().map_err(|_| BadBan::Block)?;
        // IPv4 addresses are compared as IPv4, so a block of IPv4 addresses in IPv6 form becomes an IPv4 block.
        let (first, bits) = match (block.network().to_canonical(), block.prefix_len()) {
            (IpAddr::V4(first), bits @ 96..) if block.network().is_ipv6() => {
                (first.into(), bits - 96)
            }
            (_, bits) => (block.network(), bits),
        };
        if bits == 0 {
            return Err(BadBan::Block);
        }
        Ok(BannedBy::Block(first, bits))
    }
}

/// Where a ban of an id counts, and until when.
struct Where {
    dialect: Option<String>,
    network: Option<String>,
    until_ms: u64,
}

impl Where {
    fn holds(&self, network: &NetworkKey, now: u64) -> bool {
        let of = network.dialect().map(Dialect::label);
        let is_dialect = self.dialect.as_deref().is_none_or(|own| of == Some(own));
        let is_network = self.network.as_deref();
        is_dialect && is_network.is_none_or(|own| own == network.name()) && now < self.until_ms
    }
}

#[derive(Default)]
struct Table {
    all: Vec<Banned>,
    ids: HashMap<String, Vec<Where>>,
    subjects: HashMap<String, u64>,
    addresses: HashMap<IpAddr, u64>,
    blocks: Vec<(IpNet, u64)>,
}

impl Table {
    fn of(all: Vec<Banned>) -> Self {
        let mut table = Table::default();
        for ban in &all {
            let until = ban.until_ms;
            let later = |before: &mut u64| *before = until.max(*before);
            match &ban.by {
                BannedBy::Id {
                    id,
                    dialect,
                    network,
                } => table.ids.entry(id.clone()).or_default().push(Where {
                    dialect: dialect.clone(),
                    network: network.clone(),
                    until_ms: until,
                }),
                BannedBy::Subject(subject) => {
                    let entry = table.subjects.entry(subject.clone());
                    entry.and_modify(later).or_insert(until);
                }
                BannedBy::Address(address) => {
                    let entry = table.addresses.entry(*address);
                    entry.and_modify(later).or_insert(until);
                }
                BannedBy::Block(address, bits) => {
                    table
                        .blocks
                        .extend(IpNet::new(*address, *bits).map(|block| (block, until)));
                }
            }
        }
        table.all = all;
        table
    }
}

/// The bans in force.
pub struct BanList {
    any: AtomicBool,
    table: RwLock<Arc<Table>>,
    changed: Notify,
    metrics: Arc<Metrics>,
}

impl BanList {
    /// No bans.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        BanList {
            any: AtomicBool::new(false),
            table: RwLock::default(),
            changed: Notify::new(),
            metrics,
        }
    }

    /// Replaces all bans by these.
    pub fn set<'a>(&self, bans: impl Iterator<Item = &'a Ban>) {
        let mut all: Vec<Banned> = bans.filter_map(Banned::of).collect();
        all.sort_by_key(|ban| (ban.placed_ms, ban.id));
        let count = i64::try_from(all.len()).unwrap_or(i64::MAX);
        self.metrics.operating.bans.set(count);
        let any = !all.is_empty();
        *self.table.write() = Arc::new(Table::of(all));
        self.any.store(any, Ordering::Release);
        // If the task that enforces bans is not waiting, it gets this notice when it waits next.
        self.changed.notify_one();
    }

    /// Waits until the bans change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn table(&self) -> Option<Arc<Table>> {
        let any = self.any.load(Ordering::Acquire);
        any.then(|| Arc::clone(&self.table.read()))
    }

    /// All bans in force, in the order in which they were placed.
    pub fn all(&self) -> Vec<Banned> {
        let now = unix_ms();
        let table = self.table();
        table.map_or_else(Vec::new, |table| {
            let all = table.all.iter();
            all.filter(|ban| now < ban.until_ms).cloned().collect()
        })
    }

    /// Whether a ban keeps this party from connecting.
    pub fn bars(&self, party: &Party) -> bool {
        let Some(table) = self.table() else {
            return false;
        };
        let now = unix_ms();
        let address = party.address.to_canonical();
        let counts = |until: &u64| now < *until;
        let subject = party.subject.as_deref();
        let by_subject = subject.and_then(|subject| table.subjects.get(subject));
        let by_block = || {
            let mut blocks = table.blocks.iter();
            blocks.any(|(block, until)| counts(until) && block.contains(&address))
        };
        table.addresses.get(&address).is_some_and(counts)
            || by_subject.is_some_and(counts)
            || by_block()
    }

    /// Whether a ban keeps this id out of this network.
    pub fn bars_id(&self, network: &NetworkKey, peer: &PeerId) -> bool {
        let Some(table) = self.table().filter(|table| !table.ids.is_empty()) else {
            return false;
        };
        let now = unix_ms();
        let found = table.ids.get(&peer.to_string());
        found.is_some_and(|all| all.iter().any(|one| one.holds(network, now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: HubId = HubId([1; 20]);

    fn list(all: &[BannedBy]) -> BanList {
        let list = BanList::new(Metrics::new());
        let bans: Vec<Ban> = all
            .iter()
            .map(|by| {
                let ban = Banned::new(by.clone(), String::new(), 60, ME);
                ban.expect("a ban").to_ban()
            })
            .collect();
        list.set(bans.iter());
        list
    }

    fn at(address: &str) -> Party {
        Party::at(address.parse().expect("an address"))
    }

    fn network(dialect: Dialect, name: &str) -> NetworkKey {
        NetworkKey::new(dialect, name).expect("a name")
    }

    #[test]
    fn addresses_and_blocks_are_banned_in_every_form() {
        let list = list(&[
            BannedBy::address("192.0.2.1").expect("an address"),
            BannedBy::block("10.1.0.0/16").expect("a block"),
            BannedBy::block("2001:db8::/32").expect("a block"),
        ]);
        for barred in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "10.1.255.255",
            "2001:db8:1::1",
        ] {
            assert!(list.bars(&at(barred)), "{barred}");
        }
        for free in ["192.0.2.2", "10.2.0.1", "2001:db9::1", "::1"] {
            assert!(!list.bars(&at(free)), "{free}");
        }
    }

    #[test]
    fn a_block_of_mapped_addresses_is_an_ipv4_block() {
        let block = |text| BannedBy::block(text).map(|by| by.value());
        assert_eq!(block("::ffff:10.1.0.0/112"), Ok("10.1.0.0/16".into()));
        assert_eq!(block("::ffff:0.0.0.0/96"), Err(BadBan::Block), "everybody");
        assert_eq!(block("::/0"), Err(BadBan::Block));
        let list = list(&[BannedBy::block("::ffff:10.1.0.0/112").expect("a block")]);
        assert!(list.bars(&at("10.1.2.3")) && !list.bars(&at("10.2.0.1")));
    }

    #[test]
    fn a_subject_that_is_too_long_is_not_shown() {
        for (length, told) in [(MAX_SUBJECT, true), (MAX_SUBJECT + 1, false)] {
            let party = Party {
                subject: Some("x".repeat(length).into()),
                ..at("192.0.2.1")
            };
            let shown = party.shown();
            assert_eq!(shown.subject.is_some(), told, "{length}");
            assert_eq!(shown.address, at("192.0.2.1").address);
        }
    }

    #[test]
    fn an_id_is_banned_only_where_its_ban_counts() {
        let ada = PeerId::new("ada").expect("an id");
        let everywhere = list(&[BannedBy::id("ada", None, None).expect("a ban")]);
        let dialect = list(&[BannedBy::id("ada", Some("peerjs"), None).expect("a ban")]);
        let one = list(&[BannedBy::id("ada", Some("pigeon"), Some("global")).expect("a ban")]);
        let pigeon = network(Dialect::Pigeon, "global");
        let other = network(Dialect::Pigeon, "other");
        let peerjs = network(Dialect::PeerJs, "peerjs");
        let held =
            |list: &BanList| [&pigeon, &other, &peerjs].map(|network| list.bars_id(network, &ada));
        assert_eq!(held(&everywhere), [true, true, true]);
        assert_eq!(held(&dialect), [false, false, true]);
        assert_eq!(held(&one), [true, false, false]);
        assert!(!everywhere.bars_id(&pigeon, &PeerId::new("bob").expect("an id")));
    }

    #[test]
    fn a_subject_is_banned_at_every_address() {
        let list = list(&[BannedBy::subject("ada").expect("a subject")]);
        let party = |subject: &str| Party {
            subject: Some(subject.into()),
            ..at("192.0.2.1")
        };
        assert!(list.bars(&party("ada")));
        assert!(!list.bars(&party("bob")) && !list.bars(&at("192.0.2.1")));
    }

    #[test]
    fn a_ban_that_is_over_keeps_nobody_out() {
        let by = BannedBy::address("192.0.2.1").expect("an address");
        let over = Banned {
            until_ms: unix_ms() - 1,
            ..Banned::new(by, String::new(), 60, ME).expect("a ban")
        };
        let list = BanList::new(Metrics::new());
        list.set([over.to_ban()].iter());
        assert!(!list.bars(&at("192.0.2.1")) && list.all().is_empty());
    }

    #[test]
    fn a_ban_of_nobody_or_of_everybody_is_refused() {
        let long = "x".repeat(300);
        for (made, why) in [
            (BannedBy::id("", None, None), BadBan::Id),
            (BannedBy::id(&long, None, None), BadBan::Id),
            (BannedBy::id("a", Some("latin"), None), BadBan::Dialect),
            (BannedBy::id("a", None, Some("x")), BadBan::Network),
            (BannedBy::id("a", Some("yjs"), Some(&long)), BadBan::Network),
            (BannedBy::subject(""), BadBan::Subject),
            (BannedBy::subject(&long), BadBan::Subject),
            (BannedBy::address("10.0.0.0/8"), BadBan::Address),
            (BannedBy::address("somewhere"), BadBan::Address),
            (BannedBy::block("10.0.0.1"), BadBan::Block),
            (BannedBy::block("10.0.0.0/33"), BadBan::Block),
            (BannedBy::block("0.0.0.0/0"), BadBan::Block),
        ] {
            assert_eq!(made, Err(why));
        }
        let by = || BannedBy::Subject("ada".into());
        for (reason, seconds, why) in [
            (long.as_str(), 1, BadBan::Reason),
            ("a\nb", 1, BadBan::Reason),
            ("", 0, BadBan::Seconds),
            ("", u64::MAX, BadBan::Seconds),
        ] {
            assert_eq!(
                Banned::new(by(), reason.into(), seconds, ME).map(drop),
                Err(why)
            );
        }
    }

    #[test]
    fn a_damaged_ban_of_another_hub_is_ignored() {
        let by = BannedBy::block("10.0.0.0/8").expect("a block");
        let ban = Banned::new(by, "why".into(), 60, ME).expect("a ban");
        let kept = ban.to_ban();
        assert_eq!(Banned::of(&kept), Some(ban.clone()));
        for length in 0..kept.about.len() {
            let cut = Ban {
                about: kept.about.slice(..length),
                ..kept.clone()
            };
            assert_eq!(Banned::of(&cut), None, "{length}");
        }
        let too_long = Banned {
            by: BannedBy::Block([10, 0, 0, 0].into(), 33),
            ..ban
        };
        assert_eq!(Banned::of(&too_long.to_ban()), None);
    }
}
