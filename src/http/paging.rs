//! Lists in pages: the parameters of a request, and the part of a list that it gets.
//!
//! A list is sorted, and a page begins after `after`, so that no entry is left out or shown twice while other entries
//! are added or removed. Knows no list; used by `api`, `coordinator`, `admin_api` and `operating`.

use std::collections::BTreeMap;

use http::StatusCode;
use hubmesh_core::ids::Dialect;
use url::form_urlencoded;
use utoipa::IntoParams;

use super::endpoint::Call;
use super::reply::{self, Answered};

/// Entries of a page, and the most that may be asked for.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

fn labels() -> String {
    let all: Vec<&str> = Dialect::ALL.iter().map(|one| one.label()).collect();
    all.join(", ")
}

/// Why a page cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum BadQuery {
    #[error("there is no parameter {0:?} here")]
    Unknown(String),
    #[error("limit is a whole number from 1 to {MAX_LIMIT}")]
    Limit,
    #[error("there is no dialect {0:?}: it is one of {all}", all = labels())]
    Dialect(String),
    #[error("network has to name one: peers are listed of one network at a time")]
    NoNetwork,
    #[error("after has to be what next was")]
    After,
}

impl From<BadQuery> for Answered {
    fn from(why: BadQuery) -> Self {
        Box::new(reply::error(StatusCode::BAD_REQUEST, &why.to_string()))
    }
}

/// Which part of a list is asked for.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// The most entries of a page.
    #[param(value_type = usize, required = false, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// What `next` of the page before was.
    #[param(value_type = String, required = false)]
    after: Option<String>,
}

impl Paging {
    /// Reads the paging parameters of a query and ignores all others: clients of other servers add parameters of their
    /// own.
    pub(super) fn read(text: &str) -> Result<Self, BadQuery> {
        let mut paging = Paging::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            paging.take(&name, &value)?;
        }
        Ok(paging)
    }

    /// Whether this is a paging parameter.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, BadQuery> {
        match name {
            "limit" => self.limit = Some(limit(value)?),
            "after" => self.after = Some(value.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The most entries of the page.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT)
    }

    /// The key after which the page begins.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The paging parameters in the query of a request, or the error answer if they are bad.
    pub(super) fn of(call: &Call) -> Result<Self, Answered> {
        Ok(Paging::read(&call.head.query)?)
    }

    /// The entries of this page out of all, by their names.
    pub(super) fn page_by_name<T>(&self, all: Vec<(String, T)>) -> Page<String, T> {
        self.page(all, self.after.clone())
    }

    /// The entries of this page out of all, which are sorted by their keys; the key of the last, if more follow; and
    /// the total.
    pub(super) fn page<T, K: Ord>(&self, mut all: Vec<(K, T)>, after: Option<K>) -> Page<K, T> {
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let total = all.len();
        let start = after.map_or(0, |after| all.partition_point(|(key, _)| *key <= after));
        let mut entries = all.split_off(start);
        let limit = self.limit();
        let more = entries.len() > limit;
        entries.truncate(limit);
        let (mut keys, entries): (Vec<K>, Vec<T>) = entries.into_iter().unzip();
        Page {
            entries,
            next: keys.pop().filter(|_| more),
            total,
        }
    }
}

/// A part of a list.
pub(super) struct Page<K, T> {
    pub(super) entries: Vec<T>,
    pub(super) next: Option<K>,
    pub(super) total: usize,
}

impl<T> Page<String, T> {
    /// Ends the page before this entry, unless it is the first.
    pub(super) fn end_before(
        &mut self,
        is_next: impl FnMut(&T) -> bool,
        name: impl Fn(&T) -> &str,
    ) {
        let at = self.entries.iter().position(is_next);
        if let Some(at) = at.filter(|at| *at > 0) {
            self.entries.truncate(at);
            self.next = self.entries.last().map(|last| name(last).to_owned());
        }
    }
}

fn limit(text: &str) -> Result<usize, BadQuery> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or(BadQuery::Limit)
}

/// The parameters of a page that accepts more than these two, and no others.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) paging: Paging,
    /// The parameters of this page alone, by name. An empty value counts as not given.
    filters: BTreeMap<&'static str, String>,
}

impl Query {
    pub(super) fn read(text: &str, known: &[&'static str]) -> Result<Self, BadQuery> {
        let mut query = Query::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if query.paging.take(&name, &value)? {
                continue;
            }
            match known.iter().find(|known| **known == name) {
                Some(known) if !value.is_empty() => {
                    query.filters.insert(known, value.into_owned());
                }
                Some(_) => {}
                None => return Err(BadQuery::Unknown(name.into_owned())),
            }
        }
        Ok(query)
    }

    pub(super) fn filter(&self, name: &str) -> Option<&str> {
        self.filters.get(name).map(String::as_str)
    }

    /// Whether the request is about this hub: it gives the beginning of its id, or no hub.
    pub(super) fn wants_hub(&self, hub: &impl ToString) -> bool {
        let beginning = self.filter("hub");
        beginning.is_none_or(|beginning| hub.to_string().starts_with(beginning))
    }

    pub(super) fn dialect(&self) -> Result<Option<Dialect>, BadQuery> {
        let Some(label) = self.filter("dialect") else {
            return Ok(None);
        };
        let found = Dialect::from_label(label);
        found
            .map(Some)
            .ok_or_else(|| BadQuery::Dialect(label.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str, all: &[&str]) -> (Vec<String>, Option<String>) {
        let paging = Paging::read(query).expect("a query");
        let all = all.iter().map(|key| (key.to_string(), key.to_string()));
        let page = paging.page_by_name(all.collect());
        (page.entries, page.next)
    }

    fn ids(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_page_goes_on_behind_the_one_before_whether_its_last_is_still_there_or_not() {
        let all = ["c", "a", "d", "b"];
        let first = (ids(&["a", "b"]), Some("b".to_owned()));
        assert_eq!(page("limit=2", &all), first);
        for after in ["b", "bb"] {
            let query = format!("limit=2&after={after}");
            assert_eq!(page(&query, &all), (ids(&["c", "d"]), None), "{query}");
        }
        assert_eq!(page("after=d", &all), (ids(&[]), None));
        assert_eq!(page("_=1&limit=4", &all).1, None);
    }

    #[test]
    fn what_is_no_number_of_entries_is_refused() {
        for query in ["limit=0", "limit=1001", "limit=x", "limit=", "limit=-1"] {
            assert_eq!(Paging::read(query).err(), Some(BadQuery::Limit), "{query}");
        }
        let unknown = Query::read("limit=5&x=1", &["hub"]);
        assert_eq!(unknown.err(), Some(BadQuery::Unknown("x".into())));
    }
}
