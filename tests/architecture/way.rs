//! The way of one offer in ARCHITECTURE.md: each file of the list exists, and has the functions that the list names.
//!
//! The list is for readers. These tests fail when a rename makes it wrong, or when the way grows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The most files on the way.
const MOST_FILES: usize = 24;
/// The most names that the offer has on it.
const MOST_NAMES: usize = 6;

/// The lines of the list: a file, and its functions.
fn lines(page: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, section) = page
        .split_once("## The way of one offer\n")
        .expect("there is a way");
    let (_, list) = section.split_once("```text\n").expect("there is a list");
    let (list, _) = list.split_once("\n```").expect("the list ends");
    list.lines()
        .map(|line| {
            let mut cells = line
                .split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty());
            let file = cells.next().expect("a file");
            let functions = cells.next().expect("functions").split(", ").collect();
            (file, functions)
        })
        .collect()
}

/// Whether a function of this name is in a source.
fn has(source: &str, function: &str) -> bool {
    let name = format!("fn {function}");
    let ends = |rest: &str| rest.starts_with(['(', '<']);
    source
        .match_indices(&name)
        .any(|(at, _)| ends(&source[at + name.len()..]))
}

#[test]
fn the_way_of_one_offer_is_as_it_is_told() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(repository.join("ARCHITECTURE.md")).expect("the page");
    let lines = lines(&page);
    let files: BTreeSet<&str> = lines.iter().map(|(file, _)| *file).collect();
    assert!(
        files.len() > 10 && files.len() <= MOST_FILES,
        "{}",
        files.len()
    );
    for (file, functions) in &lines {
        let source =
            fs::read_to_string(repository.join(file)).unwrap_or_else(|why| panic!("{file}: {why}"));
        for function in functions {
            assert!(has(&source, function), "{file} has no fn {function}");
        }
    }
}

#[test]
fn an_offer_has_few_names_on_its_way() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, names) = page
        .split_once("On this way it is called")
        .expect("its names");
    let (names, _) = names.split_once("names.").expect("they end");
    let names = names.matches(" *").count();
    assert!((2..=MOST_NAMES).contains(&names), "{names}");
}

#[test]
fn a_function_is_found_by_its_whole_name() {
    let source = "fn send_all() {}\npub(super) fn hear<'a>(text: &'a str) {}";
    assert!(has(source, "hear") && has(source, "send_all"));
    assert!(!has(source, "send") && !has(source, "text"));
}

/// Each file that the page names as an example must exist.
#[test]
fn the_files_that_show_a_pattern_are_there() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(repository.join("ARCHITECTURE.md")).expect("the page");
    let (_, patterns) = page.split_once("## Patterns").expect("patterns");
    let quoted = patterns.split('`').skip(1).step_by(2);
    let files: Vec<&str> = quoted.filter(|quoted| quoted.ends_with(".rs")).collect();
    assert!(files.len() > 15, "{files:?}");
    let gone: Vec<&&str> = files
        .iter()
        .filter(|file| !repository.join(file).is_file())
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
}
