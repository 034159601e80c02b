//! The packets by which two ends find each other: sealed, so that packets of others do not count.
//!
//! Forty bytes: eight for the protocol, one for the kind, seven of zero, a challenge of eight, and a seal of sixteen
//! over all of it. The key of the seal is made of a nonce of each end, which they sent each other through the hub, and
//! of the attempt and its round. So no packet of another attempt, of an earlier round, or of this end itself, sent back
//! by a mirror, is valid. Pure; decoding never panics. The layout is a wire format.

use ring::hmac;

use super::plan::Side;

/// Bytes of a packet.
pub(super) const LENGTH: usize = 40;
const MAGIC: [u8; 8] = *b"\x9ehubp2p\x01";
const SEALED: usize = 24;

/// The kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// I look for you.
    Hello,
    /// I heard you; with the challenge of your hello.
    Heard,
    /// This way is the one; with a challenge that names the choice.
    Nominate,
    /// Agreed; with the challenge of the nomination.
    Agreed,
    /// I know that you agreed, with the challenge of the nomination: what follows is data.
    Settled,
    /// Keeps the mappings of NATs alive.
    Alive,
    /// The end of the connection.
    Bye,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Hello,
        Self::Heard,
        Self::Nominate,
        Self::Agreed,
        Self::Settled,
        Self::Alive,
        Self::Bye,
    ];

    fn code(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Heard => 2,
            Self::Nominate => 3,
            Self::Agreed => 4,
            Self::Settled => 5,
            Self::Alive => 6,
            Self::Bye => 7,
        }
    }
}

/// A packet that was valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) kind: Kind,
    pub(super) challenge: Challenge,
}

/// Random bytes that have to come back from the address to which they were sent. The challenge of a nomination also
/// names the chosen way.
pub(super) type Challenge = [u8; 8];

/// A nonce of one end.
pub(super) type Nonce = [u8; 16];

/// Seals and opens the packets of one round, at one end.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    own: hmac::Key,
    others: hmac::Key,
    /// The key for challenges, which only this end has to recognise.
    secret: hmac::Key,
}

/// The values that distinguish one round from all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round<'r> {
    pub(super) attempt: &'r str,
    pub(super) number: u8,
    /// The nonce of the end that asked.
    pub(super) asking: &'r Nonce,
    /// The nonce of the end that was asked.
    pub(super) asked: &'r Nonce,
}

impl Seal {
    pub(super) fn new(round: &Round<'_>, own: Side, secret: [u8; 16]) -> Self {
        let both = [&round.asking[..], &round.asked[..]].concat();
        let all = hmac::Key::new(hmac::HMAC_SHA256, &both);
        let key = |side: Side| {
            let mut text = vec![u8::from(side == Side::Asking), round.number];
            text.extend_from_slice(round.attempt.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&all, &text).as_ref())
        };
        Self {
            own: key(own),
            others: key(own.other()),
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        }
    }

    /// The challenge that this end sends to an address; an answer with it came from a host at that address.
    pub(super) fn challenge(&self, place: &[u8]) -> Challenge {
        let mut challenge = [0; 8];
        let tag = hmac::sign(&self.secret, place);
        challenge
            .iter_mut()
            .zip(tag.as_ref())
            .for_each(|(to, from)| *to = *from);
        challenge
    }

    pub(super) fn write(&self, kind: Kind, challenge: Challenge) -> [u8; LENGTH] {
        let mut packet = [0; LENGTH];
        let (sealed, tag) = packet.split_at_mut(SEALED);
        let head = MAGIC.into_iter().chain([kind.code()]).chain([0; 7]);
        let all = head.chain(challenge);
        sealed.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        let made = hmac::sign(&self.own, sealed);
        tag.iter_mut()
            .zip(made.as_ref())
            .for_each(|(to, from)| *to = *from);
        packet
    }

    /// Decodes a packet of the other end; `None` for any other packet.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Packet> {
        let (sealed, tag) = bytes.split_at_checked(SEALED)?;
        if !is_packet(bytes) {
            return None;
        }
        let right = hmac::sign(&self.others, sealed);
        let right = right.as_ref().get(..LENGTH - SEALED)?;
        // In constant time: the seal of a forged packet must not be found byte by byte.
        let differs = right.iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b));
        if differs != 0 {
            return None;
        }
        let code = *sealed.get(MAGIC.len())?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.code() == code)?;
        let challenge = sealed.get(SEALED - 8..)?.try_into().ok()?;
        Some(Packet { kind, challenge })
    }
}

/// Whether these bytes look like a packet of this protocol, from any sender.
pub(super) fn is_packet(bytes: &[u8]) -> bool {
    bytes.len() == LENGTH && bytes.starts_with(&MAGIC)
}

#[cfg(test)]
impl Seal {
    /// That of one end of a round, the same in each test.
    pub(super) fn sample(side: Side) -> Self {
        Seal::sample_of(0, side)
    }

    fn sample_of(number: u8, side: Side) -> Self {
        let round = Round {
            attempt: "a",
            number,
            asking: &[1; 16],
            asked: &[2; 16],
        };
        Seal::new(&round, side, [side as u8 + 1; 16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_alone_reads_a_packet() {
        let (asking, asked) = (
            Seal::sample_of(0, Side::Asking),
            Seal::sample_of(0, Side::Asked),
        );
        let packet = asking.write(Kind::Hello, [7; 8]);
        let read = asked.read(&packet);
        let expected = Packet {
            kind: Kind::Hello,
            challenge: [7; 8],
        };
        assert_eq!(read, Some(expected));
        assert_eq!(asking.read(&packet), None, "a mirror is no peer");
        assert_eq!(
            Seal::sample_of(1, Side::Asked).read(&packet),
            None,
            "another round"
        );
    }

    #[test]
    fn a_packet_with_any_other_byte_is_none() {
        let (asking, asked) = (
            Seal::sample_of(0, Side::Asking),
            Seal::sample_of(0, Side::Asked),
        );
        let packet = asking.write(Kind::Nominate, [9; 8]);
        for place in 0..LENGTH {
            let mut wrong = packet;
            wrong[place] ^= 1;
            assert_eq!(asked.read(&wrong), None, "byte {place}");
            assert_eq!(asked.read(&packet[..place]), None);
        }
        for kind in Kind::ALL {
            let packet = asking.write(kind, [0; 8]);
            assert_eq!(asked.read(&packet).map(|packet| packet.kind), Some(kind));
        }
    }
}
