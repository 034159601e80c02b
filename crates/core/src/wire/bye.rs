//! The body of `Bye`. It is rare, so postcard writes it. New reasons go to the end, because postcard numbers them.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use crate::api::Bye;
use crate::ids::Incarnation;

/// [`Bye`], as it is sent.
#[derive(Serialize, Deserialize)]
enum Reason {
    Draining { retry_after_ms: u64 },
    Duplicate,
    SelfDial,
    StaleIncarnation { known: Incarnation },
    IdentityClash,
    Full,
    BadFrame,
    Silent,
    Overflow,
}

pub(super) fn put(out: &mut BytesMut, bye: &Bye) {
    let reason = match *bye {
        Bye::Draining { retry_after } => Reason::Draining {
            retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
        },
        Bye::Duplicate => Reason::Duplicate,
        Bye::SelfDial => Reason::SelfDial,
        Bye::StaleIncarnation { known } => Reason::StaleIncarnation { known },
        Bye::IdentityClash => Reason::IdentityClash,
        Bye::Full => Reason::Full,
        Bye::BadFrame => Reason::BadFrame,
        Bye::Silent => Reason::Silent,
        Bye::Overflow => Reason::Overflow,
    };
    // Writing a reason to memory cannot fail.
    if let Ok(bytes) = postcard::to_stdvec(&reason) {
        out.put_slice(&bytes);
    }
}

/// `None` for a reason that this version does not know.
pub(super) fn read(body: &[u8]) -> Option<Bye> {
    Some(match postcard::from_bytes(body).ok()? {
        Reason::Draining { retry_after_ms } => Bye::Draining {
            retry_after: Duration::from_millis(retry_after_ms),
        },
        Reason::Duplicate => Bye::Duplicate,
        Reason::SelfDial => Bye::SelfDial,
        Reason::StaleIncarnation { known } => Bye::StaleIncarnation { known },
        Reason::IdentityClash => Bye::IdentityClash,
        Reason::Full => Bye::Full,
        Reason::BadFrame => Bye::BadFrame,
        Reason::Silent => Bye::Silent,
        Reason::Overflow => Bye::Overflow,
    })
}
