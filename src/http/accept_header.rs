//! Whether a client wants JSON, or the Prometheus text of `/metrics` or the page at `/` (RFC 9110, section 12.5.1).
//!
//! For each type the most specific range that fits decides, not the best one. Without a preference the answer is JSON:
//! the other types are for clients that strictly prefer them. Pure; called by `status` and `web`.

use http::HeaderMap;
use http::header::ACCEPT;
use mediatype::names::Q;
use mediatype::{MediaType, MediaTypeList, ReadParams};

/// The type that `/metrics` gives, and the types that count as the same: clients that name one of them read this text.
const TEXT: [&str; 2] = [
    "text/plain; version=0.0.4; charset=utf-8",
    "application/openmetrics-text",
];
const PAGE: [&str; 1] = ["text/html; charset=utf-8"];
const JSON: [&str; 1] = ["application/json"];

/// Whether these headers ask for the Prometheus text rather than for JSON.
pub(super) fn wants_exposition(headers: &HeaderMap) -> bool {
    is_better(&accept(headers), &TEXT)
}

/// Whether they ask for a page rather than for JSON.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    is_better(&accept(headers), &PAGE)
}

/// A list may be spread over several headers.
fn accept(headers: &HeaderMap) -> String {
    let all = headers.get_all(ACCEPT).into_iter();
    let texts: Vec<&str> = all.filter_map(|value| value.to_str().ok()).collect();
    texts.join(",")
}

/// Whether the client likes one of these types better than JSON.
fn is_better(accept: &str, types: &[&str]) -> bool {
    let ranges: Vec<MediaType<'_>> = MediaTypeList::new(accept).flatten().collect();
    best(&ranges, types) > best(&ranges, &JSON)
}

/// The quality of the one of these types that the client likes best, in thousandths.
fn best(ranges: &[MediaType<'_>], types: &[&str]) -> u16 {
    let types = types.iter().filter_map(|text| MediaType::parse(text).ok());
    types.map(|one| quality(ranges, &one)).max().unwrap_or(0)
}

/// The quality of a type: that of the most specific range that fits it; 0 if none does.
fn quality(ranges: &[MediaType<'_>], of: &MediaType<'_>) -> u16 {
    let fitting = ranges
        .iter()
        .filter_map(|range| Some((specificity(range, of)?, weight(range))));
    fitting.max().map_or(0, |(_, weight)| weight)
}

/// How closely a range names this type; `None` if it does not. A parameter that does not match does not rule the type
/// out, because scrapers that ask for another version of the text read this one too.
fn specificity(range: &MediaType<'_>, of: &MediaType<'_>) -> Option<usize> {
    match (range.ty.as_str(), range.subty.as_str()) {
        ("*", "*") => Some(0),
        (_, "*") if range.ty == of.ty => Some(1),
        _ if range.ty == of.ty && range.subty == of.subty => {
            let met = range
                .params()
                .filter(|(name, value)| of.get_param(*name).as_ref() == Some(value));
            Some(2 + met.count())
        }
        _ => None,
    }
}

/// The weight of a range in thousandths; 0 if it is not a number from 0 to 1.
fn weight(range: &MediaType<'_>) -> u16 {
    let Some(text) = range.get_param(Q) else {
        return 1000;
    };
    match text.as_str().parse::<f32>() {
        // The value is in bounds, so nothing is cut off.
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{PAGE, TEXT, is_better};

    #[test]
    fn scrapers_get_the_text() {
        for accept in [
            // Prometheus 2 and 3.
            "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "text/plain",
            "Text/Plain; version=0.0.4",
            "text/plain; version=\"1.0.0\"",
            "text/*",
            "application/json;q=0.2, text/plain;q=0.3",
            "*/*;q=0.5, text/plain",
            "application/openmetrics-text, */*;q=0.9",
            "text/plain, application/json;q=0",
        ] {
            assert!(is_better(accept, &TEXT), "{accept:?}");
        }
    }

    #[test]
    fn everyone_else_gets_json() {
        for accept in [
            "",
            "*/*",
            "application/json",
            // axios and Angular.
            "application/json, text/plain, */*",
            "text/plain, application/json",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;q=0",
            "text/plain;q=0.2, application/json",
            "text/plain;q=0.5, */*;q=0.9",
            "text/plain;q=0.5, application/*;q=0.6",
            "text/*, text/plain;q=0.1, application/json;q=0.2",
            "text/plain, text/plain;version=0.0.4;q=0, application/json;q=0.1",
            "*/*, text/plain",
            "text/plain;q=nonsense",
            "text/plain;q=7",
            "image/png",
            "text",
            ";;;,,,",
            "*/plain",
        ] {
            assert!(!is_better(accept, &TEXT), "{accept:?}");
        }
    }

    #[test]
    fn browsers_get_the_page_and_everyone_else_json() {
        for accept in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html",
            "application/json;q=0.5, text/*",
        ] {
            assert!(is_better(accept, &PAGE), "{accept:?}");
        }
        for accept in [
            "",
            "*/*",
            "application/json, text/html",
            "application/json, */*;q=0.5",
            "text/html;q=0",
            "text/plain",
        ] {
            assert!(!is_better(accept, &PAGE), "{accept:?}");
        }
    }
}
