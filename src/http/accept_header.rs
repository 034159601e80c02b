//! Whether a client of `/metrics` wants JSON or the Prometheus text.
//!
//! JSON is what one gets without asking: `*/*` and no header mean JSON. The text is for those who name one of its
//! types and like JSON no better. Pure; called by `status`.

/// Whether an `Accept` header asks for the Prometheus text rather than for JSON.
pub(super) fn wants_exposition(accept: &str) -> bool {
    let text = quality(accept, &["application/openmetrics-text", "text/plain"]);
    let json = quality(accept, &["application/json"]);
    text > 0.0 && text >= json
}

/// The highest quality that the header gives to one of these types by name; 0 if it names none.
fn quality(accept: &str, types: &[&str]) -> f32 {
    accept
        .split(',')
        .filter_map(|range| named(range, types))
        .fold(0.0, f32::max)
}

/// The quality of one media range, if it is one of these types.
fn named(range: &str, types: &[&str]) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?;
    if !types
        .iter()
        .any(|wanted| media_type.eq_ignore_ascii_case(wanted))
    {
        return None;
    }
    let quality = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then(|| value.trim().parse().unwrap_or(0.0))
    });
    Some(quality.unwrap_or(1.0_f32).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::wants_exposition;

    #[test]
    fn scrapers_get_the_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;\
                          q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        assert!(wants_exposition(prometheus));
        assert!(wants_exposition("text/plain"));
        assert!(wants_exposition("Text/Plain; version=0.0.4"));
        assert!(wants_exposition("application/json;q=0.2, text/plain;q=0.3"));
    }

    #[test]
    fn everyone_else_gets_json() {
        for accept in [
            "",
            "*/*",
            "application/json",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;q=0",
            "text/plain;q=0.2, application/json",
            "text/plain;q=nonsense",
        ] {
            assert!(!wants_exposition(accept), "{accept:?}");
        }
    }
}
