//! Pages that take a while to make are made once for several requests.
//!
//! Their contents grow with the mesh, and any client may ask for them as often as it likes. A page that took more than
//! [`CHEAP`] is made again only after [`REST`] times as long: all pages together take a small part of the thread's
//! time, and their contents are some dozens of milliseconds old in large meshes, and fresh in small ones. Knows no
//! routes; `status` and `peerjs` define the pages and make them.
//!
//! Invariant: memory is bounded by the number of pages, one body each.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A page that takes no longer is made for each request.
const CHEAP: Duration = Duration::from_millis(1);
/// A page is shown for this many times as long as it took to make.
const REST: u32 = 10;

/// The pages that were made last.
#[derive(Debug)]
pub(super) struct Pages<K> {
    made: Mutex<HashMap<K, Made>>,
}

#[derive(Debug)]
struct Made {
    at: Instant,
    took: Duration,
    body: Bytes,
}

impl<K: Eq + Hash> Pages<K> {
    /// No pages yet.
    pub(super) fn new() -> Self {
        Pages {
            made: Mutex::default(),
        }
    }

    /// The page of this name, made now unless it was made a moment ago. There are as many names as pages.
    pub(super) fn get(&self, name: K, make: impl FnOnce() -> Bytes) -> Bytes {
        self.get_by(Instant::now, name, make)
    }

    fn get_by(&self, now: impl Fn() -> Instant, name: K, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut made = self.made.lock();
        let began = now();
        if let Some(page) = made.get(&name)
            && page.took > CHEAP
            && began.duration_since(page.at) < page.took * REST
        {
            return page.body.clone();
        }
        let body = make();
        let at = now();
        let page = Made {
            at,
            took: at.duration_since(began),
            body: body.clone(),
        };
        made.insert(name, page);
        body
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_page_is_made_again_after_ten_times_as_long_as_it_took() {
        let (pages, start) = (Pages::new(), Instant::now());
        let ms = Cell::new(0);
        let made = Cell::new(0);
        let get = |name, takes| {
            let now = || start + Duration::from_millis(ms.get());
            pages.get_by(now, name, || {
                ms.set(ms.get() + takes);
                made.set(made.get() + 1);
                Bytes::from(made.get().to_string())
            })
        };
        // Made from 0 to 5 ms, and shown until 55.
        assert_eq!(get("a", 5), "1");
        ms.set(54);
        assert_eq!(get("a", 5), "1");
        assert_eq!(get("b", 1), "2", "each page for itself");
        assert_eq!(get("b", 1), "3", "what costs little is always fresh");
        ms.set(55);
        assert_eq!(get("a", 7), "4");
        ms.set(131);
        assert_eq!(get("a", 7), "4");
        ms.set(132);
        assert_eq!(get("a", 7), "5");
    }
}
